"""Real images for students: a split of a subset as normalised tensors, decoded when they are asked for."""

import contextlib
import hashlib
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import datasets
import pyarrow.compute as pc
import torch
from tqdm.auto import tqdm

from compdd_eval.data.features import columns_of
from compdd_eval.data.imagenet.open import find_imagenet, open_source
from compdd_eval.data.imagenet.reader import Reader, read_linked, subset_rows
from compdd_eval.data.imagenet.rows import ImageRow, rows_digest
from compdd_eval.data.prepared import Record, config_root, find_prepared, not_prepared, open_arrow
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.subsets import SPLITS, selected_subset
from compdd_eval.data.transforms import decode_rgb, preprocess
from compdd_eval.utils.errors import InputError, require


class StoredImages:
    """The images of one split, undecoded: those of a prepared subset."""

    def __init__(self, dataset: datasets.Dataset, origin: str) -> None:
        self._images = dataset.select_columns("image").cast_column("image", datasets.Image(decode=False))
        self.labels: list[int] = dataset["label"][:]
        self.file_names: list[str] = dataset["file_name"][:]
        self.origin = origin

    def read(self, index: int) -> tuple[bytes, str]:
        """Return the original bytes of one image and a name for messages."""
        return _content(self._images[index]["image"])

    @property
    def stored_bytes(self) -> int | None:
        """Bytes of all images; None where only their paths are held."""
        # the Arrow column itself: nothing is copied into Python objects, however large the images are
        data = pc.struct_field(self._images.data.column("image"), "bytes")
        return None if data.null_count else pc.sum(pc.binary_length(data)).as_py()

    def read_all(self, batch_size: int) -> Iterator[tuple[int, bytes, str]]:
        """Yield position, original bytes and a name of every image; `batch_size` are held at a time."""
        for start in range(0, len(self.labels), batch_size):
            for number, image in enumerate(self._images[start : start + batch_size]["image"]):
                yield start + number, *_content(image)


class SourceImages:
    """The images of one split, undecoded: those of a copy of ImageNet."""

    def __init__(self, source: Reader, subset: Subset, rows: list[ImageRow]) -> None:
        columns = columns_of(subset, rows)
        self._source, self._rows = source, rows
        self.labels: list[int] = columns["label"]
        self.file_names: list[str] = columns["file_name"]
        self.origin = source.root

    def read(self, index: int) -> tuple[bytes, str]:
        """Return the original bytes of one image and a name for messages."""
        row = self._rows[index]
        return self._source.read(row), row.location

    @property
    def stored_bytes(self) -> int | None:
        """Bytes of all images; None where only reading them tells."""
        sizes = [row.size for row in self._rows]
        return None if None in sizes else sum(sizes)

    def read_all(self, batch_size: int) -> Iterator[tuple[int, bytes, str]]:
        """Yield position, original bytes and a name of every image, in the order that is fastest to read."""
        for position, data in self._source.read_many(self._rows):
            yield position, data, self._rows[position].location


