"""Read and validate the sixteen subset files and the table of ImageNet-1K synsets.

The lists are data (`subsets/*.json`, `subsets/synsets.tsv`); this module is their only reader and needs
nothing but the standard library. Sources of the data: class lists and complexity from the Comp-DD release
(NUS-HPC-AI-Lab/EDF, folder `comp-dd`, and its figure `stat.png`); numbers of training images from
google-research/meta-dataset.
"""

import csv
import functools
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from compdd_eval.errors import InputError, unknown

CATEGORIES = ("bird", "car", "dog", "fish", "snake", "insect", "round", "music")
DIFFICULTIES = ("easy", "hard")
SPLITS = ("train", "validation")
NUM_CLASSES = 10
VALIDATION_IMAGES_PER_CLASS = 50  # ILSVRC2012: 50,000 validation images, 50 a class
PUBLISHED_SUFFIX = "-published"
_PLURALS = {"birds": "bird", "cars": "car", "dogs": "dog"}  # as the reference's own tables spell them


@dataclass(frozen=True)
class Synset:
    """One ImageNet-1K class: index 0-999 (position of its WordNet id in sorted order), id, name, image count."""

    index: int
    wnid: str
    name: str
    train_images: int


@dataclass(frozen=True)
class SubsetClass:
    """One class of a subset: its label 0-9 and the ImageNet class behind it."""

    label: int
    imagenet_index: int
    wnid: str
    name: str
    train_images: int


@dataclass(frozen=True)
class Erratum:
    """Where a published class list differs from ours: the whole published list, one replaced label, and why."""

    published_imagenet_indices: tuple[int, ...]
    label: int
    published_imagenet_index: int
    replacement_imagenet_index: int
    reason: str
    published_splits: dict[str, int]


