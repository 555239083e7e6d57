"""What several families share: norms, pooling to a fixed size, how small an image may be; and eval mode for a while."""

import contextlib
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import nn

from compdd_eval.utils.errors import InputError

Size = tuple[int, int]


def norm_of(channels: int, batch_norm: bool) -> nn.Module:
    """Return batch norm, or instance norm as the field writes it: a group norm with one channel a group."""
    return nn.BatchNorm2d(channels) if batch_norm else nn.GroupNorm(channels, channels)


@contextlib.contextmanager
def eval_mode(network: nn.Module) -> Iterator[nn.Module]:
    """Put a network into eval mode for a block; afterwards each of its modules is in the mode that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield network
    finally:
        for module, mode in modes:
            module.training = mode


def map_size(im_size: Size, side_of: Callable[[int], int], least: int = 1) -> Size:
    """Return the size of a feature map.

    Args:
        im_size: Height and width of the images.
        side_of: Side of the map that a side of the image gives.
        least: The smallest side of the map that the network can use.

    Raises:
        InputError: The map would be smaller; the message has the smallest side of an image that works.
    """
    size = tuple(side_of(side) for side in im_size)
    if min(size) < least:
        smallest = next(side for side in itertools.count(1) if side_of(side) >= least)
        raise InputError(f"expected at least {smallest} pixels a side")
    return size


def has_batch_norm(network: nn.Module) -> bool:
    """Return whether what a network makes of an image depends on the others of its batch."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


class FeatureClassifier(nn.Module):
    """A network of two parts, which its class makes: `features`, whose output is flattened, and `classifier`."""

    features: nn.Module
    classifier: nn.Module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map `[N, C, H, W]` to logits `[N, num_classes]`."""
        return self.classifier(self.features(images).flatten(1))


class WindowMeans(nn.Module):
    """Adaptive average pooling, from slices: its gradient has the same bits every time on a GPU, too.

    Window i of n over a side s is `[floor(i s / n), ceil((i + 1) s / n))`, as in `nn.AdaptiveAvgPool2d`.
    """

    def __init__(self, size: Size, target: int) -> None:
        super().__init__()
        self._windows = [
            [(i * side // target, -(-(i + 1) * side // target)) for i in range(target)] for side in size
        ]  # of the rows, of the columns

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map `[N, C, *size]` to `[N, C, target, target]`."""
        rows, columns = self._windows
        maps = torch.stack([maps[:, :, start:end].mean(2) for start, end in rows], 2)
        return torch.stack([maps[..., start:end].mean(3) for start, end in columns], 3)


def averaged_to(size: Size, target: int) -> nn.Module:
    """Return the pooling from maps of `size` to `target` x `target` means; nothing where they have that size."""
    if size == (target, target):
        return nn.Identity()
    if all(side % target == 0 for side in size):
        return nn.AvgPool2d((size[0] // target, size[1] // target))
    return WindowMeans(size, target)
