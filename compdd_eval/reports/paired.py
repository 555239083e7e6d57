"""Two groups of students, seed by seed."""

from collections.abc import Sequence
from dataclasses import dataclass

from compdd_eval.reports.summaries import Group
from compdd_eval.results.statistics import PairedDifference, clear_sign, paired_difference

BETTER, WORSE, UNCLEAR, NO_PAIRS = "better", "worse", "cannot tell", "no seed in common"


@dataclass(frozen=True)
class Pairing:
    """Two groups over the seeds that both have.

    Attributes:
        seeds: Those in common.
        difference: Of the accuracies, `first - other`, as fractions; None without a common seed.
        verdict: `better` or `worse` where the 95 % interval of the mean difference excludes 0, else `cannot tell`, as
            of `clear_sign`; `no seed in common`.
    """

    seeds: list[int]
    difference: PairedDifference | None
    verdict: str


def pair(first: Group, other: Group) -> Pairing:
    """Compare two groups of students over the seeds that both have."""
    ours, theirs = first.by_seed, other.by_seed
    # only the same seeds: they draw the same weights and order, so most of the spread is in both and cancels
    seeds = [seed for seed in ours if seed in theirs]
    if not seeds:
        return Pairing([], None, NO_PAIRS)
    difference = paired_difference([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    return Pairing(seeds, difference, {1: BETTER, -1: WORSE, 0: UNCLEAR}[clear_sign(difference.interval)])


def best_of(groups: Sequence[Group]) -> int | None:
    """Return the place of the group that is better than every other one, or None; also where it is alone."""
    if len(groups) < 2:
        return None
    best = max(range(len(groups)), key=lambda place: groups[place].mean)
    others = [group for place, group in enumerate(groups) if place != best]
    return best if all(pair(groups[best], other).verdict == BETTER for other in others) else None


def disagree(groups: Sequence[Group]) -> bool:
    """Whether a group has another accuracy than the first for the same seed, as the same students never have."""
    known = groups[0].by_seed if groups else {}
    return any(known.get(seed, value) != value for group in groups[1:] for seed, value in group.by_seed.items())
