"""`select`: of each category the most and the least complex classes, as subset files of a user's own."""

import csv
import json
import logging
import os
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from compdd_eval.complexity.candidates import ClassScore, Pool, read_pools, read_scores
from compdd_eval.config.select import SelectConfig
from compdd_eval.data.subset_files import NUM_CLASSES, VERSION, split_sizes, subset_class
from compdd_eval.data.synsets import synsets
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable, csv_text, write_text

_logger = logging.getLogger(__name__)
SELECTION_NAME = "selection.csv"
_NAMED = 20  # classes that a warning names
_COLUMNS = ("category", "difficulty", "rank", "imagenet_label", "wnid", "name", "mean", "ci_low", "ci_high")


@dataclass(frozen=True)
class Selected:
    """The classes that were chosen for one subset, in label order: the most extreme one first."""

    category: str
    difficulty: str
    classes: tuple[ClassScore, ...]

    @property
    def name(self) -> str:
        """Name of the subset and of its file."""
        return f"{self.category}-{self.difficulty}"

    @property
    def complexity_percent(self) -> float:
        """Mean over the classes, in percent."""
        return 100 * statistics.fmean(score.mean for score in self.classes)


@dataclass(frozen=True)
class Selection:
    """What `select` chose and wrote.

    Attributes:
        subsets: Hard and easy of each category.
        folder: Where they were written.
        files: Names of the files there.
    """

    subsets: list[Selected]
    folder: str
    files: list[str]


def select(config: SelectConfig) -> Selection:
    """Choose classes and write subset files and `selection.csv`.

    Raises:
        InputError: Scores or categories are not as they should be, a category has too few scored candidates, or the
            folder holds something already; nothing is written then.
    """
    folder = Path(config.output_dir)
    _check_target(folder, config.overwrite)
    scores = read_scores(Path(config.scores))
    pools = _usable(read_pools(config.categories, scores), config.n)
    subsets = [subset for pool in pools for subset in choose(pool, config.n)]
    for pool in pools:
        _warn_of_overlaps(pool, config.n)
    check_writable(folder, "--output_dir")
    return Selection(subsets, str(folder), _write(subsets, folder))


def choose(pool: Pool, n: int) -> tuple[Selected, Selected]:
    """Return the hard and the easy subset of one category.

    Hard are the `n` classes with the highest mean, the most complex first; easy the `n` with the lowest among the
    others, the least complex first. Of equal means the lower index comes first, in both.

    Raises:
        InputError: Fewer than `2 n` candidates are scored.
    """
    if len(pool.scored) < 2 * n:
        raise InputError(_too_few(pool, n))
    hard = tuple(_ranked(pool.scored, "hard")[:n])
    others = [score for score in pool.scored if score not in hard]
    easy = tuple(_ranked(others, "easy")[:n])
    return Selected(pool.category, "hard", hard), Selected(pool.category, "easy", easy)


def _ranked(scores: list[ClassScore] | tuple[ClassScore, ...], difficulty: str) -> list[ClassScore]:
    sign = -1 if difficulty == "hard" else 1
    return sorted(scores, key=lambda score: (sign * score.mean, score.index))


def _too_few(pool: Pool, n: int) -> str:
    return f"{pool.category}: {len(pool.scored)} of {pool.size} candidates are scored, {2 * n} are needed"


def _usable(pools: list[Pool], n: int) -> list[Pool]:
    """Leave out categories without a score, and say which candidates have none."""
    empty = [pool.category for pool in pools if not pool.scored]
    pools = [pool for pool in pools if pool.scored]
    if not pools:
        raise InputError(f"none of the candidates of {', '.join(empty)} is scored; give others with --categories")
    if few := [pool for pool in pools if len(pool.scored) < 2 * n]:
        advice = "score more of them, give a smaller --n, or leave the category out with --categories"
        raise InputError(f"{'; '.join(_too_few(pool, n) for pool in few)} ({n} hard, {n} easy): {advice}")
    if empty:
        _logger.warning(f"left out, since none of their candidates is scored: {', '.join(empty)}")
    for pool in pools:
        if pool.missing:
            more = len(pool.missing) - _NAMED
            names = ", ".join(pool.missing[:_NAMED]) + (f" and {more} more" if more > 0 else "")
            _logger.warning(f"{pool.category}: {len(pool.missing)} of {pool.size} candidates are not scored: {names}")
    return pools


def _warn_of_overlaps(pool: Pool, n: int) -> None:
    """Say where the last class that was chosen and the first that was not cannot be told apart, once a pair."""
    told = set()
    for subset in choose(pool, n):
        last = subset.classes[-1]
        first = next((score for score in _ranked(pool.scored, subset.difficulty) if score not in subset.classes), None)
        if first is None or last.interval is None or first.interval is None or {last, first} in told:
            continue
        told.add(frozenset((last, first)))
        if max(last.interval[0], first.interval[0]) <= min(last.interval[1], first.interval[1]):
            _logger.warning(
                f"{subset.name}: the confidence intervals overlap of {last}, the last that is chosen, and {first}, the "
                "first that is not"
            )


def _check_target(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds a selection, unless it may be replaced, or anything else."""
    if not folder.is_dir():
        return
    names, ours = sorted(os.listdir(folder)), _written_before(folder)
    if others := [name for name in names if name not in ours]:
        raise InputError(f"{folder}: holds {others[0]}, which is no part of a selection; give another --output_dir")
    if names and not overwrite:
        raise InputError(f"{folder}: holds a selection already; give --overwrite, or another --output_dir")


def _written_before(folder: Path) -> set[str]:
    """Return the names of the files of an earlier selection, which its table tells; lists written by hand are none."""
    try:
        with open(folder / SELECTION_NAME, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()
    subsets = {f"{row.get('category')}-{row.get('difficulty')}.json" for row in rows}
    return {SELECTION_NAME, *subsets}


def _write(subsets: list[Selected], folder: Path) -> list[str]:
    """Write all files, then remove those of an earlier selection; return the names."""
    files = {}
    if all(len(subset.classes) == NUM_CLASSES and subset.classes[0].wnid for subset in subsets):
        files = {f"{subset.name}.json": subset_text(subset) for subset in subsets}
    files[SELECTION_NAME] = _table_text(subsets)
    before = _written_before(folder)
    for name, text in files.items():
        write_text(folder / name, text)
    for name in os.listdir(folder):
        if name in before and name not in files:
            (folder / name).unlink()
    return list(files)


def subset_text(subset: Selected) -> str:
    """Return the content of a subset file, one class a line, as those of the benchmark are written."""
    classes = [subset_class(label, synsets()[score.index]) for label, score in enumerate(subset.classes)]
    head = {
        "name": subset.name,
        "version": VERSION,
        "category": subset.category,
        "difficulty": subset.difficulty,
        "published_complexity_percent": round(subset.complexity_percent, 2),
        "splits": split_sizes(classes),
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    rows = ",\n".join(f"    {json.dumps(asdict(entry))}" for entry in classes)
    return "\n".join(["{", *lines, f'  "classes": [\n{rows}\n  ]', "}"]) + "\n"


def _table_text(subsets: list[Selected]) -> str:
    rows = []
    for subset in subsets:
        for rank, score in enumerate(subset.classes, start=1):
            named = (score.index, score.wnid, score.name, score.mean)
            rows.append((subset.category, subset.difficulty, rank, *named, *(score.interval or ("", ""))))
    return csv_text(_COLUMNS, rows)
