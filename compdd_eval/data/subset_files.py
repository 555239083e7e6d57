"""What a subset is, and the only reader of a subset file; an error names the class and the field."""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from compdd_eval.data.synsets import Synset, find_synset, synset_of
from compdd_eval.utils.errors import InputError, unknown
from compdd_eval.utils.files import read_json

DIFFICULTIES = ("easy", "hard")
NUM_CLASSES = 10
VALIDATION_IMAGES_PER_CLASS = 50  # ILSVRC2012: 50,000 validation images, 50 a class
PUBLISHED_SUFFIX = "-published"
VERSION = "1.0.0"  # of a list whose file says none, and of every list of a user's own: its digest tells it apart
OWN_CATEGORY = re.compile(r"-[0-9a-f]{8}$")  # what ends the category of a user's own list, or the name of ten classes


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
    """Ten classes in label order: a Comp-DD configuration, a related list, or one of a user's own.

    Attributes:
        name: Configuration name, such as `bird-easy`; the published nine-class list is `music-hard-published`, a
            related list `nette`; of a user's own, a list out of a file is `bird-1a2b3c4d-easy`, ten classes are
            `own-1a2b3c4d`.
        version: Version of the class list and of what is built from it.
        category: One of `CATEGORIES`; of a user's own file its category and the digits, `bird-1a2b3c4d`; else None.
        difficulty: One of `DIFFICULTIES`, or None where there is no category.
        classes: Classes in label order; ten, but for `music-hard-published`, which has labels 1-9 only.
        splits: Number of images that a complete ImageNet gives for `train` and `validation`.
        published_complexity_percent: Mean complexity of the classes as the published figure shows it, in percent; in
            a file that `select` wrote, the one that was measured; None where it is not known.
        erratum: Set where our class list differs from the published one.
        paper: Of a related list, where it was published.
        source: Of a related list, the code that it was taken from.
    """

    name: str
    version: str
    category: str | None
    difficulty: str | None
    classes: tuple[SubsetClass, ...]
    splits: dict[str, int]
    published_complexity_percent: float | None = None
    erratum: Erratum | None = None
    paper: str | None = None
    source: str | None = None

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

    @property
    def selection(self) -> dict[str, object]:
        """What selects it among settings and in the metadata of a set, in any process; only what is needed.

        `category` and `subset` (and `published`), or `classes`: the name of a related list, or ten WordNet ids joined
        by commas. A list out of a user's own file has both, since its name holds the category.
        """
        classes = {"classes": ",".join(self.wnids)}
        if self.category is None:
            return classes if OWN_CATEGORY.search(self.name) else {"classes": self.name}
        chosen = {"category": self.category, "subset": self.difficulty}
        if OWN_CATEGORY.search(self.category):
            return chosen | classes
        return chosen | ({"published": True} if self.name.endswith(PUBLISHED_SUFFIX) else {})


_FIELDS = [field.name for field in fields(Subset)]
_CLASS_FIELDS = [field.name for field in fields(SubsetClass)]


def read_subset(path: Path) -> Subset:
    """Read one subset file.

    Only `classes` has to be there, ten of them in label order, each a WordNet id or its fields by name; what else is
    given is checked against the name of the file and the table of synsets.

    Raises:
        InputError: It cannot be read, or something is wrong; the message names the class and the field.
    """
    content = read_json(path, wrong="not a subset file (no JSON: {})")
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a subset file (a {type(content).__name__}, expected fields by name)")
    given = _given(content, _FIELDS, str(path))
    category, difficulty = _named(given, path)
    classes = _classes_of(given.get("classes"), path)
    splits = split_sizes(classes)
    _check_rest(given, splits, path)
    return Subset(
        name=path.stem,
        version=given.get("version", VERSION),
        category=category,
        difficulty=difficulty,
        classes=classes,
        splits=splits,
        published_complexity_percent=given.get("published_complexity_percent"),
        erratum=_erratum_of(given.get("erratum"), path),
        paper=given.get("paper"),
        source=given.get("source"),
    )


def _given(content: dict, known: list[str], where: str) -> dict[str, object]:
    """Return the fields that are given; refuse one that there is not."""
    for name in content:
        if name not in known:
            raise unknown(f"field in {where}:", name, known)
    return {name: value for name, value in content.items() if value is not None}


def _check(where: object, field: str, value: object, valid: object, expected: object) -> None:
    if not valid:
        raise InputError(f"{where}: {field} {str(json.dumps(value))[:60]}, expected {expected}")


