"""What every reader of ImageNet yields: rows with official file names, and the cheap checks on them."""

import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from compdd_eval.errors import InputError
from compdd_eval.subsets import Subset

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8", b"II*\x00", b"MM\x00*")
_OFFICIAL = re.compile(r"(n\d{8}_\d+|ILSVRC2012_val_\d{8})")
_JPEG_TAIL = 64  # bytes at the end in which a whole JPEG holds its end marker; a few files have padding after it


@dataclass(frozen=True)
class ImageRow:
    """One image of ImageNet, not yet read.

    Attributes:
        wnid: WordNet id of its class.
        file_name: Official name, such as `n01440764_10026.JPEG` or `ILSVRC2012_val_00000293.JPEG`.
        size: Number of bytes of the file.
        location: Where the reader finds it (for a layout of plain files: the path).
    """

    wnid: str
    file_name: str
    size: int
    location: str


class Source(Protocol):
    """One copy of ImageNet."""

    root: Path
    layout: str
    splits: tuple[str, ...]

    def class_count(self, split: str, wnids: Iterable[str]) -> int:
        """Return how many of these classes the split has."""

    def rows(self, split: str, wnid: str) -> list[ImageRow]:
        """List the images of one class, ordered by official name; raises InputError if there are none."""

    def read(self, row: ImageRow) -> bytes:
        """Return the original bytes of one image."""


def official_name(name: str, wnid: str) -> str:
    """Return the name that ImageNet gave the file, whatever a copy appends to it.

    The copy on the Hugging Face Hub appends the WordNet id to the stem, others change the suffix.
    A name that is not of ImageNet's form keeps its suffix.
    """
    stem, dot, suffix = name.rpartition(".")
    stem = stem.removesuffix(f"_{wnid}") or stem
    return f"{stem}.JPEG" if _OFFICIAL.fullmatch(stem) else f"{stem}{dot}{suffix}"


def subset_rows(source: Source, subset: Subset, split: str) -> list[ImageRow]:
    """List the rows of one split of a subset, ordered by label and then by official file name.

    Raises:
        InputError: A class folder is missing or holds no image.
    """
    return [row for entry in subset.classes for row in source.rows(split, entry.wnid)]


def rows_digest(rows: Iterable[ImageRow]) -> str:
    """Return a SHA-256 over class, official name and size of every row, in an order of its own.

    Cheap, since no file is opened; it tells one copy of the images from another, not one bit from another.
    """
    digest = hashlib.sha256()
    for row in sorted((r.wnid, r.file_name, r.size) for r in rows):
        digest.update("\t".join(map(str, row)).encode() + b"\n")
    return digest.hexdigest()


def read_bytes(path: str) -> bytes:
    """Return the bytes of a plain file; raise InputError if it is gone or cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); mend it and run again") from error


def read_file(row: ImageRow) -> bytes:
    """Return the bytes of an image that is a plain file.

    Raises:
        InputError: It is gone, cannot be read, or is not what was listed.
    """
    data = read_bytes(row.location)
    if len(data) != row.size:
        raise InputError(f"{row.location}: was {row.size} bytes long when listed, now {len(data)}; run again")
    return data


def check_image(data: bytes, row: ImageRow) -> None:
    """Raise InputError if the bytes are certainly no whole image: empty, no image's signature, a cut JPEG.

    Cheap: an image is decoded only when it is a JPEG without its end marker.
    """
    advice = "replace the file with the one from ImageNet"
    if not data:
        raise InputError(f"{row.location}: the file is empty, expected an image; {advice}")
    if not data.startswith(_SIGNATURES) and not (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        raise InputError(f"{row.location}: not an image (it begins with {data[:8]!r}); {advice}")
    if data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data[-_JPEG_TAIL:]:
        _decode_fully(data, row, advice)


def _decode_fully(data: bytes, row: ImageRow, advice: str) -> None:
    from PIL import Image  # only for the rare file that lacks its end marker

    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{row.location}: the image is cut off or damaged ({error}); {advice}") from error
