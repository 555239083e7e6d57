"""LeNet: two convolutions and three linear layers.

Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998), with ReLU and max pooling as in
the pool of Zhao et al., "Dataset Condensation with Gradient Matching" (ICLR 2021).

Parameters at other sizes: those at 32 px (`LeNet_Tiny`: 64 px), for the last maps are averaged to 5 x 5, which they are
at that size. `LeNet_Tiny` is LeNet with stride 2 in the first convolution.
"""

from torch import nn

from compdd_eval.models.layers import FeatureClassifier, averaged_to, map_size
from compdd_eval.models.registry import register_model

KERNEL = 5
MAP = 5  # side of the last maps at the native size


@register_model("LeNet")
@register_model("LeNet_Tiny", stride=2)
class LeNet(FeatureClassifier):
    """5x5 convolutions (6 and 16 channels, no padding), each with ReLU and 2x2 max pooling; then 120, 84, classes.

    Needs images of 16 pixels a side, and `LeNet_Tiny` of 27.
    """

    def __init__(self, num_classes: int, im_size: tuple[int, int], channel: int, *, stride: int = 1) -> None:
        super().__init__()

        def side_of(side: int) -> int:
            first = ((side - KERNEL) // stride + 1) // 2
            return (first - KERNEL + 1) // 2

        self.features = nn.Sequential(
            nn.Conv2d(channel, 6, KERNEL, stride=stride),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, KERNEL),
            nn.ReLU(),
            nn.MaxPool2d(2),
            averaged_to(map_size(im_size, side_of), MAP),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * MAP * MAP, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, num_classes)
        )
