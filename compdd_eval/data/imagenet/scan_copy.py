"""Copy images that lie scattered over large shards to disk in one scan, to be read in any order afterwards."""

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from compdd_eval.data.imagenet.reader import Reader, read_part
from compdd_eval.data.imagenet.rows import ImageRow, rows_digest
from compdd_eval.utils.files import write_json

_MEMORY = 500 * 10**6  # bytes that all shards that are read at a time may take


class CopiedSource(Reader):
    """A source whose images were copied by `scan_copied`; its rows are those of the original."""

    def __init__(self, source: Reader, folder: Path) -> None:
        super().__init__(source.root, source.splits)
        self.layout = source.layout
        self._folder, self._copies = folder, None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_copies": None}  # read again where it is needed

    def read(self, row: ImageRow) -> bytes:
        """Return the original bytes of one image that was copied."""
        if self._copies is None:
            copies = {}  # whole before it is seen: several threads read
            for index in self._folder.glob("*.json"):
                for file, start, offset, size in json.loads(index.read_text(encoding="utf-8")):
                    copies[file, start] = (str(index.with_suffix(".images")), offset, size)
            self._copies = copies
        return read_part(*self._copies[row.file, row.start])


def scan_copied(
    source: Reader,
    rows: list[ImageRow],
    folder: Path,
    num_proc: int = 1,
    on_images: Callable[[int], object] | None = None,
) -> Reader:
    """Copy the images of a scattered source to a folder, shard by shard; what is there already is not read again.

    Args:
        source: Any source; one that is not scattered is returned as it is.
        rows: All that will be read.
        folder: Where to; a killed run leaves whole shards there, which the next one takes.
        num_proc: Shards that are read at a time; fewer where that would take too much memory.
        on_images: Called with the number of images each time some were copied, from any thread.
    """
    if not source.scattered:
        return source
    folder.mkdir(parents=True, exist_ok=True)
    shards = {}
    for row in rows:
        shards.setdefault(row.file, []).append(row)
    lock = threading.Lock()

    def copy(shard: str) -> None:
        _copy(source, shards[shard], folder)
        if on_images is not None:
            with lock:
                on_images(len(shards[shard]))

    memory = source.read_memory(rows[0].file) if rows else 0  # the other shards are much the same
    executor = ThreadPoolExecutor(max(1, min(num_proc, _MEMORY // max(1, memory))))
    try:
        for done in [executor.submit(copy, shard) for shard in sorted(shards)]:
            done.result()  # raises what a thread raised
    finally:
        executor.shutdown(cancel_futures=True)
    return CopiedSource(source, folder)


def _copy(source: Reader, rows: list[ImageRow], folder: Path) -> None:
    """Copy the rows of one shard: the images one after another, then an index that says they are all there."""
    name = rows_digest(rows)[:16]
    index, images = folder / f"{name}.json", folder / f"{name}.images"
    if index.exists():
        return
    copies, offset = [], 0
    with open(images, "wb") as file:
        for position, data in source.read_many(rows):
            file.write(data)
            copies.append((rows[position].file, rows[position].start, offset, len(data)))
            offset += len(data)
        # the index vouches for the images: they have to be on the disk first, even if the machine stops
        file.flush()
        os.fsync(file.fileno())
    write_json(index, copies)
