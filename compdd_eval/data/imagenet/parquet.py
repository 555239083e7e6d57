"""Parquet shards with columns `image` and `label`: the Hub's `ILSVRC/imagenet-1k`, on disk or on the Hub."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from compdd_eval.data.imagenet.hub_files import HubFiles
from compdd_eval.data.imagenet.reader import unreadable
from compdd_eval.data.imagenet.rows import ImageRow
from compdd_eval.data.imagenet.shards import SHARD_SCHEMA, ShardReader, check_label, files_below
from compdd_eval.utils.errors import InputError

_BUFFER = 2**20  # bytes that are read of a column at a time, so that memory does not grow with a row group
_BATCH = 16  # images that are held at a time


class ReaderParquet(ShardReader):
    """Read images out of Parquet shards: labels and names first, then only the row groups that hold needed rows."""

    layout = "parquet"
    scattered = True
    _executor = ThreadPoolExecutor
    expected = "data/train-00000-of-00294.parquet, ..., data/validation-00000-of-00014.parquet, ..."

    def __init__(self, root: Path | HubFiles, num_proc: int = 1) -> None:
        self._hub = root if isinstance(root, HubFiles) else None
        if self._hub:
            super().__init__(root, root.base, root.list(".parquet"), num_proc)
        else:
            super().__init__(root, str(root), self._files(root), num_proc)

    @staticmethod
    def _files(root: Path) -> list[str]:
        return files_below(root, ".parquet")

    def read(self, row: ImageRow) -> bytes:
        """Return the original bytes of one image; its row group is read for it."""
        return next(iter(self.read_many([row])))[1]

    def read_many(self, rows: list[ImageRow]) -> Iterator[tuple[int, bytes]]:
        """Yield position and original bytes of every image, shard by shard in the order of storage."""
        wanted = {}
        for position, row in enumerate(rows):
            wanted.setdefault(row.file, []).append((row.start, position))
        for shard in sorted(wanted):
            yield from self._read_shard(shard, sorted(wanted[shard]))

    def read_memory(self, shard: str) -> int:
        """Return the bytes that reading one row group of a shard takes: stored, and unpacked."""
        with _opened(shard, self._hub) as file:
            groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        return max((2 * group.total_byte_size for group in groups), default=0)

    def _read_shard(self, shard: str, wanted: list[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
        """Yield position and bytes for (row in the shard, position), ascending."""
        with _opened(shard, self._hub) as file:
            # row groups without a wanted row are skipped, and the last one is left as soon as nothing is wanted of it
            end, waiting = 0, list(reversed(wanted))
            for group in range(file.num_row_groups):
                start, end = end, end + file.metadata.row_group(group).num_rows
                if not waiting or waiting[-1][0] >= end:
                    continue
                for batch in file.iter_batches(_BATCH, row_groups=[group], columns=["image.bytes"]):
                    images = batch.column(0).field("bytes")
                    while waiting and waiting[-1][0] < start + len(images):
                        row, position = waiting.pop()
                        yield position, _bytes(images[row - start].as_py(), f"{shard}: row {row}")
                    start += len(images)
                    if not waiting or waiting[-1][0] >= end:
                        break

    def _stamp(self, shard: str) -> str:
        return f"{Path(shard).name}:{self._hub.size(shard) if self._hub else os.stat(shard).st_size}"

    def _list_shard(self) -> Callable[[str], pa.Table]:
        return functools.partial(_list_shard, hub=self._hub)


@contextlib.contextmanager
def _opened(shard: str, hub: HubFiles | None) -> Iterator[pq.ParquetFile]:
    """Open a shard; raise InputError, with its name, for whatever is wrong with it."""
    try:
        with hub.open(shard) if hub else pa.OSFile(shard) as stream:
            yield pq.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)
    except InputError:
        raise
    except pa.ArrowInvalid as error:
        reason = str(error).partition(". ")[0]
        raise InputError(
            f"{shard}: no whole Parquet file ({reason}); download it again (a small file may be a pointer that "
            "git lfs pull replaces)"
        ) from error
    except Exception as error:
        if hub is not None:
            raise hub.clear(error) from error
        if isinstance(error, OSError):
            raise unreadable(shard, error) from error
        raise


def _list_shard(shard: str, hub: HubFiles | None) -> pa.Table:
    """Read labels and file names of one shard, and no image."""
    with _opened(shard, hub) as file:
        schema = file.schema_arrow
        if "imagenet_label" in schema.names:
            raise InputError(f"{shard}: an export of Comp-DD, no ImageNet; load_dataset reads it as it is")
        names = [f"image.{field.name}" for field in schema.field("image").type] if _is_image(schema) else []
        if "image.bytes" not in names or "image.path" not in names or "label" not in schema.names:
            raise InputError(
                f"{shard}: columns {', '.join(schema.names)}; expected image (bytes and path) and label, as "
                "ILSVRC/imagenet-1k has them"
            )
        table = file.read(["label", "image.path"])
    return _table(table, shard)


def _is_image(schema: pa.Schema) -> bool:
    return "image" in schema.names and pa.types.is_struct(schema.field("image").type)


def _table(table: pa.Table, shard: str) -> pa.Table:
    """Turn what was read of a shard into a table of `SHARD_SCHEMA`; rows without a label are left out."""
    labels = table["label"].combine_chunks()
    if not pa.types.is_integer(labels.type):
        raise InputError(f"{shard}: labels of type {labels.type}, expected ImageNet indices 0-999")
    names = pc.struct_field(table["image"].combine_chunks(), "path")
    if names.null_count:
        raise InputError(f"{shard}: {names.null_count} images without a file name (image.path), expected ImageNet's")
    if labels.null_count:
        raise InputError(f"{shard}: {labels.null_count} images without a label, expected ImageNet indices 0-999")
    if len(labels):
        for label in pc.min_max(labels).as_py().values():
            check_label(label, shard)
    columns = {
        "label": labels.cast(pa.int16()),
        "name": pc.replace_substring_regex(names, r"^.*/", ""),
        "size": pa.nulls(len(table), pa.int64()),
        "start": pa.array(range(len(table)), pa.int64()),
    }
    return pa.table(columns, schema=SHARD_SCHEMA)


def _bytes(data: bytes | None, place: str) -> bytes:
    if data is None:
        raise InputError(f"{place}: no bytes of the image here, only its name; expected embedded images")
    return data
