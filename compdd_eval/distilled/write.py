"""Write a distilled set in any of the formats; whole or not at all, and never over something else by accident."""

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from compdd_eval.config.convert import FORMATS
from compdd_eval.distilled.formats.arrays import write_npy, write_npz
from compdd_eval.distilled.formats.comp_dd import FILES, save_folder, write_tensors
from compdd_eval.distilled.formats.image_folders import write_images
from compdd_eval.distilled.formats.part_files import part_names
from compdd_eval.distilled.formats.published import write_published
from compdd_eval.distilled.formats.torch_files import write_pt
from compdd_eval.distilled.metadata import RECORD_NAME, SetRecord
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.distilled.view_labels import LOCK_NAME, PART_NAME
from compdd_eval.utils.errors import InputError, unknown
from compdd_eval.utils.files import atomic_write, check_writable

_BY_SUFFIX = {".pt": "pt", ".pth": "pt", ".npz": "npz", ".safetensors": "safetensors"}
_FOREIGN = (".zip", ".tar", ".gz", ".tgz", ".pkl", ".json", ".parquet", ".h5", ".png", ".jpg", ".webp", ".bin", ".ckpt")
FILE_FORMATS = ("pt", "npz", "safetensors")


def format_of(target: Path, wanted: str = "auto") -> str:
    """Return the format to write, by what is wanted or by the name of the target.

    Raises:
        InputError: An unknown format, or a name that does not fit it.
    """
    by_name = _BY_SUFFIX.get(target.suffix.lower())
    if wanted == "auto":
        if target.suffix.lower() == ".npy":
            raise InputError(f"{target}: images and labels are two .npy files; give a folder and --format npy")
        if target.suffix.lower() in _FOREIGN:
            raise InputError(f"{target}: {target.suffix} is no format of sets; .pt, .npz, .safetensors or a folder is")
        return by_name or "comp-dd"
    if wanted not in FORMATS:
        raise unknown("format", wanted, FORMATS)
    if by_name != (wanted if wanted in FILE_FORMATS else None):
        expected = f"a name that ends with .{wanted}" if wanted in FILE_FORMATS else "a folder"
        raise InputError(f"{target}: --format {wanted} wants {expected}")
    return wanted


def write_distilled(
    distilled: SetTensors, target: str | os.PathLike, wanted: str = "auto", overwrite: bool = False
) -> list[str]:
    """Write a set.

    Args:
        distilled: The set.
        target: A folder or a file.
        wanted: One of `FORMATS`; `auto` goes by the name of the target.
        overwrite: Replace a distilled set that lies there.

    Returns:
        What the format cannot hold, in words; nothing where all is kept exactly.

    Raises:
        InputError: Something lies there already, it cannot be written, or the format does not fit the name.
    """
    target = real_path(target)
    form = format_of(target, wanted)
    lost = []
    if distilled.view_labels is not None and form != "comp-dd":
        distilled, lost = replace(distilled, view_labels=None), ["labels of views"]
    check_target(target, overwrite, file=form in FILE_FORMATS)
    if form in FILE_FORMATS:
        check_writable(target.parent, "place")
        note = json.dumps(SetRecord.of(distilled).as_json())
        with atomic_write(target) as path:
            _WRITERS[form](distilled, path, note)
        return lost
    with staged(target) as folder:
        return (_WRITERS[form](distilled, folder) or []) + lost


def real_path(target: str | os.PathLike) -> Path:
    """Return the absolute path that a target leads to: what lies behind a link is replaced, and never the link."""
    return Path(os.path.realpath(os.path.expanduser(target)))


def check_target(target: Path, overwrite: bool, file: bool = False) -> None:
    """Raise InputError where a target is taken, unless it is a set that was written here and may be replaced.

    Args:
        target: An absolute path.
        overwrite: Whether a set there may be replaced.
        file: Whether a file is to be written; else a folder.
    """
    if os.path.isfile(target) != file and os.path.exists(target):
        kind, wanted = ("folder", "file") if file else ("file", "folder")
        raise InputError(f"{target}: is a {kind}, expected the name of a {wanted}; give another one")
    if file:
        if target.exists() and not overwrite:
            raise InputError(f"{target}: is there already; give another name, or --overwrite")
        return
    if not target.is_dir() or not any(target.iterdir()):
        return
    strange = _strange_entry(target)  # also with --overwrite: what is the user's is never deleted
    if strange is not None:
        raise InputError(f"{target}: holds {strange}, and is no set that was written here; give another folder")
    if not overwrite:
        raise InputError(f"{target}: holds a set already; give another folder, or --overwrite")


def _strange_entry(target: Path) -> str | None:
    """Return the name of something in a folder that no writer of ours has put there; None where there is nothing."""
    names = set(os.listdir(target)) - {LOCK_NAME}
    if RECORD_NAME not in names:
        return min(names, default=None)
    return next((entry.name for entry in sorted(target.iterdir()) if not _is_written_here(entry)), None)


def _is_written_here(entry: Path) -> bool:
    if not entry.is_dir():
        parts = (name for part in ("images", "labels", "lr") for name in part_names(part))
        return entry.name in (*FILES, PART_NAME, LOCK_NAME, *parts)
    a_class = re.fullmatch("0000[0-9]", entry.name) is not None
    return a_class and all(re.fullmatch(r"[0-9]{5,}\.png", path.name) and path.is_file() for path in entry.iterdir())


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give a folder beside the target that takes its place in the end; nothing is left of a failure."""
    parent = target.parent
    check_writable(parent, "place")
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    old = staging / "old"
    try:
        folder = staging / "new"
        folder.mkdir()  # with the permissions of any folder, which that of mkdtemp has not
        yield folder
        try:
            # a folder that is not empty cannot be replaced at once: the old one is put aside, and back after a failure
            if target.is_dir():
                os.replace(target, old)
            os.replace(folder, target)
        except BaseException:
            if old.is_dir() and not target.exists():
                os.replace(old, target)
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


_WRITERS = {
    "comp-dd": save_folder,
    "published": write_published,
    "png": write_images,
    "npy": write_npy,
    "pt": write_pt,
    "npz": write_npz,
    "safetensors": write_tensors,
}
