"""WebDataset shards (`*.tar` with `KEY.jpg` and `KEY.cls`), as `timm/imagenet-1k-wds` has them."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from compdd_eval.data.imagenet.archives import ARCHIVES
from compdd_eval.data.imagenet.image_folder import CLASS_ARCHIVE
from compdd_eval.data.imagenet.rows import is_official
from compdd_eval.data.imagenet.shards import SHARD_SCHEMA, ShardReader, check_label, files_below
from compdd_eval.data.imagenet.tar_index import tar_members
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.worker_pool import processes

_IMAGES = ("jpg", "jpeg", "png", "webp")
_LARGEST = 65536  # bytes of a label or of what is told about a sample; more is something else


class ReaderWebDataset(ShardReader):
    """Read images out of WebDataset shards; labels are ImageNet indices.

    The official file name is the sample's key or, where that is none, `filename` in its `.json`.
    """

    layout = "webdataset"
    _executor = staticmethod(processes)
    expected = "imagenet1k-train-0000.tar, ..., imagenet1k-validation-00.tar, ... with KEY.jpg and KEY.cls"

    def __init__(self, root: Path, num_proc: int = 1) -> None:
        super().__init__(root, str(root), self._files(root), num_proc)

    @staticmethod
    def _files(root: Path) -> list[str]:
        """Return the tar files, without ImageNet's own archives."""
        others = ARCHIVES.values()
        found = [(Path(file).name, file) for file in files_below(root, ".tar")]
        return [file for name, file in found if name not in others and not CLASS_ARCHIVE.fullmatch(name)]

    def _list_shard(self) -> Callable[[str], pa.Table]:
        return _list_shard


def _list_shard(shard: str) -> pa.Table:
    """List the samples of one shard by its headers; labels are read, images are not."""
    samples, path = {}, Path(shard)
    with open(shard, "rb") as file:
        for member in tar_members(path, file):
            key, _, kind = member.name.rpartition("/")[2].partition(".")
            sample = samples.setdefault(member.name[: len(member.name) - len(kind) - 1], {})
            if kind.lower() in _IMAGES:
                if "image" in sample:
                    raise InputError(f"{shard}: sample {key} has two images; expected one and its .cls")
                sample["image"] = (kind, member.size, member.offset_data)
            elif kind == "cls" or (kind == "json" and not is_official(key)):
                if member.size > _LARGEST:
                    raise InputError(f"{shard}: {member.name} has {member.size} bytes; expected a label")
                file.seek(member.offset_data)
                sample[kind] = file.read(member.size)
    if samples and not any(samples.values()):
        first = next(iter(samples))
        raise InputError(
            f"{shard}: no KEY.jpg and KEY.cls here, but {first}, ...; expected a WebDataset shard (ImageNet's own "
            f"archives are called {' and '.join(ARCHIVES.values())})"
        )
    listed = [_listed(shard, key, sample) for key, sample in samples.items() if sample]
    columns = zip(*listed, strict=True) if listed else [()] * len(SHARD_SCHEMA)
    return pa.table(dict(zip(SHARD_SCHEMA.names, map(list, columns), strict=True)), schema=SHARD_SCHEMA)


def _listed(shard: str, key: str, sample: dict[str, object]) -> tuple[int, str, int, int]:
    """Return label, file name, size and offset of one sample."""
    missing = next((kind for kind in ("image", "cls") if kind not in sample), None)
    if missing:
        expected = "KEY.jpg and KEY.cls (an ImageNet index)"
        raise InputError(f"{shard}: sample {key} has no {'.cls' if missing == 'cls' else missing}; expected {expected}")
    try:
        label = int(sample["cls"])
    except ValueError as error:
        raise InputError(
            f"{shard}: {key}.cls holds {sample['cls'][:20]!r}, expected an ImageNet index 0-999"
        ) from error
    kind, size, start = sample["image"]
    name = f"{key.rpartition('/')[2]}.{kind}"
    if "json" in sample:
        name = _file_name(sample["json"]) or name
    return check_label(label, f"{shard}: {key}.cls"), name, size, start


def _file_name(content: bytes) -> str | None:
    """Return the base name of `filename` in a sample's JSON, if it has one."""
    try:
        return str(json.loads(content)["filename"]).rpartition("/")[2]
    except (ValueError, KeyError, TypeError):
        return None
