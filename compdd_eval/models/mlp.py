"""MLP: two hidden layers of 128 with ReLU, on the pixels.

Source: the cross-architecture pool of Zhao et al., "Dataset Condensation with Gradient Matching" (ICLR 2021).

Parameters at other sizes: those at 32 px (`MLP_Tiny`: 64 px), for images are first averaged to that size (adaptive
average pooling; smaller ones are enlarged by it). At that size, they are taken as they are.
"""

import torch
from torch import nn

from compdd_eval.models.registry import register_model

HIDDEN = 128


@register_model("MLP", native=32)
@register_model("MLP_Tiny", native=64)
class MLP(nn.Module):
    """Three linear layers: `channel * native * native` -> 128 -> 128 -> classes."""

    def __init__(self, num_classes: int, im_size: tuple[int, int], channel: int, *, native: int) -> None:
        super().__init__()
        self.resize = nn.Identity() if im_size == (native, native) else nn.AdaptiveAvgPool2d(native)
        self.layers = nn.Sequential(
            nn.Linear(channel * native * native, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, num_classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map `[N, C, H, W]` to logits `[N, num_classes]`."""
        return self.layers(self.resize(images).flatten(1))
