"""What a tensor must be to be touched at all: plain, and no larger than a distilled set can be."""

import torch

from compdd_eval.utils.errors import InputError

MAX_BYTES = 4 * 2**30  # of a set's images in float32; all training images of a subset at 128 px are 2.6 GB
_VALUE = 4  # bytes of a float32


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a dense one of real numbers, with data."""
    return tensor.layout == torch.strided and not (tensor.is_complex() or tensor.is_quantized or tensor.is_meta)


def check_size(name: str, values: int) -> None:
    """Raise InputError where so many values would take more memory as float32 than a distilled set may have."""
    if values * _VALUE > MAX_BYTES:
        raise InputError(
            f"{name}: claims {values:,} values, {values * _VALUE // 10**9:,} GB as float32; a distilled set has at "
            f"most {MAX_BYTES / 10**9:.1f} GB; check the file"
        )
