"""Where a leaderboard takes results from: folders, files, and repositories of distilled sets on the Hub."""

import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from compdd_eval.data.imagenet.hub_files import Address, is_commit, parse_address
from compdd_eval.reports.checked_fields import is_sha256
from compdd_eval.reports.summaries import Run, read_run
from compdd_eval.results.result_files import MOST_BYTES, all_damaged, files_in
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import read_small
from compdd_eval.utils.hub_push import hub_errors_in_one_line

_logger = logging.getLogger(__name__)
MOST_FILES = 2000  # of one repository
MOST_ROWS = 20_000  # of one folder or repository: nobody fills the table alone
_MOST_TOTAL = 256 * 2**20  # bytes of one repository's results
_FACTS = "distilled.json"
_RESULT = re.compile(r"results/[A-Za-z0-9][\w.-]{0,120}\.json", re.ASCII)
_MANY = 200  # files; fewer need no progress bar


@dataclass(frozen=True)
class Found:
    """A result, and where it was found.

    Attributes:
        run: What the file says, checked.
        repository: `USER/NAME@COMMIT` that the file lies in, or None for a folder.
        set_digest: SHA-256 of the set in that repository, or None where it is not known.
    """

    run: Run
    repository: str | None = None
    set_digest: str | None = None


@dataclass(frozen=True)
class Sources:
    """All results of all sources.

    Attributes:
        found: The results.
        left_out: Files that could not be read, and repositories without results; each was warned of.
    """

    found: list[Found]
    left_out: int


def read_sources(places: list[str]) -> Sources:
    """Read all results; what is damaged is warned of and left out.

    Args:
        places: Folders, files, and `USER/NAME[@REVISION]` on the Hub. A folder wins over a name on the Hub.

    Raises:
        InputError: A place that does not exist, a repository that cannot be reached, or no result at all.
    """
    found, reasons = [], []
    for place in dict.fromkeys(places):
        here, address = Path(place).exists(), parse_address(place)
        if not here and (address is None or address.folder):
            raise InputError(
                f"{place}: no such file or folder, and no name on the Hub; give the --output_dir of evaluate, or "
                "USER/NAME[@REVISION]"
            )
        rows = 0
        for one in _local(Path(place)) if here else _on_hub(address, place):
            if isinstance(one, str):
                reasons.append(one)
                continue
            rows += len(one.run.entries)
            if rows > MOST_ROWS:
                reasons.append(f"{place}: all from {one.run.place}: it has more than {MOST_ROWS:,} rows")
                break
            found.append(one)
    if not found and reasons:
        raise all_damaged(reasons)
    if not found:
        tried = ", ".join(places[:3]) + (", ..." if len(places) > 3 else "")
        raise InputError(f"{tried}: no result that can be read; give the --output_dir of evaluate, or push --results")
    for reason in dict.fromkeys(reasons):
        _logger.warning(f"left out: {reason}")
    return Sources(found, len(reasons))


def _local(place: Path) -> Iterator[Found | str]:
    """Yield results, and for each file that is none the reason."""
    if not place.is_dir():
        yield _read(place)
        return
    root = place.resolve()
    paths = sorted(files_in(place))
    for path in tqdm(paths, desc="reading results", unit="file", disable=len(paths) < _MANY):
        if not Path(os.path.realpath(path)).is_relative_to(root):  # unlike resolve(), it takes links in a circle
            yield f"{path}: is a link that leaves {place}; give the other folder as a source, too"
            continue
        yield _read(path)


def _read(path: Path, place: str | None = None, **of_repository: str | None) -> Found | str:
    try:
        return Found(read_run(path, place), **of_repository)
    except InputError as error:
        return str(error)


def _on_hub(address: Address, place: str) -> Iterator[Found | str]:
    """Yield results of a repository, and for each file that is none the reason; `place` is its address in words."""
    repo_id = address.repo_id
    with hub_errors_in_one_line(place, before=f"no such folder ({Path(place).absolute()}), and "):
        folder, names, reasons, commit = _download(repo_id, address.revision)
    yield from reasons
    facts = folder / _FACTS
    of_repository = {"repository": f"{repo_id}@{commit}", "set_digest": _set_digest(facts)}
    if not is_commit(of_repository["repository"]):
        of_repository["repository"] = None
    for name in names:
        yield _read(folder / name, f"{repo_id}: {name}", **of_repository)


def _download(repo_id: str, revision: str | None) -> tuple[Path, list[str], list[str], str]:
    """Bring the results of a repository here: folder, names, reasons of what was left out, commit."""
    from huggingface_hub import HfApi, snapshot_download

    info = HfApi().dataset_info(repo_id, revision=revision, files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings}
    names, reasons = _allowed(sizes, repo_id)
    wanted = [*names, *([_FACTS] if _fits(sizes.get(_FACTS)) else [])]
    if not names:
        reasons = reasons or [f"{repo_id}: holds no results/*.json; push them with push --results"]
        return Path(), [], reasons, info.sha
    folder = snapshot_download(repo_id, repo_type="dataset", revision=info.sha, allow_patterns=wanted)
    return Path(folder), names, reasons, info.sha


def _allowed(sizes: dict[str, int | None], repo_id: str) -> tuple[list[str], list[str]]:
    """Return names of results that are small enough to be downloaded, and reasons for those that are not."""
    names, reasons, total = [], [], 0
    found = sorted(name for name in sizes if _RESULT.fullmatch(name))
    for place, name in enumerate(found):
        size = sizes[name]
        if not _fits(size):
            shown = "of unknown size" if size is None else f"{size / 2**20:,.0f} MB"
            reasons.append(f"{repo_id}: {name}: {shown}; a result has at most {MOST_BYTES // 2**20} MB")
        elif len(names) < MOST_FILES and total + size <= _MOST_TOTAL:
            names.append(name)
            total += size
        else:
            limit = f"{MOST_FILES} results or {_MOST_TOTAL // 2**20} MB"
            reasons += [f"{repo_id}: all from {name}: it holds more than {limit}"] * (len(found) - place)
            break
    return names, reasons


def _fits(size: int | None) -> bool:
    return size is not None and 0 <= size <= MOST_BYTES


def _set_digest(path: Path) -> str | None:
    """Return the SHA-256 that a repository says its set has."""
    try:
        said = json.loads((read_small(path, MOST_BYTES) or b"").decode("utf-8"))["sha256"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return said if is_sha256(said) else None
