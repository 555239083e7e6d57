"""The measure itself: of a map, of an image, of a class."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from compdd_eval.results.statistics import mean_interval
from compdd_eval.utils.errors import InputError

THRESHOLD = 0.5  # Comp-DD: a pixel is active where its class-activation value reaches this


def complexity_from_maps(maps: torch.Tensor, threshold: float = THRESHOLD) -> torch.Tensor:
    """Return one minus the share of pixels that are active (Comp-DD, CVPR 2025).

    Args:
        maps: Class-activation maps, float `[N, H, W]`, normalised to [0, 1].
        threshold: Activation from which a pixel is active; it is active where it equals this, too.

    Returns:
        float64 `[N]`, in [0, 1]: `1 - (number of pixels >= threshold) / (H W)`, exact.

    Raises:
        InputError: The maps have another shape, no pixels, or a value that is not finite.
    """
    if maps.ndim != 3 or not maps.is_floating_point() or not maps.shape[1] * maps.shape[2]:
        raise InputError(f"maps {list(maps.shape)} {maps.dtype}: expected float [N, H, W] with at least one pixel")
    if not torch.isfinite(maps).all():
        raise InputError("maps: a value is not finite")
    active = (maps >= threshold).flatten(1).sum(dim=1)
    return 1 - active.double() / (maps.shape[1] * maps.shape[2])


@dataclass(frozen=True)
class ClassComplexity:
    """Complexity of a class.

    Attributes:
        mean: Mean over its images, in [0, 1].
        std: Sample standard deviation over them; None for one image.
        n: Images.
        ci_low: Lower end of the 95 % interval of the mean (Student's t); None for one image.
        ci_high: Upper end.
    """

    mean: float
    std: float | None
    n: int
    ci_low: float | None
    ci_high: float | None


def class_complexity(values: Sequence[float]) -> ClassComplexity:
    """Return the complexity of a class from that of its images; raise InputError where there are none."""
    if not values:
        raise InputError("no images: expected at least one of a class")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return ClassComplexity(mean, None, 1, None, None)
    low, high = mean_interval(values)
    return ClassComplexity(mean, statistics.stdev(values), len(values), low, high)
