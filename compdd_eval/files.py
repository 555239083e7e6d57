"""Writing: whole or not at all, and only where one can write."""

import json
import os
import tempfile
from pathlib import Path

from compdd_eval.errors import InputError


def check_writable(folder: Path, flag: str) -> None:
    """Make a folder if need be and write a file into it.

    Raises:
        InputError: That fails; the message names the folder, the reason and the flag for another place.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot write there ({error.strerror}); give another {flag}") from error


def write_json(path: Path, content: object) -> None:
    """Write a JSON file at once: a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, allow_nan=False)
            file.write("\n")
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
