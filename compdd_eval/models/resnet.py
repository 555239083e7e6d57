"""ResNet18 of the field's zoo: made for 32 px, `_Tiny` for 64 px, `ResNet18ImageNet` for 128 px and more.

Source: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016); stems, norms and the `_AP` variant
(strides replaced by average pooling) as in Zhao et al., "Dataset Condensation with Gradient Matching" (ICLR 2021).
Parameters keep the shapes of the native size at every size: the last map is averaged over its pixels, and for `_AP`,
which has no pooling there, brought to 4 x 4. Below 64 px `ResNet18ImageNet` has no max pooling: the last map would be a
single pixel, of which instance norm leaves nothing.
"""

import torch
import torch.nn.functional as F
from torch import nn

from compdd_eval.errors import InputError
from compdd_eval.models.registry import register_model
from compdd_eval.models.vgg import make_norm

_WIDTHS = (64, 128, 256, 512)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; with `pooled`, 2x2 average pooling stands for the stride."""

    def __init__(self, channel: int, width: int, stride: int, norm: str, pooled: bool) -> None:
        super().__init__()
        step = 1 if pooled else stride
        self.conv1 = nn.Conv2d(channel, width, 3, stride=step, padding=1, bias=False)
        self.norm1 = make_norm(norm, width)
        self.pool = nn.AvgPool2d(stride) if pooled and stride > 1 else nn.Identity()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = make_norm(norm, width)
        self.shortcut = nn.Sequential()
        if stride > 1 or channel != width:
            pooling = [nn.AvgPool2d(stride)] if pooled else []
            self.shortcut = nn.Sequential(
                nn.Conv2d(channel, width, 1, stride=step, bias=False), *pooling, make_norm(norm, width)
            )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map `[N, C, H, W]` to `[N, width, H / stride, W / stride]`."""
        inner = self.pool(F.relu(self.norm1(self.conv1(features))))
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(features))


@register_model("ResNet18")
@register_model("ResNet18BN", norm="batch")
@register_model("ResNet18_AP", pooled=True)
@register_model("ResNet18BN_AP", norm="batch", pooled=True)
@register_model("ResNet18_Tiny", stem="tiny")
@register_model("ResNet18BN_Tiny", norm="batch", stem="tiny")
@register_model("ResNet18ImageNet", stem="imagenet")
def resnet18(
    num_classes: int,
    im_size: tuple[int, int],
    channel: int,
    *,
    norm: str = "instance",
    stem: str = "small",
    pooled: bool = False,
) -> nn.Module:
    """Build ResNet18.

    `stem`: `small` is a 3x3 convolution, `tiny` the same with stride 2, `imagenet` 7x7 with stride 2 and 3x3 max
    pooling with stride 2. `pooled` makes the `_AP` variant.
    """
    least = 16 if stem == "small" else 32
    if min(im_size) < least:
        raise InputError(f"it needs at least {least} pixels a side")
    layers: list[nn.Module] = [_stem(channel, stem), make_norm(norm, 64), nn.ReLU()]
    layers += [nn.MaxPool2d(3, 2, padding=1)] if stem == "imagenet" and min(im_size) >= 64 else []
    channel = 64
    for number, width in enumerate(_WIDTHS):
        layers += [Block(channel, width, 1 if number == 0 else 2, norm, pooled), Block(width, width, 1, norm, pooled)]
        channel = width
    side = 4 if pooled else 1
    layers += [] if pooled and tuple(im_size) == (32, 32) else [nn.AdaptiveAvgPool2d(side)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channel * side * side, num_classes))


def _stem(channel: int, kind: str) -> nn.Module:
    if kind == "imagenet":
        return nn.Conv2d(channel, 64, 7, stride=2, padding=3, bias=False)
    return nn.Conv2d(channel, 64, 3, stride=2 if kind == "tiny" else 1, padding=1, bias=False)
