"""VGG11 for small images, with instance norm or batch norm.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015), with
norms and one linear layer as in the pool of Zhao et al., "Dataset Condensation with Gradient Matching" (ICLR 2021).

Parameters at other sizes: those at 32 px (`_Tiny`: 64 px), for the last maps are averaged to one pixel, which they are
at that size. `_Tiny` takes every second row and column of the last maps: at 64 px, the top-left of four pixels.
"""

from torch import nn

from compdd_eval.models.layers import FeatureClassifier, averaged_to, map_size, norm_of
from compdd_eval.models.registry import register_model

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # channels; 2x2 max pooling after each stage


@register_model("VGG11")
@register_model("VGG11BN", batch_norm=True)
@register_model("VGG11_Tiny", subsample=True)
@register_model("VGG11BN_Tiny", batch_norm=True, subsample=True)
class VGG11(FeatureClassifier):
    """Eight 3x3 convolutions, each with norm and ReLU, five 2x2 max poolings, one linear layer from 512.

    Needs images of 32 pixels a side.
    """

    def __init__(
        self,
        num_classes: int,
        im_size: tuple[int, int],
        channel: int,
        *,
        batch_norm: bool = False,
        subsample: bool = False,
    ) -> None:
        super().__init__()
        size = map_size(im_size, lambda side: side >> len(STAGES))
        layers = []
        for stage in STAGES:
            for width in stage:
                layers += [nn.Conv2d(channel, width, 3, padding=1), norm_of(width, batch_norm), nn.ReLU()]
                channel = width
            layers.append(nn.MaxPool2d(2))
        if subsample:
            layers.append(nn.AvgPool2d(1, stride=2))  # an average of one value: every second row and column
            size = ((size[0] + 1) // 2, (size[1] + 1) // 2)
        self.features = nn.Sequential(*layers, averaged_to(size, 1))
        self.classifier = nn.Linear(channel, num_classes)
