"""Two groups of students, seed by seed."""

from compdd_eval.reports.reading import Group
from compdd_eval.statistics import paired_difference

BETTER, WORSE, UNCLEAR, NO_PAIRS = "better", "worse", "cannot tell", "no seed in common"
_SAME = 1e-9  # a difference of accuracies up to this is rounding


def pair(first: Group, other: Group) -> dict[str, object]:
    """Compare two groups of students over the seeds that both have.

    Returns:
        `seeds` (those in common), `difference` (of `first - other`, as of `paired_difference`; None without a common
        seed) and `verdict`: `better` or `worse` where the 95 % interval of the mean difference excludes 0, else
        `cannot tell`; `no seed in common`. Differences that are the same for every seed have no spread to judge by,
        which is common: an image of 500 is 0.2 points, and three seeds are few.
    """
    ours, theirs = (dict(zip(group.seeds, group.accuracies, strict=True)) for group in (first, other))
    seeds = [seed for seed in first.seeds if seed in theirs]
    if not seeds:
        return {"seeds": [], "difference": None, "verdict": NO_PAIRS}
    found = paired_difference([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    low, high = found["interval"] or (0, 0)
    if high - low <= _SAME:
        return {"seeds": seeds, "difference": found, "verdict": UNCLEAR}
    verdict = BETTER if low > _SAME else WORSE if high < -_SAME else UNCLEAR
    return {"seeds": seeds, "difference": found, "verdict": verdict}
