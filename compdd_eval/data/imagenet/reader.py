"""What the readers share: reading from a file or a part of it, order, and the checks on what was listed."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from compdd_eval.data.imagenet.rows import ImageRow
from compdd_eval.data.subset_files import Subset
from compdd_eval.data.synsets import synset_of
from compdd_eval.utils.errors import InputError


class Reader:
    """One copy of ImageNet; can be pickled. Base of the readers, each of which makes `_list(split, wnid)`.

    Attributes:
        root: Its folder or Hub repository, in words.
        layout: How it is stored: one of `compdd_eval.data.choices.LAYOUTS`.
        splits: Those of `train` and `validation` that it has.
        plain_files: Whether every image is a file of its own.
        scattered: Whether single images are slow to read, so that many are better read in one scan.
    """

    layout = ""
    plain_files = False
    scattered = False

    def __init__(self, root: str | Path, splits: Iterable[str]) -> None:
        self.root = str(root)
        self.splits = tuple(splits)

    def class_count(self, split: str, wnids: Iterable[str]) -> int:
        """Return how many of these classes have images in the split."""
        return sum(bool(self._list(split, wnid)) for wnid in wnids)

    def rows(self, split: str, wnid: str) -> list[ImageRow]:
        """List the images of one class, ordered by official name; raise InputError if there are none."""
        rows = sorted(self._list(split, wnid), key=lambda row: row.file_name)
        if not rows:
            raise InputError(f"{self.root}: no {split} images of {wnid} ({synset_of(wnid).name}); complete this copy")
        for first, second in zip(rows, rows[1:], strict=False):
            if first.file_name == second.file_name:
                places = " and ".join(dict.fromkeys(row.file for row in (first, second)))
                raise InputError(f"{places}: the same image {first.file_name} twice; remove one of them")
        return rows

    def read(self, row: ImageRow) -> bytes:
        """Return the original bytes of one image: a file, or a part of one.

        Raises:
            InputError: It is gone, cannot be read, or is not what was listed.
        """
        if row.start is not None:
            return read_part(row.file, row.start, row.size)
        data = read_bytes(row.file)
        if len(data) != row.size:
            raise InputError(f"{row.file}: was {row.size} bytes long when listed, now {len(data)}; run again")
        return data

    def read_many(self, rows: list[ImageRow]) -> Iterator[tuple[int, bytes]]:
        """Yield position in `rows` and original bytes of every image, in the order that is fastest to read."""
        for position, row in enumerate(rows):
            yield position, self.read(row)

    def read_memory(self, shard: str) -> int:
        """Return the bytes of memory that reading one file with `read_many` takes; 0 is next to none."""
        return 0

    def _list(self, split: str, wnid: str) -> list[ImageRow]:
        """List the images of one class in any order; none is no error."""
        raise NotImplementedError


def subset_rows(source: Reader, subset: Subset, split: str) -> list[ImageRow]:
    """List the rows of one split of a subset, ordered by label and then by official file name.

    Raises:
        InputError: A class folder is missing or holds no image.
    """
    return [row for wnid in subset.wnids for row in source.rows(split, wnid)]


def read_bytes(path: str, advice: str = "mend it and run again") -> bytes:
    """Return the bytes of a plain file; raise InputError, with the advice, if it is gone or cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error, advice) from error


def read_linked(path: str) -> bytes:
    """Return the bytes of a file that a prepared subset links to; raise InputError if it is gone."""
    return read_bytes(path, "the prepared subset holds only its path: run prepare again from where the images are now")


def read_part(path: str, start: int, size: int) -> bytes:
    """Return `size` bytes of a file from byte `start`; raise InputError if it does not have them."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            data = os.pread(handle, size, start)
        finally:
            os.close(handle)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(data) != size:
        raise InputError(f"{path}: shorter than when it was listed; run again")
    return data


def read_ends(path: str, size: int, head: int, tail: int) -> tuple[bytes, bytes]:
    """Return the first and the last bytes of a plain file; raise InputError if it is not `size` bytes long."""
    try:
        with open(path, "rb", buffering=0) as file:
            found = os.fstat(file.fileno()).st_size
            ends = os.pread(file.fileno(), head, 0), os.pread(file.fileno(), tail, max(0, found - tail))
    except OSError as error:
        raise unreadable(path, error) from error
    if found != size:
        raise InputError(f"{path}: was {size} bytes long when listed, now {found}; run again")
    return ends


def unreadable(path: str | Path, error: OSError, advice: str = "mend it and run again") -> InputError:
    """Make the error for a file that cannot be read."""
    return InputError(f"{path}: cannot be read ({error.strerror or error}); {advice}")
