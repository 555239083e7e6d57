"""What a tensor or a file must be to be touched at all: plain, and no larger than a distilled set can be."""

import json
import math
from pathlib import Path
from typing import BinaryIO

import torch

from compdd_eval.utils.errors import InputError

MAX_BYTES = 4 * 2**30  # of a set's images in float32; all training images of a subset at 128 px are 2.6 GB
_VALUE = 4  # bytes of a float32
_MAX_HEADER = 10 * 2**20  # bytes; a set has three tensors


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


def opened(path: Path) -> BinaryIO:
    """Open a file to read its bytes; raise InputError where that is not allowed."""
    try:
        return path.open("rb")
    except PermissionError as error:
        raise InputError(f"{path}: may not be read; change its permissions") from error


def check_header(path: Path) -> None:
    """Compare what the header of a `.safetensors` file claims with the bytes that are there."""
    size = path.stat().st_size
    with opened(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, _MAX_HEADER):
            raise InputError(
                f"{path}: not a readable .safetensors file (claims a header of {length:,} bytes, the file has {size:,} "
                "bytes); get or save it again"
            )
        text = file.read(length)
    try:
        tensors = [entry for name, entry in json.loads(text).items() if name != "__metadata__"]
        ends = [_whole(entry["data_offsets"][1]) for entry in tensors]
        values = [math.prod(map(_whole, entry["shape"])) for entry in tensors]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise InputError(f"{path}: not a readable .safetensors file; get or save it again") from error
    if max(ends, default=0) > size - 8 - length:
        raise InputError(
            f"{path}: its header claims {max(ends):,} bytes of tensors, there are {size - 8 - length:,}; get it again"
        )
    check_size(str(path), sum(values))


def _whole(number: object) -> int:
    if type(number) is not int or not 0 <= number < 2**63:
        raise ValueError(f"{number} is no size")
    return number
