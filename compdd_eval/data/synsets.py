"""The table of the 1000 classes of ImageNet-1K, and how a class is found by WordNet id, index or name."""

import csv
import functools
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.utils.errors import InputError, unknown


@dataclass(frozen=True)
class Synset:
    """One ImageNet-1K class: index 0-999 (position of its WordNet id in sorted order), id, name, image count."""

    index: int
    wnid: str
    name: str
    train_images: int


def subsets_dir() -> Path:
    """Return the folder of the subset files: inside an installed package, else beside it in a checkout."""
    package, checkout = Path(__file__).resolve().parent, Path(__file__).resolve().parents[2]
    for folder in (package / "_subsets", checkout / "subsets"):
        if (folder / "synsets.tsv").is_file():
            return folder
    raise FileNotFoundError(f"the subset files are neither in {package / '_subsets'} nor in {checkout}/subsets")


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
def _synsets_by_text(plain: bool) -> dict[str, list[Synset]]:
    """Return the classes by WordNet id and by name; where asked for, by plain name."""
    found = defaultdict(list)
    for synset in synsets():
        for text in (plain_name(synset.name),) if plain else (synset.wnid, synset.name):
            found[text].append(synset)
    return dict(found)


def plain_name(name: str) -> str:
    """Return a class name without case, spaces and signs: `Great_Dane` is `Great Dane`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_synset(entry: object, where: str, others: Iterable[str] = ()) -> Synset:
    """Return the class that is given as WordNet id, ImageNet index 0-999 or name.

    Args:
        entry: A text, or a whole number.
        where: What it is given in, for messages.
        others: What else could have been meant, for messages.

    Raises:
        InputError: There is no such class, or the name is that of several.
    """
    if isinstance(entry, bool) or not isinstance(entry, int | str):
        raise InputError(f"{where}: {str(entry)[:60]!r}, expected a WordNet id, an index or a name")
    text, known = str(entry).strip(), _synsets_by_text(plain=False)
    if re.fullmatch(r"-?[0-9]{1,9}", text):
        if not 0 <= int(text) < len(synsets()):
            raise InputError(f"{where}: index {text}, expected one from 0 to {len(synsets()) - 1}")
        return synsets()[int(text)]
    found = known.get(text) or _synsets_by_text(plain=True).get(plain_name(text), [])
    if not found:
        raise unknown(f"class in {where}:", text[:60], [*known, *others])
    if len(found) > 1:
        indices = [synset.index for synset in found]
        raise InputError(f"{where}: {text} is the name of {len(found)} classes; give one of the indices {indices}")
    return found[0]


def is_synset(entry: object) -> bool:
    """Whether `find_synset` finds a class."""
    try:
        return find_synset(entry, "") is not None
    except InputError:
        return False
