"""Files: written whole or not at all, only where one can write, and by one process at a time."""

import contextlib
import csv
import io
import json
import logging
import os
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from compdd_eval.utils.errors import InputError

_logger = logging.getLogger(__name__)
_LOOK = 1.0  # seconds: who looks whether a lock is held, as `status` does, holds it for a moment


def check_writable(folder: Path, flag: str) -> None:
    """Make a folder if need be and write a file into it.

    Raises:
        InputError: That fails; the message names the folder, the reason and the flag for another place.
    """
    if os.path.isfile(folder):
        raise InputError(f"{folder}: is a file, expected a folder; give another {flag}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot write there ({error.strerror}); give another {flag}") from error


@contextlib.contextmanager
def locked(path: Path, waiting_for: str) -> Iterator[None]:
    """Hold the lock of a file; wait for it, and say so, where another process holds it.

    The lock of a process that is killed is free again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _logger.warning(f"waiting for another process: {waiting_for}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def locked_or_refused(path: Path, message: str) -> Iterator[None]:
    """Hold the lock of a file; raise InputError with the message where another process holds it."""
    try:
        with FileLock(path, timeout=_LOOK):
            yield
    except Timeout as error:
        raise InputError(message) from error


def read_yaml(path: Path, flag: str) -> dict[str, object]:
    """Read settings by name from a YAML file.

    Raises:
        InputError: It cannot be read, or holds something else; the message names the file.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the {flag} file cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no settings by name; expected lines such as num_eval: 3")
    return content


def read_json(path: Path, unreadable: str = "cannot be read ({})", wrong: str = "not a JSON file ({})") -> object:
    """Read a JSON file.

    Args:
        path: The file.
        unreadable: What the message says where it cannot be read; the braces stand for the reason.
        wrong: Likewise, where it holds no JSON.

    Raises:
        InputError: Either of these; the message names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {unreadable.format(error.strerror)}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {wrong.format(error)}") from error


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table as CSV; None is an empty field."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def write_json(path: Path, content: object) -> None:
    """Write a JSON file at once: a reader sees the old one or the new one, never a part."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write a text file at once: a reader sees the old one or the new one, never a part."""
    with atomic_write(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give the name of a file to write beside `path`; in the end it takes its place, after a failure it is gone.

    Raises:
        InputError: There is something at `path` that is no file, such as a folder or a device.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is there already and is no file; give another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    # not by `tempfile`, whose files nobody else may read; in the same folder, for a disk replaces only its own files
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_small(path: Path, most: int) -> bytes | None:
    """Return the bytes of a regular file; None where it is none, or has more than so many. OSError as of reading."""
    found = os.stat(path)
    # a pipe or device would block or never end, so it is never opened
    return path.read_bytes() if stat.S_ISREG(found.st_mode) and found.st_size <= most else None
