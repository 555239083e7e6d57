"""`.pt` files: opened so that no code in them is run, and after a look at what they claim to hold."""

import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch

from compdd_eval.distilled.formats.parts import NOTE
from compdd_eval.distilled.limits import MAX_BYTES, opened
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.utils.errors import InputError


def _numeric_type(code: str, *options: object) -> np.dtype:
    """Stand for `numpy.dtype` in a file: only types of numbers, since others can claim any number of bytes."""
    dtype = np.dtype(code)
    if dtype.kind not in "biuf":
        raise pickle.UnpicklingError("Weights only load failed: an array type that is no number")
    return dtype


# single numbers of NumPy, such as the accuracies that DC, DSA and DM save beside their images, and their types: they
# hold data and nothing that is called. NumPy 2 has moved the function, so files have it under either name.
_NUMPY_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS = [
    *[(_NUMPY_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")],
    (_numeric_type, "numpy.dtype"),
    *{type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?"},
]


def load_torch(path: Path, *, largest: int | None = 2 * MAX_BYTES, mapped: bool = False) -> object:
    """Return what a `.pt` file holds, tensors on the CPU, whatever device they were saved from.

    Args:
        path: The file.
        largest: Bytes that the file of a distilled set may have; None has no limit.
        mapped: Leave tensors in the file until they are read, where its format allows (torch 1.6 and later).

    Raises:
        InputError: It holds more than tensors and plain containers, is damaged, or claims more than it has.
    """
    try:
        archive = zipfile.is_zipfile(path)
        if archive:
            _check_archive(path, largest)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_HARMLESS):
            warnings.simplefilter("ignore")  # of odd pickle protocols; what cannot be read is refused
            if mapped and archive:
                return torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
            with opened(path) as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # a damaged file can make the reader fail in any way
        if isinstance(error, pickle.UnpicklingError) and "Weights only load failed" in str(error):
            reason = "it holds more than tensors and could run code, so it is not opened"
        else:
            reason = f"not a readable .pt file, but damaged or cut short ({path.stat().st_size:,} bytes); get it again"
        raise InputError(f"{path}: {reason}; or save plain tensors with torch.save(tensor, path)") from error


def _check_archive(path: Path, largest: int | None) -> None:
    """Refuse an archive whose members claim more bytes than the file has: torch stores them as they are."""
    with zipfile.ZipFile(path) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
    size = path.stat().st_size
    if claimed > size:
        raise InputError(
            f"{path}: its parts claim {claimed:,} bytes, the file has {size:,}; it is no .pt file of torch's"
        )
    if largest is not None and size > largest:
        raise InputError(f"{path}: {size / 10**9:.0f} GB; a distilled set has at most {MAX_BYTES / 10**9:.1f} GB")


def write_pt(distilled: SetTensors, path: Path, note: str) -> None:
    """Write one dict of tensors, with the record as JSON under NOTE."""
    # a view would be saved with all that it looks into
    torch.save({name: tensor.clone() for name, tensor in distilled.stored.items()} | {NOTE: note}, path)
