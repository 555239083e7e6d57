"""Greedy k-center: real images that leave no other image far away."""

import torch

from compdd_eval.methods.coreset import SETTINGS, by_class, check_features, mean_of, squared_distances
from compdd_eval.methods.features import read_features
from compdd_eval.methods.job import Job
from compdd_eval.methods.registry import register_method


def k_center(features: torch.Tensor, k: int) -> list[int]:
    """Choose points that cover all others: greedy k-center, within a factor 2 of the least possible radius.

    Source: Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018,
    algorithm 1. The first is the point nearest the mean, as in DC-BENCH (Cui et al., NeurIPS 2022); then always the one
    that is farthest from the nearest chosen one. Distances are Euclidean, in float64; of equal ones the lowest index
    wins. Memory grows with `n + D`, beside the features.

    Args:
        features: Float `[n, D]`, finite.
        k: How many, 1 to n.

    Returns:
        k different indices, in the order of choice.

    Raises:
        InputError: `k` is not in 1 ... n.
    """
    check_features(features, k)
    chosen = [int(squared_distances(features, mean_of(features)).argmin())]
    nearest = squared_distances(features, features[chosen[0]])
    while len(chosen) < k:
        nearest[chosen[-1]] = -1.0  # below all distances: no point twice, also among duplicates
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, squared_distances(features, features[chosen[-1]]))
    return chosen


@register_method(
    "k-center",
    title="real images that cover the others",
    paper="Sener and Savarese, ICLR 2018",
    cost="training one network",
    selects=True,
    inputs=read_features,
    settings=SETTINGS,
)
def _k_center(job: Job) -> list[int]:
    return by_class(job, k_center)
