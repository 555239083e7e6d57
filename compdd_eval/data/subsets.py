"""The sixteen subsets, the related lists, and lists of a user's own: found by name, file or classes.

The lists are data (`subsets/*.json`, `subsets/related/*.json`, `subsets/synsets.tsv`); reading them needs nothing but
the standard library. Sources of the data: class lists and complexity from the Comp-DD release (NUS-HPC-AI-Lab/EDF,
folder `comp-dd`, and its figure `stat.png`); numbers of training images from google-research/meta-dataset; each related
list names its own.

A list of a user's own gets a name that holds eight digits of a digest of its classes: `bird-1a2b3c4d-easy` where it
comes from a file `bird-easy.json`, else `own-1a2b3c4d`. So results, caches and distilled sets that were made for it
never pass for those of another list. `Subset.selection` is all that is needed to make it again, in any process.
"""

import functools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from compdd_eval.data.subset_files import (
    DIFFICULTIES,
    NUM_CLASSES,
    PUBLISHED_SUFFIX,
    VERSION,
    Subset,
    distinct_classes,
    read_subset,
    split_sizes,
    subset_class,
)
from compdd_eval.data.synsets import find_synset, is_synset, subsets_dir, synsets
from compdd_eval.utils.errors import InputError, unknown

CATEGORIES = ("bird", "car", "dog", "fish", "snake", "insect", "round", "music")
SPLITS = ("train", "validation")
_OWN = "own"  # what the name of ten classes begins with
_OWN_NAME = re.compile(rf"(.+)-[0-9a-f]{{8}}(-({'|'.join(DIFFICULTIES)}))?")
_PLURALS = {"birds": "bird", "cars": "car", "dogs": "dog"}  # as the reference's own tables spell them


@functools.cache
def candidates() -> dict[str, tuple[str, ...]]:
    """Return the WordNet ids of the candidate classes of each category, out of `categories.json`."""
    content = json.loads((subsets_dir() / "categories.json").read_text(encoding="utf-8"))
    return {category: tuple(entry["wnids"]) for category, entry in content["categories"].items()}


def subset_names() -> list[str]:
    """Return the sixteen configuration names, `bird-easy` to `music-hard`."""
    return [f"{category}-{difficulty}" for category in CATEGORIES for difficulty in DIFFICULTIES]


def config_names() -> list[str]:
    """Return the names of the benchmark's configurations: the sixteen, and published lists that differ from ours."""
    names = []
    for name in subset_names():
        names += [name, name + PUBLISHED_SUFFIX] if load_subset(name).erratum else [name]
    return names


def related_names() -> list[str]:
    """Return the names of the ten-class lists that the field uses beside the benchmark, such as `nette`."""
    return sorted(path.stem for path in (subsets_dir() / "related").glob("*.json"))


def singular(category: str) -> str:
    """Return a category in lower case, and of the plurals birds, cars, dogs the singular; it may still be unknown."""
    return _PLURALS.get(str(category).lower(), str(category).lower())


def subset_name(category: str, difficulty: str) -> str:
    """Return the configuration name for a category (the plurals birds, cars, dogs are accepted) and a subset.

    Raises:
        InputError: The category or the subset is unknown; the message names the nearest valid one.
    """
    category = singular(category)
    if category not in CATEGORIES:
        _refuse_own(f"{category}-{difficulty}")
        raise unknown("category", category, CATEGORIES)
    if str(difficulty).lower() not in DIFFICULTIES:
        raise unknown("subset", difficulty, DIFFICULTIES)
    return f"{category}-{str(difficulty).lower()}"


def is_own(name: str) -> bool:
    """Whether a name is that of a list of a user's own: it holds a digest."""
    return _OWN_NAME.fullmatch(name) is not None


def _refuse_own(name: str) -> None:
    """Raise InputError for the name of a list that only its classes can tell."""
    if is_own(name):
        raise InputError(
            f"{name}: a list of a user's own; give its ten classes, or its subsets_dir with category and subset"
        )


def load_subset(
    name: str | None,
    published: bool = False,
    subsets_dir: str | os.PathLike | None = None,
    classes: str | Sequence[str | int] | None = None,
) -> Subset:
    """Return one subset, validated.

    Args:
        name: Configuration name, or that of a related list; `music-hard-published` is the same as `music-hard` with
            `published=True`. Of a user's own list the name of its file.
        published: Take the class list exactly as published where an erratum changes it (`music-hard`: nine
            classes). Subsets without an erratum are the same either way.
        subsets_dir: A folder with subset files of a user's own, such as `select` writes; only these are taken then.
        classes: Ten classes, as of `load_classes`; the name may be None then.

    Raises:
        InputError: Unknown name, or a subset file that is not valid.
    """
    if classes is not None and (published or subsets_dir is not None):
        raise InputError(f"classes and {'published' if published else 'subsets_dir'}: give one of them")
    if classes is not None:
        return load_classes(classes, name)
    if not isinstance(subsets_dir, str | os.PathLike | None):
        raise InputError(f"subsets_dir: {str(subsets_dir)[:60]}, expected a folder")
    folder = None if subsets_dir is None else Path(subsets_dir).expanduser()
    if name is None:
        names = [*subset_names(), *related_names()] if folder is None else own_names(folder)
        raise InputError(f"the name of a subset is missing; give one of {', '.join(names)}")
    return _load_ours(name, published) if folder is None else _load_own(name, published, folder)