class SubsetSplit(torch.utils.data.Dataset):
    """One split of a subset; item i is `(float32 [3, H, W] ImageNet-normalised, int label 0-9)`.

    Nothing is decoded before it is asked for.

    Attributes:
        labels: int64 `[N]`.
        file_names: Official names of the images.
        subset: The subset that this is a split of.
        label_names: Ten class names in label order.
        origin: Where the images come from, in words.
    """

    def __init__(
        self,
        images: StoredImages | SourceImages,
        subset: Subset,
        im_size: tuple[int, int],
        batch_size: int,
        antialias: bool = True,
        resize: str = "squash",
    ) -> None:
        require("im_size", " x ".join(map(str, im_size)), min(im_size) >= 1, "a number of pixels from 1")
        require("batch_size", batch_size, batch_size >= 1, "a number of images from 1")
        self._images, self.subset, self.label_names, self.origin = images, subset, subset.label_names, images.origin
        self.im_size, self.antialias, self.resize, self.batch_size = im_size, antialias, resize, batch_size
        self.labels = torch.tensor(images.labels, dtype=torch.int64)
        self.file_names = images.file_names

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def stored_bytes(self) -> int | None:
        """Bytes of the original images, where they are known without reading them."""
        return self._images.stored_bytes

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        index = range(len(self))[index]  # negative ones count from the end; IndexError ends a plain `for`
        return self._transform(*self._images.read(index)), int(self.labels[index])

    def original(self, index: int) -> torch.Tensor:
        """Return an image as it is stored, uint8 `[3, H, W]`, RGB."""
        return decode_rgb(*self._images.read(index))

    def tensors(self, progress: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode the whole split, at most `batch_size` images at a time.

        Returns:
            Images float32 `[N, 3, H, W]`, ImageNet-normalised, and labels int64 `[N]`.
        """
        images, _ = self.decode(progress)
        return images, self.labels.clone()

    def decode(self, progress: bool = False) -> tuple[torch.Tensor, str]:
        """Return all images as in `tensors`, and a SHA-256 over label, official name and bytes of every image."""
        images = torch.empty(len(self), 3, *self.im_size)
        digests = [b""] * len(self)

        def decode_into(position: int, data: bytes, name: str) -> None:
            images[position] = self._transform(data, name)
            digests[position] = hashlib.sha256(data).digest()

        # one thread reads, in the order fastest for the source; several decode, since decoders let go of the GIL;
        # a batch at a time bounds the memory that undecoded images take
        contents = self._images.read_all(self.batch_size)
        with (
            _one_thread_an_image() as pool,
            tqdm(total=len(self), desc="decoding images", unit="image", disable=not progress) as bar,
        ):
            while batch := list(itertools.islice(contents, self.batch_size)):
                for done in [pool.submit(decode_into, *content) for content in batch]:
                    done.result()
                bar.update(len(batch))
        return images, self._digest(range(len(self)), digests)

    def digest(self) -> str:
        """Return the SHA-256 that `decode` returns, without decoding."""
        digests = [b""] * len(self)
        for position, data, _ in self._images.read_all(self.batch_size):
            digests[position] = hashlib.sha256(data).digest()
        return self._digest(range(len(self)), digests)

    def digest_of(self, indices: list[int]) -> str:
        """Return a SHA-256 over label, official name and bytes of some images."""
        return self._digest(indices, [hashlib.sha256(self._images.read(index)[0]).digest() for index in indices])

    def _digest(self, indices: Sequence[int], contents: list[bytes]) -> str:
        # over digests, not bytes: they arrive in the source's order, and are summed up in the split's
        digest = hashlib.sha256()
        for index, content in zip(indices, contents, strict=True):
            digest.update(f"{self._images.labels[index]}\t{self.file_names[index]}\t".encode() + content)
        return digest.hexdigest()

    def _transform(self, data: bytes, name: str) -> torch.Tensor:
        return preprocess(decode_rgb(data, name), self.im_size, self.antialias, self.resize)


@contextlib.contextmanager
def _one_thread_an_image() -> Iterator[ThreadPoolExecutor]:
    """Lend a pool that decodes as many images at a time as torch has threads, each with one of them."""
    # resizing one image on several torch threads is slower than several images on one thread each
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


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
    data_path: str | os.PathLike | None = None,
    category: str | None = None,
    subset: str | None = None,
    im_size: tuple[int, int] | int = (128, 128),
    batch_size: int = 256,
    *,
    published: bool = False,
    classes: str | Sequence[str | int] | None = None,
    subsets_dir: str | os.PathLike | None = None,
    antialias: bool = True,
    layout: str = "auto",
    cache_dir: str | os.PathLike | None = None,
) -> CompDDData:
    """Open a subset for training and testing students; nothing is decoded yet.

        data = load_comp_dd("bird-easy", im_size=128)  # what is prepared; load_comp_dd(PATH, "bird-easy") reads a copy
        images, labels = data.dst_test.tensors()

    Args:
        data_path: A copy of ImageNet, as in `compdd_eval.data.imagenet.open.find_imagenet`; "prepared" takes the
            prepared subset, None the environment variable COMP_DD_IMAGENET, else the prepared subset. The name of
            a subset that stands here alone is the category, and this is None.
        category: `bird`, `car`, `dog`, `fish`, `snake`, `insect`, `round` or `music`; or with the subset in one word:
            `bird-easy`, `music-hard-published`, `nette`.
        subset: `easy` or `hard`.
        im_size: Height and width in pixels, or one number for both.
        batch_size: How many images are decoded at a time where a caller asks for all of them.
        published: Take `music-hard` as published, with nine classes.
        classes: In place of category and subset: ten WordNet ids, ImageNet indices or names of classes, for labels 0-9,
            or a list that the field uses, such as `nette`.
        subsets_dir: A folder with subset files of a user's own, of which category and subset name one.
        antialias: Resize with antialiasing (False: as torchvision did before 0.17).
        layout: How that copy is stored; "auto" looks at it.
        cache_dir: Cache to look for prepared subsets in; default: that of `datasets`.

    Returns:
        `channel, im_size, num_classes, dst_train, dst_test, class_map, class_map_inv`: 3, `im_size`, 10, the two
        splits, ImageNet index -> label, label -> ImageNet index.

    Raises:
        InputError: Unknown name, no such folder, a missing split or class folder, nothing prepared.
    """
    if category is subset is classes is None and _is_name(data_path):
        data_path, category = None, data_path
    chosen = {"category": category, "subset": subset, "published": published}
    definition = selected_subset({**chosen, "classes": classes, "subsets_dir": subsets_dir})
    if definition is None:
        raise InputError("category is missing; give one subset, for example 'bird-easy', or classes")
    im_size = (im_size, im_size) if isinstance(im_size, int) else tuple(im_size)
    source = _open_given(data_path, layout)
    splits = [
        SubsetSplit(_open_images(definition, split, source, cache_dir), definition, im_size, batch_size, antialias)
        for split in SPLITS
    ]
    return CompDDData(3, im_size, NUM_CLASSES, *splits, definition.class_map, definition.class_map_inv)


def _is_name(place: object) -> bool:
    """Whether a text is the name of a subset, or wrongly one, and no place with images."""
    is_place = not isinstance(place, str) or place == "prepared" or re.search(r"[\\/]", place) or os.path.exists(place)
    return not is_place


def open_split(
    subset: Subset,
    split: str,
    data_path: str | os.PathLike | None,
    im_size: tuple[int, int] = (128, 128),
    batch_size: int = 256,
    *,
    antialias: bool = True,
    resize: str = "squash",
    layout: str = "auto",
    cache_dir: str | os.PathLike | None = None,
) -> SubsetSplit:
    """Open one split (`train` or `validation`) of a subset; arguments and errors as in `load_comp_dd`.

    `resize` is that of `preprocess`.
    """
    images = _open_images(subset, split, _open_given(data_path, layout), cache_dir)
    return SubsetSplit(images, subset, im_size, batch_size, antialias, resize)


def images_at_hand(subset: Subset, data_path: str | os.PathLike | None) -> bool:
    """Whether `open_split` has something to open: what is given, ImageNet of the environment, or what is prepared."""
    if data_path is not None or find_imagenet(None) is not None:
        return True
    return find_prepared(config_root(None, subset.name)) is not None


def _open_given(data_path: str | os.PathLike | None, layout: str) -> Reader | None:
    """Open the copy of ImageNet that is given, as an argument or in the environment; None: what is prepared counts."""
    return None if find_imagenet(data_path) is None else open_source(data_path, layout)


def _open_images(
    subset: Subset, split: str, source: Reader | None, cache_dir: str | os.PathLike | None
) -> StoredImages | SourceImages:
    """Take the images of a source, or else what is prepared."""
    prepared = find_prepared(config_root(cache_dir, subset.name))
    if source is not None:
        return _source_images(subset, split, source, prepared)
    if prepared is None:  # nothing was given: what is prepared is all there is
        raise not_prepared([subset], cache_dir)
    folder, record = prepared
    if record.subset_digest != subset.digest:
        raise InputError(f"{folder}: made for another class list of {subset.name}; run `prepare` again")
    if split not in record.images:
        raise InputError(f"{folder}: has no {split} split, since {record.source} had none; prepare from a whole copy")
    return _read_prepared(folder, record, split)


def _source_images(
    subset: Subset, split: str, source: Reader, prepared: tuple[Path, Record] | None
) -> StoredImages | SourceImages:
    """Take the rows of the given ImageNet; from the cache if what lies there was made from just these rows."""
    if split not in source.splits:
        found = ", ".join(source.splits)
        raise InputError(f"{source.root}: no {split} images here, only {found}; give a copy that has both splits")
    rows = subset_rows(source, subset, split)
    # the copy that is given decides which images are meant; the cache is only a faster way to the very same ones
    if prepared is not None:
        folder, record = prepared
        # links lead to the copy that they were made from, which may have changed, or be another than the one given
        if not record.linked and record.subset_digest == subset.digest and record.holds(split, rows_digest(rows)):
            return _read_prepared(folder, record, split)
    return SourceImages(source, subset, rows)


def _read_prepared(folder: Path, record: Record, split: str) -> StoredImages:
    dataset = open_arrow(folder, record, split)
    return StoredImages(dataset, f"{folder} (prepared from {record.source})")


def _content(image: dict) -> tuple[bytes, str]:
    """Return the bytes of one stored image, read from its path if it holds only that, and a name for messages."""
    if image["bytes"] is not None:
        return image["bytes"], image["path"]
    return read_linked(image["path"]), image["path"]
