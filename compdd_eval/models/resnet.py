"""ResNet18 for small images and for ImageNet, with instance norm or batch norm, strides or average pooling.

Source: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016): the ImageNet stem, and the CIFAR stem
with norms and poolings as in the pool of Zhao et al., "Dataset Condensation with Gradient Matching" (ICLR 2021).

Parameters at other sizes: those at 32 px (`_Tiny`: 64 px), for the last maps are averaged to one pixel, and those of
`_AP` to 4 x 4, which they are at that size. `_Tiny` has stride 2 in the stem.
"""

import torch
from torch import nn

from compdd_eval.models.layers import FeatureClassifier, averaged_to, map_size, norm_of
from compdd_eval.models.registry import register_model

WIDTHS = (64, 128, 256, 512)
BLOCKS = 2  # in each stage
AP_MAP = 4  # side of the last maps of `_AP` at its native size
STEMS = {
    "small": lambda side: side,
    "tiny": lambda side: -(-side // 2),
    "imagenet": lambda side: -(-side // 4),
}


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; halves the maps by stride, or by 2x2 average pooling after the ReLU."""

    def __init__(self, channel: int, width: int, halve: bool, batch_norm: bool, pool: bool) -> None:
        super().__init__()
        stride = 2 if halve and not pool else 1
        smaller = nn.AvgPool2d(2) if halve and pool else nn.Identity()
        self.body = nn.Sequential(
            nn.Conv2d(channel, width, 3, stride=stride, padding=1, bias=False),
            norm_of(width, batch_norm),
            nn.ReLU(),
            smaller,
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            norm_of(width, batch_norm),
        )
        self.shortcut = nn.Identity()
        if channel != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channel, width, 1, stride=stride, bias=False), smaller, norm_of(width, batch_norm)
            )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map `[N, channel, H, W]` to `[N, width, H', W']`."""
        return torch.relu(self.body(maps) + self.shortcut(maps))


def _stem(kind: str, channel: int, batch_norm: bool) -> list[nn.Module]:
    if kind == "imagenet":
        convolution = nn.Conv2d(channel, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        return [convolution, norm_of(WIDTHS[0], batch_norm), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
    convolution = nn.Conv2d(channel, WIDTHS[0], 3, stride=2 if kind == "tiny" else 1, padding=1, bias=False)
    return [convolution, norm_of(WIDTHS[0], batch_norm), nn.ReLU()]


@register_model("ResNet18")
@register_model("ResNet18BN", batch_norm=True)
@register_model("ResNet18_AP", pool=True)
@register_model("ResNet18BN_AP", batch_norm=True, pool=True)
@register_model("ResNet18_Tiny", stem="tiny")
@register_model("ResNet18BN_Tiny", stem="tiny", batch_norm=True)
@register_model("ResNet18ImageNet", stem="imagenet")
class ResNet18(FeatureClassifier):
    """A stem, four stages of two blocks with 64, 128, 256 and 512 channels, and one linear layer.

    Every stage but the first halves the maps, but for those that would get a side of one pixel, where an instance norm
    is blind: they keep their size. So images need 2 pixels a side, 3 for `_Tiny`, 5 for `ResNet18ImageNet`.

    Args:
        num_classes: Number of logits.
        im_size: Height and width of the images in pixels.
        channel: Channels of the images.
        stem: `small` (3x3), `tiny` (3x3 with stride 2) or `imagenet` (7x7 with stride 2 and 3x3 max pooling).
        batch_norm: Batch norm in place of instance norm.
        pool: Average pooling in place of strides, and no pooling to one pixel at the end.
    """

    def __init__(
        self,
        num_classes: int,
        im_size: tuple[int, int],
        channel: int,
        *,
        stem: str = "small",
        batch_norm: bool = False,
        pool: bool = False,
    ) -> None:
        super().__init__()
        size = map_size(im_size, STEMS[stem], least=2)
        layers = _stem(stem, channel, batch_norm)
        channel = WIDTHS[0]
        for width in WIDTHS:
            for _ in range(BLOCKS):
                smaller = tuple(side // 2 if pool else -(-side // 2) for side in size)
                # in the first block of a stage, but for the first stage
                halve = channel != width and min(smaller) >= 2
                size = smaller if halve else size
                layers.append(Block(channel, width, halve, batch_norm, pool))
                channel = width
        side = AP_MAP if pool else 1
        self.features = nn.Sequential(*layers, averaged_to(size, side))
        self.classifier = nn.Linear(channel * side * side, num_classes)
