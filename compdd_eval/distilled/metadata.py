"""`distilled.json`: what a distilled set is, for people and programs; written beside every set that we save."""

import json
import math
from pathlib import Path

from compdd_eval.data.choices import LABEL_KINDS
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.subsets import is_own, load_subset, stated_list
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.distilled.tensors import DESCRIPTION, MAX_TEXT, SetTensors, is_text
from compdd_eval.utils.environment import versions
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import write_json

FACTS_NAME = "distilled.json"
SCHEMA_VERSION = 1
_SUBSET = ("category", "subset", "published", "classes")
_MAX_BYTES = 10 * 2**20
_MOST = 1e300  # larger whole numbers are no floats
_NUMBERS = {"ipc": (int, float), "resolution": (int,), "images": (int,), "lr": (int, float)}


def facts_of(distilled: SetTensors, exact: bool = True) -> dict[str, object]:
    """Return the content of `distilled.json` for a `DistilledSet`.

    Args:
        distilled: The set.
        exact: Whether the files beside it hold the set's own tensors; only then their digest is stated.

    Returns:
        `schema_version`, `config_name`, `category` and `subset` (null for a list that has none, such as a related one),
        `classes` (a list of label, wnid, imagenet_index, name in label order), `images` (their number), `ipc`,
        `resolution`, `label_kind`, `lr`, `normalisation` (`mean`, `std` of RGB in [0, 1]), what `DESCRIPTION` names,
        `sha256` (as of `DistilledSet.sha256`), `versions` and `metadata` (all else that is known). What is not known is
        null.
    """
    subset, metadata = distilled.definition, dict(distilled.metadata)
    for name in _SUBSET:
        metadata.pop(name, None)
    return {
        "schema_version": SCHEMA_VERSION,
        "config_name": subset.name if subset else None,
        "category": subset.category if subset else None,
        "subset": subset.difficulty if subset else None,
        "classes": _classes_of(subset) if subset else None,
        "images": len(distilled.images),
        "ipc": distilled.ipc,
        "resolution": distilled.resolution,
        "label_kind": distilled.label_kind,
        "lr": distilled.lr,
        "normalisation": {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)},
        **{name: metadata.pop(name, None) for name in DESCRIPTION},
        "sha256": distilled.sha256 if exact else None,
        "versions": versions(),
        "metadata": metadata,
    }


def _classes_of(subset: Subset) -> list[dict[str, object]]:
    names = ("label", "wnid", "imagenet_index", "name")
    return [{name: getattr(entry, name) for name in names} for entry in subset.classes]


def write_facts(folder: Path, distilled, exact: bool = True) -> None:
    """Write `distilled.json` into a folder."""
    write_json(folder / FACTS_NAME, facts_of(distilled, exact))


def read_facts(folder: Path) -> dict[str, object]:
    """Return the content of a folder's `distilled.json`; nothing where there is none.

    Raises:
        InputError: It is no such file, of another schema version, or an entry is of the wrong kind.
    """
    path = folder / FACTS_NAME
    if not path.is_file():
        return {}
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path}: {path.stat().st_size:,} bytes, expected at most {_MAX_BYTES:,}; get it again")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); get it again") from error
    return parse_facts(text, str(path))


def parse_facts(text: str, name: str) -> dict[str, object]:
    """Return the facts of a JSON text; `name` says where it is from. Errors as in `read_facts`."""
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: is no JSON; get it again, or remove it and give the flags") from error
    if not isinstance(facts, dict) or "schema_version" not in facts:
        raise InputError(f"{name}: holds no facts of a distilled set (no schema_version); remove it or get it again")
    if facts["schema_version"] != SCHEMA_VERSION:
        found = facts["schema_version"]
        raise InputError(f"{name}: schema_version {found}, expected {SCHEMA_VERSION}; update compdd_eval")
    _check(facts, name)
    subset = subset_stated(facts)
    return facts if subset is None else facts | {"config_name": subset.name}  # which settings are compared with


def _check(facts: dict[str, object], name: str) -> None:
    """Raise InputError for an entry that is of the wrong kind."""

    def require(entry: str, valid: bool, expected: str) -> None:
        if facts.get(entry) is not None and not valid:
            raise InputError(f"{name}: {entry} is {json.dumps(facts[entry])[:60]}, expected {expected}")

    for entry, types in _NUMBERS.items():
        value = facts.get(entry)
        number = isinstance(value, types) and not isinstance(value, bool)
        require(entry, number and abs(value) < _MOST, "a number")
    for entry in ("config_name", "category", "subset", "sha256", *DESCRIPTION):
        require(entry, is_text(facts.get(entry)), f"a text of at most {MAX_TEXT} letters")
    require("label_kind", facts.get("label_kind") in LABEL_KINDS, f"one of {', '.join(LABEL_KINDS)}")
    require("metadata", isinstance(facts.get("metadata"), dict), "settings by name")
    require("normalisation", _statistics(facts.get("normalisation")) is not None, "mean and std, three numbers each")
    require("classes", _wnids(facts.get("classes")) is not None, "a list of classes with label and wnid")
    try:
        subset_stated(facts)
    except InputError as error:
        raise InputError(f"{name}: config_name: {error}") from error


def subset_stated(facts: dict[str, object]) -> Subset | None:
    """Return the subset that a set says it is for; a list of a user's own is made of the classes that it states.

    Returns:
        None where nothing is said, or nothing but the name of a list of a user's own.

    Raises:
        InputError: There is no such subset, or its classes are not ten.
    """
    name, wnids = facts.get("config_name"), wnids_of(facts)
    if name is None or (is_own(name) and wnids is None):
        return None
    return stated_list([wnids[label] for label in sorted(wnids)], name) if is_own(name) else load_subset(name)


def statistics_of(facts: dict[str, object]) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and standard deviation by which the images are normalised, where it is said."""
    return _statistics(facts.get("normalisation"))


def _statistics(entry: object) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    try:
        mean, std = tuple(map(float, entry["mean"])), tuple(map(float, entry["std"]))
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    valid = len(mean) == len(std) == 3 and all(map(math.isfinite, mean + std)) and min(std) > 0
    return (mean, std) if valid else None


def wnids_of(facts: dict[str, object]) -> dict[int, str] | None:
    """Return label -> WordNet id, where it is said."""
    return _wnids(facts.get("classes"))


def _wnids(entry: object) -> dict[int, str] | None:
    try:
        wnids = {item["label"]: str(item["wnid"]) for item in entry}
    except (TypeError, KeyError):
        return None
    if any(type(label) is not int or not 0 <= label < NUM_CLASSES for label in wnids):
        return None
    return wnids if wnids and len(wnids) == len(entry) == len(set(wnids.values())) else None


def metadata_of(facts: dict[str, object]) -> dict[str, object]:
    """Return what a `DistilledSet` keeps as metadata."""
    kept = {name: facts[name] for name in DESCRIPTION if facts.get(name) is not None}
    others = {name: value for name, value in (facts.get("metadata") or {}).items() if name not in _SUBSET}
    return {**others, **kept}
