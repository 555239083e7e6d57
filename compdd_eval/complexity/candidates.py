"""What `select` reads: scores of classes (`classes.csv`), and the candidate classes of each category."""

import csv
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.data.subset_files import is_category
from compdd_eval.data.subsets import candidates
from compdd_eval.data.synsets import find_synset, synset_of
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import read_json, read_yaml

SCORES_NAME = "classes.csv"
COLUMNS = ("imagenet_label", "wnid", "name", "mean", "std", "n", "ci_low", "ci_high")
_ROUNDING = 1e-9  # by which the ends of an interval may miss the mean


@dataclass(frozen=True)
class ClassScore:
    """The complexity of one class.

    Attributes:
        index: ImageNet index; of other data, the label there.
        wnid: WordNet id; empty for other data.
        name: Name of the class.
        mean: Mean complexity of its images, in [0, 1].
        interval: Ends of the confidence interval of the mean; None where it has none.
    """

    index: int
    wnid: str
    name: str
    mean: float
    interval: tuple[float, float] | None

    def __str__(self) -> str:
        ends = f", {100 * self.interval[0]:.1f} to {100 * self.interval[1]:.1f}" if self.interval else ""
        return f"{self.name} ({100 * self.mean:.1f} %{ends})"


@dataclass(frozen=True)
class Pool:
    """The candidates of one category: those with a score, and the names of the others."""

    category: str
    scored: tuple[ClassScore, ...]
    missing: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of all candidates."""
        return len(self.scored) + len(self.missing)


def read_scores(folder: Path) -> list[ClassScore]:
    """Read the scores that `complexity` wrote into a folder.

    Returns:
        At least one, of distinct classes; all of them of ImageNet (with a WordNet id), or none.

    Raises:
        InputError: No such file, or a line that is not as it should be; the message names file and line.
    """
    path = folder / SCORES_NAME
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return _scores_of(csv.reader(file, strict=True), path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); SCORES is what `complexity` wrote") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8; score the classes again") from error


def _scores_of(reader: Iterable[list[str]], path: Path) -> list[ClassScore]:
    rows = _rows(reader, path)
    line, header = next(rows, (1, []))
    if missing := [name for name in COLUMNS if header.count(name) != 1]:
        raise InputError(f"{path}, line {line}: expected one column {missing[0]} in the header {','.join(COLUMNS)}")
    found: dict[int, ClassScore] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        if len(row) != len(header):
            raise InputError(f"{where}: {len(row)} fields, expected {len(header)}")
        score = _score(dict(zip(header, row, strict=True)), where)
        if score.index in found:
            raise InputError(f"{where}: {score.name} has the label {score.index} of a line before; expected each once")
        if found and bool(score.wnid) != bool(next(iter(found.values())).wnid):
            raise InputError(f"{where}: expected a wnid on every line, or on none")
        found[score.index] = score
    if not found:
        raise InputError(f"{path}: holds no classes; score some first")
    return list(found.values())


def _rows(reader: Iterable[list[str]], path: Path) -> Iterable[tuple[int, list[str]]]:
    """Yield line numbers and fields of the lines that are not empty."""
    try:
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from error


def _score(row: dict[str, str], where: str) -> ClassScore:
    """Check one line."""

    def require(name: str, valid: object, expected: str) -> None:
        if not valid:
            raise InputError(f"{where}: {name} {row[name][:60]!r}, expected {expected}")

    numbers = {name: _number(row[name]) for name in ("mean", "std", "ci_low", "ci_high")}
    require("imagenet_label", re.fullmatch(r"[0-9]{1,9}", row["imagenet_label"]), "a whole number from 0")
    index, mean, low, high = int(row["imagenet_label"]), numbers["mean"], numbers["ci_low"], numbers["ci_high"]
    require("name", row["name"] and row["name"].isprintable(), "the name of a class")
    require("mean", mean is not None and 0 <= mean <= 1, "a complexity from 0 to 1")
    require("std", not row["std"] or (numbers["std"] is not None and numbers["std"] >= 0), "a number from 0, or none")
    require("n", re.fullmatch(r"0*[1-9][0-9]{0,9}", row["n"]), "a number of images from 1")
    require("ci_low", not row["ci_low"] or (low is not None and low <= mean + _ROUNDING), "a number up to the mean")
    require("ci_high", not row["ci_high"] or (high is not None and high >= mean - _ROUNDING), "a number from the mean")
    require("ci_high", (low is None) == (high is None), "both ends of the interval, or none")
    if row["wnid"]:
        try:
            synset = synset_of(row["wnid"])
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        require("imagenet_label", index == synset.index, f"{synset.index}, the index of {synset.wnid}")
    return ClassScore(index, row["wnid"], row["name"], mean, None if low is None else (low, high))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def read_pools(file: str | None, scores: list[ClassScore]) -> list[Pool]:
    """Return the candidates of each category: of a user's file, else of the eight of the benchmark.

    Raises:
        InputError: The file is not as it should be, or names a class that ImageNet does not have.
    """
    if file is None and not scores[0].wnid:
        raise InputError("these scores are of data that is not ImageNet; give its categories with --categories FILE")
    listed = candidates() if file is None else _read_categories(Path(file))
    scored = {score.index: score for score in scores}
    pools = []
    for category, entries in listed.items():
        where = f"{file or 'categories.json'}: {category}"
        if scores[0].wnid:
            found = {synset.index: synset.name for synset in (find_synset(entry, where) for entry in entries)}
        else:
            found = {index: str(index) for index in (_find(entry, where, scores) for entry in entries)}
        missing = tuple(name for index, name in found.items() if index not in scored)
        pools.append(Pool(category, tuple(scored[index] for index in found if index in scored), missing))
    return pools


def _read_categories(path: Path) -> dict[str, list[object]]:
    """Read `{name: [classes]}`, or the form of our own file."""
    if path.suffix.lower() == ".json":
        content = read_json(path, "the --categories file cannot be read ({})")
    else:
        content = read_yaml(path, "--categories")
    if isinstance(content, dict) and isinstance(content.get("categories"), dict):
        content = content["categories"]
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected categories by name, such as bird: [n01514668, 8, ostrich]")
    found = {}
    for category, entry in content.items():
        if not is_category(category):
            raise InputError(f"{path}: category {category!r}, expected a name of letters, digits, '_', '.' and '-'")
        classes = entry.get("wnids") if isinstance(entry, dict) else entry
        if not isinstance(classes, list) or not classes:
            raise InputError(f"{path}: {category}: expected a list of classes, such as [n01514668, 8, ostrich]")
        found[category] = classes
    return found


def _find(entry: object, where: str, scores: list[ClassScore]) -> int | str:
    """Return the index of a class of data that is not ImageNet; its name where it has no score."""
    if isinstance(entry, bool) or not isinstance(entry, int | str):
        raise InputError(f"{where}: {str(entry)[:60]!r}, expected a WordNet id, an index or a name")
    found = sorted(score.index for score in scores if score.name == entry)
    if len(found) > 1:
        raise InputError(f"{where}: {entry} is the name of {len(found)} classes; give one of the indices {found}")
    if found:
        return found[0]
    if not re.fullmatch(r"-?[0-9]{1,9}", str(entry)):
        return str(entry)
    if int(entry) < 0:
        raise InputError(f"{where}: index {entry}, expected one from 0")
    return int(entry)
