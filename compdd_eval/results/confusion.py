"""Which labels are taken for which: confusion matrices, and labels that are right but for their names."""

import math
from collections.abc import Sequence

import numpy as np
import scipy

from compdd_eval.utils.errors import require

_SHUFFLES = 200
_DEVIATIONS = 5  # standard deviations above the mean of the shuffles
_MOVED_LEVEL = 1e-4


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
