"""Read images and tell which of them are none: cheaply by signature, size and end, or by decoding all of them."""

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from compdd_eval.data.imagenet.reader import Reader, read_ends
from compdd_eval.data.imagenet.rows import ImageRow
from compdd_eval.utils.errors import InputError

_HEAD, _TAIL = 16, 64  # bytes at the start that hold a signature; at the end, a JPEG's end marker and padding after it
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8", b"II*\x00", b"MM\x00*")
_NO_END = "no end marker"


def read_checked(
    source: Reader, rows: list[ImageRow], link: bool = False, threads: int = 0, readers: int = 1
) -> tuple[list[bytes | None], list[InputError]]:
    """Read images and check them.

    Args:
        source: Where they lie.
        rows: Which.
        link: They are plain files that stay where they are: read no more of them than the check needs.
        threads: Decode every image to check it, in so many threads; 0: only where the end of a JPEG is missing.
        readers: Images that are read at a time: on a network disk, most of the time is waiting.

    Returns:
        The original bytes in the order of `rows` (None for each where `link`), and an error for each bad image.

    Raises:
        InputError: An image cannot be read at all.
    """
    if link and not threads:  # two small reads an image, and whole files only of those that look wrong
        ends = _map(lambda row: read_ends(row.file, row.size, _HEAD, _TAIL), rows, readers)
        suspects = [row for row, (head, tail) in zip(rows, ends, strict=True) if _problem(head, tail, row.size)]
        _, problems = read_checked(source, suspects)
        return [None] * len(rows), problems
    if source.scattered:
        images = [data for _, data in sorted(source.read_many(rows))]
    else:
        images = _map(source.read, rows, readers)
    found = _map(lambda data: image_problem(data, decode=threads > 0), images, threads)
    pairs = zip(rows, found, strict=True)
    problems = [InputError(f"{row.location}: {problem}; {_advice(row)}") for row, problem in pairs if problem]
    return [None] * len(rows) if link else images, problems


def _map(work: Callable[[object], object], items: list[object], threads: int) -> list[object]:
    """Do the same to all, several at a time."""
    if threads <= 1:
        return list(map(work, items))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def _advice(row: ImageRow) -> str:
    if row.start is None:
        return "replace the file with the one from ImageNet"
    return f"download {os.path.basename(row.file)} again"


def image_problem(data: bytes, decode: bool = False) -> str | None:
    """Say why bytes are certainly no whole image: empty, no image's signature, a cut JPEG; None if nothing is wrong.

    Args:
        data: The bytes of a file.
        decode: Decode every image. Otherwise only a JPEG without its end marker is decoded, which is rare.
    """
    problem = _problem(data[:_HEAD], data[-_TAIL:], len(data))
    if problem == _NO_END or (decode and problem is None):
        return _decoding_problem(data)
    return problem


def _problem(head: bytes, tail: bytes, size: int) -> str | None:
    """Judge a file by its two ends."""
    if size == 0:
        return "the file is empty, expected an image"
    if not head.startswith(_SIGNATURES) and not (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return f"not an image (it begins with {head[:8]!r})"
    return _NO_END if head.startswith(b"\xff\xd8") and b"\xff\xd9" not in tail else None


def _decoding_problem(data: bytes) -> str | None:
    from PIL import Image  # only where an image is decoded

    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"the image is cut off or damaged ({error})"
    return None
