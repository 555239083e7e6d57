"""Find and read what `evaluate` wrote: the commands that read results take the same places, with the same errors."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from compdd_eval.results.run_folder import INDEX_NAME, RUN_NAME
from compdd_eval.results.student_result import SCHEMA_VERSION, SUMMARY_NAME
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import read_small

_logger = logging.getLogger(__name__)
MOST_BYTES = 8 * 2**20  # of a summary; those of `evaluate` have some 10 KB
_HELP = f"give the --output_dir of evaluate, or a {SUMMARY_NAME} in it"
_OF_A_FOLDER = (SUMMARY_NAME, INDEX_NAME, RUN_NAME)  # each stands for the folder that it lies in
_Result = TypeVar("_Result")


def read_results(
    places: Sequence[str | os.PathLike], read: Callable[[Path], _Result], names: Sequence[str] = (SUMMARY_NAME,)
) -> list[_Result]:
    """Read all results under some places, each once.

    Args:
        places: Folders that `evaluate` wrote for a run or for a grid, folders of such, and files.
        read: Reads one file; raises InputError where it is not what it should be.
        names: What the files are called in a folder.

    Raises:
        InputError: A place does not exist or holds no results, a file that was given by name is none, or all files of a
            folder are damaged. Otherwise damaged ones in a folder are warned of.
    """
    found: dict[Path, _Result] = {}
    for place in places:
        good, damaged = 0, []
        for file in _files(place, names):
            try:
                if file.resolve() not in found:
                    found[file.resolve()] = read(file)
                good += 1
            except InputError as error:
                damaged.append(error)
        if damaged and not good:
            raise all_damaged(damaged)
        for error in damaged:
            _logger.warning(f"left out: {error}")
    return list(found.values())


def all_damaged(reasons: Sequence[object]) -> InputError:
    """Make the error where no file is good: what is wrong with the first, and how many others there are."""
    more = f" (and {len(reasons) - 1} more like it)" if len(reasons) > 1 else ""
    return InputError(f"{reasons[0]}{more}")


def _files(place: str | os.PathLike, names: Sequence[str]) -> list[Path]:
    """Return the file that a place is, or those that it holds."""
    path = Path(os.path.expanduser(place))
    if not path.exists():
        raise InputError(f"{place}: no such file or folder; {_HELP}")
    if path.name in _OF_A_FOLDER and path.name not in names and path.is_file():
        path = path.parent
    if path.is_file():
        return [path]
    files = list(files_in(path, names))
    if not files and next(files_in(path, (RUN_NAME,)), None):
        raise InputError(f"{place}: holds no {names[-1]} yet, its evaluation is not finished; `status` shows it")
    if not files:
        raise InputError(f"{place}: holds no {names[-1]}; {_HELP}")
    return files


def files_in(folder: Path, names: Sequence[str] = (SUMMARY_NAME,)) -> Iterator[Path]:
    """Yield all files of these names in a folder, sorted, without following links out of it."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in names if name in files)


def read_summary(path: Path, place: str | None = None) -> dict[str, object]:
    """Read the content of one `summary.json`; of what is in it, only the version is checked.

    Args:
        path: The file.
        place: What to call it in errors; default: its path.

    Raises:
        InputError: It cannot be read, is too large, is no JSON, or is no summary of this version.
    """
    place = place or str(path)
    try:
        content = read_small(path, MOST_BYTES)
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror}); mend it or leave it out") from error
    if content is None:
        size = f"{path.stat().st_size / 2**20:,.0f} MB" if path.is_file() else "not a regular file"
        raise InputError(f"{place}: {size}; a summary of evaluate has at most {MOST_BYTES // 2**20} MB")
    try:
        summary = json.loads(content.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not a JSON file ({str(error)[:100]}); leave it out") from error
    version = summary.get("schema_version") if isinstance(summary, dict) else None
    if version != SCHEMA_VERSION:
        what = f"schema version {str(version)[:20]}, expected {SCHEMA_VERSION}"
        raise InputError(f"{place}: no summary of evaluate: {what}; evaluate again, or leave it out")
    return summary


def _no_constant(name: str) -> None:
    raise ValueError(f"it has {name}")
