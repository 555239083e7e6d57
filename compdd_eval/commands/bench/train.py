"""Measure how fast students train, as ratios to the release's way; all take turns, each in a process of its own."""

import functools
import statistics
from collections.abc import Iterator

import torch
from tqdm.auto import tqdm

from compdd_eval.commands.bench.machine import machine
from compdd_eval.commands.bench.students import Contestant, begin_training
from compdd_eval.commands.bench.worker import Worker, before_workers, take_turns
from compdd_eval.config.bench import BenchConfig
from compdd_eval.config.checks import AUTO
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.network_names import without_folders
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.data.subsets import subset_names
from compdd_eval.models.cost import count_flops
from compdd_eval.models.registry import create_model, is_listed
from compdd_eval.training.memory import students_at_a_time
from compdd_eval.training.stack import can_be_stacked
from compdd_eval.utils.console import print_table
from compdd_eval.utils.devices import has_triton

_BACKWARD = 3  # operations of forward and backward together, against forward alone
_PROTOCOL = Protocol()
_STUDENTS_OF_A_RESULT = EvaluateConfig.num_eval


def contestants(device: str, together: int = 1, fused_norm: bool = False) -> list[Contestant]:
    """Return the plain loop and ours, a lever more at a time; the last ones train several students together."""
    on_cpu = device == "cpu"
    ours = {"parts": on_cpu, "keeps_memory": on_cpu}
    # torch lets a GPU's convolutions use TF32 from the start, so that is the peak of the plain loop there
    found = [Contestant("plain loop", "float32" if on_cpu else "tf32", plain=True), Contestant("eager")]
    if on_cpu:
        found += [Contestant("+ batches in parts", parts=True), Contestant("+ memory kept", **ours)]
    name = "+ compiled" if on_cpu else "+ compiled, CUDA graphs"
    precisions = ["float32", *([] if on_cpu else ["tf32"]), "bfloat16"]
    found += [Contestant(name, precision, compiled=True, **ours) for precision in precisions]
    if fused_norm:
        found.append(Contestant(f"{name}, fused norm", "bfloat16", compiled=True, fused_norm=True))
    if together > 1:
        name = f"{name}, {together} students together"
        found += [Contestant(name, kind, compiled=True, students=together, **ours) for kind in precisions]
    return found


def bench_train(config: BenchConfig) -> list[dict[str, object]]:
    """Time all contestants in turns for every IPC; return a row for each.

    Raises:
        InputError: An unknown network, or one that cannot take such images; memory that ran out.
    """
    config, device = before_workers(config)
    rows = []
    for ipc in config.ipcs:
        field = contestants(device, _together(config, ipc, device), _has_fused_norm(config, device))
        with tqdm(desc=f"IPC {ipc}", total=len(field) * (config.passes + 1), leave=False) as bar:
            rows += _turns(config, ipc, field, device, bar)
    return rows


def _together(config: BenchConfig, ipc: int, device: str) -> int:
    """Return how many students are trained together in the last contestants; 1 has none of these."""
    with torch.device("meta"):
        network = create_model(config.model, NUM_CLASSES, (config.res, config.res))
        images = torch.empty(ipc * NUM_CLASSES, 3, config.res, config.res)
    number = config.students_per_device
    if number == AUTO:
        estimate = students_at_a_time(images, _PROTOCOL.batch_train)
        number = 1 if device == "cpu" else min(estimate, _STUDENTS_OF_A_RESULT)
    return number if is_listed(config.model) and can_be_stacked(network) else 1


def _has_fused_norm(config: BenchConfig, device: str) -> bool:
    """Return whether norms of the network can be fused here."""
    if not has_triton(torch.device(device)):
        return False
    from compdd_eval.models.fused_norm import fuse_norms

    with torch.device("meta"):
        return fuse_norms(create_model(config.model, NUM_CLASSES, (config.res, config.res)))


