"""What every reader of ImageNet yields: rows with official file names."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from compdd_eval.utils.errors import InputError

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_OFFICIAL = re.compile(r"(?:(n\d{8})_\d+|ILSVRC2012_val_\d{8})")  # training images carry their class in their name


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of ImageNet, not yet read.

    Attributes:
        wnid: WordNet id of its class.
        file_name: Official name, such as `n01440764_10026.JPEG` or `ILSVRC2012_val_00000293.JPEG`.
        size: Number of bytes of the image; None where only reading it tells (Parquet).
        file: The file that it is, or lies in.
        start: Where in that file it begins: a byte of a tar archive, a row of a Parquet file; None: it is the file.
        stamp: Where the size is unknown, what tells this file from one of other images: its name and size.
    """

    wnid: str
    file_name: str
    size: int | None
    file: str
    start: int | None = None
    stamp: str = ""

    @property
    def location(self) -> str:
        """What to call the image in a message: its path, or that of its container and its name."""
        return self.file if self.start is None else f"{self.file}: {self.file_name}"


def official_name(name: str, wnid: str) -> str:
    """Return the name that ImageNet gave the file, whatever a copy appends to it.

    The copy on the Hugging Face Hub appends the WordNet id to the stem, others change the suffix.
    A name that is not of ImageNet's form keeps its suffix.
    """
    stem, dot, suffix = name.rpartition(".")
    stem = stem.removesuffix(f"_{wnid}") or stem
    return f"{stem}.JPEG" if _OFFICIAL.fullmatch(stem) else f"{stem}{dot}{suffix}"


def is_official(name: str) -> bool:
    """Whether a name without its suffix is one that ImageNet gives."""
    return _OFFICIAL.fullmatch(name) is not None


def check_class(file_name: str, wnid: str, location: str) -> None:
    """Raise InputError if the official name of a training image says that it is of another class."""
    named = _OFFICIAL.match(file_name)
    if named and named[1] and named[1] != wnid:
        raise InputError(f"{location}: an image of class {named[1]} among those of {wnid}; mend this copy of ImageNet")


def rows_digest(rows: Iterable[ImageRow]) -> str:
    """Return a SHA-256 over class, official name and size of every row, in an order of its own.

    Cheap, since no file is opened; it tells one copy of the images from another, not one bit from another.
    Where sizes are unknown, it is over the place in the container instead, and so tells one copy from any other.
    """
    lines = sorted((r.wnid, r.file_name, str(f"{r.stamp}:{r.start}" if r.size is None else r.size)) for r in rows)
    return hashlib.sha256("".join("\t".join(line) + "\n" for line in lines).encode()).hexdigest()