@functools.cache
def _load_ours(name: str, published: bool) -> Subset:
    """Read each of our own files once; a user's own may change."""
    if name in related_names():
        return read_subset(subsets_dir() / "related" / f"{name}.json")
    if name.endswith(PUBLISHED_SUFFIX):
        name, published = name.removesuffix(PUBLISHED_SUFFIX), True
        if name in subset_names() and load_subset(name).erratum is None:
            raise InputError(f"{name}{PUBLISHED_SUFFIX}: {name} has no erratum; its published list is {name} itself")
    if name not in subset_names():
        _refuse_own(name)
        raise unknown("subset", name, [*subset_names(), *related_names()])
    subset = read_subset(subsets_dir() / f"{name}.json")
    return _as_published(subset) if published and subset.erratum else subset


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
    return _with_digest(replace(read_subset(folder / f"{name}.json"), version=VERSION))


def _with_digest(subset: Subset) -> Subset:
    """Put eight digits of its digest into the name of a list."""
    if subset.category is None:
        return replace(subset, name=f"{subset.name}-{subset.digest[:8]}")
    category = f"{subset.category}-{subset.digest[:8]}"
    return replace(subset, name=f"{category}-{subset.difficulty}", category=category)


def load_classes(classes: str | Sequence[str | int], name: str | None = None, where: str = "classes") -> Subset:
    """Return the subset of ten classes, with labels 0-9 in their order.

    Classes that are those of a named list, in its order, are that list.

    Args:
        classes: Ten WordNet ids, ImageNet indices or names of classes, in a list or joined by commas; or the name of a
            list, such as `nette`.
        name: What the list is called, where it is known: a name that holds a digest is checked.
        where: What they are given as, for messages.

    Raises:
        InputError: Unknown name, not ten distinct classes, or not those of `name`.
    """
    if isinstance(classes, bytes) or not isinstance(classes, Sequence):
        some = "expected ten classes in a list or joined by commas, or the name of a list"
        raise InputError(f"{where}: {str(classes)[:60]}, {some}")
    parts = classes.split(",") if isinstance(classes, str) else list(classes)
    parts = [part for part in parts if not isinstance(part, str) or part.strip()]
    named = str(parts[0]).strip().lower() if len(parts) == 1 else None
    if named in related_names() or named in config_names():
        subset = load_subset(named)
    else:
        subset = _of_classes(parts, name, where)
    if name is not None and name != subset.name:
        raise InputError(f"{name}: {where} make another list, {subset.name}; give those of {name}")
    return subset


def stated_list(wnids: Sequence[str], name: str) -> Subset:
    """Return the list of a user's own that a set states; the digits of its name are made of the classes again.

    Its category and difficulty are those of `name`. The digits may differ: older versions counted the version of the
    file, too.

    Raises:
        InputError: Not ten distinct classes.
    """
    return _of_classes(list(wnids), name, "classes")


def _of_classes(parts: list[object], name: str | None, where: str) -> Subset:
    if len(parts) == 1 and not is_synset(parts[0]):
        raise unknown(f"list of {where}", str(parts[0])[:60], [*related_names(), *config_names()])
    if len(parts) != NUM_CLASSES:
        some = f"expected {NUM_CLASSES} joined by commas, or the name of a list ({', '.join(related_names())})"
        raise InputError(f"{where}: {len(parts)} {'class' if len(parts) == 1 else 'classes'}, {some}")
    found = distinct_classes([find_synset(part, where) for part in parts], where)
    match = _OWN_NAME.fullmatch(name or "")
    category, difficulty = (match[1], match[3]) if match and match[3] else (None, None)
    stem = _OWN if category is None else f"{category}-{difficulty}"
    for listed in map(load_subset, [*related_names(), *subset_names()] if name is None else ()):
        if listed.classes == found:
            return listed
    return _with_digest(Subset(stem, VERSION, category, difficulty, found, split_sizes(found)))


