"""What a GPU is told: which algorithms and which precision, how copies reach it, when its memory ran out."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator

import torch
from accelerate.utils.memory import should_reduce_batch_size

from compdd_eval.utils.process_memory import peak_of_process

# texts of CUDA's driver, cuBLAS, cuDNN and Triton, which raise plain RuntimeErrors
_OUT_OF_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "NCCL_ALLOC_FAILED")
_HIGHEST = "highest"  # what `torch.set_float32_matmul_precision` calls float32 that is nothing less
_WORKSPACE = ":4096:8"  # of cuBLAS, with which it repeats itself (NVIDIA, cuBLAS manual, "Results Reproducibility")


def repeatable(precision: str = "float32") -> None:
    """Let a GPU give the same numbers again: the same algorithms every time, TF32 where it is asked for and only there.

    Args:
        precision: `tf32` lets matrix products and convolutions of float32 numbers use TF32; all else forbids it.
            (PyTorch forbids it to matrix products alone.)
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _WORKSPACE)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    _allow_tf32(precision == "tf32")


@contextlib.contextmanager
def repeatable_here(precision: str = "float32") -> Iterator[None]:
    """Do as `repeatable` for a while, in a process that is somebody else's."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = cudnn.benchmark, cudnn.deterministic
    newer = [module.fp32_precision for module in _newer_settings()]
    try:
        older = matmul.allow_tf32, cudnn.allow_tf32
    except RuntimeError:  # the newer ones were set to what these cannot say
        older = False, False
    of_products = _precision_of_products()
    if of_products != _HIGHEST:  # which is of CPUs, too
        torch.set_float32_matmul_precision(_HIGHEST)
    repeatable(precision)
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = flags
        matmul.allow_tf32, cudnn.allow_tf32 = older
        if of_products != _HIGHEST:
            torch.set_float32_matmul_precision(of_products)
        for module, value in zip(_newer_settings(), newer, strict=True):
            module.fp32_precision = value


def _precision_of_products() -> str:
    """Return what `torch.set_float32_matmul_precision` was given."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # newer settings were set to what this one cannot say
        return _HIGHEST


def has_triton(device: torch.device) -> bool:
    """Return whether operations that are written in Triton run on a device."""
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None


def _allow_tf32(allowed: bool) -> None:
    # both kinds of settings: TorchInductor reads the older one, which raises where the newer one says otherwise; and
    # the older one alone leaves convolutions what `torch.backends.fp32_precision` says
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    for module in _newer_settings():
        module.fp32_precision = "tf32" if allowed else "ieee"


def _newer_settings() -> list[object]:
    """Return what has a precision of its own from torch 2.9 on."""
    if not hasattr(torch.backends.cudnn, "conv"):
        return []
    return [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn]


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on a device; a GPU fetches it by itself, while Python goes on."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # torch keeps the pinned copy until it was read


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, that of a GPU or that of the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and (
        should_reduce_batch_size(error) or any(text in str(error) for text in _OUT_OF_MEMORY)
    )


def peak_memory(device: torch.device) -> int:
    """Return the most memory that was in use, in bytes: that of tensors on a GPU, else that of this process."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_of_process()
