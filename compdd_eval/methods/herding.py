"""Herding: real images whose mean features stay close to the class's."""

import torch

from compdd_eval.methods.coreset import SETTINGS, by_class, check_features, mean_of, squared_distances
from compdd_eval.methods.features import read_features
from compdd_eval.methods.job import Job
from compdd_eval.methods.registry import register_method


def herding(features: torch.Tensor, k: int) -> list[int]:
    """Choose points whose mean is that of all: each next one brings the mean of the chosen ones nearest to it.

    Source: Welling, "Herding Dynamical Weights to Learn", ICML 2009; as algorithm 4 of iCaRL (Rebuffi et al., CVPR
    2017): `p_j = argmin_x |mean - (x + p_1 + ... + p_{j-1}) / j|`, over the points that are not chosen yet. Features
    are taken as they are (iCaRL scales them to length 1). Distances are Euclidean, in float64; of equal ones the
    lowest index wins. Memory grows with `n + D`, beside the features.

    Args:
        features: Float `[n, D]`, finite.
        k: How many, 1 to n.

    Returns:
        k different indices, in the order of choice.

    Raises:
        InputError: `k` is not in 1 ... n.
    """
    check_features(features, k)
    mean, chosen = mean_of(features), []
    total = torch.zeros_like(mean)
    while len(chosen) < k:
        # j times the distance between the two means is that from x to what the sum lacks
        distances = squared_distances(features, (len(chosen) + 1) * mean - total)
        distances[chosen] = torch.inf
        chosen.append(int(distances.argmin()))
        total += features[chosen[-1]]
    return chosen


@register_method(
    "herding",
    title="real images whose mean is that of all",
    paper="Welling, ICML 2009",
    cost="training one network",
    selects=True,
    inputs=read_features,
    settings=SETTINGS,
)
def _herding(job: Job) -> list[int]:
    return by_class(job, herding)
