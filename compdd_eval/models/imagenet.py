"""Networks with ImageNet's 1000 outputs as classifiers of a subset."""

from collections.abc import Sequence

import torch
from torch import nn

from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD

IMAGENET_CLASSES = 1000
Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation of RGB in [0, 1]
_IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
_OF_GOOGLE = ("torchvision:googlenet", "torchvision:inception_v3")  # their weights want [-1, 1]: `transform_input`


class OfImageNet(nn.Module):
    """Gives the logits of a subset's classes, as they are among those of all of ImageNet.

    A label that no class has (label 0 of `music-hard-published`) gets the least of the others, so that it never wins.

    Args:
        network: Maps `[N, 3, H, W]` to logits `[N, 1000]`.
        classes: Label -> ImageNet index.
        labels: Number of labels.
        statistics: By which the network wants images to be normalised; they come normalised by ImageNet's.
    """

    def __init__(self, network: nn.Module, classes: dict[int, int], labels: int, statistics: Statistics) -> None:
        super().__init__()
        self.network = network
        self._indices = [classes.get(label) for label in range(labels)]
        self._as_given = statistics == _IMAGENET
        mean, std, our_mean, our_std = (torch.tensor(values).view(3, 1, 1) for values in (*statistics, *_IMAGENET))
        self.register_buffer("_scale", our_std / std)
        self.register_buffer("_shift", (our_mean - mean) / std)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map `[N, 3, H, W]` to logits `[N, labels]`."""
        return of_classes(self.network(images if self._as_given else images * self._scale + self._shift), self._indices)


def of_classes(logits: torch.Tensor, indices: Sequence[int | None]) -> torch.Tensor:
    """Return `[N, K]` of many outputs, by the index of each; one without an index gets the least of the others."""
    least = logits[:, [index for index in indices if index is not None]].amin(dim=1)
    return torch.stack([least if index is None else logits[:, index] for index in indices], dim=1)


def statistics_of(name: str, network: nn.Module) -> tuple[object, object]:
    """Return mean and standard deviation by which weights that were trained on ImageNet want images to be normalised.

    Args:
        name: As `create_model` takes it.
        network: The network; one of a user's own says it by attributes `mean` and `std`, if they are not ImageNet's.
    """
    if name in _OF_GOOGLE:
        return (0.5,) * 3, (0.5,) * 3
    if name.startswith("timm:"):
        from timm.models import get_pretrained_cfg

        settings = get_pretrained_cfg(name.removeprefix("timm:"))
        return (settings.mean, settings.std) if settings else _IMAGENET
    return getattr(network, "mean", IMAGENET_MEAN), getattr(network, "std", IMAGENET_STD)
