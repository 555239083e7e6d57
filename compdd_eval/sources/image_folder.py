"""The ImageFolder layout: `train/<wnid>/*` and `val/<wnid>/*` (also `validation/`)."""

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from compdd_eval.errors import InputError
from compdd_eval.sources.rows import IMAGE_SUFFIXES, ImageRow, official_name, read_file

_FOLDERS = {"train": ("train",), "validation": ("val", "validation")}
_JUNK = ("thumbs.db", "desktop.ini")  # what file managers leave behind; dot files as well
_CLASS_OF_NAME = re.compile(r"(n\d{8})_\d+\.JPEG")  # training images carry their class in their name
_logger = logging.getLogger(__name__)


class ReaderImageFolder:
    """Read a tree with one folder a class; only the folders that are asked for are listed."""

    layout = "ImageFolder"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders = self.find_splits(root)
        self.splits = tuple(self._folders)
        if not self.splits:
            raise InputError(f"{root}: no folder train/ or val/ here{_found(root)}")

    @staticmethod
    def find_splits(root: Path) -> dict[str, Path]:
        """Return the split folders that exist under `root`."""
        found = {}
        for split, names in _FOLDERS.items():
            folders = [root / name for name in names if (root / name).is_dir()]
            if len(folders) > 1:
                raise InputError(f"{root}: holds both {folders[0].name}/ and {folders[1].name}/; keep one of them")
            if folders:
                found[split] = folders[0]
        return found

    def class_count(self, split: str, wnids: Iterable[str]) -> int:
        """Return how many of these classes have a folder in the split."""
        return sum((self._folders[split] / wnid).is_dir() for wnid in wnids)

    def rows(self, split: str, wnid: str) -> list[ImageRow]:
        """List the images of one class, ordered by official name."""
        folder = self._folders[split] / wnid
        rows, others = [], []
        for entry in self._scan(folder):
            if entry.name.startswith(".") or entry.name.lower() in _JUNK:
                continue
            if os.path.splitext(entry.name)[1].lower() not in IMAGE_SUFFIXES or entry.is_dir():
                others.append(entry.name)
                continue
            rows.append(self._row(entry, wnid))
        if others:
            _logger.warning(f"{folder}: {len(others)} entries are no image files and are left out ({min(others)}, ...)")
        if not rows:
            raise InputError(f"{folder}: the class folder is empty, expected its images; copy them from ImageNet")
        return self._ordered(rows, folder)

    def read(self, row: ImageRow) -> bytes:
        """Return the original bytes of one image."""
        return read_file(row)

    def _scan(self, folder: Path) -> list[os.DirEntry]:
        if not folder.is_dir():
            raise InputError(f"{folder}: this class folder is missing{self._flat_hint(folder.parent)}")
        with os.scandir(folder) as entries:
            return list(entries)

    @staticmethod
    def _flat_hint(parent: Path) -> str:
        """Explain a validation folder in which ImageNet's 50,000 files lie unsorted."""
        files = (path for path in parent.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        flat = next(files, None)
        if flat is None:
            return f"; {parent} should hold one folder a class, named by its WordNet id"
        return f"; {parent} holds the images unsorted ({flat.name}, ...): move each into a folder named by its class"

    @staticmethod
    def _row(entry: os.DirEntry, wnid: str) -> ImageRow:
        try:
            size = entry.stat().st_size
        except OSError as error:
            raise InputError(f"{entry.path}: a link that leads nowhere; mend it or remove it") from error
        name = official_name(entry.name, wnid)
        named = _CLASS_OF_NAME.match(name)
        if named and named[1] != wnid:
            raise InputError(f"{entry.path}: an image of class {named[1]} in the folder of {wnid}; move it to its own")
        return ImageRow(wnid, name, size, entry.path)

    @staticmethod
    def _ordered(rows: list[ImageRow], folder: Path) -> list[ImageRow]:
        rows = sorted(rows, key=lambda row: row.file_name)
        for first, second in zip(rows, rows[1:], strict=False):
            if first.file_name == second.file_name:
                names = " and ".join(os.path.basename(r.location) for r in (first, second))
                raise InputError(f"{folder}: {names} are the same image {first.file_name}; remove one of them")
        return rows


def _found(root: Path) -> str:
    """Say what lies there instead, and where the right folder seems to be."""
    if root.name in ("train", "val", "validation"):
        return f"; give the folder above it, {root.parent}"
    inner = next((p for p in sorted(root.glob("*")) if p.is_dir() and ReaderImageFolder.find_splits(p)), None)
    if inner is not None:
        return f"; did you mean {inner}?"
    names = sorted(os.listdir(root))[:4]
    return f" (found: {', '.join(names) or 'nothing'}); expected train/<WordNet id>/*.JPEG and val/<WordNet id>/*.JPEG"
