"""Read and validate the sixteen subset files, those of a user's own, and the table of ImageNet-1K synsets.

The lists are data (`subsets/*.json`, `subsets/synsets.tsv`); this module is their only reader and needs
nothing but the standard library. Sources of the data: class lists and complexity from the Comp-DD release
(NUS-HPC-AI-Lab/EDF, folder `comp-dd`, and its figure `stat.png`); numbers of training images from
google-research/meta-dataset.

A list of a user's own gets a name that holds eight digits of a digest of its classes, such as `bird-1a2b3c4d-easy`.
So results, caches and distilled sets that were made for it never pass for those of another list.
"""

import csv
import functools
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from compdd_eval.errors import InputError, unknown

CATEGORIES = ("bird", "car", "dog", "fish", "snake", "insect", "round", "music")
DIFFICULTIES = ("easy", "hard")
SPLITS = ("train", "validation")
NUM_CLASSES = 10
VALIDATION_IMAGES_PER_CLASS = 50  # ILSVRC2012: 50,000 validation images, 50 a class
PUBLISHED_SUFFIX = "-published"
OWN_CATEGORY = re.compile(r"-[0-9a-f]{8}$")  # what ends the category of a user's own list
_own: dict[str, "Subset"] = {}  # the user's own lists that were read: a name that holds a digest has one meaning
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
        name: Configuration name, such as `bird-easy`; the published nine-class list is `music-hard-published`, a
            list of a user's own `bird-1a2b3c4d-easy`.
        version: Version of the class list and of what is built from it.
        category: One of `CATEGORIES`; of a user's own list its category and the digits, `bird-1a2b3c4d`.
        difficulty: One of `DIFFICULTIES`.
        classes: Classes in label order; ten, but for `music-hard-published`, which has labels 1-9 only.
        splits: Number of images that a complete ImageNet gives for `train` and `validation`.
        published_complexity_percent: Mean complexity of the classes as the published figure shows it, in percent; in
            a file that `select` wrote, the one that was measured.
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
        """Ten distinct names in label order; a label without a class is called `unused label N`."""
        counts = Counter(c.name for c in self.classes)  # of a user's own list two classes may be called alike
        names = {c.label: c.name if counts[c.name] == 1 else f"{c.name} {c.wnid}" for c in self.classes}
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


@functools.cache
def candidates() -> dict[str, tuple[str, ...]]:
    """Return the WordNet ids of the candidate classes of each category, out of `categories.json`."""
    content = json.loads((subsets_dir() / "categories.json").read_text(encoding="utf-8"))
    return {category: tuple(entry["wnids"]) for category, entry in content["categories"].items()}


def subset_names() -> list[str]:
    """Return the sixteen configuration names, `bird-easy` to `music-hard`."""
    return [f"{category}-{difficulty}" for category in CATEGORIES for difficulty in DIFFICULTIES]


def config_names() -> list[str]:
    """Return all names of prepared configurations: the sixteen, and the published lists that differ from ours."""
    names = []
    for name in subset_names():
        names += [name, name + PUBLISHED_SUFFIX] if load_subset(name).erratum else [name]
    return names


def singular(category: str) -> str:
    """Return a category in lower case, and of the plurals birds, cars, dogs the singular; it may still be unknown."""
    return _PLURALS.get(str(category).lower(), str(category).lower())


def subset_name(category: str, difficulty: str) -> str:
    """Return the configuration name for a category (the plurals birds, cars, dogs are accepted) and a subset.

    The full category of a user's own list, such as `bird-1a2b3c4d`, is known once that list was read.

    Raises:
        InputError: The category or the subset is unknown; the message names the nearest valid one.
    """
    if f"{category}-{difficulty}" in _own:
        return f"{category}-{difficulty}"
    category = singular(category)
    if category not in CATEGORIES:
        _refuse_own(category)
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


def _refuse_own(category: str) -> None:
    """Raise InputError for the full category of a list that was not read yet."""
    if OWN_CATEGORY.search(category):
        raise InputError(f"{category}: a list of a user's own; give its --subsets_dir, --category and --subset")


def _cached_without_folder(load: Callable[..., "Subset"]) -> Callable[..., "Subset"]:
    """Read each of the benchmark's own files once; a user's own may change."""
    cached = functools.cache(load)

    @functools.wraps(load)
    def load_once(name: str, published: bool = False, subsets_dir: str | os.PathLike | None = None) -> Subset:
        if subsets_dir is not None:
            return load(name, published, subsets_dir)
        return _own[name] if name in _own else cached(name, published)

    return load_once


