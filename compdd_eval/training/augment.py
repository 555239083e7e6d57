"""Augmentation of training batches: views (`compdd_eval.training.views`) and DSA.

Differentiable siamese augmentation (DSA) is written here as pure tensor functions. Source: Zhao and Bilen, "Dataset
Condensation with Differentiable Siamese Augmentation", ICML 2021; constants and the order of random draws as in the
Comp-DD release. One operation is drawn for a batch, its parameters for each image. All work on normalised images
`[N, C, H, W]`; values are not clamped. Random numbers are drawn on the generator's device (the CPU by default), so that
every device augments alike.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from compdd_eval.config.protocol import DSA_STRATEGY, PRESETS, Protocol, parse_strategy
from compdd_eval.training.views import FLIP_PROBABILITY, draw_crops_and_flips, draw_mixing
from compdd_eval.utils.devices import send

BRIGHTNESS = 1.0
SATURATION = 2.0
CONTRAST = 0.5
CUTOUT_RATIO = 0.5  # side of the square, as a share of the image
SCALE_RATIO = 1.2
ROTATE_DEGREES = 15.0


def diff_augment(
    images: torch.Tensor,
    strategy: str = DSA_STRATEGY,
    crop_pad: float = PRESETS["comp-dd"]["crop_pad"],
    generator: torch.Generator | None = None,
    siamese: bool = False,
) -> torch.Tensor:
    """Augment a batch: draw one operation of the strategy, and its parameters for each image.

    Args:
        images: Float `[N, C, H, W]`, normalised, on any device.
        strategy: Operations joined by `_`, out of color, crop, cutout, flip, scale, rotate; `none` does nothing.
        crop_pad: Padding of the crop as a share of the image size.
        generator: Where random numbers come from; torch's default CPU generator if None.
        siamese: Draw the parameters once, for all images: with equal generators, batches of any size are augmented
            alike.

    Returns:
        Augmented images of the same shape, dtype and device.

    Raises:
        InputError: Unknown operation.
    """
    operations = parse_strategy(strategy)
    if not operations:
        return images
    device = generator.device if generator is not None else "cpu"
    # drawn also where there is only one operation: the stream of the reference
    chosen = operations[int(torch.randint(0, len(operations), (1,), generator=generator, device=device))]
    draw = _Draw(images, generator, siamese)
    return _crop(images, draw, crop_pad) if chosen == "crop" else _OPERATIONS[chosen](images, draw)


def augment_batch(
    images: torch.Tensor, targets: torch.Tensor, protocol: Protocol, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augment a batch as a protocol says: parts shuffled, crops, flips, DSA, then mixing with its labels.

    Args:
        images: Float `[N, C, H, W]`, normalised, on any device.
        targets: int64 `[N]`; or probabilities, float `[N, K]`, which mixing needs.
        protocol: Its `patches`, `rrc`, `flip`, `dsa`, `dsa_strategy`, `crop_pad`, `mix` and `mix_alpha`.
        generator: Where all random numbers come from; on the CPU.

    Returns:
        Images and targets of the same shape, dtype and device.
    """
    batch = (tuple(images.shape[2:]), len(images), protocol, generator)
    views = draw_crops_and_flips(*batch)
    images = views.crop_and_flip(images)
    if protocol.dsa:
        images = diff_augment(images, protocol.dsa_strategy, protocol.crop_pad, generator)
    views = draw_mixing(views, *batch)
    return views.mix_images(images), views.mix_targets(targets)


class _Draw:
    """Random numbers for a batch, drawn on the generator's device and moved to that of the images."""

    def __init__(self, images: torch.Tensor, generator: torch.Generator | None, siamese: bool = False) -> None:
        self._images, self._generator = images, generator
        self._number = 1 if siamese else len(images)
        self._device = generator.device if generator is not None else torch.device("cpu")

    def uniform(self, *shape: int) -> torch.Tensor:
        """Draw `[N, *shape]` from [0, 1)."""
        numbers = torch.rand((self._number, *shape), generator=self._generator, device=self._device)
        return self._for_all(numbers).to(self._images.dtype)

    def integers(self, low: int, high: int) -> torch.Tensor:
        """Draw `[N, 1]` from low ... high - 1."""
        numbers = torch.randint(low, high, (self._number, 1), generator=self._generator, device=self._device)
        return self._for_all(numbers)

    def _for_all(self, numbers: torch.Tensor) -> torch.Tensor:
        return send(numbers, self._images.device).expand(len(self._images), *numbers.shape[1:])


def _color(images: torch.Tensor, draw: _Draw) -> torch.Tensor:
    images = images + (draw.uniform(1, 1, 1) - 0.5) * BRIGHTNESS
    # brightness, saturation, contrast, in this order and each from what the last one made, as the release has them
    mean = images.mean(dim=1, keepdim=True)
    images = (images - mean) * (draw.uniform(1, 1, 1) * SATURATION) + mean
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (draw.uniform(1, 1, 1) + CONTRAST) + mean


