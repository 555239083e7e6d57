"""Views: what random resized crops, flips and mixing draw for the images of a batch, and what it makes of them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from compdd_eval.config.protocol import Protocol
from compdd_eval.utils.devices import send

FLIP_PROBABILITY = 0.5


@dataclass(frozen=True)
class Views:
    """What was drawn for the N images of a batch; all tensors on the CPU.

    Attributes:
        shuffles: Which column of an image comes to each place, then which row, int64 `[N, 2, P]` with P of each; None:
            they stay.
        crops: Top, left, height and width of each image's crop in pixels, int64 `[N, 4]`; None: the whole images.
        flips: Which images are flipped horizontally, bool `[N]`; None: none.
        partners: Position in the batch of the image that each is mixed with, int64 `[N]`; None: they are not mixed.
        share: Share that an image has of its mixture, in [0, 1]; the rest is its partner's.
        box: Top, left, bottom and right of what CutMix takes from the partner, in pixels; None: mixup.
    """

    shuffles: torch.Tensor | None = None
    crops: torch.Tensor | None = None
    flips: torch.Tensor | None = None
    partners: torch.Tensor | None = None
    share: float = 1.0
    box: tuple[int, int, int, int] | None = None

    def crop_and_flip(self, images: torch.Tensor) -> torch.Tensor:
        """Return images, float `[N, C, H, W]` on any device, shuffled, cropped to their boxes, resized and flipped."""
        if self.shuffles is not None:
            for dim, order in ((3, self.shuffles[:, 0]), (2, self.shuffles[:, 1])):
                images = shuffle_parts(images, order, dim)
        if self.crops is not None:
            images = crop_and_resize(images, self.crops)
        if self.flips is not None:
            images = torch.where(send(self.flips, images.device)[:, None, None, None], images.flip(3), images)
        return images

    def mix_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return images, float `[N, C, H, W]`, mixed with their partners."""
        if self.partners is None:
            return images
        others = images[send(self.partners, images.device)]
        if self.box is None:
            return images * self.share + others * (1 - self.share)
        top, left, bottom, right = self.box
        mixed = images.clone()
        mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        return mixed

    def mix_targets(self, targets: torch.Tensor) -> torch.Tensor:
        """Return probabilities, float `[N, K]`, mixed as the images are."""
        if self.partners is None:
            return targets
        return targets * self.share + targets[send(self.partners, targets.device)] * (1 - self.share)


def draw_views(size: tuple[int, int], number: int, protocol: Protocol, generator: torch.Generator) -> Views:
    """Draw what a protocol does to a batch: crops and flips, then mixing; arguments as of `draw_mixing`."""
    return draw_mixing(draw_crops_and_flips(size, number, protocol, generator), size, number, protocol, generator)


def draw_crops_and_flips(size: tuple[int, int], number: int, protocol: Protocol, generator: torch.Generator) -> Views:
    """Draw all but the mixing, by the protocol's `patches`, `rrc` and `flip`; arguments as of `draw_mixing`."""
    parts = protocol.patches
    shuffles = torch.rand(number, 2, parts, generator=generator).argsort(dim=2) if parts > 1 else None
    crops = torch.tensor(draw_boxes(size, number, protocol.rrc, generator)) if protocol.rrc else None
    flips = torch.rand(number, generator=generator) < FLIP_PROBABILITY if protocol.flip else None
    return Views(shuffles, crops, flips)


def draw_mixing(
    views: Views, size: tuple[int, int], number: int, protocol: Protocol, generator: torch.Generator
) -> Views:
    """Return views with how they are mixed.

    Sources of the mixing: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (ICLR 2018); Yun et al., "CutMix"
    (ICCV 2019); as torchvision's transforms v2 have them: one share for a batch, partners one place apart in it.

    Args:
        views: Crops and flips of the batch.
        size: Height and width of the images.
        number: Images in the batch.
        protocol: Its `mix` and `mix_alpha`.
        generator: Where all random numbers come from; on the CPU.
    """
    if protocol.mix == "none":
        return views
    from torchvision.transforms import v2

    kind = v2.MixUp if protocol.mix == "mixup" else v2.CutMix
    with _drawing_from(generator):
        drawn = kind(alpha=protocol.mix_alpha).make_params([torch.empty(1, *size, device="meta")])
    partners = (torch.arange(number) - 1) % number
    if protocol.mix == "mixup":
        return replace(views, partners=partners, share=drawn["lam"])
    left, top, right, bottom = drawn["box"]
    return replace(views, partners=partners, share=drawn["lam_adjusted"], box=(top, left, bottom, right))