def _named(given: dict[str, object], path: Path) -> tuple[str | None, str | None]:
    """Return category and difficulty, which the name of the file tells; both None for a name without them."""
    category, _, difficulty = path.stem.rpartition("-")
    if difficulty not in DIFFICULTIES:
        category = difficulty = None
    for field, expected in (("name", path.stem), ("category", category), ("difficulty", difficulty)):
        value = given.get(field, expected)
        _check(path, field, value, value == expected, f"{json.dumps(expected)}, as the file is called")
    if not is_category(path.stem if category is None else category):
        raise InputError(f"{path}: expected a file called by letters, digits, '_', '.' and '-', such as bird-easy.json")
    return category, difficulty


def is_category(name: object) -> bool:
    """Whether a category may be called so: it becomes a part of names of files and folders."""
    return isinstance(name, str) and re.fullmatch(r"\w[\w.-]{0,99}", name, re.ASCII) is not None


def _classes_of(entries: object, path: Path) -> tuple[SubsetClass, ...]:
    if not isinstance(entries, list) or len(entries) != NUM_CLASSES:
        found = f"{len(entries)} of them" if isinstance(entries, list) else "no list"
        raise InputError(f"{path}: classes: {found}, expected a list of {NUM_CLASSES} in label order")
    return distinct_classes([_synset_of(entry, label, path) for label, entry in enumerate(entries)], str(path))


def _synset_of(entry: object, label: int, path: Path) -> Synset:
    """Return the class behind one entry, whose fields must all be those of it."""
    where = f"{path}: class {label}"
    if not isinstance(entry, dict):
        return find_synset(entry, where)
    wnid = entry.get("wnid")
    where += f" ({wnid})" if isinstance(wnid, str) else ""
    given = _given(entry, _CLASS_FIELDS, where)
    try:
        synset = synset_of(wnid)
    except (InputError, TypeError) as error:
        expected = "expected the WordNet id of a class of ImageNet-1K"
        raise InputError(f"{where}: wnid {str(json.dumps(wnid))[:60]}, {expected}") from error
    expected = {"label": label, "imagenet_index": synset.index, "name": synset.name}
    for field, right in (expected | {"train_images": synset.train_images}).items():
        value = given.get(field, right)
        same = type(value) is type(right) and value == right
        _check(where, field, value, same, f"{json.dumps(right)} ({synset.name})")
    return synset


def distinct_classes(found: Iterable[Synset], where: str) -> tuple[SubsetClass, ...]:
    """Return the classes of a subset in label order; raise InputError where one is there twice."""
    classes: dict[str, SubsetClass] = {}
    for label, synset in enumerate(found):
        if first := classes.get(synset.wnid):
            named = f"{synset.wnid} ({synset.name})"
            raise InputError(f"{where}: class {label}: {named} is class {first.label} already; expected each once")
        classes[synset.wnid] = subset_class(label, synset)
    return tuple(classes.values())


def subset_class(label: int, synset: Synset) -> SubsetClass:
    """Return a class of a subset."""
    return SubsetClass(label, synset.index, synset.wnid, synset.name, synset.train_images)


def split_sizes(classes: Iterable[SubsetClass]) -> dict[str, int]:
    """Return how many images a complete ImageNet has of these classes."""
    train = [c.train_images for c in classes]
    return {"train": sum(train), "validation": VALIDATION_IMAGES_PER_CLASS * len(train)}


def _check_rest(given: dict[str, object], splits: dict[str, int], path: Path) -> None:
    """Check what a file may leave out: version, counts, complexity and source."""
    version = given.get("version", VERSION)
    valid = isinstance(version, str) and re.fullmatch(r"\d+\.\d+\.\d+", version)
    _check(path, "version", version, valid, 'three numbers such as "1.0.0"')
    sizes = given.get("splits", splits)
    _check(path, "splits", sizes, sizes == splits, f"{json.dumps(splits)}, the sums over the classes")
    percent = given.get("published_complexity_percent", 0)
    valid = type(percent) in (int, float) and math.isfinite(percent) and 0 <= percent <= 100
    _check(path, "published_complexity_percent", percent, valid, "a number from 0 to 100")
    for field in ("paper", "source"):
        _check(path, field, given.get(field), isinstance(given.get(field, ""), str), "a text")


def _erratum_of(entry: object, path: Path) -> Erratum | None:
    if entry is None:
        return None
    try:
        return Erratum(**{**entry, "published_imagenet_indices": tuple(entry["published_imagenet_indices"])})
    except (KeyError, TypeError) as error:
        names = ", ".join(field.name for field in fields(Erratum))
        raise InputError(f"{path}: erratum: expected {names}; leave it out of a list of your own") from error
