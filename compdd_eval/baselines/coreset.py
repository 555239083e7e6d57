"""Methods that choose real images: at random, by greedy k-center, by herding."""

from collections.abc import Callable

import torch
from tqdm import tqdm

from compdd_eval.baselines.features import TRAINED, FeatureSpace, read_features
from compdd_eval.baselines.job import Job
from compdd_eval.baselines.random_images import check_ipc, draw_places
from compdd_eval.baselines.registry import register_method
from compdd_eval.config import require

_ELEMENTS = 2**20  # of features that are taken to float64 at a time: 8 MB
_SETTINGS = {"features": TRAINED, "feature_epochs": 10}


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
    _check(features, k)
    chosen = [int(_squared_distances(features, _mean(features)).argmin())]
    nearest = _squared_distances(features, features[chosen[0]])
    while len(chosen) < k:
        nearest[chosen[-1]] = -1.0  # below all distances: no point twice, also among duplicates
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, _squared_distances(features, features[chosen[-1]]))
    return chosen


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
    _check(features, k)
    mean, chosen = _mean(features), []
    total = torch.zeros_like(mean)
    while len(chosen) < k:
        # j times the distance between the two means is that from x to what the sum lacks
        distances = _squared_distances(features, (len(chosen) + 1) * mean - total)
        distances[chosen] = torch.inf
        chosen.append(int(distances.argmin()))
        total += features[chosen[-1]]
    return chosen


def _check(features: torch.Tensor, k: int) -> None:
    require("k", k, 1 <= k <= len(features), f"a number of points from 1 to {len(features)}")


def _parts(features: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Split points into parts of a bounded size, none of one point alone: torch sums one row in another order."""
    return features.tensor_split(max(1, min(len(features) // 2, -(-features.numel() // _ELEMENTS))))


def _mean(features: torch.Tensor) -> torch.Tensor:
    return sum(part.double().sum(0) for part in _parts(features)) / len(features)


def _squared_distances(features: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """Return the squared distance of each feature `[n, D]` to a point `[D]`, float64 `[n]`."""
    point, distances = point.double(), torch.empty(len(features), dtype=torch.float64)
    parts = _parts(features)
    for part, found in zip(parts, distances.tensor_split(len(parts)), strict=True):
        torch.sum((part.double() - point).square_(), 1, out=found)
    return distances


@register_method("random", title="random real images", paper="", cost="none", selects=True)
def _random(job: Job) -> list[int]:
    return draw_places(job.real.labels, job.config.ipc, job.config.seed)


@register_method(
    "k-center",
    title="real images that cover the others",
    paper="Sener and Savarese, ICLR 2018",
    cost="training one network",
    selects=True,
    inputs=read_features,
    settings=_SETTINGS,
)
def _k_center(job: Job) -> list[int]:
    return _by_class(job, k_center)


@register_method(
    "herding",
    title="real images whose mean is that of all",
    paper="Welling, ICML 2009",
    cost="training one network",
    selects=True,
    inputs=read_features,
    settings=_SETTINGS,
)
def _herding(job: Job) -> list[int]:
    return _by_class(job, herding)


def _by_class(job: Job, choose: Callable[[torch.Tensor, int], list[int]]) -> list[int]:
    """Choose as many images of each class, ordered by label."""
    config, real, chosen = job.config, job.real, []
    check_ipc(real.labels, config.ipc, real.classes)
    space = FeatureSpace(job)
    for label in tqdm(real.classes, unit="class", desc=config.method):
        members = real.places(label)
        features = space.of(members)
        chosen += members[choose(features, config.ipc)].tolist()
        space.facts["dimensions"] = features.shape[1]
    job.notes["features"] = space.facts
    return chosen
