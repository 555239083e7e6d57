"""Do the labels of a set mean what they should? Cheap features of its images against those of real ones.

A linear discriminant on colours, coarse layout and edge directions is fitted to half of the real images. It is right
for a quarter of them at best, yet the mean log-likelihood of all images with one label tells much more than one image
does. How much, is measured: the same number of real images from the other half is drawn many times.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from compdd_eval.data.transforms import denormalise

_SIDE = 32  # pixels of a side to which all images are brought
_GRID = 4  # cells of a side, for layout and edges
_ANGLES = 8  # directions of edges
_LEAST_RIDGE = 1e-6  # one image a class has no spread at all
_SHRINK = 0.8  # of the within-class covariance towards a multiple of the identity: few images, many features
_DRAWS = 400
_MARGIN = 0.75  # distilled images may fit a little worse than real ones
_CERTAIN = 0.8  # share of the draws whose best order is the right one, from which an order is suggested
_FIT = 2.0  # standard deviations above a random order that real images have to reach for the test to say anything


@dataclass(frozen=True)
class LabelOrder:
    """What the features say.

    Attributes:
        score: How well the labels fit the classes, in standard deviations above a random order.
        limit: The score below which labels are suspicious, if another order fits much better.
        order: For each label in turn, the label whose real images its images are most like, all taken together.
        suspicious: Whether the labels fit worse than those of real images ever do, and another order fits better.
        telling: Whether so few images can tell at all.
        certain: Whether so many real images mostly lead to just the right order.
    """

    score: float
    limit: float
    order: list[int]
    suspicious: bool
    telling: bool
    certain: bool


def compare_label_order(
    images: torch.Tensor, labels: torch.Tensor, real: torch.Tensor, real_labels: torch.Tensor
) -> LabelOrder:
    """Compare the labels of images with those of real images.

    Args:
        images: float32 `[N, 3, H, W]`, ImageNet-normalised.
        labels: int64 `[N]`.
        real: Real images, in the same space, `[M, 3, H, W]`.
        real_labels: int64 `[M]`, with every label that `labels` has.
    """
    present = real_labels.unique()  # tables have a row for each label that is there: music-hard as published has nine
    rows = torch.searchsorted(present, labels)
    real_rows = torch.searchsorted(present, real_labels)
    if torch.bincount(real_rows).min() < 2:  # none to hold out: nothing can be told
        return LabelOrder(0.0, 0.0, present.tolist(), suspicious=False, telling=False, certain=False)
    generator = torch.Generator().manual_seed(0)
    fitted, held_out = _halves(real_rows, generator)
    features = _features(real)
    judge = _discriminant(features[fitted], real_rows[fitted], len(present))
    counts = torch.bincount(rows, minlength=len(present))
    draws = _draws(judge(features[held_out]), real_rows[held_out], counts, generator)
    own = _by_label(judge(_features(images)), rows, counts)[None]
    score, best, order = _scores(own)
    real_score, real_best, _ = _scores(draws)
    # 99 of 100 draws of real images fit better than this
    expected = real_score.quantile(0.01).item()
    limit, gain = _MARGIN * expected, (best - score).item()
    telling = expected >= _FIT
    worse = score.item() < limit and gain > (real_best - real_score).quantile(0.99).item()
    certain = ((real_best - real_score) < 1e-4).float().mean().item() > _CERTAIN
    return LabelOrder(score.item(), limit, [int(present[k]) for k in order], telling and worse, telling, certain)


def _halves(labels: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Split the positions of every class in two."""
    members = [(labels == label).nonzero().flatten() for label in labels.unique()]
    shuffled = [own[torch.randperm(len(own), generator=generator)] for own in members]
    halves = [own.tensor_split([(len(own) + 1) // 2]) for own in shuffled]
    return torch.cat([fitted for fitted, _ in halves]), torch.cat([held_out for _, held_out in halves])


def _features(images: torch.Tensor) -> torch.Tensor:
    """Return float32 `[N, F]`: coarse layout, colour histograms and edge directions."""
    pixels = denormalise(images)
    if images.shape[-1] != _SIDE:
        pixels = interpolate(pixels, (_SIDE, _SIDE), mode="bilinear", antialias=True)
    pixels = pixels.clamp(0, 1)
    red, green, blue = pixels.unbind(1)
    opponents = torch.stack([red - green, (2 * blue - red - green) / 2], 1)
    parts = [adaptive_avg_pool2d(pixels, _GRID), pixels.std((2, 3)), _histogram(pixels, 0, 1, 4)]
    parts += [_histogram(opponents, -0.5, 0.5, 8), _edges(pixels.mean(1, keepdim=True))]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def _histogram(values: torch.Tensor, low: float, high: float, bins: int) -> torch.Tensor:
    """Return the share of pixels near each of `bins` values, by channel."""
    position = (values - low) / (high - low) * (bins - 1)
    return torch.cat([(1 - (position - k).abs()).clamp(min=0).mean((2, 3)) for k in range(bins)], dim=1)


def _edges(grey: torch.Tensor) -> torch.Tensor:
    """Return histograms of gradient directions in each cell, of length 1 an image (Dalal & Triggs, CVPR 2005)."""
    across = (grey[..., :, 1:] - grey[..., :, :-1])[..., :-1, :]
    down = (grey[..., 1:, :] - grey[..., :-1, :])[..., :, :-1]
    strength, angle = torch.hypot(across, down), torch.atan2(down, across) % math.pi
    distance = (angle / math.pi * _ANGLES - torch.arange(_ANGLES).view(-1, 1, 1)).abs()
    near = (1 - torch.minimum(distance, _ANGLES - distance)).clamp(min=0)  # [N, angles, H, W]
    histogram = adaptive_avg_pool2d(near * strength, _GRID).flatten(1)
    return histogram / (histogram.norm(dim=1, keepdim=True) + 1e-6)


def _discriminant(features: torch.Tensor, labels: torch.Tensor, classes: int):
    """Fit a linear discriminant with one covariance; it maps features to log-probabilities `[N, classes]`."""
    mean, std = features.mean(0), features.std(0) + 1e-6
    scaled = (features - mean) / std
    means = torch.stack([scaled[labels == k].mean(0) for k in range(classes)])
    rest = scaled - means[labels]
    covariance = rest.T @ rest / max(1, len(features) - classes)
    ridge = _SHRINK * covariance.diagonal().mean() + _LEAST_RIDGE
    covariance = (1 - _SHRINK) * covariance + ridge * torch.eye(len(covariance))
    weights = torch.linalg.solve(covariance, means.T)
    bias = -0.5 * (means * weights.T).sum(1)
    return lambda others: (((others - mean) / std) @ weights + bias).log_softmax(1)


def _by_label(logs: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return the mean log-probabilities `[L, L]` of the images of each label; zeros where it has none."""
    sums = torch.zeros(len(counts), logs.shape[1]).index_add_(0, labels, logs)
    return sums / counts.clamp(min=1)[:, None]


def _draws(logs: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return `_by_label` of many draws with replacement of so many real images: `[_DRAWS, L, L]`."""
    drawn = []
    for label, count in enumerate(counts.tolist()):
        members = (labels == label).nonzero().flatten()
        some = min(count, 10 * len(members))  # more tells no more
        chosen = members[torch.randint(len(members), (_DRAWS, some), generator=generator)]
        drawn.append(logs[chosen].mean(1) if some else torch.zeros(_DRAWS, len(counts)))
    return torch.stack(drawn, dim=1)


def _scores(table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Return the scores of the given order and of the best one, and that order for the last table.

    Args:
        table: `[D, L, L]`, the log-probability of each class (columns) for the images of each label (rows).

    The sum over a random order has the mean and the variance of Hoeffding (1951), from which scores are counted.
    """
    size = table.shape[1]
    centred = table - table.mean(1, keepdim=True) - table.mean(2, keepdim=True) + table.mean((1, 2), keepdim=True)
    deviation = (centred.square().sum((1, 2)) / (size - 1)).sqrt() + 1e-12
    best, order = _assign(centred)
    return centred.diagonal(dim1=1, dim2=2).sum(1) / deviation, best / deviation, order


def _assign(tables: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """Return the largest sum over one column a row, each column once, and the columns for the last table."""
    import scipy.optimize  # half a second, for those who need it

    orders = [scipy.optimize.linear_sum_assignment(table, maximize=True)[1] for table in tables.numpy()]
    best = torch.stack([table[range(len(order)), order].sum() for table, order in zip(tables, orders, strict=True)])
    return best, orders[-1].tolist()
