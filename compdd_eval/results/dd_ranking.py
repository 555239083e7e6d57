"""Scores of DD-Ranking, from accuracies as fractions in [0, 1].

Definitions: Li et al. 2025, "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", arXiv 2505.13300. They
take the part of an accuracy that soft labels or augmentation give out of the comparison of distilled images.
"""

import math

from compdd_eval.utils.errors import require


def hard_label_recovery(real_hard: float, syn_hard: float) -> float:
    """Return HLR: what distilled images with hard labels lose against real ones; lower is better.

    Args:
        real_hard: Accuracy after training on all real images, in [0, 1].
        syn_hard: Accuracy after training on the distilled images with hard labels, in [0, 1].

    Returns:
        `real_hard - syn_hard`, in [-1, 1] (Li et al. 2025).

    Raises:
        InputError: An accuracy is not in [0, 1].
    """
    return _fraction("real_hard", real_hard) - _fraction("syn_hard", syn_hard)


def improvement_over_random(syn_any: float, random_any: float) -> float:
    """Return IOR: what distilled images gain over randomly chosen real ones of the same number; higher is better.

    Args:
        syn_any: Accuracy with the distilled images and any kind of label, in [0, 1].
        random_any: Accuracy with the random images and the same kind of label, in [0, 1].

    Returns:
        `syn_any - random_any`, in [-1, 1] (Li et al. 2025).

    Raises:
        InputError: An accuracy is not in [0, 1].
    """
    return _fraction("syn_any", syn_any) - _fraction("random_any", random_any)


def label_robust_score(hlr: float, ior: float, w: float = 0.5) -> float:
    """Return LRS: `(e^a - e^-1) / (e - e^-1)` with `a = w IOR - (1 - w) HLR` (Li et al. 2025); higher is better.

    Args:
        hlr: From `hard_label_recovery`, in [-1, 1].
        ior: From `improvement_over_random`, in [-1, 1].
        w: Weight of IOR, in [0, 1].

    Returns:
        A score in [0, 1]; about 0.269 where both are zero.

    Raises:
        InputError: A number is out of its range, such as a percentage.
    """
    weight = _fraction("w", w)
    return _normalised(weight * _difference("ior", ior) - (1 - weight) * _difference("hlr", hlr))


def augmentation_robust_score(
    syn_aug: float, random_aug: float, syn_noaug: float, random_noaug: float, gamma: float = 0.5
) -> float:
    """Return ARS: the gain over random images with and without augmentation; higher is better.

    `(e^b - e^-1) / (e - e^-1)` with `b = gamma (syn_aug - random_aug) + (1 - gamma) (syn_noaug - random_noaug)`
    (Li et al. 2025).

    Args:
        syn_aug: Accuracy with the distilled images and augmentation, in [0, 1].
        random_aug: Accuracy with random real images and augmentation, in [0, 1].
        syn_noaug: Accuracy with the distilled images and no augmentation, in [0, 1].
        random_noaug: Accuracy with random real images and no augmentation, in [0, 1].
        gamma: Weight of the pair with augmentation, in [0, 1].

    Returns:
        A score in [0, 1]; about 0.269 where nothing is gained.

    Raises:
        InputError: A number is not in [0, 1], such as a percentage.
    """
    weight = _fraction("gamma", gamma)
    with_it = _fraction("syn_aug", syn_aug) - _fraction("random_aug", random_aug)
    without = _fraction("syn_noaug", syn_noaug) - _fraction("random_noaug", random_noaug)
    return _normalised(weight * with_it + (1 - weight) * without)


def _fraction(name: str, value: float) -> float:
    """Return the value as a float, or raise InputError."""
    require(name, value, 0 <= value <= 1, "a fraction from 0 to 1 (divide percentages by 100)")
    return float(value)


def _difference(name: str, value: float) -> float:
    """Return the difference of two fractions as a float, or raise InputError."""
    require(name, value, -1 <= value <= 1, "a difference of fractions, from -1 to 1 (divide percentages by 100)")
    return float(value)


def _normalised(value: float) -> float:
    """Map [-1, 1] to [0, 1]."""
    return (math.exp(value) - math.exp(-1)) / (math.e - math.exp(-1))
