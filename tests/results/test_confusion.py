"""Confusion matrices, and labels that are right but for their names."""

import numpy as np
import pytest

from compdd_eval.results.confusion import best_permutation, confusion_matrix, looks_permuted
from compdd_eval.utils.errors import InputError

LABELS = np.repeat(np.arange(10), 50)


def test_confusion_matrix_rows_are_true_labels():
    assert confusion_matrix([1, 1, 0, 2], [0, 0, 0, 2], 3) == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]
    assert confusion_matrix([], [], 2) == [[0, 0], [0, 0]]
    for predicted, labels in (([0], [0, 1]), ([3], [0]), ([0], [-1]), ([0.5], [0])):
        with pytest.raises(InputError):
            confusion_matrix(predicted, labels, 3)


def test_best_permutation():
    renamed = np.roll(np.arange(10), 3)
    permutation, accuracy = best_permutation(confusion_matrix(renamed[LABELS], LABELS, 10))
    assert accuracy == 1
    assert (np.array(permutation)[renamed] == np.arange(10)).all()
    missing = [[0] * 3, [0, 5, 0], [0, 0, 5]]
    assert best_permutation(missing) == ([0, 1, 2], 1)
    assert best_permutation(confusion_matrix([4] * 500, LABELS, 10)) == (list(range(10)), 0.1)
    for confusion in ([[1, 2]], [[0, 0], [0, 0]], [[-1, 2], [0, 1]]):
        with pytest.raises(InputError):
            best_permutation(confusion)


@pytest.mark.parametrize("used", [10, 3, 2, 1])
def test_guessing_never_looks_permuted(used):
    rng = np.random.default_rng(used)
    for _ in range(50):
        assert looks_permuted(confusion_matrix(rng.integers(0, used, 500), LABELS, 10)) is None


def student(rng, accuracy):
    return np.where(rng.random(500) < accuracy, LABELS, rng.integers(0, 10, 500))


@pytest.mark.parametrize("accuracy", [0.05, 0.15, 0.3, 0.9])
def test_right_labels_never_look_permuted(accuracy):
    rng = np.random.default_rng(1)
    for _ in range(50):
        assert looks_permuted(confusion_matrix(student(rng, accuracy), LABELS, 10)) is None


@pytest.mark.parametrize(("swap", "accuracy"), [(10, 0.2), (10, 0.9), (2, 0.5), (3, 0.5)])
def test_permuted_labels_are_found(swap, accuracy):
    rng = np.random.default_rng(1)
    renamed = np.arange(10)
    renamed[:swap] = np.roll(renamed[:swap], 1)
    for _ in range(20):
        permutation = looks_permuted(confusion_matrix(renamed[student(rng, accuracy)], LABELS, 10))
        assert permutation is not None
        assert np.mean(np.array(permutation)[renamed] == np.arange(10)) >= 0.6
