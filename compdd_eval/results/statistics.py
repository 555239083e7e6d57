"""How sure a number is: intervals over students and over validation images, comparisons, and permuted labels.

Two things vary: the students (seed of weights and order) and the validation images. `mean_interval`,
`paired_difference` and `ratio_interval` are about the first, the bootstrap about the second.
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
_SHUFFLES = 200
_DEVIATIONS = 5  # standard deviations above the mean of the shuffles
_MOVED_LEVEL = 1e-4


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


def mean_interval(values: Sequence[float]) -> list[float] | None:
    """Return Student's t interval of the mean, `mean +- t(n - 1) * std / sqrt(n)` (Student 1908).

    Args:
        values: One number for each student, such as accuracies in [0, 1].

    Returns:
        `[low, high]` at `CONFIDENCE`, in the unit of the values and not clipped to [0, 1]; None for one value.

    Raises:
        InputError: There are no values, or one is not finite.
    """
    values = _finite("values", values)
    if len(values) < 2:
        return None
    mean = statistics.mean(values)
    half = _quantile(len(values) - 1) * _deviation(values) / math.sqrt(len(values))
    return [mean - half, mean + half]


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
    exact: the t interval of the numerators is divided by it.

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
    return Ratio(a / b, interval)


def confusion_matrix(predicted: Sequence[int], labels: Sequence[int], num_classes: int) -> list[list[int]]:
    """Count the images of each true label (row) that got each predicted label (column).

    Args:
        predicted: Predicted labels in [0, num_classes), one for each image.
        labels: True labels in [0, num_classes), in the same order.
        num_classes: Number of labels.

    Returns:
        Counts, [num_classes, num_classes]; a label without images has a row of zeros.

    Raises:
        InputError: The lengths differ, or a label is not a whole number in the range.
    """
    require("num_classes", num_classes, num_classes >= 1, "a whole number from 1")
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    require("predicted", f"of length {predicted.size}", predicted.shape == labels.shape, f"{labels.size} labels")
    for name, values in (("predicted", predicted), ("labels", labels)):
        valid = not values.size or (values.dtype.kind in "iu" and values.min() >= 0 and values.max() < num_classes)
        require(name, "with other values", bool(valid), f"whole numbers from 0 to {num_classes - 1}")
    flat = labels.astype(np.int64) * num_classes + predicted.astype(np.int64)
    return np.bincount(flat.ravel(), minlength=num_classes**2).reshape(num_classes, num_classes).tolist()


def best_permutation(confusion: Sequence[Sequence[int]]) -> tuple[list[int], float]:
    """Find the renaming of the predicted labels that makes most images right (Kuhn 1955, the Hungarian method).

    Among equally good ones it is one that leaves most labels in place.

    Args:
        confusion: Counts with a row for each true label, [labels, labels].

    Returns:
        `permutation`, whose entry p is the true label that predicted label p stands for, and the accuracy in [0, 1]
        after replacing every prediction p by `permutation[p]`.

    Raises:
        InputError: The matrix is not square, has a negative count, or no image at all.
    """
    counts = _counts(confusion)
    # weighed so that, between equally good assignments, one with more labels in place wins
    weights = counts * (len(counts) + 1) + np.eye(len(counts), dtype=np.int64)
    rows, columns = scipy.optimize.linear_sum_assignment(weights, maximize=True)
    permutation = [int(row) for row in rows[np.argsort(columns)]]
    return permutation, float(counts[rows, columns].sum() / counts.sum())


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


def looks_permuted(confusion: Sequence[Sequence[int]]) -> list[int] | None:
    """Tell whether predicted labels are right but for their names, as after mixing up the order of the classes.

    The best of 10! permutations makes some 16 % of 500 guesses over ten labels right, so only the images whose label
    the best permutation moves are looked at, and it must pass three checks on them:

    - It makes more than twice as many right as the labels as they are.
    - The right images that it gains outnumber those that it loses: sign test (McNemar 1947) at level 0.0001, divided
      by the number of ways to choose as many labels (Bonferroni).
    - It makes more right than the best renaming does after any of 200 seeded shuffles of the predictions among these
      images (which keep both marginals, so a student that predicts few labels is compared with its like), and than
      their mean plus five standard deviations.

    In simulations with 50 images for each of ten labels, none of 9,000 guessing or weak students with the right labels
    was reported, and one of 1,500 that tell groups of five labels apart but guess within them. All ten labels renamed
    are found in half the cases at an accuracy of 0.2 and always from 0.3, two swapped ones nearly always at 0.5.

    Args:
        confusion: Counts with a row for each true label, [labels, labels].

    Returns:
        The permutation, as from `best_permutation`, or None where the labels look right or the student is too weak
        to tell.

    Raises:
        InputError: As in `best_permutation`.
    """
    permutation, _ = best_permutation(confusion)
    counts = _counts(confusion)
    moved = [label for label, other in enumerate(permutation) if label != other]
    as_named = int(sum(counts[label, label] for label in moved))
    renamed = int(sum(counts[permutation[label], label] for label in moved))
    if renamed <= 2 * as_named:
        return None
    sign_test = scipy.stats.binomtest(renamed, renamed + as_named, 0.5, alternative="greater")
    if sign_test.pvalue >= _MOVED_LEVEL / math.comb(len(counts), len(moved)):
        return None
    return permutation if renamed > _most_by_chance(counts[moved]) else None


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


def _counts(confusion: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the counts of a confusion matrix, or raise InputError."""
    counts = np.asarray(confusion)
    square = counts.ndim == 2 and counts.shape[0] == counts.shape[1]
    require("confusion", f"of shape {list(counts.shape)}", square and counts.dtype.kind in "iu", "a square of counts")
    require("confusion", "without images", bool((counts >= 0).all() and counts.any()), "counts from 0, not all 0")
    return counts.astype(np.int64)


def _most_by_chance(counts: np.ndarray) -> float:
    """Return how many images the best renaming makes right by chance: [some true labels, predicted labels] counts."""
    true, predicted = np.nonzero(counts)
    repeats = counts[true, predicted]
    true, predicted = np.repeat(true, repeats), np.repeat(predicted, repeats)
    rng = np.random.default_rng(0)
    most = []
    for _ in range(_SHUFFLES):
        flat = true * counts.shape[1] + rng.permutation(predicted)
        shuffled = np.bincount(flat, minlength=counts.size).reshape(counts.shape)
        most.append(shuffled[scipy.optimize.linear_sum_assignment(shuffled, maximize=True)].sum())
    return max(float(np.max(most)), float(np.mean(most) + _DEVIATIONS * np.std(most)))
