"""Measure the time of an `Evaluator`'s call, as ratios to the release's way; all take turns, a process each."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tqdm.auto import tqdm

from compdd_eval.commands.bench.machine import machine
from compdd_eval.commands.bench.plain_loop import plain_passes
from compdd_eval.commands.bench.worker import Turns, before_workers, take_turns
from compdd_eval.config.bench import BenchConfig
from compdd_eval.config.network_names import without_folders
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.drawn_imagenet import draw_imagenet
from compdd_eval.data.subset_files import NUM_CLASSES, VALIDATION_IMAGES_PER_CLASS
from compdd_eval.evaluation.evaluator import Evaluator
from compdd_eval.models.registry import create_model
from compdd_eval.utils.console import print_table

_SUBSET = "bird-easy"


@dataclass(frozen=True)
class Scoring:
    """A way to score a set with one student, again and again.

    Attributes:
        name: In words.
        compile: Whether ours is compiled, as `--compile` says it; None: the release's way.
        config: What is scored.
        ipc: Images per class.
        data_path: A source with validation images.
    """

    name: str
    compile: str | None
    config: BenchConfig
    ipc: int
    data_path: str

    def begin(self, device: torch.device) -> Turns:
        """Return calls, for ever."""
        torch.manual_seed(0)
        size = (self.config.res, self.config.res)
        images = torch.randn(self.ipc * NUM_CLASSES, 3, *size, device=device)
        labels = torch.arange(NUM_CLASSES).repeat_interleave(self.ipc)
        return Turns(self._plain(images, labels) if self.compile is None else self._ours(images, labels))

    def _plain(self, images: torch.Tensor, labels: torch.Tensor) -> Iterator[float]:
        """Make a new network at every call, train it by the plain loop, test it batch by batch."""
        protocol = Protocol(epoch_eval_train=self.config.passes)
        number = VALIDATION_IMAGES_PER_CLASS * NUM_CLASSES
        tested = torch.randn(number, 3, *images.shape[2:]), torch.arange(number) % NUM_CLASSES
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tested), batch_size=protocol.batch_train)
        while True:
            network = create_model(self.config.model, NUM_CLASSES, tuple(images.shape[2:])).to(images.device)
            passes = plain_passes(network, images, labels, protocol)
            for _ in range(protocol.passes):
                next(passes)
            network.eval()
            right = 0
            with torch.no_grad():
                for inputs, targets in loader:
                    right += (network(inputs.to(images.device)).argmax(1).cpu() == targets).sum().item()
            yield right / number

    def _ours(self, images: torch.Tensor, labels: torch.Tensor) -> Iterator[float]:
        config = self.config
        settings = {"model": config.model, "num_eval": 1, "epoch_eval_train": config.passes, "threads": config.threads}
        evaluator = Evaluator(_SUBSET, data_path=self.data_path, compile=self.compile, **settings)
        while True:
            yield evaluator(images, labels).mean


def bench_evaluator(config: BenchConfig) -> list[dict[str, object]]:
    """Time calls in turns for every IPC: one student of `passes` + 1 passes, tested on 500 images.

    Returns:
        For each way: `name`, `resolution`, `ipc`, `passes`, `seconds_of_a_call` (the median), `ratio_to_plain` (above
        1: faster), `first_call_seconds` (with decoding and compiling).

    Raises:
        InputError: An unknown network, or one that cannot take such images; memory that ran out.
    """
    config, device = before_workers(config)
    rows = []
    with TemporaryDirectory(prefix="compdd_bench_", dir=config.output_dir) as place:
        source = Path(place) / "imagenet"
        draw_imagenet(source, _SUBSET.partition("-")[0], 1, VALIDATION_IMAGES_PER_CLASS)
        for ipc in config.ipcs:
            ways = [("plain loop", None), ("Evaluator, eager", "never"), ("Evaluator, compiled", "always")]
            field = [Scoring(*way, config, ipc, str(source)) for way in ways]
            with tqdm(desc=f"IPC {ipc}", total=len(field) * (config.repeats + 1), leave=False) as bar:
                rows += _turns(config, ipc, field, device, bar)
    return rows


def _turns(config: BenchConfig, ipc: int, field: list[Scoring], device: str, bar: tqdm) -> Iterator[dict[str, object]]:
    begins = {entry.name: entry.begin for entry in field}
    with take_turns(begins, device, config.threads, config.repeats, bar) as workers:
        plain = statistics.median(workers[0].seconds)
        for entry, worker in zip(field, workers, strict=True):
            seconds = statistics.median(worker.seconds)
            yield {
                "name": entry.name,
                "resolution": config.res,
                "ipc": ipc,
                "passes": config.passes + 1,
                "seconds_of_a_call": seconds,
                "ratio_to_plain": plain / seconds,
                "first_call_seconds": worker.first,
            }


def print_rows(config: BenchConfig, rows: list[dict[str, object]]) -> None:
    """Print a table."""
    lines = [
        [
            row["ipc"],
            row["name"],
            f"{row['seconds_of_a_call']:.3g} s",
            f"{row['ratio_to_plain']:.2f} x",
            f"{row['first_call_seconds']:.3g} s",
        ]
        for row in rows
    ]
    title = f"Bench: a call with {without_folders(config.model)} at {config.res} px, {config.passes + 1} passes, "
    print_table(title + machine(), ["IPC>", "way", "a call>", "ratio>", "first call>"], lines)