@_cached_without_folder
def load_subset(name: str, published: bool = False, subsets_dir: str | os.PathLike | None = None) -> Subset:
    """Return one subset, validated.

    Args:
        name: Configuration name; `music-hard-published` is the same as `music-hard` with `published=True`. Of a
            user's own list the name of its file, or, once that was read, its full one.
        published: Take the class list exactly as published where an erratum changes it (`music-hard`: nine
            classes). Subsets without an erratum are the same either way.
        subsets_dir: A folder with subset files of a user's own, such as `select` writes; only these are taken then.

    Raises:
        InputError: Unknown name, or a subset file that is not valid.
    """
    if subsets_dir is not None:
        return _load_own(name, published, Path(subsets_dir).expanduser())
    if name.endswith(PUBLISHED_SUFFIX):
        name, published = name.removesuffix(PUBLISHED_SUFFIX), True
        if name in subset_names() and load_subset(name).erratum is None:
            raise InputError(f"{name}{PUBLISHED_SUFFIX}: {name} has no erratum; its published list is {name} itself")
    if name not in subset_names():
        _refuse_own(name.rpartition("-")[0])
        raise unknown("subset", name, subset_names())
    subset = _read(_benchmark_file(name))
    return _as_published(subset) if published and subset.erratum else subset


def _benchmark_file(name: str) -> Path:
    return subsets_dir() / f"{name}.json"


def own_names(folder: Path) -> list[str]:
    """Return the names of the subset files in a folder of a user's own; raise InputError where there are none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --subsets_dir takes one with files such as bird-easy.json")
    names = sorted(path.stem for difficulty in DIFFICULTIES for path in folder.glob(f"[!.]*-{difficulty}.json"))
    if not names:
        raise InputError(f"{folder}: no subset files here; expected names such as bird-easy.json")
    return names


def _load_own(name: str, published: bool, folder: Path) -> Subset:
    """Read a user's own file, and give its list a name that no other has."""
    names = own_names(folder)
    if published:
        raise InputError(f"{folder}: lists of a user's own have no published variant; leave --published out")
    if name not in names:
        raise unknown(f"subset in {folder}", name, names)
    subset = _read(folder / f"{name}.json")
    category = f"{subset.category}-{subset.digest[:8]}"
    subset = replace(subset, name=f"{category}-{subset.difficulty}", category=category)
    return _own.setdefault(subset.name, subset)


def _read(path: Path) -> Subset:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a subset file (no JSON: {error})") from error
    return _parse(data, path)


def _parse(data: object, path: Path) -> Subset:
    """Turn the content of one subset file into a `Subset`, or say what is wrong with it."""
    try:
        if not isinstance(data, dict):
            raise TypeError(f"a {type(data).__name__}, expected settings by name")
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
    wrong = None
    if subset.name != path.stem or subset.name != f"{subset.category}-{subset.difficulty}":
        wrong = f"name {subset.name!r} does not match the file, category and difficulty"
    elif not is_category(subset.category) or subset.difficulty not in DIFFICULTIES:
        wrong = f"expected a name of letters, digits, '_', '.' and '-', then {' or '.join(DIFFICULTIES)}"
    elif not isinstance(subset.version, str) or not re.fullmatch(r"\d+\.\d+\.\d+", subset.version):
        wrong = f"version {subset.version!r}, expected three numbers such as '1.0.0'"
    elif type(subset.published_complexity_percent) not in (int, float):
        wrong = f"published_complexity_percent {subset.published_complexity_percent!r}, expected a number"
    elif [c.label for c in subset.classes] != list(range(NUM_CLASSES)):
        wrong = f"labels must be 0-{NUM_CLASSES - 1} in order"
    elif not all(_is_known(c) for c in subset.classes):
        wrong = "a class differs from the table of synsets"
    elif len({c.imagenet_index for c in subset.classes}) != NUM_CLASSES:
        wrong = f"expected {NUM_CLASSES} distinct classes"
    elif subset.splits != _split_sizes(subset.classes):
        wrong = f"split sizes {subset.splits} are not the sums over the classes"
    if wrong:
        raise InputError(f"{path}: {wrong}")


def is_category(name: object) -> bool:
    """Whether a category may be called so: it becomes a part of names of files and folders."""
    return isinstance(name, str) and re.fullmatch(r"\w[\w.-]{0,99}", name, re.ASCII) is not None


def _is_known(entry: SubsetClass) -> bool:
    index, table = entry.imagenet_index, synsets()
    return type(index) is int and 0 <= index < len(table) and table[index] == _synset_of(entry)


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
