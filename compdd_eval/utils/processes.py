"""One or many processes: the `Accelerator`, work done once for all of them, what torch is told in each."""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object

from compdd_eval.utils.console import counted
from compdd_eval.utils.devices import repeatable
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.process_memory import keep_memory
from compdd_eval.utils.restarts import join_again

if torch.distributed.is_available():  # imported with a group at hand, it would keep the threads of the group for ever
    import torch.distributed.nn.functional

T = TypeVar("T")
_SHARED = ".shared_"  # start of the names of files that processes give each other large results in
_TIMEOUT = timedelta(days=7)  # a process may wait for the students of another as long as these take


def make_accelerator(trackers: Sequence[str] = (), logging_dir: str | os.PathLike | None = None) -> Accelerator:
    """Make the `Accelerator` of this run, as the launcher has set it up.

    It casts nothing by itself: `training.precision.precision_of` reads what the launcher says of mixed precision.

    Raises:
        InputError: More processes than GPUs on this machine.

    Args:
        trackers: What `Accelerator.log` writes to.
        logging_dir: Where trackers that write files put them.
    """
    _check_gpus()
    join_again(_backend(), _TIMEOUT)
    return Accelerator(
        mixed_precision="no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_TIMEOUT)],
        log_with=list(trackers) or None,
        project_dir=logging_dir,
    )


def processes_here() -> PartialState:
    """Return devices and processes of a program that is somebody else's, and may make an `Accelerator` of its own.

    An `Accelerator` fixes the mixed precision of all later ones; this is the part of it that does not.

    Raises:
        InputError: More processes than GPUs on this machine.
    """
    _check_gpus()
    join_again(_backend(), _TIMEOUT)
    return PartialState(_on_cpu(), timeout=_TIMEOUT)


def _check_gpus() -> None:
    local, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), torch.cuda.device_count()
    if torch.cuda.is_available() and local > gpus and not _on_cpu():
        raise InputError(
            f"{local} processes on a machine with {counted(gpus, 'GPU')}: each needs its own; "
            f"give --num_processes {gpus}"
        )


def _backend() -> str:
    """Return what Accelerate takes."""
    return "nccl" if torch.cuda.is_available() and not _on_cpu() else "gloo"


def _on_cpu() -> bool:
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")


class Alone:
    """This process by itself, in the place of an `Accelerator`: for work that other processes take no part in."""

    num_processes, process_index, is_main_process = 1, 0, True

    def __init__(self, accelerator: Accelerator) -> None:
        self.device = accelerator.device


def on_main_process(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """Do the work on the main process and give every process its result, or its InputError or OSError."""
    outcome: list = [None, None]  # result, error: sent as one, so that all processes raise together
    if accelerator.is_main_process:
        try:
            outcome[0] = work()
        except (InputError, OSError) as error:
            outcome[1] = error
    if accelerator.num_processes > 1:
        outcome = broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def shared_from_main_process(accelerator: Accelerator, work: Callable[[], T], folder: Path | None) -> T:
    """Do as `on_main_process` for results with many images: through a file, where all processes see the same folder.

    A broadcast would hold them twice more in memory and send them through the GPUs; a file is mapped, so that the
    processes of a machine share its memory.

    Args:
        accelerator: The processes.
        work: Gives the result, which pickle can write.
        folder: Where the file lies for a moment; None writes none.
    """
    if accelerator.num_processes == 1 or folder is None:
        return on_main_process(accelerator, work)
    result: list[T] = []

    def write() -> Path:
        result.append(work())
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_SHARED}*"):  # by a run that was killed
            left.unlink()
        path = folder / f"{_SHARED}{os.getpid()}.pt"
        torch.save(result[0], path)
        return path

    path = on_main_process(accelerator, write)
    try:
        if not all(gather_object([path.is_file()])):
            return on_main_process(accelerator, lambda: result[0])
        return result[0] if result else torch.load(path, mmap=True, weights_only=False)
    finally:
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            path.unlink(missing_ok=True)


def set_torch(threads: int, accelerator: Accelerator, precision: str = "float32") -> int:
    """Set CPU threads, memory, and the precision and algorithms of GPUs for the work of this process.

    Args:
        threads: CPU threads; 0 takes OMP_NUM_THREADS if it is above 1, else shares the cores that this machine
            lets us use among its processes. (Launchers set OMP_NUM_THREADS=1 where the user set nothing.)
        accelerator: Knows how many processes there are.
        precision: As of `compdd_eval.utils.devices.repeatable`.

    Returns:
        The number of threads.
    """
    keep_memory()
    repeatable(precision)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads == 0:
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(wanted) if wanted.isdigit() and int(wanted) > 1 else max(1, cores // local)
    if local > 1:  # before TorchInductor is imported: by itself, each process would start as many as there are cores
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(max(1, cores // local)))
    torch.set_num_threads(threads)
    return threads
