"""Weights of students that are kept in files."""

from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import save_file
from torch import nn

from compdd_eval.evaluation.plan import Task
from compdd_eval.utils.files import atomic_write
from compdd_eval.utils.processes import on_main_process


def is_done(task: Task) -> bool:
    """Whether a student has its file, and its weights where they are to be kept."""
    return task.in_file and task.path.exists() and (task.weights is None or task.weights.exists())


def save_weights(model: nn.Module, path: Path) -> None:
    """Write parameters and buffers of a network, on any device, as `.safetensors`; whole or not at all."""
    with atomic_write(path) as temporary:
        save_file({name: value.contiguous().cpu() for name, value in model.state_dict().items()}, temporary)


def collect_weights(accelerator: Accelerator, tasks: list[Task]) -> None:
    """Let the main process have weights that lie on the disk of another machine; every process must call this."""
    if accelerator.num_processes == 1:
        return
    paths = [task.weights for task in tasks if task.weights is not None]
    for path in on_main_process(accelerator, lambda: [kept for kept in paths if not kept.exists()]):
        copies = gather_object([path.read_bytes()] if path.exists() else [])
        if accelerator.is_main_process and copies:
            with atomic_write(path) as temporary:
                temporary.write_bytes(copies[0])
