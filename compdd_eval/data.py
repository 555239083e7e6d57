"""Real images for students: a split of a subset as normalised tensors, decoded when they are asked for."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import datasets
import torch
from tqdm import tqdm

from comp_dd import columns_of, features_of
from compdd_eval import cache
from compdd_eval.config import require
from compdd_eval.errors import InputError
from compdd_eval.preprocess import decode_rgb, preprocess
from compdd_eval.sources import (
    IMAGENET_HELP,
    ImageRow,
    find_imagenet,
    open_source,
    read_bytes,
    rows_digest,
    subset_rows,
)
from compdd_eval.subsets import NUM_CLASSES, Subset, load_subset, subset_name


@dataclass(frozen=True)
class Rows:
    """The rows of one split, undecoded, and where they came from."""

    dataset: datasets.Dataset
    origin: str


class SubsetSplit(torch.utils.data.Dataset):
    """One split of a subset; item i is `(float32 [3, H, W] ImageNet-normalised, int label 0-9)`.

    Nothing is decoded before it is asked for.

    Attributes:
        labels: int64 `[N]`.
        file_names: Official names of the images.
        label_names: Ten class names in label order.
        origin: Where the images come from, in words.
    """

    def __init__(self, rows: Rows, im_size: tuple[int, int], batch_size: int, antialias: bool = True) -> None:
        self._rows = rows.dataset.cast_column("image", datasets.Image(decode=False))
        self.origin, self.im_size, self.antialias, self.batch_size = rows.origin, im_size, antialias, batch_size
        self.labels = torch.tensor(rows.dataset["label"][:], dtype=torch.int64)
        self.file_names = list(rows.dataset["file_name"][:])
        self.label_names = list(rows.dataset.features["label"].names)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        row = self._rows[int(index)]
        return self._transform(*_content(row["image"])), int(row["label"])

    def _batches(self) -> Iterator[list[tuple[bytes, str]]]:
        """Yield the original bytes and a name for each image, `batch_size` images at a time."""
        for start in range(0, len(self), self.batch_size):
            yield [_content(image) for image in self._rows[start : start + self.batch_size]["image"]]

    def tensors(self, progress: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode the whole split, at most `batch_size` images at a time.

        Returns:
            Images float32 `[N, 3, H, W]`, ImageNet-normalised, and labels int64 `[N]`.
        """
        images, _ = self.decode(progress)
        return images, self.labels.clone()

    def decode(self, progress: bool = False) -> tuple[torch.Tensor, str]:
        """Return all images as in `tensors`, and a SHA-256 over labels, names and bytes of the files read."""
        images = torch.empty(len(self), 3, *self.im_size)
        digest, done = hashlib.sha256(), 0
        with (
            ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool,
            tqdm(total=len(self), desc="decoding images", unit="image", disable=not progress) as bar,
        ):
            for batch in self._batches():
                decoded = pool.map(lambda content: self._transform(*content), batch)
                for (data, _), image in zip(batch, decoded, strict=True):
                    images[done] = image
                    digest.update(f"{self.labels[done]}\t{self.file_names[done]}\t".encode())
                    digest.update(hashlib.sha256(data).digest())
                    done += 1
                bar.update(len(batch))
        return images, digest.hexdigest()

    def _transform(self, data: bytes, name: str) -> torch.Tensor:
        return preprocess(decode_rgb(data, name), self.im_size, self.antialias)


class CompDDData(NamedTuple):
    """What `load_comp_dd` returns, with the meaning of the published `get_dataset`."""

    channel: int
    im_size: tuple[int, int]
    num_classes: int
    dst_train: SubsetSplit
    dst_test: SubsetSplit
    class_map: dict[int, int]
    class_map_inv: dict[int, int]


