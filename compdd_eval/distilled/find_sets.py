"""Folders that are no distilled set themselves: what they are, and which folder below them is one."""

import itertools
import os
import re
from pathlib import Path

from compdd_eval.distilled.formats.comp_dd import TENSORS_NAME
from compdd_eval.distilled.formats.image_folders import holds_class_folders
from compdd_eval.distilled.formats.part_files import holds_set, part_files, set_files

_DEPTH = 3  # folders below the one that is given
_MOST = 500  # folders that are looked into
_NAMED = 3  # that a message names


def where_sets_are(folder: Path) -> str | None:
    """Say what a folder without a set is, and how to go on; None where it may be a set, or nothing is known of it."""
    if set_files(folder):
        return None  # what reads them says what is wrong
    pictures = holds_class_folders(folder)  # or folders of sets, each with a preview
    if pictures and not any(map(_holds_tensors, _below(folder, depth=1))):
        return None
    sets, views = [], None
    for below in _below(folder, _DEPTH):
        if _holds_views(below):
            views = views or below
        elif _holds_tensors(below) or (not pictures and _is_set(below)):
            sets.append(below)
    advice = f"give {', or '.join(map(str, sets[:_NAMED]))}" + (", ..." if len(sets) > _NAMED else "")
    if views is not None:
        images = advice if sets else "give the folder of the images that they belong to"
        return (
            f"holds a teacher's outputs for each view (epoch_E/batch_B.tar, as FKD and SRe2L save them), and no "
            f"images; {images}, and `convert --view_labels` joins them"
        )
    return f"holds no set itself, but folders that do; {advice}" if sets else None


def _below(folder: Path, depth: int) -> list[Path]:
    """Return a folder and those below it, the nearest first; not too many."""
    folders, level = [folder], [folder]
    for _ in range(depth):
        deeper = (entry for parent in level for entry in _folders_in(parent))
        level = list(itertools.islice(deeper, _MOST - len(folders)))
        folders += level
    return folders


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:  # which knows without another look what a folder is
            return sorted(Path(entry) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _holds_tensors(folder: Path) -> bool:
    return (folder / TENSORS_NAME).is_file() or bool(part_files(folder))


def _is_set(folder: Path) -> bool:
    try:
        return holds_set(folder) or holds_class_folders(folder)
    except OSError:
        return False


def _holds_views(folder: Path) -> bool:
    epochs = [entry for entry in _folders_in(folder) if re.fullmatch(r"epoch_\d+", entry.name)]
    try:
        return any(file.startswith("batch_") for epoch in epochs[:1] for file in os.listdir(epoch))
    except OSError:
        return False
