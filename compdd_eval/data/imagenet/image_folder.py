"""The ImageFolder layout: `train/<wnid>/*` and `val/<wnid>/*` (also `valid/` or `validation/`)."""

import itertools
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from compdd_eval.data.imagenet.reader import Reader, unreadable
from compdd_eval.data.imagenet.rows import IMAGE_SUFFIXES, ImageRow, check_class, official_name
from compdd_eval.utils.errors import InputError

_logger = logging.getLogger(__name__)
SPLIT_FOLDERS = {"train": ("train",), "validation": ("val", "valid", "validation")}
_JUNK = ("thumbs.db", "desktop.ini")  # what file managers leave behind; dot files as well
CLASS_ARCHIVE = re.compile(r"n\d{8}\.tar")  # 1000 of them are in ImageNet's archive of training images
CLASS_FOLDER = re.compile(r"n\d{8}")
COMPETITION = "CLS-LOC"  # what the competition calls the folder of the two splits
_SOME = 2000  # entries of a folder that are looked at to see what it holds; a split has 1000 class folders


class ReaderImageFolder(Reader):
    """Read a tree with one folder a class; only the folders that are asked for are listed."""

    layout = "imagefolder"
    plain_files = True
    expected = "train/<WordNet id>/*.JPEG and val/<WordNet id>/*.JPEG"

    def __init__(self, root: Path) -> None:
        self._folders = split_folders(root)
        if not self._folders:
            raise InputError(f"{root}: no folder train/ or val/ here; expected {self.expected}")
        super().__init__(root, self._folders)
        for folder in self._folders.values():
            _check_extracted(folder)

    @classmethod
    def find(cls, root: Path) -> list[str]:
        """Return what of this layout lies there, in words."""
        folders = split_folders(root)
        if root.name == COMPETITION or ("validation" in folders and unsorted_image(folders["validation"])):
            return []  # the competition's layout
        return [f"{folder.name}/" for folder in folders.values() if not _holds_shards(folder)]

    def class_count(self, split: str, wnids: Iterable[str]) -> int:
        """Return how many of these classes have a folder in the split."""
        return sum((self._folders[split] / wnid).is_dir() for wnid in wnids)

    def _list(self, split: str, wnid: str) -> list[ImageRow]:
        folder = self._folders[split] / wnid
        rows, others = [], []
        for entry in self._scan(folder):
            if entry.name.startswith(".") or entry.name.lower() in _JUNK:
                continue
            if not is_image_name(entry.name) or entry.is_dir():
                others.append(entry.name)
                continue
            rows.append(file_row(entry.path, wnid))
        if others:
            _logger.warning(f"{folder}: {len(others)} entries are no image files and are left out ({min(others)}, ...)")
        if not rows:
            raise InputError(f"{folder}: the class folder is empty, expected its images; copy them from ImageNet")
        return rows

    def _scan(self, folder: Path) -> list[os.DirEntry]:
        if not folder.is_dir():
            raise InputError(
                f"{folder}: this class folder is missing; {folder.parent} should hold one folder a class, named by its "
                "WordNet id"
            )
        return entries_of(folder)


def entries_of(folder: Path, most: int | None = None) -> list[os.DirEntry]:
    """Return what lies in a folder, or the first of it."""
    with os.scandir(folder) as entries:
        return list(itertools.islice(entries, most))


def split_folders(root: Path) -> dict[str, Path]:
    """Return the split folders that exist under `root`."""
    found = {}
    for split, names in SPLIT_FOLDERS.items():
        for name in names:
            if (root / name).is_symlink() and not (root / name).exists():
                raise InputError(f"{root / name}: a link that leads nowhere; mend it or remove it")
        folders = [root / name for name in names if (root / name).is_dir()]
        if len(folders) > 1:
            raise InputError(f"{root}: holds both {folders[0].name}/ and {folders[1].name}/; keep one of them")
        if folders:
            found[split] = folders[0]
    return found


def file_row(path: str, wnid: str) -> ImageRow:
    """Make the row of a plain file; raise InputError for a dangling link or an image of another class."""
    try:
        size = os.stat(path).st_size
    except FileNotFoundError as error:
        raise InputError(f"{path}: a link that leads nowhere; mend it or remove it") from error
    except OSError as error:
        raise unreadable(path, error) from error
    name = official_name(os.path.basename(path), wnid)
    check_class(name, wnid, path)
    return ImageRow(wnid, name, size, path)


def unsorted_image(folder: Path) -> str | None:
    """Return the name of an image that lies in a split folder itself, and in no class folder."""
    images = (e.name for e in entries_of(folder, _SOME) if is_image_name(e.name) and not e.is_dir())
    return next(images, None)


def class_folders(folder: Path) -> list[str]:
    """Return the names of the class folders in a split folder."""
    return sorted(entry.name for entry in entries_of(folder) if CLASS_FOLDER.fullmatch(entry.name) and entry.is_dir())


def _holds_shards(folder: Path) -> bool:
    """Whether a split folder holds Parquet or WebDataset shards and no class folder."""
    names = [entry.name for entry in entries_of(folder, _SOME)]
    shards = [name for name in names if name.endswith((".parquet", ".tar")) and not CLASS_ARCHIVE.fullmatch(name)]
    return bool(shards) and not class_folders(folder)


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its name, and not hidden."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")


def _check_extracted(folder: Path) -> None:
    """Raise InputError where class archives lie in place of class folders."""
    archives = [entry.name for entry in entries_of(folder, _SOME) if CLASS_ARCHIVE.fullmatch(entry.name)]
    left = sorted(name for name in archives if not (folder / name.removesuffix(".tar")).is_dir())
    if left:
        raise InputError(
            f"{folder}: half-extracted: {len(left)} class archives ({left[0]}, ...) without their folders; extract "
            "each into a folder of its name, or give the folder with ILSVRC2012_img_train.tar itself"
        )
