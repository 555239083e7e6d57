"""Images by class, for the measure: a copy of ImageNet in any layout, class folders, or a dataset with labels."""

import functools
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from compdd_eval.complexity.prepared_images import PreparedSource
from compdd_eval.config.checks import comma_parts
from compdd_eval.config.complexity import ComplexityConfig
from compdd_eval.data.imagenet.image_folder import CLASS_FOLDER, SPLIT_FOLDERS, split_folders
from compdd_eval.data.imagenet.open import find_imagenet, open_source
from compdd_eval.data.imagenet.reader import Reader, read_bytes
from compdd_eval.data.subsets import candidates, config_names, load_subset, related_names, subset_names
from compdd_eval.data.synsets import Synset, find_synset, synset_of, synsets
from compdd_eval.utils.digests import digest_of
from compdd_eval.utils.errors import InputError, first_line

_logger = logging.getLogger(__name__)
_LABEL_COLUMNS = ("label", "labels", "fine_label")
_IMAGE_COLUMNS = ("image", "img")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class ClassImages:
    """The images of one class, not yet read.

    Attributes:
        label: ImageNet index 0-999; of other data, the index of the class there.
        wnid: WordNet id; empty where it is no class of ImageNet.
        name: Name of the class.
        keys: Of each image: its official name, or its path or position in the data.
        read: Positions -> `(position, bytes of the file)` of these images, in any order.
        sizes: Of each image, what tells its file from another of that name.
    """

    label: int
    wnid: str
    name: str
    keys: list[str]
    read: Callable[[list[int]], Iterator[tuple[int, bytes]]]
    sizes: list[object] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Twelve hex digits over which images these are, by name and, where it is known, size."""
        return digest_of([self.label, self.wnid, self.name, self.keys, self.sizes])

    def drawn(self, number: int | None, seed: int) -> list[int]:
        """Return the positions of so many images, drawn by a seed; of all, where there are no more or None is asked."""
        if number is None or number >= len(self.keys):
            return list(range(len(self.keys)))
        generator = torch.Generator().manual_seed(seed * 1000 + self.label)
        return torch.randperm(len(self.keys), generator=generator)[:number].sort().values.tolist()


@dataclass(frozen=True)
class LabelledImages:
    """What is scored.

    Attributes:
        classes: In the order of their labels.
        origin: Where they come from, in words.
        imagenet: Whether the labels are ImageNet indices.
        identity: What scores of other data must not be mixed with.
    """

    classes: list[ClassImages]
    origin: str
    imagenet: bool
    identity: str


def open_images(config: ComplexityConfig) -> LabelledImages:
    """Open what --data_path names, or else what `evaluate` takes: ImageNet of the environment, what is prepared.

    Raises:
        InputError: Nothing is there or prepared, no layout is known, no class is asked for that it has.
    """
    given = find_imagenet(config.data_path)
    if given is None:
        return _imagenet(config, PreparedSource())
    if isinstance(given, str) and given.lower() != "ilsvrc/imagenet-1k":
        if config.layout != "auto":
            raise InputError(f"--layout {config.layout}: {given} is a dataset on the Hub; leave the flag out")
        return _dataset(config, given)
    if isinstance(given, Path) and config.layout == "auto" and _is_other_data(given):
        return _dataset(config, "imagefolder", str(given))
    return _imagenet(config, open_source(config.data_path, config.layout))


def _imagenet(config: ComplexityConfig, source: Reader) -> LabelledImages:
    split = config.split
    if split not in source.splits:
        raise InputError(f"{source.root}: no {split} images; --split is one of {', '.join(source.splits)}")
    wanted = _wanted(config)
    there = [wnid for wnid in wanted if source.class_count(split, [wnid])]
    if not there:
        raise InputError(f"{source.root}: no {split} images of any class that is asked for; see --classes, --category")
    missing = len(wanted) - len(there)
    if missing and config.classes != "all":
        names = ", ".join(synset_of(wnid).name for wnid in wanted if wnid not in there)
        _logger.warning(f"{source.root}: {missing} of {len(wanted)} classes have no {split} images: {names}")
    classes = [_of_class(source, split, synset_of(wnid)) for wnid in there]
    return LabelledImages(sorted(classes, key=lambda entry: entry.label), f"{source.root}, {split}", True, "ImageNet")


def _of_class(source: Reader, split: str, synset: Synset) -> ClassImages:
    rows = source.rows(split, synset.wnid)

    def read(positions: list[int]) -> Iterator[tuple[int, bytes]]:
        for place, data in source.read_many([rows[position] for position in positions]):
            yield positions[place], data

    sizes = [f"{row.stamp}:{row.start}" if row.size is None else row.size for row in rows]
    return ClassImages(synset.index, synset.wnid, synset.name, [row.file_name for row in rows], read, sizes)


def _wanted(config: ComplexityConfig) -> list[str]:
    """Return the WordNet ids that the flags ask for, each once."""
    if config.subset is not None:
        return load_subset(f"{config.category}-{config.subset}").wnids
    if config.category is not None:
        return candidates()[config.category]
    if config.classes == "all":
        return [synset.wnid for synset in synsets()]
    if config.classes == "published":
        return list(dict.fromkeys(wnid for name in subset_names() for wnid in load_subset(name).wnids))
    return list(dict.fromkeys(wnid for part in comma_parts(config.classes) for wnid in _named(part)))


def _named(text: str) -> list[str]:
    """Return the WordNet ids of a named list, or of one class given as WordNet id, ImageNet index or name."""
    lists = [*related_names(), *config_names()]
    return load_subset(text).wnids if text in lists else [find_synset(text, "--classes", lists).wnid]


def _is_other_data(folder: Path) -> bool:
    """Whether a folder holds class folders that are not called by WordNet ids, perhaps below train/ and others."""
    names = {"test"}.union(*SPLIT_FOLDERS.values())
    splits = [entry for entry in folder.iterdir() if entry.is_dir() and entry.name in names]
    split_folders(folder)  # refuses two folders of one split, which would be read as one
    for split in splits or [folder]:
        classes = [entry for entry in split.glob("[!.]*") if entry.is_dir()]
        if not classes or any(CLASS_FOLDER.fullmatch(entry.name) for entry in classes):
            return False
        if not any(file.name.lower().endswith(_SUFFIXES) for entry in classes for file in os.scandir(entry)):
            return False
    return not any(entry.suffix in (".tar", ".parquet") for entry in folder.iterdir())


def _dataset(config: ComplexityConfig, path: str, folder: str | None = None) -> LabelledImages:
    """Open a dataset of `datasets`: class folders, or a repository on the Hub."""
    import datasets

    place = folder or path
    if config.category is not None or config.classes not in ("published", "all"):
        raise InputError(f"{place}: is not ImageNet, all of its classes are scored; leave out --category and --classes")
    try:
        data = datasets.load_dataset(path, data_dir=folder, split=config.split)
    except Exception as error:
        raise InputError(f"{place}: split {config.split!r} cannot be loaded ({first_line(error)})") from error
    image, label = _columns(data.features, place)
    labels, names = data[label], data.features[label].names
    undecoded = data.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    by_label: dict[int, list[int]] = {}
    for position, value in enumerate(labels):
        by_label.setdefault(value, []).append(position)
    if -1 in by_label or None in by_label:
        raise InputError(f"{place}: split {config.split!r} has images without a label; give another --split")
    files = [entry["path"] for entry in undecoded[:][image]] if folder else []
    classes = []
    for value, members in sorted(by_label.items()):
        keys = [os.path.relpath(files[m], folder) if folder else f"{config.split}/{m}" for m in members]
        sizes = [os.path.getsize(files[m]) for m in members] if folder else [data._fingerprint]
        read = functools.partial(_read_rows, undecoded, image, members, place, folder is not None)
        classes.append(ClassImages(value, "", names[value], keys, read, sizes))
    return LabelledImages(classes, f"{place}, {config.split}", False, str(place))


def _columns(features: dict[str, object], place: str) -> tuple[str, str]:
    """Return the names of the columns of images and of labels."""
    import datasets

    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    label = next((name for name in _LABEL_COLUMNS if name in labels), labels[0] if len(labels) == 1 else None)
    image = next((name for name in _IMAGE_COLUMNS if name in images), images[0] if len(images) == 1 else None)
    if image is None or label is None:
        found = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
        raise InputError(f"{place}: expected a column of images and one of class labels, found {found}")
    return image, label


def _read_rows(
    data: object, column: str, places: list[int], origin: str, local: bool, positions: list[int]
) -> Iterator[tuple[int, bytes]]:
    """Read images of one class, whose rows are `places`; only those of a local folder may be files beside the data."""
    for position in positions:
        image = data[places[position]][column]
        if image is not None and image["bytes"] is not None:
            yield position, image["bytes"]
        elif image is not None and local and os.path.isfile(image["path"] or ""):
            yield position, read_bytes(image["path"])
        else:
            raise InputError(f"{origin}: row {places[position]} holds no image; mend the data or give another split")
