"""How the field calls the files of a set, and which files of a folder are one."""

import os
import re
from pathlib import Path

from compdd_eval.utils.errors import InputError

SUFFIXES = (".pt", ".pth", ".npy", ".npz", ".safetensors")  # of files that can hold a set, or a part of one
_PART_SUFFIXES = (".pt", ".npy")  # of files that hold one part each
FLAGS = {"images": "its path", "labels": "--label_dir", "lr": "--lr_dir"}  # that name the file of a part
_BESIDE = re.compile(r"(?:(?:syn_)?(?:labels?|targets?|lr)|(?:label|lr)_syn)(?:[_.].*)?")  # files beside the images
_PIECE = re.compile(r"\d+|n\d{8}")  # what files are called that hold a class, or a part of the set, each


def part_names(part: str) -> list[str]:
    """Return what the file of a part may be called: `images.pt`, `images_best.pt`, `images.npy`, `images_best.npy`."""
    return [f"{part}{best}{suffix}" for suffix in _PART_SUFFIXES for best in ("", "_best")]


def part_files(folder: Path, part: str = "images") -> list[Path]:
    """Return the files in a folder that are called as one of `part`."""
    return [file for name in part_names(part) if (file := folder / name).is_file()]


def _files_of(folder: Path) -> list[Path]:
    """Return the files in a folder that can hold a set or a part of one."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())


def set_files(folder: Path) -> list[Path]:
    """Return the files of a folder that can hold a set, beside those that are called as labels and rates."""
    return [file for file in _files_of(folder) if not _BESIDE.fullmatch(file.stem)]


def only_file(folder: Path) -> Path | None:
    """Return the file of a folder that can hold a set, if there is just one."""
    files = set_files(folder)
    return files[0] if len(files) == 1 else None


def labels_beside(folder: Path) -> list[Path]:
    """Return the files in a folder that any method calls as labels."""
    return [file for file in _files_of(folder) if _BESIDE.fullmatch(file.stem) and "lr" not in file.stem]


def pieces_of(folder: Path) -> list[Path]:
    """Return the files of a folder, in order, where a set lies in several: one for each class, or for each part."""
    if not os.path.isdir(folder) or part_files(folder):
        return []
    files = set_files(folder)
    named = len(files) > 1 and all(_PIECE.fullmatch(file.stem) for file in files)
    return sorted(files, key=lambda file: (len(file.stem), file.stem)) if named else []


def holds_set(folder: Path) -> bool:
    """Whether a folder has files that `read_part_files` would read."""
    return bool(part_files(folder) or pieces_of(folder) or only_file(folder))


def find_file(path: Path, part: str) -> Path:
    """Return the file of one part, given itself or its folder."""
    path = Path(os.path.expanduser(path))
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        raise InputError(f"{path}: no such file or folder; expected a file or its folder, see {FLAGS[part]}")
    called_so = part_files(path, part)
    if len(called_so) == 1:
        return called_so[0]
    if called_so:
        names = " and ".join(file.name for file in called_so)
        raise InputError(f"{path}: holds {names}; name one of them with {FLAGS[part]}")
    others = ", ".join(file.name for file in _files_of(path)[:5]) or "no .pt file"
    raise InputError(f"{path}: no {part}.pt or {part}_best.pt here ({others}); name the file with {FLAGS[part]}")
