"""How the steps of a student are run: in which precision, compiled or not, with which memory."""

import ctypes
import functools
import os
import sys
from collections.abc import Callable

import torch

from compdd_eval.errors import InputError

_LAUNCHER = {"no": "float32", "bf16": "bfloat16"}  # values of `accelerate launch --mixed_precision`
_FLOPS = {"cpu": 5e10, "cuda": 2e13}  # a second, of each CPU thread or GPU, in eager mode: measured; an estimate
_OVERHEAD = {"cpu": 1e-3, "cuda": 3e-3}  # seconds of a step that are not arithmetic, likewise
_COMPILING_PAYS = 60.0  # seconds in eager mode: compiling takes 5 to 25 on two CPU cores and saves about a half
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h
_GRAPHS = 64  # compiled steps that are kept: one for each network, size of a batch and kind of labels


def precision_of(asked: str | None, device: torch.device) -> str:
    """Return the precision of the students: `float32`, `tf32` or `bfloat16`.

    Args:
        asked: What --precision says; None takes what `accelerate launch --mixed_precision` says, else float32.
        device: Where they train.

    Raises:
        InputError: A precision that students are not trained in, or that this device has not.
    """
    launcher = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked is None and launcher not in _LAUNCHER:
        raise InputError(f"--mixed_precision {launcher}: students train in float32 or bfloat16; give no or bf16")
    precision = asked or _LAUNCHER[launcher]
    if precision == "tf32" and device.type != "cuda":
        raise InputError("--precision tf32 is a mode of NVIDIA GPUs; give float32 or bfloat16")
    return precision


def set_precision(precision: str) -> None:
    """Let a GPU multiply float32 numbers in TF32 where that is asked for, and nowhere else."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


@functools.cache
def compiled(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Return a function compiled by TorchInductor; its graphs and their cache on disk serve every student."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _GRAPHS)
    return torch.compile(function, dynamic=False)


def compiling_failed(error: BaseException) -> bool:
    """Return whether an error says that this machine cannot compile, for example since it has no C++ compiler."""
    exceptions = sys.modules.get("torch._dynamo.exc")
    return exceptions is not None and isinstance(error, exceptions.TorchDynamoException)


def pays_to_compile(flops: float, steps: int, device: torch.device) -> bool:
    """Return whether a run is long enough for compiling to pay; the same for the same work, whatever the load.

    Args:
        flops: Floating-point operations of all steps.
        steps: Their number.
        device: Where they run; of CPUs, torch's threads count.
    """
    kind = "cpu" if device.type == "cpu" else "cuda"
    rate = _FLOPS[kind] * (torch.get_num_threads() if kind == "cpu" else 1)
    return flops / rate + steps * _OVERHEAD[kind] > _COMPILING_PAYS


def keep_memory() -> None:
    """Let this process keep the memory that tensors gave back, in place of returning it to the system at once.

    glibc maps every large tensor anew and the system clears its pages: on two CPU cores a fifth of a compiled step.
    Nothing happens where the C library is another.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
