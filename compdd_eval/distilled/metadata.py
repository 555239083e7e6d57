"""`distilled.json`: what a distilled set is, for people and programs; written beside every set that we save."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import UnionType

from compdd_eval.config.protocol import Protocol, flag_value
from compdd_eval.data.choices import LABEL_KINDS
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.subsets import is_own, load_subset, stated_list
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.distilled.tensors import DESCRIPTION, MAX_TEXT, SetTensors, is_text
from compdd_eval.utils.environment import versions
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import write_json

RECORD_NAME = "distilled.json"
SCHEMA_VERSION = 1
_SUBSET = ("category", "subset", "published", "classes")  # said by the record itself, so not in its `metadata`
_MAX_BYTES = 10 * 2**20
_MOST = 1e300  # larger whole numbers are no floats


@dataclass(frozen=True)
class StatedClass:
    """One class as a set states it; files of others may leave out all but label and WordNet id."""

    label: int
    wnid: str
    imagenet_index: int | None = None
    name: str | None = None


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of R, G and B in [0, 1] by which the images are normalised."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class SetRecord:
    """The content of `distilled.json`, field by field in the order of the file; what is not known is None.

    Attributes:
        config_name: The subset, as `bird-easy`.
        category: Its category; None for a list that has none, such as a related one.
        subset: Its difficulty.
        classes: Its classes in label order.
        images: Number of images.
        ipc: Images per class.
        resolution: Side of the images in pixels.
        label_kind: `hard`, `logits` or `probabilities`.
        lr: The learned rate for students.
        normalisation: By which the images are normalised.
        method: This, `source_url`, `paper`, `licence` and `protocol`: what only the maker of a set can say.
        sha256: Digest of the tensors, as of `SetTensors.sha256`; None where the files hold something else.
        view_labels: What its labels of views are, as of `ViewLabels.summary`; None where it has none.
        versions: Versions of the packages that wrote the set.
        metadata: All else that is known.
    """

    config_name: str | None = None
    category: str | None = None
    subset: str | None = None
    classes: tuple[StatedClass, ...] | None = None
    images: int | None = None
    ipc: float | None = None
    resolution: int | None = None
    label_kind: str | None = None
    lr: float | None = None
    normalisation: Normalisation | None = None
    method: str | None = None
    source_url: str | None = None
    paper: str | None = None
    licence: str | None = None
    protocol: str | None = None
    sha256: str | None = None
    view_labels: dict[str, object] | None = None
    versions: dict[str, str] | None = None
    metadata: dict[str, object] | None = None

    @classmethod
    def of(cls, distilled: SetTensors, exact: bool = True) -> "SetRecord":
        """Describe a set.

        Args:
            distilled: The set.
            exact: Whether the files beside it hold the set's own tensors; only then their digest is stated.
        """
        subset, known = distilled.definition, distilled.metadata
        classes = subset.classes if subset else ()
        stated = tuple(StatedClass(each.label, each.wnid, each.imagenet_index, each.name) for each in classes)
        return cls(
            config_name=subset.name if subset else None,
            category=subset.category if subset else None,
            subset=subset.difficulty if subset else None,
            classes=stated or None,
            images=len(distilled.images),
            ipc=distilled.ipc,
            resolution=distilled.resolution,
            label_kind=distilled.label_kind,
            lr=distilled.lr,
            normalisation=Normalisation(IMAGENET_MEAN, IMAGENET_STD),
            **{name: known.get(name) for name in DESCRIPTION},
            sha256=distilled.sha256 if exact else None,
            view_labels=distilled.view_labels.summary() if distilled.view_labels else None,
            versions=versions(),
            metadata={name: value for name, value in known.items() if name not in (*_SUBSET, *DESCRIPTION)},
        )

    def as_json(self) -> dict[str, object]:
        """Return the content of the file."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    def same_set(self, other: "SetRecord | None") -> bool:
        """Whether another record says the same, whatever versions have written it."""
        return other is not None and replace(self, versions=None) == replace(other, versions=None)

    def without_labels(self) -> "SetRecord":
        """Return the record for images whose labels come from elsewhere: what it says of its own is left out."""
        return replace(self, sha256=None, label_kind=None, classes=None, view_labels=None)

    @property
    def settings(self) -> dict[str, object]:
        """What a `DistilledSet` keeps as metadata."""
        stated = {name: getattr(self, name) for name in DESCRIPTION if getattr(self, name) is not None}
        return {name: value for name, value in (self.metadata or {}).items() if name not in _SUBSET} | stated

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation by which the images are normalised, where it is said."""
        return self.normalisation and (self.normalisation.mean, self.normalisation.std)

    @property
    def wnids(self) -> dict[int, str] | None:
        """Label -> WordNet id, where it is said."""
        return self.classes and {entry.label: entry.wnid for entry in self.classes}

    def find_subset(self) -> Subset | None:
        """Return the subset that the set says it is for; a list of a user's own is made of the classes that it states.

        Returns:
            None where nothing is said, or nothing but the name of a list of a user's own.

        Raises:
            InputError: There is no such subset, or its classes are not ten.
        """
        name, wnids = self.config_name, self.wnids
        if name is None or (is_own(name) and wnids is None):
            return None
        return stated_list([wnids[label] for label in sorted(wnids)], name) if is_own(name) else load_subset(name)


def write_record(folder: Path, distilled: SetTensors, exact: bool = True) -> None:
    """Write `distilled.json` into a folder; `exact` as in `SetRecord.of`."""
    write_json(folder / RECORD_NAME, SetRecord.of(distilled, exact).as_json())


def read_record(folder: Path) -> SetRecord | None:
    """Return what a folder's `distilled.json` says; None where there is none.

    Raises:
        InputError: It is no such file, of another schema version, or an entry is of the wrong kind.
    """
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path}: {path.stat().st_size:,} bytes, expected at most {_MAX_BYTES:,}; get it again")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); get it again") from error
    return parse_record(text, str(path))


def parse_record(text: str, name: str) -> SetRecord:
    """Return what a JSON text says; `name` says where it is from. Errors as in `read_record`."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: is no JSON; get it again, or remove it and give the flags") from error
    if not isinstance(content, dict) or "schema_version" not in content:
        raise InputError(f"{name}: holds no facts of a distilled set (no schema_version); remove it or get it again")
    if content["schema_version"] != SCHEMA_VERSION:
        version = content["schema_version"]
        raise InputError(f"{name}: schema_version {version}, expected {SCHEMA_VERSION}; update compdd_eval")
    record = SetRecord(**{entry: _entry(content, entry, name) for entry in _READERS})
    try:
        subset = record.find_subset()
    except InputError as error:
        raise InputError(f"{name}: config_name: {error}") from error
    # a list of a user's own may have had another name when it was written: settings are compared with today's
    return record if subset is None else replace(record, config_name=subset.name)