def load_comp_dd(
    data_path: str | os.PathLike | None,
    category: str,
    subset: str,
    im_size: tuple[int, int] | int = (128, 128),
    batch_size: int = 256,
    *,
    published: bool = False,
    antialias: bool = True,
    cache_dir: str | os.PathLike | None = None,
) -> CompDDData:
    """Open a subset for training and testing students; nothing is decoded yet.

    Args:
        data_path: Folder of ImageNet; None takes the environment variable COMP_DD_IMAGENET, else the prepared subset.
        category: `bird`, `car`, `dog`, `fish`, `snake`, `insect`, `round` or `music`.
        subset: `easy` or `hard`.
        im_size: Height and width in pixels, or one number for both.
        batch_size: How many images are decoded at a time where a caller asks for all of them.
        published: Take `music-hard` as published, with nine classes.
        antialias: Resize with antialiasing (False: as torchvision did before 0.17).
        cache_dir: Cache to look for prepared subsets in; default: that of `datasets`.

    Returns:
        `channel, im_size, num_classes, dst_train, dst_test, class_map, class_map_inv`: 3, `im_size`, 10, the two
        splits, ImageNet index -> label, label -> ImageNet index.

    Raises:
        InputError: Unknown name, no such folder, a missing split or class folder, nothing prepared.
    """
    definition = load_subset(subset_name(category, subset), published=published)
    im_size = (im_size, im_size) if isinstance(im_size, int) else tuple(im_size)
    splits = [
        open_split(definition, split, data_path, im_size, batch_size, antialias=antialias, cache_dir=cache_dir)
        for split in ("train", "validation")
    ]
    return CompDDData(3, im_size, NUM_CLASSES, *splits, definition.class_map, definition.class_map_inv)


def open_split(
    subset: Subset,
    split: str,
    data_path: str | os.PathLike | None,
    im_size: tuple[int, int] = (128, 128),
    batch_size: int = 256,
    *,
    antialias: bool = True,
    cache_dir: str | os.PathLike | None = None,
) -> SubsetSplit:
    """Open one split (`train` or `validation`) of a subset; arguments and errors as in `load_comp_dd`."""
    require("im_size", " x ".join(map(str, im_size)), min(im_size) >= 1, "a number of pixels from 1")
    require("batch_size", batch_size, batch_size >= 1, "a number of images from 1")
    prepared = cache.find_prepared(cache.config_root(cache_dir, subset.name))
    path = find_imagenet(data_path)
    rows = _prepared_rows(subset, split, prepared) if path is None else _source_rows(subset, split, path, prepared)
    return SubsetSplit(rows, im_size, batch_size, antialias)


def _prepared_rows(subset: Subset, split: str, prepared: tuple[Path, cache.Record] | None) -> Rows:
    """Take what is prepared, where no ImageNet was given."""
    if prepared is None:
        raise InputError(f"{subset.name} is not prepared and no ImageNet was given. {IMAGENET_HELP}")
    folder, record = prepared
    if record.subset_digest != subset.digest:
        raise InputError(f"{folder}: made for another class list of {subset.name}; run `prepare` again")
    if split not in record.images:
        raise InputError(f"{folder}: has no {split} split, since {record.source} had none; prepare from a whole copy")
    return _read_prepared(folder, record, split)


def _source_rows(subset: Subset, split: str, path: Path, prepared: tuple[Path, cache.Record] | None) -> Rows:
    """Take the rows of the given ImageNet; from the cache if what lies there was made from just these rows."""
    source = open_source(path)
    if split not in source.splits:
        found = ", ".join(source.splits)
        raise InputError(f"{path}: no {split} images here, only {found}; give a copy of ImageNet that has both splits")
    rows = subset_rows(source, subset, split)
    if prepared is not None:
        folder, record = prepared
        if record.subset_digest == subset.digest and record.rows.get(split) == rows_digest(rows):
            return _read_prepared(folder, record, split)
    return Rows(_path_rows(subset, rows), str(path))


def _read_prepared(folder: Path, record: cache.Record, split: str) -> Rows:
    shards = sorted(name for name in record.files if name.startswith(f"{cache.DATASET_NAME}-{split}"))
    dataset = datasets.concatenate_datasets([datasets.Dataset.from_file(str(folder / name)) for name in shards])
    return Rows(dataset, f"{folder} (prepared from {record.source})")


def _path_rows(subset: Subset, rows: list[ImageRow]) -> datasets.Dataset:
    """Make a dataset that holds the paths of the images, with the features of the prepared one."""
    columns = {"image": [{"bytes": None, "path": row.location} for row in rows], **columns_of(subset, rows)}
    return datasets.Dataset.from_dict(columns, features=features_of(subset))


def _content(image: dict) -> tuple[bytes, str]:
    """Return the bytes of one stored image, read from its path if it holds only that, and a name for messages."""
    data = image["bytes"] if image["bytes"] is not None else read_bytes(image["path"])
    return data, image["path"]
