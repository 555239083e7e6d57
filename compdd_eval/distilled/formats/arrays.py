"""NumPy's `.npy` and `.npz`, and `.safetensors`: what their headers claim is checked before anything is read."""

import math
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from compdd_eval.distilled.formats.parts import NOTE
from compdd_eval.distilled.limits import MAX_BYTES, check_header, check_size, opened
from compdd_eval.distilled.metadata import write_record
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.utils.errors import InputError

_DIMENSIONS = 8  # more has no array of images or labels
_BIG, _RATIO = (2**28, 200)  # from so many bytes on, floats that shrink to less than 1/200 are no images


def load_npy(path: Path) -> np.ndarray:
    """Return the array of a `.npy` file; raise InputError if it holds objects, is damaged or claims too much."""
    with opened(path) as file:
        return _read_array(file, path.stat().st_size, str(path))


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a `.npz` file by name; raise InputError as `load_npy` does."""
    arrays = {}
    try:
        with opened(path) as whole, zipfile.ZipFile(whole) as archive:
            _check_members(path, archive.infolist())
            for member in archive.infolist():
                with archive.open(member) as file:
                    name = member.filename.removesuffix(".npy")
                    arrays[name] = _read_array(file, member.file_size, f"{path}: {name}")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{path}: not a readable .npz file ({error}); save it with numpy.savez again") from error
    return arrays


def load_safetensors(path: Path) -> dict[str, torch.Tensor | str]:
    """Return the tensors of a `.safetensors` file by name, and NOTE if it has one; InputError if it is damaged."""
    from safetensors import SafetensorError, safe_open

    check_header(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            note = (file.metadata() or {}).get(NOTE)
            return content if note is None else content | {NOTE: note}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a readable .safetensors file ({error}); get or save it again") from error


def _read_array(file: BinaryIO, size: int, name: str) -> np.ndarray:
    """Read one array, after comparing what its header claims with the bytes that are there."""
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran_order, dtype = readers[version](file)
    except Exception as error:  # a damaged header, or a damaged archive, can make the reader fail in any way
        raise InputError(f"{name}: not a readable NumPy array; save it with numpy.save again") from error
    if dtype.hasobject:
        raise InputError(f"{name}: holds Python objects and could run code, so it is not opened; save plain numbers")
    if dtype.kind not in "biuf" or min(shape, default=0) < 0 or len(shape) > _DIMENSIONS:
        found = f"an array of type {dtype} and shape {str(shape)[:40]}"
        raise InputError(f"{name}: {found}, expected numbers that torch has")
    # a header can claim any size: nothing is allocated before it agrees with the bytes that are there
    left, claimed = size - file.tell(), math.prod(shape) * dtype.itemsize
    if claimed != left:
        raise InputError(f"{name}: its header claims {claimed:,} bytes, there are {left:,}; get or save it again")
    check_size(name, math.prod(shape))
    try:
        data = file.read(claimed)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{name}: is damaged ({error}); get or save it again") from error
    if len(data) != claimed:
        raise InputError(f"{name}: is cut off; get or save it again")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive that unpacks to more than a set can be, or to far more than it is: a zip bomb."""
    claimed, size = sum(member.file_size for member in members), path.stat().st_size
    if claimed > MAX_BYTES or (claimed > _BIG and claimed > _RATIO * size):
        raise InputError(
            f"{path}: {size:,} bytes that would unpack to {claimed:,}; that is no distilled set, and it is not unpacked"
        )


def write_npz(distilled: SetTensors, path: Path, note: str) -> None:
    """Write `images`, `labels` and `lr` into one file, with the record as JSON in the array NOTE."""
    arrays = {name: tensor.numpy() for name, tensor in distilled.stored.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays, **{NOTE: np.frombuffer(note.encode(), np.uint8)})


def write_npy(distilled: SetTensors, folder: Path) -> None:
    """Write an array a file, and the record beside them."""
    for name, tensor in distilled.stored.items():
        np.save(folder / f"{name}.npy", tensor.numpy())
    write_record(folder, distilled)