def _crop(images: torch.Tensor, draw: _Draw, crop_pad: float) -> torch.Tensor:
    """Shift each image by up to the padding, zeros outside: out[i, j] = in[i + rows, j + columns]."""
    height, width = images.shape[2:]
    pad_rows, pad_columns = int(height * crop_pad + 0.5), int(width * crop_pad + 0.5)
    rows = draw.integers(-pad_rows, pad_rows + 1) + torch.arange(height, device=images.device) + pad_rows
    columns = draw.integers(-pad_columns, pad_columns + 1) + torch.arange(width, device=images.device) + pad_columns
    padded = F.pad(images, (pad_columns, pad_columns, pad_rows, pad_rows))
    batch = torch.arange(len(images), device=images.device)[:, None, None, None]
    channels = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[batch, channels, rows[:, None, :, None], columns[:, None, None, :]]


def _cutout(images: torch.Tensor, draw: _Draw) -> torch.Tensor:
    """Set one square of each image to zero, cut off at the borders."""
    inside = []
    for size in images.shape[2:]:
        side = int(size * CUTOUT_RATIO + 0.5)
        # the release clamps indices to the image instead; the same square, cut off at the border
        first = draw.integers(0, size + (1 - side % 2)) - side // 2
        position = torch.arange(size, device=images.device)
        inside.append((position >= first) & (position < first + side))
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(square, 0)


def _flip(images: torch.Tensor, draw: _Draw) -> torch.Tensor:
    return torch.where(draw.uniform(1, 1, 1) < FLIP_PROBABILITY, images.flip(3), images)


def _scale(images: torch.Tensor, draw: _Draw) -> torch.Tensor:
    low = 1 / SCALE_RATIO
    # anew for each axis, so images are stretched, too
    x, y = (draw.uniform() * (SCALE_RATIO - low) + low for _ in range(2))
    zero = torch.zeros_like(x)
    return _sample(images, x, zero, zero, y)


def _rotate(images: torch.Tensor, draw: _Draw) -> torch.Tensor:
    angle = (draw.uniform() - 0.5) * 2 * ROTATE_DEGREES / 180 * math.pi
    cos, sin = torch.cos(angle), torch.sin(angle)
    return _sample(images, cos, -sin, sin, cos)


def _sample(
    images: torch.Tensor, xx: torch.Tensor, xy: torch.Tensor, yx: torch.Tensor, yy: torch.Tensor
) -> torch.Tensor:
    """Sample each image at (xx x + xy y, yx x + yy y), bilinear, zeros outside; the factors are `[N]`.

    x and y run from -1 to 1 over the pixel centres (align_corners=True). The grid is made by hand: `affine_grid`
    is a matrix product, which rounds otherwise on every machine.
    """
    height, width = images.shape[2:]
    x = torch.linspace(-1, 1, width, dtype=images.dtype, device=images.device).view(1, 1, -1)
    y = torch.linspace(-1, 1, height, dtype=images.dtype, device=images.device).view(1, -1, 1)
    xx, xy, yx, yy = (factor.view(-1, 1, 1) for factor in (xx, xy, yx, yy))
    grid = torch.stack([x * xx + y * xy, x * yx + y * yy], dim=3)
    if images.requires_grad and images.device.type == "cuda":
        return gather_samples(images, grid)
    return F.grid_sample(images, grid, align_corners=True)


def gather_samples(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Do as `F.grid_sample(images, grid, align_corners=True)`, with a backward that repeats itself on a GPU.

    That of `grid_sample` adds to the pixels in any order; indexing sorts first.

    Args:
        images: Float `[N, C, H, W]`.
        grid: Float `[N, H', W', 2]`: x and y from -1 to 1 over the pixel centres.

    Returns:
        Float `[N, C, H', W']`: bilinear samples, zeros outside.
    """
    number, _, height, width = images.shape
    x, y = ((grid[..., axis] + 1) * ((size - 1) / 2) for axis, size in enumerate((width, height)))
    left, top = x.floor(), y.floor()
    pixels = images.permute(0, 2, 3, 1).flatten(0, 2)  # a row of channels for each pixel
    batch = torch.arange(number, device=images.device).view(-1, 1, 1) * (height * width)
    samples = 0
    for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
        weight = (1 - (x - column).abs()) * (1 - (y - row).abs())
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        index = batch + row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
        samples = samples + pixels[index] * (weight * inside)[..., None]
    return samples.permute(0, 3, 1, 2).contiguous()


_OPERATIONS: dict[str, Callable[[torch.Tensor, _Draw], torch.Tensor]] = {
    "color": _color,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