def _entry(content: dict[str, object], entry: str, name: str) -> object:
    """Return one entry as the record holds it; raise InputError where it is of the wrong kind."""
    value, (read, expected) = content.get(entry), _READERS[entry]
    if value is None:
        return None
    try:
        return read(value)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{name}: {entry} is {json.dumps(value)[:60]}, expected {expected}") from error


def _must(valid: bool) -> None:
    if not valid:
        raise ValueError


def _as_it_is(valid: Callable[[object], bool]) -> Callable[[object], object]:
    """Return a reader of entries that are taken as they are, where they are valid."""

    def read(value: object) -> object:
        _must(valid(value))
        return value

    return read


def _is_number(value: object, types: type | UnionType = int | float) -> bool:
    return isinstance(value, types) and not isinstance(value, bool) and abs(value) < _MOST


def _normalisation(value: object) -> Normalisation:
    mean, std = tuple(map(float, value["mean"])), tuple(map(float, value["std"]))
    _must(len(mean) == len(std) == 3 and all(map(math.isfinite, mean + std)) and min(std) > 0)
    return Normalisation(mean, std)


def _view_labels(value: object) -> dict[str, object]:
    value = {"evaluate": {}, **value}
    flags = value["evaluate"]
    _must(value.keys() == {"sha256", "in_words", "evaluate"})
    _must(flags.keys() <= {field.name for field in fields(Protocol)})
    _must(all(isinstance(flag, str | int | float) for flag in flags.values()))
    texts = [value["sha256"], value["in_words"], *map(flag_value, flags.values())]
    _must(all(is_text(text) and text.isprintable() for text in texts))
    return value


def _stated_classes(value: object) -> tuple[StatedClass, ...]:
    classes = tuple(
        StatedClass(each["label"], str(each["wnid"]), each.get("imagenet_index"), each.get("name")) for each in value
    )
    _must(all(type(each.label) is int and 0 <= each.label < NUM_CLASSES for each in classes))
    labels, wnids = {each.label for each in classes}, {each.wnid for each in classes}
    _must(bool(classes) and len(labels) == len(wnids) == len(classes))
    return classes


_A_TEXT = (_as_it_is(is_text), f"a text of at most {MAX_TEXT} letters")
_A_NUMBER = (_as_it_is(_is_number), "a number")
_A_WHOLE_NUMBER = (_as_it_is(partial(_is_number, types=int)), "a number")
_READERS: dict[str, tuple[Callable[[object], object], str]] = {  # entry -> how it is read, and what is expected
    **dict.fromkeys(("config_name", "category", "subset", "sha256", *DESCRIPTION), _A_TEXT),
    **dict.fromkeys(("images", "resolution"), _A_WHOLE_NUMBER),
    **dict.fromkeys(("ipc", "lr"), _A_NUMBER),
    "label_kind": (_as_it_is(LABEL_KINDS.__contains__), f"one of {', '.join(LABEL_KINDS)}"),
    "normalisation": (_normalisation, "mean and std, three numbers each"),
    "classes": (_stated_classes, "a list of classes with label and wnid"),
    "metadata": (_as_it_is(lambda value: isinstance(value, dict)), "settings by name"),
    "view_labels": (_view_labels, "sha256 and in_words, two texts, and the flags of evaluate"),
    "versions": (_as_it_is(lambda value: True), "versions by name"),
}
