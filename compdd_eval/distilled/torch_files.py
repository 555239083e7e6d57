"""`.pt` files: opened so that no code in them is run, and after a look at what they claim to hold."""

import pickle
import warnings
import zipfile
from pathlib import Path

import torch

from compdd_eval.distilled.content import MAX_BYTES
from compdd_eval.errors import InputError


def load_torch(path: Path) -> object:
    """Return what a `.pt` file holds, tensors on the CPU, whatever device they were saved from.

    Raises:
        InputError: It holds more than tensors and plain containers, is damaged, or claims more than it has.
    """
    try:
        _check_archive(path)
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd pickle protocols; what cannot be read is refused
            return torch.load(file, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path}: may not be read; change its permissions") from error
    except Exception as error:  # a damaged file can make the reader fail in any way
        if isinstance(error, pickle.UnpicklingError) and "Weights only load failed" in str(error):
            reason = "it holds more than tensors and could run code, so it is not opened"
        else:
            reason = f"not a readable .pt file, but damaged or cut short ({path.stat().st_size:,} bytes); get it again"
        raise InputError(f"{path}: {reason}; or save plain tensors with torch.save(tensor, path)") from error


def _check_archive(path: Path) -> None:
    """Refuse an archive whose members claim more bytes than the file has: torch stores them as they are."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
    size = path.stat().st_size
    if claimed > size:
        raise InputError(
            f"{path}: its parts claim {claimed:,} bytes, the file has {size:,}; it is no .pt file of torch's"
        )
    if size > 2 * MAX_BYTES:
        raise InputError(f"{path}: {size / 10**9:.0f} GB; a distilled set has at most {MAX_BYTES / 10**9:.1f} GB")