def named_in_one_word(selection: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return what one word says: `category` and `subset` (and `published`), or `classes`; {} where two words do.

    The word stands in the place of either: `bird-easy`, `birds-easy`, `music-hard-published`, a related list such as
    `nette`, or of a folder of a user's own the name of a file. What stands in the other place must say the same.

    Args:
        selection: As of `selected_subset`; a category or a subset alone is left to the caller.
        prefix: What messages put before the names: `--` for flags.

    Raises:
        InputError: Not a text, an unknown name, or two that contradict each other.
    """
    category, difficulty, folder = (selection.get(name) for name in ("category", "subset", "subsets_dir"))
    for name, value in (("category", category), ("subset", difficulty)):
        if not isinstance(value, str | None):
            raise InputError(f"{prefix}{name} {str(value)[:60]}: expected a text, for example 'bird-easy'")
    if folder is not None and category is not None and difficulty in DIFFICULTIES:
        return {}  # a user's own category may be called anything
    words = [_said_by(category, folder), _said_by(difficulty, folder)]
    if words == [None, None]:
        _refuse_unknown(category, difficulty, folder)
        return {}
    category_says, subset_says = words
    first = category_says or ({} if category is None else {"category": category})
    second = subset_says or ({} if difficulty is None else {"subset": difficulty.lower()})
    merged = first | second
    same = all(singular(first.get(name, value)) == singular(value) for name, value in second.items())
    if not same or ("classes" in merged and len(merged) > 1):
        both = f"{prefix}category {category} and {prefix}subset {difficulty}"
        raise InputError(f"{both} are two subsets; give one of them")
    if "classes" in merged and selection.get("classes") is not None:
        raise InputError(f"{prefix}classes and {prefix}subset {merged['classes']}: give one of them")
    return {"category": None, "subset": None} | merged


def _said_by(word: str | None, folder: str | os.PathLike | None) -> dict[str, object] | None:
    """Return what a word says that stands for a whole subset; None for one that is a category or a subset alone."""
    if word is None or (folder is None and word.lower() in related_names()):
        return word and {"classes": word.lower()}
    ending = PUBLISHED_SUFFIX if folder is None and word.lower().endswith(PUBLISHED_SUFFIX) else ""
    category, _, difficulty = word[: len(word) - len(ending)].rpartition("-")
    if not category or difficulty.lower() not in DIFFICULTIES:
        return None
    if ending:
        load_subset(subset_name(category, difficulty) + ending)  # refuses a list that is as published
    return {"category": category, "subset": difficulty.lower()} | ({"published": True} if ending else {})


def _refuse_unknown(category: str | None, difficulty: str | None, folder: str | os.PathLike | None) -> None:
    """Raise InputError for a word that stands alone, and is neither a subset nor a category, nor `easy` or `hard`."""
    if (category is None) == (difficulty is None) or (folder is not None and difficulty is None):
        return
    kind, alone, known = (
        ("category", category, CATEGORIES) if difficulty is None else ("subset", difficulty, DIFFICULTIES)
    )
    if singular(alone) not in known:
        names = [*subset_names(), *related_names()] if folder is None else own_names(Path(folder).expanduser())
        _refuse_own(alone)
        if kind == "category" and "-" not in alone:  # the nearest of these, not one of their subsets
            names = [name for name in names if "-" not in name]
        raise unknown(kind, alone, [*known, *names])


def selected_subset(selection: Mapping[str, object], prefix: str = "") -> Subset | None:
    """Return the subset that settings, or the metadata of a set, select; None where they select none.

    Args:
        selection: May have `category`, `subset`, `published`, `subsets_dir` and `classes`, as in `Subset.selection`;
            one word, such as `bird-easy`, may stand for category and subset, as in `named_in_one_word`.
        prefix: What messages put before these names: `--` for flags.

    Raises:
        InputError: They contradict each other, or there is no such subset.
    """
    names = ("category", "subset", "published", "subsets_dir", "classes")
    selection = {**selection, **named_in_one_word(selection, prefix)}
    category, difficulty, published, folder, classes = (selection.get(name) for name in names)
    if classes is not None:
        given = [name for name in names[:4] if selection.get(name)]
        own = category is not None and is_own(f"{category}-{difficulty}")
        if given and not (own and given == ["category", "subset"]):
            raise InputError(f"{prefix}classes and {prefix}{given[0]}: give one of them")
        return load_classes(classes, f"{category}-{difficulty}" if own else None, f"{prefix}classes")
    if (category is None) != (difficulty is None):
        missing = "subset" if difficulty is None else "category"
        example = "--subset bird-easy" if prefix else "'bird-easy'"
        raise InputError(f"{prefix}{missing} is missing; give one subset, for example {example}")
    if category is None:
        return None
    name = f"{category}-{difficulty}" if folder is not None else subset_name(str(category), str(difficulty))
    return load_subset(name, bool(published), folder)


def _as_published(subset: Subset) -> Subset:
    """Rebuild a subset from the published list, in which a repeated index keeps its last label."""
    labels = {index: label for label, index in enumerate(subset.erratum.published_imagenet_indices)}
    classes = tuple(subset_class(label, synsets()[index]) for label, index in sorted((v, k) for k, v in labels.items()))
    if subset.erratum.published_splits != split_sizes(classes):
        raise InputError(f"{subset.name}: the published split sizes are not the sums over the published classes")
    name = subset.name + PUBLISHED_SUFFIX
    return replace(subset, name=name, classes=classes, splits=subset.erratum.published_splits)
