"""ConvNet, the student of the dataset-distillation field, with the variants of its ablations.

Source: Gidaris and Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting" (CVPR 2018), as used since
Zhao et al., "Dataset Condensation with Gradient Matching" (ICLR 2021); sizes as in the Comp-DD release.

Dn has n blocks (default 3), Wn is n channels wide (128); AS, AR, AL are sigmoid, ReLU (default) and leaky ReLU; NN, BN,
LN, IN (default), GN no norm, batch, layer, instance norm and group norm with 4 groups; NP, MP, AP no pooling, max and
average pooling (default). GAP averages the last features over all pixels.
"""

import torch
from torch import nn

from compdd_eval.errors import InputError
from compdd_eval.models.registry import register_model

WIDTH = 128
DEPTHS = range(1, 9)
WIDTHS = (32, 64, 128, 256, 512, 1024)
_ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "leaky": lambda: nn.LeakyReLU(0.01)}
_POOLINGS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}


def _norm(kind: str, channels: int, height: int, breadth: int) -> list[nn.Module]:
    if kind == "none":
        return []
    if kind == "batch":
        return [nn.BatchNorm2d(channels)]
    if kind == "layer":
        return [nn.LayerNorm([channels, height, breadth])]
    return [nn.GroupNorm(channels if kind == "instance" else 4, channels)]


class ConvNet(nn.Module):
    """Blocks of 3x3 convolution, norm, activation and 2x2 pooling, then one linear layer.

    Each block halves height and width (rounded down); where the images are too small for that, poolings are left out,
    so that no block but the last one ends with a single pixel, of which instance norm would leave nothing. The linear
    layer grows with the image size, as published, and so do the parameters of layer norm. Instance norm is a group norm
    with one channel a group. ConvNetD5 has 615,690 parameters at 128 px with ten classes.
    """

    def __init__(
        self,
        num_classes: int,
        im_size: tuple[int, int],
        channel: int,
        depth: int,
        width: int,
        act: str = "relu",
        norm: str = "instance",
        pool: str = "avg",
        gap: bool = False,
    ) -> None:
        super().__init__()
        height, breadth = im_size
        layers = []
        for block in range(depth):
            layers += [nn.Conv2d(channel, width, 3, padding=1), *_norm(norm, width, height, breadth)]
            layers.append(_ACTIVATIONS[act]())
            if pool != "none" and min(height, breadth) >= (2 if block == depth - 1 else 4):
                layers.append(_POOLINGS[pool](2))
                height, breadth = height // 2, breadth // 2
            channel = width
        if gap:
            layers.append(nn.AdaptiveAvgPool2d(1))
            height = breadth = 1
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width * height * breadth, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map `[N, C, H, W]` to logits `[N, num_classes]`."""
        return self.classifier(self.features(images).flatten(1))


@register_model("ConvNet")
def convnet(
    num_classes: int, im_size: tuple[int, int], channel: int, *, depth: int = 3, width: int = WIDTH, **options: object
) -> nn.Module:
    """Build a ConvNet of any depth and width; options as in `ConvNet`."""
    if min(im_size) < 1:
        raise InputError("expected at least one pixel a side")
    return ConvNet(num_classes, im_size, channel, depth, width, **options)


for _depth in DEPTHS:
    register_model(f"ConvNetD{_depth}", depth=_depth)(convnet)
    register_model(f"ConvNetD{_depth}BN", depth=_depth, norm="batch")(convnet)
for _width in WIDTHS:
    register_model(f"ConvNetW{_width}", width=_width)(convnet)
for _name, _act in {"AS": "sigmoid", "AR": "relu", "AL": "leaky"}.items():
    register_model(f"ConvNet{_name}", act=_act)(convnet)
for _name, _kind in {"NN": "none", "BN": "batch", "LN": "layer", "IN": "instance", "GN": "group"}.items():
    register_model(f"ConvNet{_name}", norm=_kind)(convnet)
for _name, _pool in {"NP": "none", "MP": "max", "AP": "avg"}.items():
    register_model(f"ConvNet{_name}", pool=_pool)(convnet)
register_model("ConvNetGAP", gap=True)(convnet)