@dataclass(frozen=True)
class Subset:
    """One Comp-DD configuration.

    Attributes:
        name: Configuration name, such as `bird-easy`; the published nine-class list is `music-hard-published`.
        version: Version of the class list and of what is built from it.
        category: One of `CATEGORIES`.
        difficulty: One of `DIFFICULTIES`.
        classes: Classes in label order; ten, but for `music-hard-published`, which has labels 1-9 only.
        splits: Number of images that a complete ImageNet gives for `train` and `validation`.
        published_complexity_percent: Mean complexity of the classes as the published figure shows it, in percent.
        erratum: Set where our class list differs from the published one.
    """

    name: str
    version: str
    category: str
    difficulty: str
    classes: tuple[SubsetClass, ...]
    splits: dict[str, int]
    published_complexity_percent: float
    erratum: Erratum | None = None

    @property
    def label_names(self) -> list[str]:
        """Ten names in label order; a label without a class is called `unused label N`."""
        names = {c.label: c.name for c in self.classes}
        return [names.get(label, f"unused label {label}") for label in range(NUM_CLASSES)]

    @property
    def class_map(self) -> dict[int, int]:
        """ImageNet index -> label."""
        return {c.imagenet_index: c.label for c in self.classes}

    @property
    def class_map_inv(self) -> dict[int, int]:
        """Label -> ImageNet index."""
        return {c.label: c.imagenet_index for c in self.classes}

    @property
    def wnids(self) -> list[str]:
        """WordNet ids in label order."""
        return [c.wnid for c in self.classes]

    @property
    def digest(self) -> str:
        """Sixteen hex digits over what decides the built rows: name, version and the class list."""
        content = [self.name, self.version, [(c.label, c.imagenet_index, c.wnid, c.name) for c in self.classes]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def subsets_dir() -> Path:
    """Return the folder of the subset files: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "_subsets", package.parent / "subsets"):
        if (folder / "synsets.tsv").is_file():
            return folder
    raise FileNotFoundError(f"the subset files are neither in {package / '_subsets'} nor in {package.parent}/subsets")


def subset_names() -> list[str]:
    """Return the sixteen configuration names, `bird-easy` to `music-hard`."""
    return [f"{category}-{difficulty}" for category in CATEGORIES for difficulty in DIFFICULTIES]


def config_names() -> list[str]:
    """Return all names of prepared configurations: the sixteen, and the published lists that differ from ours."""
    names = []
    for name in subset_names():
        names += [name, name + PUBLISHED_SUFFIX] if load_subset(name).erratum else [name]
    return names


def subset_name(category: str, difficulty: str) -> str:
    """Return the configuration name for a category (the plurals birds, cars, dogs are accepted) and a subset.

    Raises:
        InputError: The category or the subset is unknown; the message names the nearest valid one.
    """
    category = _PLURALS.get(str(category).lower(), str(category).lower())
    if category not in CATEGORIES:
        raise unknown("category", category, CATEGORIES)
    if str(difficulty).lower() not in DIFFICULTIES:
        raise unknown("subset", difficulty, DIFFICULTIES)
    return f"{category}-{str(difficulty).lower()}"


@functools.cache
def synsets() -> tuple[Synset, ...]:
    """Return the 1000 ImageNet-1K classes in index order."""
    path = subsets_dir() / "synsets.tsv"
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    table = tuple(Synset(int(r["index"]), r["wnid"].strip(), r["name"].strip(), int(r["train_images"])) for r in rows)
    ids = [s.wnid for s in table]
    if len(table) != 1000 or ids != sorted(set(ids)) or [s.index for s in table] != list(range(1000)):
        raise InputError(f"{path}: expected 1000 distinct WordNet ids in sorted order with indices 0-999")
    return table


@functools.cache
def _synsets_by_id() -> dict[str, Synset]:
    return {synset.wnid: synset for synset in synsets()}


def synset_of(wnid: str) -> Synset:
    """Return the ImageNet-1K class of a WordNet id; raise InputError if it is none of them."""
    try:
        return _synsets_by_id()[wnid]
    except KeyError as error:
        raise InputError(f"{wnid}: no class of ImageNet-1K has this WordNet id") from error


@functools.cache
def load_subset(name: str, published: bool = False) -> Subset:
    """Return one subset, validated.

    Args:
        name: Configuration name; `music-hard-published` is the same as `music-hard` with `published=True`.
        published: Take the class list exactly as published where an erratum changes it (`music-hard`: nine
            classes). Subsets without an erratum are the same either way.

    Raises:
        InputError: Unknown name, or a subset file that is not valid.
    """
    if name.endswith(PUBLISHED_SUFFIX):
        name, published = name.removesuffix(PUBLISHED_SUFFIX), True
        if name in subset_names() and load_subset(name).erratum is None:
            raise InputError(f"{name}{PUBLISHED_SUFFIX}: {name} has no erratum; its published list is {name} itself")
    if name not in subset_names():
        raise unknown("subset", name, subset_names())
    path = subsets_dir() / f"{name}.json"
    with open(path, encoding="utf-8") as file:
        subset = _parse(json.load(file), path)
    return _as_published(subset) if published and subset.erratum else subset


def _parse(data: dict, path: Path) -> Subset:
    """Turn the content of one subset file into a `Subset`, or say what is wrong with it."""
    try:
        erratum = data.get("erratum")
        if erratum:
            erratum = Erratum(**{**erratum, "published_imagenet_indices": tuple(erratum["published_imagenet_indices"])})
        classes = tuple(SubsetClass(**c) for c in data["classes"])
        subset = Subset(**{**data, "classes": classes, "erratum": erratum})
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a subset file ({error})") from error
    _check(subset, path)
    return subset


def _check(subset: Subset, path: Path) -> None:
    """Check one subset against its file name, the synset table and its own totals."""
    table = synsets()
    wrong = None
    if subset.name != path.stem or subset.name != f"{subset.category}-{subset.difficulty}":
        wrong = f"name {subset.name!r} does not match the file, category and difficulty"
    elif [c.label for c in subset.classes] != list(range(NUM_CLASSES)):
        wrong = f"labels must be 0-{NUM_CLASSES - 1} in order"
    elif len({c.imagenet_index for c in subset.classes}) != NUM_CLASSES:
        wrong = f"expected {NUM_CLASSES} distinct classes"
    elif any(table[c.imagenet_index] != _synset_of(c) for c in subset.classes):
        wrong = "a class differs from the table of synsets"
    elif subset.splits != _split_sizes(subset.classes):
        wrong = f"split sizes {subset.splits} are not the sums over the classes"
    if wrong:
        raise InputError(f"{path}: {wrong}")


def _synset_of(entry: SubsetClass) -> Synset:
    return Synset(entry.imagenet_index, entry.wnid, entry.name, entry.train_images)


def _split_sizes(classes: tuple[SubsetClass, ...]) -> dict[str, int]:
    train = sum(c.train_images for c in classes)
    return {"train": train, "validation": VALIDATION_IMAGES_PER_CLASS * len(classes)}


def _as_published(subset: Subset) -> Subset:
    """Rebuild a subset from the published list, in which a repeated index keeps its last label."""
    table = synsets()
    labels = {index: label for label, index in enumerate(subset.erratum.published_imagenet_indices)}
    rows = sorted((label, table[index]) for index, label in labels.items())
    classes = tuple(SubsetClass(label, s.index, s.wnid, s.name, s.train_images) for label, s in rows)
    if subset.erratum.published_splits != _split_sizes(classes):
        raise InputError(f"{subset.name}: the published split sizes are not the sums over the published classes")
    name = subset.name + PUBLISHED_SUFFIX
    return replace(subset, name=name, classes=classes, splits=subset.erratum.published_splits)
