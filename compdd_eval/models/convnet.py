"""ConvNet, the student of the dataset-distillation field.

Source: Gidaris and Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting" (CVPR 2018), as used since
Zhao et al., "Dataset Condensation with Gradient Matching" (ICLR 2021); sizes as in the Comp-DD release.
"""

import torch
from torch import nn

from compdd_eval.errors import InputError
from compdd_eval.models.registry import register_model

WIDTH = 128
DEPTHS = range(1, 9)


class ConvNet(nn.Module):
    """Blocks of 3x3 convolution, instance norm, ReLU and 2x2 average pooling, then one linear layer.

    Each block halves height and width (rounded down). Instance norm is a group norm with one channel a group.
    ConvNetD5 has 615,690 parameters at 128 px with ten classes.
    """

    def __init__(self, num_classes: int, im_size: tuple[int, int], channel: int, depth: int, width: int) -> None:
        super().__init__()
        height, breadth = (size >> depth for size in im_size)
        if min(height, breadth) < 1:
            raise InputError(f"its {depth} poolings need at least {1 << depth} pixels a side")
        layers = []
        for _ in range(depth):
            layers += [nn.Conv2d(channel, width, 3, padding=1), nn.GroupNorm(width, width), nn.ReLU(), nn.AvgPool2d(2)]
            channel = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width * height * breadth, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map `[N, C, H, W]` to logits `[N, num_classes]`."""
        return self.classifier(self.features(images).flatten(1))


@register_model("ConvNet")
def convnet(
    num_classes: int, im_size: tuple[int, int], channel: int, *, depth: int = 3, width: int = WIDTH
) -> nn.Module:
    """Build a ConvNet of any depth and width."""
    return ConvNet(num_classes, im_size, channel, depth, width)


for _depth in DEPTHS:
    register_model(f"ConvNetD{_depth}", depth=_depth)(convnet)
