"""ConvNet, the student of the dataset-distillation field, and its variants in depth, width, activation, norm, pooling.

Source: Gidaris and Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting" (CVPR 2018), as used since
Zhao et al., "Dataset Condensation with Gradient Matching" (ICLR 2021); sizes as in the Comp-DD release.

`ConvNet` has depth 3, width 128, instance norm, ReLU and average pooling. A suffix changes one of these: `D1`-`D8` the
depth, `W32`-`W1024` the width, `AS` sigmoid, `AR` ReLU, `AL` leaky ReLU, `NN` no norm, `BN` batch norm, `LN` layer
norm, `IN` instance norm, `GN` group norm, `NP` no pooling, `MP` max pooling, `AP` average pooling. `D1BN`-`D8BN` have a
depth and batch norm. `GAP` averages the last maps over all pixels.

Parameters at other sizes: the convolutions keep theirs; the linear layer grows with the image, as published, and so do
the weights of LN, one per channel and pixel. GAP's linear layer is 10 x 128 at any size.
"""

from torch import nn

from compdd_eval.models.layers import FeatureClassifier, averaged_to
from compdd_eval.models.registry import register_model
from compdd_eval.utils.errors import InputError

WIDTH = 128
DEPTHS = range(1, 9)
WIDTHS = (32, 64, 128, 256, 512, 1024)
GROUPS = 4  # of group norm, as in the release of DC
ACTIVATIONS = {"AS": nn.Sigmoid, "AR": nn.ReLU, "AL": nn.LeakyReLU}
POOLINGS = {"NP": None, "MP": nn.MaxPool2d, "AP": nn.AvgPool2d}
NORMS = {
    "NN": lambda width, size: nn.Identity(),
    "BN": lambda width, size: nn.BatchNorm2d(width),
    "LN": lambda width, size: nn.LayerNorm([width, *size]),
    # instance norm as the field writes it: a group norm with one channel a group, so with weights
    "IN": lambda width, size: nn.GroupNorm(width, width),
    "GN": lambda width, size: nn.GroupNorm(GROUPS, width),
}


@register_model("ConvNet")
@register_model("ConvNetGAP", average=True)
class ConvNet(FeatureClassifier):
    """Blocks of 3x3 convolution, norm, activation and 2x2 pooling, then one linear layer.

    Each pooling halves height and width (rounded down). It is left out where the next block would get maps with a side
    of one pixel, and at the end where there is one pixel: the norm of a single pixel would be a constant, and the
    network blind. Where `2 ** depth` fits in the image, as published, no pooling is left out.
    ConvNetD5 has 615,690 parameters at 128 px with ten classes.
    """

    def __init__(
        self,
        num_classes: int,
        im_size: tuple[int, int],
        channel: int,
        *,
        depth: int = 3,
        width: int = WIDTH,
        norm: str = "IN",
        activation: str = "AR",
        pooling: str = "AP",
        average: bool = False,
    ) -> None:
        super().__init__()
        if min(im_size) < 2:
            raise InputError("expected at least 2 pixels a side")
        layers = []
        for left in reversed(range(depth)):  # blocks that follow
            layers += [
                nn.Conv2d(channel, width, 3, padding=1),
                NORMS[norm](width, im_size),
                ACTIVATIONS[activation](),
            ]
            if POOLINGS[pooling] and min(im_size) >= (4 if left else 2):
                layers.append(POOLINGS[pooling](2))
                im_size = (im_size[0] // 2, im_size[1] // 2)
            channel = width
        if average:
            layers.append(averaged_to(im_size, 1))
            im_size = (1, 1)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width * im_size[0] * im_size[1], num_classes)


for _depth in DEPTHS:
    register_model(f"ConvNetD{_depth}", depth=_depth)(ConvNet)
    register_model(f"ConvNetD{_depth}BN", depth=_depth, norm="BN")(ConvNet)
for _width in WIDTHS:
    register_model(f"ConvNetW{_width}", width=_width)(ConvNet)
for _option, _values in {"norm": NORMS, "activation": ACTIVATIONS, "pooling": POOLINGS}.items():
    for _value in _values:
        register_model(f"ConvNet{_value}", **{_option: _value})(ConvNet)
