"""Measure how fast distillation methods make steps, as ratios to the releases' way; all take turns, a process each."""

import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from compdd_eval.commands.bench.machine import machine
from compdd_eval.commands.bench.plain_methods import PlainMethod
from compdd_eval.commands.bench.worker import Turns, before_workers, take_turns
from compdd_eval.config.bench import BenchConfig
from compdd_eval.config.distill import DistillConfig
from compdd_eval.config.network_names import without_folders
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.methods.expert_files import open_experts
from compdd_eval.methods.job import Job, Synthetic, TrainingImages
from compdd_eval.methods.learning_loop import Learning
from compdd_eval.methods.registry import fill_settings, find_method
from compdd_eval.methods.trajectory_matching import match_expert
from compdd_eval.models.registry import create_model
from compdd_eval.training.compiling import Compiler
from compdd_eval.utils.console import print_table
from compdd_eval.utils.devices import peak_memory, repeatable
from compdd_eval.utils.process_memory import keep_memory

_REAL_IMAGES = 256  # of each class: a whole batch of DM and DC
_SMALL_RATE = 1e-3  # of the images: what is timed does not run away


@dataclass(frozen=True)
class DistillContestant:
    """A way to make the steps of a method.

    Attributes:
        name: In words.
        settings: Of the method.
        compile: Whether ours is compiled, as `--compile` says it; None: the plain loop.
    """

    name: str
    settings: DistillConfig
    compile: str | None

    def begin(self, device: torch.device) -> Turns:
        """Return its steps, for ever."""
        config = self.settings
        torch.manual_seed(0)
        images = torch.randn(NUM_CLASSES * _REAL_IMAGES, 3, config.res, config.res)
        if self.compile is None:
            experts = open_experts(config.experts, config.model, config.res) if config.experts else None
            steps = PlainMethod(config, images, experts, device).steps()
        else:
            keep_memory()
            repeatable()
            steps = _ours(config, images, device, self.compile)
        before = peak_memory(device) if device.type == "cpu" else 0  # most of a process is torch
        return Turns(steps, {"memory": lambda: peak_memory(device) - before})


def bench_distill(config: BenchConfig) -> list[dict[str, object]]:
    """Time all contestants in turns for every method and IPC; return a row for each.

    Raises:
        InputError: An unknown network, or one that cannot take such images; memory that ran out.
    """
    config, device = before_workers(config)
    rows = []
    with tempfile.TemporaryDirectory(prefix="compdd_bench_") as folder:
        experts = _write_expert(Path(folder), config)
        for ipc in config.ipcs:
            for method in config.methods:
                field = list(_contestants(config, method, ipc, experts))
                with tqdm(desc=f"{method}, IPC {ipc}", total=len(field) * (config.passes + 1), leave=False) as bar:
                    rows += _turns(config, ipc, field, device, bar)
    return rows


def _contestants(config: BenchConfig, name: str, ipc: int, experts: str) -> Iterator[DistillContestant]:
    method = find_method(name)
    settings = {"res": config.res, "model": config.model, "ipc": ipc, "lr_img": _SMALL_RATE}
    if "experts" in method.settings("published", ipc):
        settings |= {"experts": experts, "syn_steps": config.syn_steps, "max_start_epoch": 1, "expert_epochs": 2}
    if name == "edf":
        settings |= {"first_max_start_epoch": 1, "match_threshold": 1e9}
    filled = fill_settings(DistillConfig(method=name, category="bird", subset="easy", **settings), method)
    for name, how in (("plain loop", None), ("eager", "never"), ("+ compiled", "always")):
        yield DistillContestant(name, filled, how)
    yield DistillContestant("+ bfloat16", replace(filled, precision="bfloat16"), "always")


def _write_expert(folder: Path, config: BenchConfig) -> str:
    """Write an expert of two epochs of the published kind; its parameters drift as those of a network that learns."""
    torch.manual_seed(0)
    network = create_model(config.model, NUM_CLASSES, (config.res, config.res))
    snapshot = [parameter.detach() for parameter in network.parameters()]
    trajectory = [snapshot]
    for _ in range(2):
        trajectory.append(
            [tensor + 0.01 * tensor.std(correction=0) * torch.randn_like(tensor) for tensor in trajectory[-1]]
        )
    torch.save([trajectory], folder / "replay_buffer_0.pt")
    return str(folder)


class _RandomImages(TrainingImages):
    """Training images of random numbers, in place of decoded ones."""

    def __init__(self, images: torch.Tensor, device: torch.device) -> None:
        self.images, self._device = images.to(device), device
        self.labels = torch.arange(NUM_CLASSES).repeat_interleave(len(images) // NUM_CLASSES)
        self.classes, self.digest = list(range(NUM_CLASSES)), None


def _ours(config: DistillConfig, images: torch.Tensor, device: torch.device, compile: str) -> Iterator[float]:
    """Make steps of the method for ever."""
    method, compiler = find_method(config.method), Compiler(compile, "steps")
    compiler.choose({config.model: 0})
    job = Job(config, _RandomImages(images, device), device, None, compiler)
    synthetic = Synthetic.begin(job)
    if config.lr_label is not None:
        synthetic = Synthetic(
            synthetic.images, F.one_hot(synthetic.classes).float(), synthetic.classes, config.lr_student
        )
    if config.method == "edf":
        method = replace(method, run=_without_maps)
    learning = Learning(job, method, synthetic)
    while True:
        yield learning.step()


def _without_maps(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Make a step of EDF but for its maps, which are made once in a hundred steps."""
    return match_expert(job, synthetic, step, job.config.loss_threshold)[0]


def _turns(
    config: BenchConfig, ipc: int, field: list[DistillContestant], device: str, bar: tqdm
) -> Iterator[dict[str, object]]:
    begins = {contestant.name: contestant.begin for contestant in field}
    with take_turns(begins, device, config.threads, config.passes, bar) as workers:
        plain, memory = statistics.median(workers[0].seconds), workers[0].ask("memory")
        for contestant, worker in zip(field, workers, strict=True):
            seconds, peak = statistics.median(worker.seconds), worker.ask("memory")
            yield {
                "method": contestant.settings.method,
                "name": contestant.name,
                "resolution": config.res,
                "ipc": ipc,
                "steps_per_second": 1 / seconds,
                "ratio_to_plain": plain / seconds,
                "peak_memory_bytes": peak,
                "memory_to_plain": peak / memory,
                "first_step_seconds": worker.first,
            }


def print_rows(config: BenchConfig, rows: list[dict[str, object]]) -> None:
    """Print a table."""
    lines = [
        [
            row["method"],
            row["ipc"],
            row["name"],
            f"{row['steps_per_second']:,.3g}",
            f"{row['ratio_to_plain']:.2f} x",
            f"{row['peak_memory_bytes'] / 10**6:,.0f} MB",
            f"{row['memory_to_plain']:.2f} x",
            f"{row['first_step_seconds']:.1f} s",
        ]
        for row in rows
    ]
    header = ["method", "IPC>", "loop", "steps/s>", "ratio>", "memory>", "of plain>", "first step>"]
    title = f"Bench: distillation with {without_folders(config.model)} at {config.res} px, {machine()}"
    print_table(title, header, lines)
    if {"mtt", "edf"} & set(config.methods):
        print(f"Students of mtt and edf make {config.syn_steps} steps; edf is without its maps.")
