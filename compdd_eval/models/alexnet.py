"""AlexNet for small images.

Source: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks" (NeurIPS 2012), narrowed
for 32 px with one linear layer, as in the pool of Zhao et al., "Dataset Condensation with Gradient Matching" (ICLR
2021).

Parameters at other sizes: those at 32 px (`AlexNet_Tiny`: 64 px), for the last maps are averaged to 4 x 4, which they
are at that size. `AlexNet_Tiny` is AlexNet with stride 2 in the first convolution.
"""

from torch import nn

from compdd_eval.models.layers import FeatureClassifier, averaged_to, map_size
from compdd_eval.models.registry import register_model

MAP = 4  # side of the last maps at the native size


@register_model("AlexNet")
@register_model("AlexNet_Tiny", stride=2)
class AlexNet(FeatureClassifier):
    """Convolutions 5x5 (128), 5x5 (192), 3x3 (256, 192, 192) with ReLU, 2x2 max pooling after 1, 2 and 5; no norm.

    Needs images of 8 pixels a side, and `AlexNet_Tiny` of 15.
    """

    def __init__(self, num_classes: int, im_size: tuple[int, int], channel: int, *, stride: int = 1) -> None:
        super().__init__()
        size = map_size(im_size, lambda side: ((side - 1) // stride + 1) // 8)
        self.features = nn.Sequential(
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
            averaged_to(size, MAP),
        )
        self.classifier = nn.Linear(192 * MAP * MAP, num_classes)
