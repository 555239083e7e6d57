"""Distilled sets on the Hugging Face Hub, read: download what is needed and no more, or take the cached copy."""

import glob
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.data.imagenet.hub_files import Address
from compdd_eval.distilled.formats.comp_dd import FILES, TENSORS_NAME
from compdd_eval.distilled.formats.image_folders import IMAGE_SUFFIXES
from compdd_eval.distilled.formats.part_files import SUFFIXES, part_names
from compdd_eval.distilled.limits import MAX_BYTES
from compdd_eval.distilled.metadata import RECORD_NAME
from compdd_eval.utils.digests import digest_of
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import read_json, write_json
from compdd_eval.utils.hub_errors import clear_hub_error, no_connection

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copy:
    """What was downloaded.

    Attributes:
        repo_id: `USER/NAME`.
        commit: Hash of the commit.
        place: Where the set lies: a folder, or a file that the address names.
    """

    repo_id: str
    commit: str
    place: Path

    @property
    def is_ours(self) -> bool:
        """Whether it is of our format."""
        return (self.place / TENSORS_NAME).exists()

    @property
    def parquet(self) -> list[Path]:
        """Its Parquet files."""
        return sorted(path for path in (self.place, *self.place.rglob("*")) if path.suffix == ".parquet")


def download(address: Address, before: str = "") -> Copy:
    """Bring a distilled set to the cache of `huggingface_hub`; without a connection, take what the cache has.

    A download that was cut is taken up where it ended.

    Args:
        address: Where it lies.
        before: What was looked for first, for messages, as in "no such folder, and ".

    Raises:
        InputError: No such repository or revision, no access, no connection and nothing cached, too large, or nothing
            in it that could be a distilled set.
    """
    from huggingface_hub import HfApi, snapshot_download

    repo_id, revision = address.repo_id, address.revision
    try:
        info = HfApi().dataset_info(repo_id, revision=revision, files_metadata=True)
        wanted = _wanted({file.rfilename: file.size or 0 for file in info.siblings}, address)
        # by its name, not by its commit: the cache keeps what a branch is, too
        patterns = [glob.escape(name) for name in wanted]
        folder = snapshot_download(repo_id, repo_type="dataset", revision=revision, allow_patterns=patterns)
    except InputError:
        raise
    except Exception as error:
        # only where the Hub was not reached: where it says no, a copy would hide that access was taken away
        copy = _cached(address) if no_connection(error) else None
        if copy is None:
            raise clear_hub_error(error, str(address), before, cached=False) from error
        _logger.warning(f"{repo_id}: the Hub is out of reach; the cached copy of {copy.commit} is used")
        return copy
    copy = Copy(repo_id, Path(folder).name, Path(folder) / address.folder)
    if copy.commit != info.sha:
        return download(address, before)  # somebody has pushed in between
    if missing := [name for name in wanted if not (Path(folder) / name).is_file()]:
        raise InputError(f"{address}: {missing[0]} did not arrive; run again")
    write_json(_note(address, copy.commit), wanted)
    return copy


def _note(address: Address, commit: str) -> Path:
    """Return the file that says which files of a commit are all that is needed, once they are all there."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / "compdd_eval" / f"{digest_of([address.repo_id, commit, address.folder])}.json"


def _cached(address: Address) -> Copy | None:
    """Return what the cache has of a set, or None if that is not all that is needed."""
    from huggingface_hub import errors, snapshot_download

    here = {"repo_type": "dataset", "revision": address.revision, "local_files_only": True}
    try:
        folder = Path(snapshot_download(address.repo_id, allow_patterns=[], **here))
        if (note := _note(address, folder.name)).is_file():
            whole = all((folder / str(name)).is_file() for name in read_json(note))
            return Copy(address.repo_id, folder.name, folder / address.folder) if whole else None
    except (errors.LocalEntryNotFoundError, OSError, ValueError):
        return None
    # downloaded by another program, or an earlier version: it is told by what is there
    kinds = [list(FILES), ["*.parquet"], [f"*{suffix}" for suffix in IMAGE_SUFFIXES], [f"*{end}" for end in SUFFIXES]]
    for wanted in kinds:
        try:
            folder = snapshot_download(address.repo_id, allow_patterns=wanted, **here)
        except (errors.LocalEntryNotFoundError, OSError, ValueError):
            continue
        copy = Copy(address.repo_id, Path(folder).name, Path(folder) / address.folder)
        if not copy.place.exists() or (copy.place / RECORD_NAME).exists() != copy.is_ours:
            continue  # what a download that was cut has left of a set of ours: its preview is no image of it
        suffixes = {path.suffix for path in [copy.place, *copy.place.rglob("*")]}
        if copy.is_ours or suffixes & {pattern[1:] for pattern in wanted}:
            return copy
    return None


def _wanted(files: dict[str, int], address: Address) -> list[str]:
    """Return the files to download of a folder: ours, else Parquet, else images, else tensors as the field saves them.

    `files` are those of the repository, each with its size.
    Of a file that the address names, its whole folder: labels and rate lie beside the images.
    """
    top = address.folder.rpartition("/")[0] if address.folder in files else address.folder
    inside = {name.removeprefix(f"{top}/"): name for name in files if not top or name.startswith(f"{top}/")}
    if not inside and top:
        some = ", ".join(sorted({name.partition("/")[0] for name in files if "/" in name})[:5]) or "no folder"
        raise InputError(f"{address}: no such folder in it; it holds {some}")
    if TENSORS_NAME in inside:
        wanted = [name for name in FILES if name in inside]
    else:
        images = [name for name in inside if "/" in name and name.lower().endswith(IMAGE_SUFFIXES)]
        tensors = [name for name in inside if "/" not in name and name.lower().endswith(SUFFIXES)]
        named = tensors if set(tensors) & set(part_names("images")) else []  # as in a folder on disk
        wanted = [name for name in inside if name.endswith(".parquet")] or named or images or tensors
    if not wanted:
        raise InputError(f"{address}: {_expected(inside, Address(address.repo_id, folder=top))}")
    wanted = [inside[name] for name in wanted]
    for name in wanted:
        if ".." in name.split("/") or name.startswith("/") or "\\" in name:
            raise InputError(f"{address}: the name {name!r} leaves its folder; this repository is not to be trusted")
    total = sum(files[name] for name in wanted)
    if total > MAX_BYTES:
        most = f"a distilled set has at most {MAX_BYTES / 10**9:.1f} GB"
        raise InputError(f"{address}: {total / 10**9:,.0f} GB; {most}, and it is not downloaded")
    return wanted


def _expected(names: Iterable[str], top: Address) -> str:
    """Say what a repository, or a folder of one, holds in place of a set, and which folder of it has one."""
    below = sorted({name.rpartition("/")[0] for name in names if name.endswith((TENSORS_NAME, *SUFFIXES))})
    if below:
        return f"holds no set itself, but folders that do; give {top}/{below[0]}" + (", ..." if len(below) > 1 else "")
    found = ", ".join(sorted(name for name in names if not name.startswith("."))[:5]) or "nothing"
    return f"holds {found}, expected {TENSORS_NAME}, Parquet files, image files in class folders, or images.pt"
