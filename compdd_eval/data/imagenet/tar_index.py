"""Members of tar archives by their headers alone: nothing is extracted, names are data."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from compdd_eval.utils.errors import InputError

_BLOCK = 512  # bytes of a header; one of zeros ends an archive


def tar_members(path: Path, file: BinaryIO, start: int = 0, size: int | None = None) -> Iterator[tarfile.TarInfo]:
    """Yield the plain files of an archive, reading headers only.

    Args:
        path: The archive, for messages.
        file: The archive, open in binary.
        start: Byte at which the archive begins: one that is a member of another begins inside it.
        size: Its number of bytes; None: up to the end of the file.

    Yields:
        Members; their `offset_data` counts from the beginning of `file`.

    Raises:
        InputError: It is no uncompressed tar archive, or it is cut off.
    """
    limit = start + (os.fstat(file.fileno()).st_size if size is None else size)
    try:
        file.seek(start)
        archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115  (the file is the caller's)
        while (member := archive.next()) is not None:
            archive.members.clear()  # they are not needed again, and there are millions
            if member.offset_data + member.size > limit:
                raise tarfile.ReadError(f"{member.name} goes beyond its end")
            if member.isreg():
                yield member
        end = archive.offset
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path}: no whole tar archive ({error}); {_advice(path)}") from error
    file.seek(end)
    block = file.read(_BLOCK)
    if block != bytes(_BLOCK) or end + _BLOCK > limit:
        raise InputError(f"{path}: the archive is cut off or damaged at byte {end}; {_advice(path)}")


def _advice(path: Path) -> str:
    return f"expected an uncompressed tar archive; download {path.name} again"
