"""Two groups of students, seed by seed."""

from compdd_eval.reports.summaries import Group
from compdd_eval.results.statistics import clear_sign, paired_difference

BETTER, WORSE, UNCLEAR, NO_PAIRS = "better", "worse", "cannot tell", "no seed in common"


def pair(first: Group, other: Group) -> dict[str, object]:
    """Compare two groups of students over the seeds that both have.

    Returns:
        `seeds` (those in common), `difference` (of `first - other`, as of `paired_difference`; None without a common
        seed) and `verdict`: `better` or `worse` where the 95 % interval of the mean difference excludes 0, else
        `cannot tell`, as of `clear_sign`; `no seed in common`.
    """
    ours, theirs = (dict(zip(group.seeds, group.accuracies, strict=True)) for group in (first, other))
    seeds = [seed for seed in first.seeds if seed in theirs]
    if not seeds:
        return {"seeds": [], "difference": None, "verdict": NO_PAIRS}
    found = paired_difference([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    verdict = {1: BETTER, -1: WORSE, 0: UNCLEAR}[clear_sign(found["interval"])]
    return {"seeds": seeds, "difference": found, "verdict": verdict}
