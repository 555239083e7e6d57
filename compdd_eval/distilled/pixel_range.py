"""From stored pixels to ImageNet-normalised ones: by what is said of them, or by what they look like."""

import math

import torch
from PIL import Image

from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD, denormalise, normalise
from compdd_eval.utils.errors import InputError

_HALF_STEP = 0.5 / 255  # outside [0, 1] by less than this is lost by rounding, not by clipping
_SCALES = {"0-1": 1.0, "0-255": 255.0}
_WIDTH = 0.15  # of the mean of a set in [0, 1], of which ten images may show bright or dark things
_SPREAD = 0.7  # of the logarithm of the standard deviation: methods double the contrast, smooth images halve it
Statistics = tuple[tuple[float, ...], tuple[float, ...]]


def guess_pixel_range(images: torch.Tensor) -> str:
    """Return the range that images `[N, 3, H, W]` of any type seem to have; InputError for whole numbers above 255.

    Images in [0, 1] or [0, 255] have next to no values outside, unless they were optimised without being clamped: then
    mean and standard deviation tell, see `looks_unclamped`.
    """
    low, high = images.min().item(), images.max().item()
    if not images.is_floating_point():
        if low < 0 or high > 255:
            raise InputError(f"images are whole numbers from {low} to {high}, expected 0 to 255, or floats")
        return "0-255"
    if in_unit_range(low, high) or looks_unclamped(images):
        return "0-1"
    mean, std = images.float().mean().item(), images.float().std().item()
    return "0-255" if (low >= -10 and high > 20) or min(mean, std) > 10 else "normalised"


def in_unit_range(low: float, high: float) -> bool:
    """Whether values lie in [0, 1], or a little outside."""
    return low >= -0.05 and high <= 1.05


def looks_unclamped(images: torch.Tensor) -> bool:
    """Whether mean and standard deviation are rather those of images in [0, 1] than those of normalised ones.

    ImageNet's photographs have mean 0.45 and standard deviation 0.28 in [0, 1], and 0 and 1 when they are normalised.
    Both are compared: smooth or averaged images have a small deviation, too, but a mean near 0. A few values may lie
    far outside.
    """
    values = images.float()
    inside = ((values >= -0.5) & (values <= 1.5)).float().mean().item()
    mean, std = values.mean().item(), max(values.std().item(), 1e-6)

    def distance(other_mean: float, other_std: float, width: float) -> float:
        return math.hypot((mean - other_mean) / width, math.log(std / other_std) / _SPREAD)

    nearer = distance(0.45, 0.28, _WIDTH) < distance(0.0, 1.0, _WIDTH / 0.28)
    return nearer and inside >= 0.95 and 0.2 <= mean <= 0.8  # half of the values of normalised images are below 0


def to_normalised(images: torch.Tensor, pixel_range: str, statistics: Statistics | None = None) -> torch.Tensor:
    """Bring images to ImageNet-normalised space.

    Args:
        images: `[N, 3, H, W]`, any type of real numbers.
        pixel_range: `normalised`, `0-1` or `0-255`.
        statistics: Mean and standard deviation by which they are normalised; None: ImageNet's.

    Returns:
        float32; the very same values where nothing has to be done.
    """
    if pixel_range != "normalised":
        return normalise(images.float() / _SCALES[pixel_range])
    if not images.is_floating_point():
        raise InputError(f"images have type {images.dtype}, expected float32; 8-bit images need --pixel_range 0-255")
    if statistics in (None, (IMAGENET_MEAN, IMAGENET_STD)):
        return images.float()
    return normalise(denormalise(images.float(), *statistics))


def doubt(images: torch.Tensor, pixel_range: str) -> str | None:
    """Say why images can hardly have the range that they are said to have; None where nothing is odd."""
    scale = _SCALES.get(pixel_range)
    if scale is None or not images.numel():
        return None
    low, high = images.min().item() / scale, images.max().item() / scale
    if in_unit_range(low, high) and (pixel_range == "0-1" or high >= 0.02):
        return None
    values = f"{low * scale:.3g} to {high * scale:.3g}"
    return f"--pixel_range {pixel_range}, but the stored images have values from {values}: is it right?"


def channels_first(images: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """Bring `[N, H, W, 3]` to `[N, 3, H, W]`; say whether that was needed."""
    last = images.ndim == 4 and images.shape[-1] == 3 and images.shape[1] != 3
    return (images.permute(0, 3, 1, 2).contiguous(), True) if last else (images, False)


def to_8_bits(images: torch.Tensor) -> tuple[list[Image.Image], str]:
    """Turn normalised images into pictures.

    Args:
        images: float32 `[N, 3, H, W]`, ImageNet-normalised.

    Returns:
        RGB pictures, and what was lost, in words.
    """
    exact = denormalise(images)
    pixels = (exact.clamp(0, 1) * 255).round().to(torch.uint8)
    error = (pixels.float() / 255 - exact).abs() * 255
    clipped = ((exact < -_HALF_STEP) | (exact > 1 + _HALF_STEP)).float().mean().item()
    lost = (
        f"8 bits: {100 * clipped:.2g} % of the values lie outside [0, 1] and are clipped; values change by "
        f"{error.mean():.2g} of 255 on average, {error.max():.3g} at most"
    )
    return [Image.fromarray(image) for image in pixels.permute(0, 2, 3, 1).numpy()], lost
