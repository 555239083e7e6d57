"""How the steps of a student are run: in which precision, compiled or not, with which memory."""

import ctypes
import functools
import logging
import os
import sys
from collections.abc import Callable

import torch
from torch import nn

from compdd_eval.config.checks import AUTO
from compdd_eval.errors import InputError
from compdd_eval.models.layers import has_batch_norm

_logger = logging.getLogger(__name__)
_LAUNCHER = {"no": "float32", "bf16": "bfloat16"}  # values of `accelerate launch --mixed_precision`
_FLOPS = {"cpu": 5e10, "cuda": 2e13}  # a second, of each CPU thread or GPU, in eager mode: measured; an estimate
_OVERHEAD = {"cpu": 1e-3, "cuda": 3e-3}  # seconds of a step that are not arithmetic, likewise
_COMPILING_PAYS = 60.0  # seconds in eager mode: compiling takes 5 to 25 on two CPU cores and saves about a half
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h
_CPU_PIXELS, _CPU_IMAGES = 2**19, 64  # that go through a network at a time on a CPU: 32 images of 128 px
_GPU_PIXELS = 2**18  # of a batch that gives every multiprocessor of a large GPU work: an estimate, see `bench train`
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
def compiled(function: Callable[..., torch.Tensor], graphs: bool = False) -> Callable[..., torch.Tensor]:
    """Return a function compiled by TorchInductor; its code and the cache of that on disk serve every student.

    Args:
        function: What is compiled.
        graphs: Launch the kernels of a GPU together, as CUDA graphs. `new_step` has to be called before every call, and
            gradients must not be kept from one call to the next.
    """
    import torch._dynamo

    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns of a CUDA toolkit without a GPU
    dynamo = torch._dynamo.config
    limit = "recompile_limit" if hasattr(dynamo, "recompile_limit") else "cache_size_limit"  # so called up to torch 2.6
    setattr(dynamo, limit, max(getattr(dynamo, limit), _GRAPHS))
    return torch.compile(function, dynamic=False, mode="reduce-overhead" if graphs else None)


def forget_compiled() -> None:
    """Let go of compiled steps and of the memory that their CUDA graphs hold; the code stays in the cache on disk."""
    compiled.cache_clear()
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


def new_step() -> None:
    """Tell CUDA graphs that a step begins: what the last one computed may be written over."""
    torch.compiler.cudagraph_mark_step_begin()


def images_at_a_time(
    model: nn.Module, images: torch.Tensor, batch: int, device: torch.device, students: int = 1
) -> int:
    """Return how many images of a batch go through a network at a time: equal parts of a batch, as large as pays.

    A GPU takes the whole batch. On a CPU smaller parts need less memory, and are faster than memory that the system
    has to clear for every layer. A network with batch norm takes the whole batch, whose statistics it needs.

    Args:
        model: The network.
        images: `[N, C, H, W]`, of which only the shape counts.
        batch: Images in a batch.
        device: Where the network runs.
        students: Networks that run together.
    """
    batch = min(batch, len(images))
    if device.type != "cpu" or has_batch_norm(model):
        return batch
    most = max(1, min(_CPU_IMAGES, _CPU_PIXELS // (images.shape[-2] * images.shape[-1])) // students)
    return -(-batch // -(-batch // most))


def students_at_a_time(asked: int | str, images: torch.Tensor, batch: int, device: torch.device) -> int:
    """Return how many students are trained together at the most.

    Args:
        asked: What --students_per_device says; "auto" decides by the size of a batch: on a GPU, as many as it takes to
            give all of it work; on a CPU one, which is faster (two cores train several students of ConvNetD3 2 to 6
            times as fast one after another).
        images: `[N, C, H, W]`, of one student; only the shape counts.
        batch: Images in a batch.
        device: Where they train.
    """
    if asked != AUTO:
        return asked
    pixels = min(batch, len(images)) * images.shape[-2] * images.shape[-1]
    return max(1, _GPU_PIXELS // pixels) if device.type == "cuda" else 1


def compiling_failed(error: BaseException) -> bool:
    """Return whether an error says that this machine cannot compile, for example since it has no C++ compiler."""
    exceptions = sys.modules.get("torch._dynamo.exc")
    return exceptions is not None and isinstance(error, exceptions.TorchDynamoException)


def without_compiling(error: BaseException, how: str, who: str) -> None:
    """Say that steps are run in eager mode from now on, and why.

    Args:
        error: What compiling failed with.
        how: What --compile says.
        who: Whose steps they are, for the message.

    Raises:
        InputError: The user wants them compiled: --compile always.
    """
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if how == "always":
        raise InputError(
            f"--compile always: this machine cannot compile ({reason}); give --compile never, or install what is "
            "missing (a C++ compiler on CPUs)"
        ) from error
    _logger.warning(f"{who} are not compiled, they train more slowly: {reason}")


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
