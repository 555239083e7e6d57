"""What the methods share that choose real images."""

from collections.abc import Callable

import torch
from tqdm.auto import tqdm

from compdd_eval.distilled.random_images import check_ipc
from compdd_eval.methods.features import TRAINED, FeatureSpace
from compdd_eval.methods.job import Job
from compdd_eval.utils.errors import require

_ELEMENTS = 2**20  # of features that are taken to float64 at a time: 8 MB
SETTINGS = {"features": TRAINED, "feature_epochs": 10}


def check_features(features: torch.Tensor, k: int) -> None:
    """Raise InputError unless k of the points can be chosen."""
    require("k", k, 1 <= k <= len(features), f"a number of points from 1 to {len(features)}")


def _parts(features: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Split points into parts of a bounded size, none of one point alone: torch sums one row in another order."""
    return features.tensor_split(max(1, min(len(features) // 2, -(-features.numel() // _ELEMENTS))))


def mean_of(features: torch.Tensor) -> torch.Tensor:
    """Return the mean of points, float64 `[D]`."""
    return sum(part.double().sum(0) for part in _parts(features)) / len(features)


def squared_distances(features: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """Return the squared distance of each feature `[n, D]` to a point `[D]`, float64 `[n]`."""
    point, distances = point.double(), torch.empty(len(features), dtype=torch.float64)
    parts = _parts(features)
    for part, result in zip(parts, distances.tensor_split(len(parts)), strict=True):
        torch.sum((part.double() - point).square_(), 1, out=result)
    return distances


def by_class(job: Job, choose: Callable[[torch.Tensor, int], list[int]]) -> list[int]:
    """Choose as many images of each class, ordered by label."""
    config, real, chosen = job.config, job.real, []
    check_ipc(real.labels, config.ipc, real.classes)
    space = FeatureSpace(job)
    for label in tqdm(real.classes, unit="class", desc=config.method):
        members = real.indices_of(label)
        features = space.of(members)
        chosen += members[choose(features, config.ipc)].tolist()
        space.facts["dimensions"] = features.shape[1]
    job.notes["features"] = space.facts
    return chosen
