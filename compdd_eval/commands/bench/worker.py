"""A process that makes a turn of its work whenever it is told to: what `bench` times.

Each contestant has a process of its own, since the memory that a process keeps, its peak and its compiled code are a
process's.
"""

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

import torch
from tqdm.auto import tqdm

from compdd_eval.commands.bench.machine import device_type
from compdd_eval.config.bench import BenchConfig
from compdd_eval.config.network_names import pinned
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.models.cost import count_flops
from compdd_eval.utils.devices import out_of_memory, peak_memory
from compdd_eval.utils.errors import InputError

WARM_UP = {"cpu": 1, "cuda": 4}  # turns that are not timed; CUDA graphs are recorded in the third
_TURN = "turn"


@dataclass(frozen=True)
class Turns:
    """What a contestant does.

    Attributes:
        work: Each `next` is a turn; without end.
        answers: What else it can be asked: name -> a function that measures it.
    """

    work: Iterator[object]
    answers: dict[str, Callable[[], float]] = field(default_factory=dict)


class Worker:
    """The process of one contestant; it has warmed up when this is there.

    Args:
        name: Of the contestant, for messages.
        begin: `(device) -> Turns`; what pickle can send to another process.
        device: Where.
        threads: CPU threads; 0 takes torch's number.

    Attributes:
        first: Seconds of the first turn, compiling included.
        seconds: Of each turn that was timed.

    Raises:
        InputError: Memory ran out.
    """

    def __init__(self, name: str, begin: Callable[[torch.device], Turns], device: str, threads: int) -> None:
        self._name, self.seconds = name, []
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = theirs, begin, device, threads
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self.first = self._receive()

    def start_turn(self) -> None:
        """Let it make a turn."""
        self._pipe.send(_TURN)

    def end_turn(self) -> None:
        """Wait for the turn."""
        self.seconds.append(self._receive())

    def ask(self, what: str) -> float:
        """Return its peak `memory` in bytes, or what is among the answers of its turns."""
        self._pipe.send(what)
        return self._receive()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()

    def _receive(self) -> float:
        try:
            answer = self._pipe.recv()
        except EOFError as error:
            raise InputError(f"{self._name}: its process ended with the error above") from error
        if isinstance(answer, str):
            raise InputError(f"{self._name}: {answer}; give a smaller --res, --ipc or --model")
        return answer


def before_workers(config: BenchConfig) -> tuple[BenchConfig, str]:
    """Return settings whose network every process reads the same, and the kind of device that they work on.

    Raises:
        InputError: An unknown network, or one that cannot take such images.
    """
    config = replace(config, model=pinned(config.model))
    count_flops(config.model, NUM_CLASSES, (config.res, config.res))
    return config, device_type()


@contextlib.contextmanager
def take_turns(
    begins: dict[str, Callable[[torch.device], Turns]], device: str, threads: int, turns: int, bar: tqdm
) -> Iterator[list[Worker]]:
    """Let contestants begin one after the other, then take turns; what they measured can be asked until the end.

    Args:
        begins: Name -> `begin` of a `Worker`.
        device: Where.
        threads: CPU threads of each; 0 takes torch's number.
        turns: Of each, that are timed.
        bar: Counts what is done.
    """
    workers: list[Worker] = []
    with contextlib.ExitStack() as stack:
        for name, begin in begins.items():  # one at a time: each has the machine for itself
            workers.append(Worker(name, begin, device, threads))
            stack.callback(workers[-1].close)
            bar.update()
        for _ in range(turns):
            for worker in workers:
                worker.start_turn()
                worker.end_turn()
                bar.update()
        yield workers


def _work(pipe: Connection, begin: Callable[[torch.device], Turns], device: str, threads: int) -> None:
    try:
        if threads:
            torch.set_num_threads(threads)
        place = torch.device(device)
        turns = begin(place)
        first = seconds_of(turns.work, place)
        for _ in range(WARM_UP[place.type] - 1):
            next(turns.work)
        pipe.send(first)
        answers = {_TURN: lambda: seconds_of(turns.work, place), "memory": lambda: peak_memory(place), **turns.answers}
        while True:
            pipe.send(answers[pipe.recv()]())
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        pipe.send("out of memory")


def seconds_of(work: Iterator[object], device: torch.device) -> float:
    """Return the seconds of the next turn."""
    start = time.perf_counter()
    next(work)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
