"""How sure a number is: intervals over students and over validation images, and comparisons.

Two things vary: the students (seed of weights and order) and the validation images. `accuracy_interval`,
`paired_difference` and `ratio_interval` are about the first, the bootstrap and `share_interval` about the second.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from compdd_eval.utils.errors import require

CONFIDENCE = 0.95
_SAME = 1e-12  # a standard deviation up to this is rounding
_ROUNDING = 1e-9  # a difference of accuracies up to this is none


@dataclass(frozen=True)
class PairedDifference:
    """How one group of students differs from another, seed by seed.

    Attributes:
        mean: Mean difference.
        std: Its sample standard deviation; None for one pair.
        n: Number of pairs.
        interval: 95 % interval of the mean difference (Student's t); None for one pair.
        wins: Pairs in which the first is larger.
        p_value: Of the two-sided paired t test; None where there is no spread.
    """

    mean: float
    std: float | None
    n: int
    interval: list[float] | None
    wins: int
    p_value: float | None


@dataclass(frozen=True)
class Ratio:
    """A ratio of two means, such as accuracy / accuracy of all training images.

    Attributes:
        ratio: The ratio of the means; None where the denominator is 0.
        interval: Its 95 % interval (Fieller 1954); None where there is none.
    """

    ratio: float | None
    interval: list[float] | None


def chance(per_class: Sequence[float | None]) -> float:
    """Return the accuracy of guessing, in [0, 1]: one over the number of labels that have validation images."""
    return 1 / max(1, sum(accuracy is not None for accuracy in per_class))


def mean_interval(values: Sequence[float]) -> list[float] | None:
    """Return Student's t interval of the mean, `mean +- t(n - 1) * std / sqrt(n)` (Student 1908).

    Args:
        values: One number for each student, such as differences of accuracies; for accuracies there is
            `accuracy_interval`.

    Returns:
        `[low, high]` at `CONFIDENCE`, in the unit of the values, without bounds; None for one value.

    Raises:
        InputError: There are no values, or one is not finite.
    """
    values = _finite("values", values)
    if len(values) < 2:
        return None
    mean = statistics.mean(values)
    half = _quantile(len(values) - 1) * _deviation(values) / math.sqrt(len(values))
    return [mean - half, mean + half]


def accuracy_interval(accuracies: Sequence[float]) -> list[float] | None:
    """Return the interval of a mean accuracy over students: Student's t on the logit scale, mapped back to (0, 1).

    With mean m and standard error e of n students, the delta method gives `logit(m)` the standard error
    `e / (m (1 - m))`; the ends are `expit(logit(m) +- t(n - 1) e / (m (1 - m)))`. This is the logit interval of Brown,
    Cai and DasGupta (2001, "Interval estimation for a binomial proportion", Statistical Science 16), with the spread
    over students in place of the binomial one. Where the spread is small it is `mean_interval`; where it is not, it
    stays in [0, 1] and reaches further towards 1/2.

    Args:
        accuracies: One for each student, in [0, 1]; 0 and 1 themselves are allowed.

    Returns:
        `[low, high]` at `CONFIDENCE`, in [0, 1]; both ends are the mean where all accuracies are equal, also at 0 and
        1; None for one student.

    Raises:
        InputError: There are no accuracies, or one is not in [0, 1].
    """
    values = _finite("accuracies", accuracies)
    require("accuracies", values, all(0 <= value <= 1 for value in values), "fractions in [0, 1]")
    if len(values) < 2:
        return None
    mean, std = statistics.mean(values), _deviation(values)
    if not std:
        return [mean, mean]
    center = scipy.special.logit(mean)
    half = _quantile(len(values) - 1) * std / math.sqrt(len(values)) / (mean * (1 - mean))
    return [float(scipy.special.expit(center - half)), float(scipy.special.expit(center + half))]


def share_interval(share: float, total: int) -> list[float]:
    """Return the interval of a share of right images (Wilson 1927, the score interval of a binomial proportion).

    It is about other validation images. The share may be a mean over students: these see the same images, so `total`
    counts each image once, and the interval is rather too wide than too narrow.

    Args:
        share: Share of the images that are right, in [0, 1].
        total: Number of images, from 1.

    Returns:
        `[low, high]` at `CONFIDENCE`, in [0, 1].

    Raises:
        InputError: A number is out of its range.
    """
    require("share", share, 0 <= share <= 1, "a fraction in [0, 1]")
    require("total", total, total >= 1, "a number of images from 1")
    z = float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2))
    center = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return [max(0.0, center - half), min(1.0, center + half)]


def paired_difference(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """Compare two groups of students pair by pair, seed by seed.

    Args:
        first: Accuracies in [0, 1], one for each seed.
        second: The other ones, of the same seeds in the same order.

    Returns:
        `mean` and `std` (sample; None for one pair) of `first - second`; `n` pairs; `interval` of the mean (as in
        `mean_interval`); `wins`, the pairs in which `first` is larger; `p_value` of the two-sided paired t test
        (Student 1908), None for one pair or where all differences are equal.

    Raises:
        InputError: The lengths differ, there are no values, or one is not finite.
    """
    first, second = _finite("first", first), _finite("second", second)
    require("second", f"of length {len(second)}", len(first) == len(second), f"{len(first)} values, one for each seed")
    differences = [one - other for one, other in zip(first, second, strict=True)]
    mean, n = statistics.mean(differences), len(differences)
    std = _deviation(differences) if n > 1 else None
    return PairedDifference(
        mean=mean,
        std=std,
        n=n,
        interval=mean_interval(differences),
        wins=sum(one > other for one, other in zip(first, second, strict=True)),
        p_value=float(2 * scipy.stats.t.sf(abs(mean) / (std / math.sqrt(n)), n - 1)) if std else None,
    )


def bootstrap_interval(right: object, draws: int = 2000, seed: int = 0) -> list[float]:
    """Return the percentile interval of the mean accuracy over redrawn validation images (Efron 1979).

    Images are drawn with replacement, regardless of their label; the students stay as they are. The interval answers
    "what if there were other validation images", not "other seeds".

    Args:
        right: Whether each image is right, 0 or 1, [students, images].
        draws: Number of redrawn sets.
        seed: Seed of the draws; the same one gives the same interval.

    Returns:
        `[low, high]` at `CONFIDENCE`, fractions in [0, 1].

    Raises:
        InputError: `right` is empty, is not two-dimensional or holds other values; `draws` is below 1.
    """
    return _percentiles(_image_means("right", right), draws, seed)


def paired_bootstrap_interval(first: object, second: object, draws: int = 2000, seed: int = 0) -> list[float]:
    """Return the percentile interval of a difference of mean accuracies, the same images drawn for both.

    Args:
        first: Whether each image is right, 0 or 1, [students, images].
        second: The same images in the same order, [any number of students, images].
        draws: Number of redrawn sets.
        seed: Seed of the draws.

    Returns:
        `[low, high]` of `first - second` at `CONFIDENCE`, in [-1, 1] (Efron 1979).

    Raises:
        InputError: As in `bootstrap_interval`, or the numbers of images differ.
    """
    first, second = _image_means("first", first), _image_means("second", second)
    require("second", f"of {len(second)} images", len(first) == len(second), f"the same {len(first)} images")
    return _percentiles(first - second, draws, seed)


def clear_sign(interval: Sequence[float] | None) -> int:
    """Return 1 or -1 where an interval of a mean difference lies above or below 0, else 0.

    An interval without width is 0, too: the same difference in every pair is no spread to judge by, and common where
    an image of 500 is 0.2 points and pairs are few. So is None, one pair.
    """
    if interval is None or interval[1] - interval[0] <= _ROUNDING:
        return 0
    return 1 if interval[0] > _ROUNDING else -1 if interval[1] < -_ROUNDING else 0


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Return a ratio of two means, such as accuracy on distilled over accuracy on real images, and its interval.

    The interval is that of Fieller (1954, "Some problems in interval estimation", JRSS B 16) for independent means:
    all r with `(a - r b)^2 <= t^2 (va + r^2 vb)`, where a, b are the means and va, vb their squared standard errors.
    The degrees of freedom of t are those of Welch (1947) and Satterthwaite (1946) for `va + r^2 vb` at the estimated
    ratio; with two or three students the interval covers a little more than 95 %. A single denominator counts as
    exact: the t interval of the numerators is divided by it. Where no number is below 0, no ratio is: the interval
    ends at 0.

    Args:
        numerators: One number for each student.
        denominators: One number for each of the other students; the counts may differ.

    Returns:
        `ratio`, None where the mean denominator is zero; `interval`, `[low, high]` at `CONFIDENCE`, None for a single
        numerator or where the denominator is not significantly different from zero (no bounded interval exists).

    Raises:
        InputError: There are no values, or one is not finite.
    """
    above, below = _finite("numerators", numerators), _finite("denominators", denominators)
    a, b = statistics.mean(above), statistics.mean(below)
    if not b or not math.isfinite(a / b):
        return Ratio(None, None)
    if len(above) < 2:
        interval = None
    elif len(below) < 2:
        interval = sorted(end / b for end in mean_interval(above))
    else:
        interval = _fieller(above, below)
    if interval is not None and min(*above, *below) >= 0:
        interval = [max(0.0, end) for end in interval]
    return Ratio(a / b, interval)


def beyond_chance(correct: int, total: int, chance: float, level: float = 1 - CONFIDENCE) -> bool:
    """Tell whether an accuracy is significantly above chance: exact one-sided binomial test (Clopper, Pearson 1934).

    Args:
        correct: Right images of one student. Those of several students are not independent; do not add them up.
        total: All its images.
        chance: Accuracy of guessing, in (0, 1), such as 0.1.
        level: Probability of True for a student that guesses, at most.

    Raises:
        InputError: A number is out of its range.
    """
    require("total", total, total >= 1, "a number of images from 1")
    require("correct", correct, 0 <= correct <= total, f"a number of images from 0 to {total}")
    require("chance", chance, 0 < chance < 1, "a fraction between 0 and 1")
    require("level", level, 0 < level < 1, "a fraction between 0 and 1")
    return bool(scipy.stats.binomtest(int(correct), int(total), chance, alternative="greater").pvalue < level)


def equally_accurate(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the p value of "both are as accurate", for two networks tested on the same images (McNemar 1947, exact).

    Images that both get right, or wrong, say nothing; of the others each should be right as often.

    Args:
        first: Whether the first is right, for each image.
        second: The same of the other.
    """
    pairs = list(zip(first, second, strict=True))
    first_only = sum(a and not b for a, b in pairs)
    differing = sum(a != b for a, b in pairs)
    return float(scipy.stats.binomtest(first_only, differing, 0.5).pvalue) if differing else 1.0


def _finite(name: str, values: Sequence[float]) -> list[float]:
    """Return the values as floats, or raise InputError."""
    values = [float(value) for value in values]
    require(name, values, bool(values) and all(map(math.isfinite, values)), "one finite number or more")
    return values


def _deviation(values: list[float]) -> float:
    """Return the sample standard deviation; zero where it is only rounding."""
    std = statistics.stdev(values)
    return std if std > _SAME else 0.0


def _quantile(freedom: float) -> float:
    """Return the t beyond which lies half of what `CONFIDENCE` leaves."""
    return float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom))


def _fieller(above: list[float], below: list[float]) -> list[float] | None:
    """Solve Fieller's quadratic for the ratio of two means; va, vb are their squared standard errors."""
    a, b = statistics.mean(above), statistics.mean(below)
    ratio = a / b
    va, vb = (_deviation(values) ** 2 / len(values) for values in (above, below))
    df_a, df_b = len(above) - 1, len(below) - 1
    variance = va + ratio**2 * vb
    if not variance:  # also for a ratio of 0 without spread
        freedom = min(df_a, df_b)
    else:
        share = va / variance
        freedom = 1 / (share**2 / df_a + (1 - share) ** 2 / df_b)
    t = _quantile(freedom)
    g = t**2 * vb / b**2
    if g >= 1:
        return None
    half = t / abs(b) * math.sqrt(max(0.0, variance - g * va))
    return [(ratio - half) / (1 - g), (ratio + half) / (1 - g)]


def _image_means(name: str, right: object) -> np.ndarray:
    """Return the mean over students of a [students, images] array of 0 and 1, [images] in [0, 1]."""
    right = np.asarray(right)
    require(name, f"of shape {list(right.shape)}", right.ndim == 2 and right.size > 0, "[students, images], not empty")
    require(name, "with other values", bool(np.isin(right, (0, 1)).all()), "0 or 1 for each image")
    return right.mean(axis=0, dtype=float)


def _percentiles(scores: np.ndarray, draws: int, seed: int) -> list[float]:
    """Return the percentile interval of the mean of redrawn scores.

    Only how often each distinct score is drawn matters, so these counts are drawn, from a multinomial distribution.
    """
    require("draws", draws, draws >= 1, "a whole number from 1")
    distinct, counts = np.unique(scores, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(scores), counts / len(scores), size=draws)
    ends = np.quantile(drawn @ distinct / len(scores), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return ends.tolist()