def draw_boxes(
    size: tuple[int, int],
    number: int,
    least: float,
    generator: torch.Generator,
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> list[tuple[int, int, int, int]]:
    """Draw boxes as torchvision's `RandomResizedCrop` does.

    Args:
        size: Height and width of the image.
        number: How many.
        least: Smallest share of the image's area; the largest is 1.
        generator: Where all random numbers come from; on the CPU.
        ratio: Least and largest width by height of a box.

    Returns:
        Top, left, height and width of each, in pixels.
    """
    from torchvision.transforms import v2  # which takes seconds to import

    crop, image = v2.RandomResizedCrop(size, scale=(least, 1.0), ratio=ratio), torch.empty(1, *size, device="meta")
    with _drawing_from(generator):
        boxes = [crop.make_params([image]) for _ in range(number)]
    return [(box["top"], box["left"], box["height"], box["width"]) for box in boxes]


def shuffle_parts(images: torch.Tensor, order: torch.Tensor, dim: int) -> torch.Tensor:
    """Cut images into parts along an axis, and put these into another order (`ShufflePatches` of RDED's release).

    Where the axis cannot be divided evenly, the last part is the largest.

    Args:
        images: Float `[N, C, H, W]`, on any device.
        order: Which part comes to each place, int64 `[N, P]` on the CPU.
        dim: The axis, 2 or 3.
    """
    size, parts = images.shape[dim], order.shape[1]
    pixels = torch.arange(size)
    part_of = (pixels // max(1, size // parts)).clamp(max=parts - 1)
    index = (order.argsort(dim=1)[:, part_of] * size + pixels).argsort(dim=1)
    shape = (-1, *[size if axis == dim else 1 for axis in (1, 2, 3)])
    return images.take_along_dim(send(index, images.device).view(shape), dim)


def crop_and_resize(images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Cut a box out of each image and resize it to the image's size, bilinear and antialiased.

    As torchvision's `resized_crop` of one image after the other; but all images are resampled together, first their
    columns, then their rows.

    Args:
        images: Float `[N, C, H, W]`, on any device.
        boxes: Top, left, height and width of each in pixels, `[N, 4]` on the CPU.
    """
    top, left, rows, columns = send(boxes.T.to(images.dtype), images.device)
    return _resample(_resample(images, left, columns, 3), top, rows, 2)


def _resample(images: torch.Tensor, first: torch.Tensor, side: torch.Tensor, dim: int) -> torch.Tensor:
    """Enlarge a part of an axis to all of it, bilinear; antialiasing changes nothing where pixels become smaller.

    Args:
        images: Float `[N, C, H, W]`.
        first: First pixel of each image's part, float `[N]`.
        side: Pixels of the part, float `[N]`.
        dim: The axis.
    """
    size = images.shape[dim]
    shape = (-1, *[size if axis == dim else 1 for axis in (1, 2, 3)])
    first, side = first[:, None], side[:, None]
    last = first + side - 1
    pixels = torch.arange(size, dtype=images.dtype, device=images.device)
    place = (first + (pixels + 0.5) * (side / size) - 0.5).clamp(first, last)
    low = place.floor()
    share = (place - low).view(shape)
    one, other = (images.take_along_dim(index.long().view(shape), dim) for index in (low, (low + 1).minimum(last)))
    return one * (1 - share) + other * share


@contextlib.contextmanager
def _drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Let torch's default CPU generator, which torchvision draws from, follow another one for a while."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        yield
