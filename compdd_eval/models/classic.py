"""MLP, LeNet and AlexNet of the field's zoo, made for 32 px; the `_Tiny` networks are made for 64 px.

Sources: LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998); Krizhevsky et al., "ImageNet
Classification with Deep Convolutional Neural Networks" (NIPS 2012); reduced for small images as in Zhao et al.,
"Dataset Condensation with Gradient Matching" (ICLR 2021). At other sizes parameters keep the shapes of the native size:
features (for the MLP: the image) are average-pooled to the native map, which changes nothing at the native size.
"""

import torch
from torch import nn

from compdd_eval.errors import InputError
from compdd_eval.models.registry import register_model

NATIVE, NATIVE_TINY = 32, 64


@register_model("MLP")
@register_model("MLP_Tiny", native=NATIVE_TINY)
def mlp(num_classes: int, im_size: tuple[int, int], channel: int, *, native: int = NATIVE) -> nn.Module:
    """Build a perceptron with two hidden layers of 128, on the image at its native size."""
    return nn.Sequential(
        _to_map(im_size, native),
        nn.Flatten(),
        nn.Linear(channel * native * native, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, num_classes),
    )


@register_model("LeNet")
@register_model("LeNet_Tiny", stride=2)
def lenet(num_classes: int, im_size: tuple[int, int], channel: int, *, stride: int = 1) -> nn.Module:
    """Build LeNet: two 5x5 convolutions without padding, each with 2x2 max pooling, and three linear layers."""
    _need(im_size, 16 * stride)
    return nn.Sequential(
        nn.Conv2d(channel, 6, 5, stride=stride),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        _to_map(im_size, 5, native=NATIVE * stride),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, num_classes),
    )


@register_model("AlexNet")
@register_model("AlexNet_Tiny", stride=2)
def alexnet(num_classes: int, im_size: tuple[int, int], channel: int, *, stride: int = 1) -> nn.Module:
    """Build AlexNet: five convolutions without norm, max pooling after 1, 2 and 5, one linear layer."""
    _need(im_size, 8 * stride)
    return nn.Sequential(
        nn.Conv2d(channel, 128, 5, stride=stride, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(128, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(192, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 192, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(192, 192, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        _to_map(im_size, 4, native=NATIVE * stride),
        nn.Flatten(),
        nn.Linear(192 * 4 * 4, num_classes),
    )


def _to_map(im_size: tuple[int, int], side: int, native: int | None = None) -> nn.Module:
    """Return what brings features to their map at the native size; nothing where images have that size."""
    return nn.Identity() if tuple(im_size) == (native or side,) * 2 else nn.AdaptiveAvgPool2d(side)


def _need(im_size: tuple[int, int], least: int) -> None:
    if min(im_size) < least:
        raise InputError(f"it needs at least {least} pixels a side")


class TopLeft(nn.Module):
    """Every second value of a map, beginning top left: an average pooling with kernel 1 and stride 2."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map `[N, C, H, W]` to `[N, C, ceil(H / 2), ceil(W / 2)]`."""
        return features[:, :, ::2, ::2]
