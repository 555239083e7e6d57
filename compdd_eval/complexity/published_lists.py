"""`select --check`: what the measure would choose, against the published lists."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from compdd_eval.complexity.candidates import ClassScore, Pool, read_pools, read_scores
from compdd_eval.complexity.select import choose
from compdd_eval.config.select import SelectConfig
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.subsets import CATEGORIES, load_subset
from compdd_eval.utils.errors import InputError

MENDED = "music-hard"  # the published list has nine classes
_DIFFICULTIES = ("hard", "easy")


def check(config: SelectConfig) -> dict[str, object]:
    """Compare a selection with the published lists; nothing is written.

    Published are only the classes of each subset and one complexity for each subset, no values of classes. So in a
    category the rank correlation is between the means of the published classes and their membership, hard = 1 and
    easy = 0: for two groups of ten and no equal means it is at most 0.867. Over the subsets it is between the mean
    of our means of the published classes and the published complexity.

    Returns:
        `subsets`: for each its `name`, `overlap` (classes that are both selected and published; None where too few
        candidates are scored), `published_classes`, `scored` (how many of these have a score), `measured_percent` (mean
        of these; None without one), `published_percent`. `categories`: for each its `category`, `candidates`, `scored`
        and `rank_correlation` with the number of `classes` that it is over. `rank_correlation` of the complexities
        and `rank_correlation_subsets`, over how many. `tenth`: as of `_tenth`, or None where music is no category.

    Raises:
        InputError: Scores or categories are not as they should be, or have nothing to do with the published lists.
    """
    scores = read_scores(Path(config.scores))
    if not scores[0].wnid:
        raise InputError("--check: the published lists are of ImageNet, and these scores are of other data")
    pools = [pool for pool in read_pools(config.categories, scores) if pool.category in CATEGORIES]
    if not pools:
        raise InputError(f"{config.categories}: --check compares the categories {', '.join(CATEGORIES)}; none is there")
    by_index = {score.index: score for score in scores}
    subsets = [entry for pool in pools for entry in _subsets(pool, by_index)]
    measured = [entry for entry in subsets if entry["measured_percent"] is not None]
    pairs = [(entry["measured_percent"], entry["published_percent"]) for entry in measured]
    music = next((pool for pool in pools if pool.category == "music"), None)
    return {
        "subsets": subsets,
        "categories": [_category(pool, by_index) for pool in pools],
        "rank_correlation": _spearman(pairs),
        "rank_correlation_subsets": len(pairs),
        "tenth": music and _tenth(music),
    }


def _published(category: str, difficulty: str) -> Subset:
    return load_subset(f"{category}-{difficulty}", published=True)


def _subsets(pool: Pool, scores: dict[int, ClassScore]) -> list[dict[str, object]]:
    """Compare both subsets of one category."""
    entries = []
    chosen = choose(pool, NUM_CLASSES) if len(pool.scored) >= 2 * NUM_CLASSES else (None, None)
    for difficulty, selected in zip(_DIFFICULTIES, chosen, strict=True):
        published = _published(pool.category, difficulty)
        means = [scores[index].mean for index in published.class_map if index in scores]
        overlap = selected and len({score.index for score in selected.classes} & set(published.class_map))
        entries.append(
            {
                "name": f"{pool.category}-{difficulty}",
                "overlap": overlap,
                "published_classes": len(published.classes),
                "scored": len(means),
                "measured_percent": 100 * statistics.fmean(means) if means else None,
                "published_percent": published.published_complexity_percent,
            }
        )
    return entries


def _category(pool: Pool, scores: dict[int, ClassScore]) -> dict[str, object]:
    """Correlate the means of the published classes with which of the two lists they are in."""
    pairs = [
        (scores[index].mean, int(difficulty == "hard"))
        for difficulty in _DIFFICULTIES
        for index in _published(pool.category, difficulty).class_map
        if index in scores
    ]
    return {
        "category": pool.category,
        "candidates": pool.size,
        "scored": len(pool.scored),
        "rank_correlation": _spearman(pairs),
        "classes": len(pairs),
    }


def _spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's rank correlation; None where one side does not vary."""
    from scipy.stats import spearmanr

    if not pairs or any(len(set(side)) < 2 for side in zip(*pairs, strict=True)):
        return None
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def _tenth(music: Pool) -> dict[str, object]:
    """Return which class would be the tenth of music-hard: the most complex that is in neither published list.

    Returns:
        `contenders`: the classes that are in neither list and have a score, the most complex first, each with `name`,
        `wnid` and `mean`; `ours`: the class that our list has; its `rank` among the contenders, from 1, or None where
        it has no score.
    """
    erratum = load_subset(MENDED).erratum
    listed = {index for difficulty in _DIFFICULTIES for index in _published("music", difficulty).class_map}
    left = sorted((s for s in music.scored if s.index not in listed), key=lambda score: (-score.mean, score.index))
    indices = [score.index for score in left]
    ours = erratum.replacement_imagenet_index
    return {
        "contenders": [{"name": score.name, "wnid": score.wnid, "mean": score.mean} for score in left],
        "ours": load_subset(MENDED).label_names[erratum.label],
        "rank": indices.index(ours) + 1 if ours in indices else None,
    }
