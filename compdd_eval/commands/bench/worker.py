"""A process that trains a pass of students whenever it is told to: what `bench train` and `bench scaling` time.

Each way to train has a process of its own, since the memory that a process keeps, its peak and its compiled code are a
process's.
"""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from compdd_eval.commands.bench.plain_loop import plain_passes
from compdd_eval.config.bench import BenchConfig
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.subset_files import NUM_CLASSES, VALIDATION_IMAGES_PER_CLASS
from compdd_eval.models.registry import create_model
from compdd_eval.training.memory import keep_memory
from compdd_eval.training.predict import predict
from compdd_eval.training.stack import Stack
from compdd_eval.training.train import StudentBatches, Training
from compdd_eval.utils.devices import out_of_memory, peak_memory, repeatable
from compdd_eval.utils.errors import InputError

_MATRIX = {"cpu": 2048, "cuda": 8192}  # the peak is that of square matrix products of this size
_PRODUCTS = 5
_WARM_UP = {"cpu": 1, "cuda": 4}  # passes that are not timed; CUDA graphs are recorded in the third


@dataclass(frozen=True)
class Contestant:
    """A way to train.

    Attributes:
        name: In words.
        precision: `float32`, `tf32` or `bfloat16`.
        plain: Whether it is the plain loop; nothing of what follows is then looked at.
        parts: Whether batches go through the network in parts, where ours do.
        keeps_memory: Whether the process keeps memory that tensors gave back.
        compiled: Whether steps are compiled.
        students: Students that are trained together.
    """

    name: str
    precision: str = "float32"
    plain: bool = False
    parts: bool = False
    keeps_memory: bool = False
    compiled: bool = False
    students: int = 1


class Worker:
    """The process of one contestant; it has warmed up when this is there.

    Args:
        contestant: How it trains.
        config: What it trains.
        ipc: Images per class.
        device: Where.
        threads: CPU threads; 0 takes torch's number.

    Attributes:
        first: Seconds of the first pass, compiling included.
        peak: Floating-point operations a second of large matrix products, in the contestant's precision.
        seconds: Of each pass that was timed.

    Raises:
        InputError: Memory ran out.
    """

    def __init__(self, contestant: Contestant, config: BenchConfig, ipc: int, device: str, threads: int) -> None:
        self.contestant, self.seconds = contestant, []
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = theirs, contestant, config, ipc, device, threads
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self.first, self.peak = self._receive()

    def start_pass(self) -> None:
        """Let it train a pass of all its students."""
        self._pipe.send("pass")

    def end_pass(self) -> None:
        """Wait for the pass."""
        self.seconds.append(self._receive())

    def ask(self, what: str) -> float:
        """Return its peak `memory` in bytes, or the seconds of a `test` of as many images as a subset has."""
        self._pipe.send(what)
        return self._receive()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()

    def _receive(self) -> float | tuple[float, float]:
        try:
            answer = self._pipe.recv()
        except EOFError as error:
            raise InputError(f"{self.contestant.name}: its process ended with the error above") from error
        if isinstance(answer, str):
            raise InputError(f"{self.contestant.name}: {answer}; give a smaller --res, --ipc or --model")
        return answer


def _work(pipe: Connection, contestant: Contestant, config: BenchConfig, ipc: int, device: str, threads: int) -> None:
    try:
        if threads:
            torch.set_num_threads(threads)
        if contestant.keeps_memory:
            keep_memory()
        if not contestant.plain:  # which has what torch has from the start: TF32 in a GPU's convolutions
            repeatable(contestant.precision)
        kind = torch.device(device).type
        peak = _peak_rate(contestant.precision, device)
        if kind == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        passes, student, tested = _contest(contestant, config, ipc, torch.device(device))
        first = _seconds(passes, device)
        for _ in range(_WARM_UP[kind] - 1):
            next(passes)
        pipe.send((first, peak))
        answers = {
            "pass": lambda: _seconds(passes, device),
            "test": lambda: _seconds((predict(student, tested) for _ in range(1)), device),
            "memory": lambda: peak_memory(torch.device(device)),
        }
        while True:
            pipe.send(answers[pipe.recv()]())
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        pipe.send("out of memory")


def _contest(
    contestant: Contestant, config: BenchConfig, ipc: int, device: torch.device
) -> tuple[Iterator[object], torch.nn.Module, torch.Tensor]:
    """Return passes for ever, a student, and images to test it on."""
    size = (config.res, config.res)
    torch.manual_seed(0)
    images, labels = torch.randn(ipc * NUM_CLASSES, 3, *size), torch.arange(NUM_CLASSES).repeat_interleave(ipc)
    tested = torch.randn(VALIDATION_IMAGES_PER_CLASS * NUM_CLASSES, 3, *size, device=device)
    students = []
    for seed in range(contestant.students):
        torch.manual_seed(seed)
        students.append(create_model(config.model, NUM_CLASSES, size).to(device))
    protocol = Protocol(epoch_eval_train=config.passes + max(_WARM_UP.values()))
    if contestant.plain:
        return plain_passes(students[0], images, labels, protocol), students[0], tested
    feeds = [StudentBatches(images, labels, "hard", protocol, seed) for seed in range(contestant.students)]
    training = Training(
        students[0] if contestant.students == 1 else Stack(students),
        feeds,
        protocol.rate,
        protocol,
        part=None if contestant.parts else len(images),
        precision=contestant.precision,
        compiled=contestant.compiled,
    )
    return training.passes(), students[0], tested


def _seconds(passes: Iterator[object], device: str) -> float:
    start = time.perf_counter()
    next(passes)
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _peak_rate(precision: str, device: str) -> float:
    """Return the floating-point operations a second of large matrix products."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    side = _MATRIX[torch.device(device).type]
    matrix = torch.randn(side, side, device=device).to(dtype)
    products = ((matrix @ matrix) for _ in iter(int, 1))
    least = min(_seconds(products, device) for _ in range(_PRODUCTS))
    return 2 * side**3 / least