def _turns(config: BenchConfig, ipc: int, field: list[Contestant], device: str, bar: tqdm) -> list[dict[str, object]]:
    begins = {
        f"{entry.name}, {entry.precision}": functools.partial(begin_training, entry, config, ipc) for entry in field
    }
    with take_turns(begins, device, config.threads, config.passes, bar) as workers:
        return list(_rows(config, ipc, field, workers))


def _rows(config: BenchConfig, ipc: int, field: list[Contestant], workers: list[Worker]) -> Iterator[dict[str, object]]:
    images = ipc * NUM_CLASSES
    flops = _BACKWARD * count_flops(config.model, NUM_CLASSES, (config.res, config.res))
    peaks: dict[str, float] = {}
    for contestant, worker in zip(field, workers, strict=True):
        peaks[contestant.precision] = max(worker.ask("peak"), peaks.get(contestant.precision, 0))
    plain = images / statistics.median(workers[0].seconds)
    for contestant, worker in zip(field, workers, strict=True):
        rate = contestant.students * images / statistics.median(worker.seconds)  # other work on the machine is noise
        yield {
            "name": contestant.name,
            "precision": contestant.precision,
            "resolution": config.res,
            "ipc": ipc,
            "images_per_second": rate,
            "students_per_hour": 3600 * rate / (_PROTOCOL.passes * images),
            "ratio_to_plain": rate / plain,
            "share_of_peak": rate * flops / peaks[contestant.precision],
            "peak_memory_bytes": worker.ask("memory"),
            "first_pass_seconds": worker.first,
            "test_seconds": worker.ask("test"),
        }


def whole_table_hours(rows: list[dict[str, object]]) -> dict[str, float]:
    """Project the time of all of Comp-DD: every subset, five students for each IPC that was measured.

    Returns:
        Hours for each `NAME, PRECISION` that was measured for every IPC, a student after the other: training of 1001
        passes and testing.
    """
    by_name: dict[str, dict[int, float]] = {}
    for row in rows:
        seconds = 3600 / row["students_per_hour"] + row["test_seconds"]
        by_name.setdefault(f"{row['name']}, {row['precision']}", {})[row["ipc"]] = seconds
    ipcs = {row["ipc"] for row in rows}
    students = len(subset_names()) * _STUDENTS_OF_A_RESULT
    return {name: students * sum(found.values()) / 3600 for name, found in by_name.items() if found.keys() == ipcs}


def as_json(rows: list[dict[str, object]]) -> dict[str, object]:
    """Return what `--json` prints."""
    return {"rows": rows, "whole_table_hours": whole_table_hours(rows)}


def print_rows(config: BenchConfig, rows: list[dict[str, object]]) -> None:
    """Print a table, and the hours of all of Comp-DD."""
    lines = [
        [
            f"{row['ipc']}",
            f"{row['name']}, {row['precision']}",
            f"{row['images_per_second']:,.1f}",
            f"{row['students_per_hour']:,.2f}",
            f"{row['ratio_to_plain']:.2f} x",
            f"{100 * row['share_of_peak']:.0f} %",
            f"{row['peak_memory_bytes'] / 10**6:,.0f} MB",
            f"{row['first_pass_seconds']:.1f} s",
        ]
        for row in rows
    ]
    header = ["IPC>", "loop", "images/s>", "students/h>", "ratio>", "share of peak>", "memory>", "first pass>"]
    title = f"Bench: {without_folders(config.model)} at {config.res} px, {config.passes} passes, {machine()}"
    print_table(title, header, lines)
    print("The share of the peak rate of matrix products says more than a ratio: above 90 % nothing is left to gain.")
    ipcs = ", ".join(map(str, config.ipcs))
    print(f"All {len(subset_names())} subsets at IPC {ipcs}, {_STUDENTS_OF_A_RESULT} students each, projected:")
    for name, number in whole_table_hours(rows).items():
        print(f"  {name}: {number:,.1f} h")
