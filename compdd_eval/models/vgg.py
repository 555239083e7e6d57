"""VGG11 of the field's zoo, made for 32 px, and VGG11_Tiny for 64 px.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015), with
one linear layer of 512 features as in Zhao et al., "Dataset Condensation with Gradient Matching" (ICLR 2021). At other
sizes the last map is averaged over its pixels, so that all parameters keep their shapes.
"""

from torch import nn

from compdd_eval.errors import InputError
from compdd_eval.models.classic import TopLeft
from compdd_eval.models.registry import register_model

_WIDTHS = (64, 128, 256, 256, 512, 512, 512, 512)
_POOLED = (0, 1, 3, 5, 7)  # convolutions that a 2x2 max pooling follows


@register_model("VGG11")
@register_model("VGG11BN", norm="batch")
@register_model("VGG11_Tiny", tiny=True)
@register_model("VGG11BN_Tiny", norm="batch", tiny=True)
def vgg11(
    num_classes: int, im_size: tuple[int, int], channel: int, *, norm: str = "instance", tiny: bool = False
) -> nn.Module:
    """Build VGG11 with instance norm (one channel a group) or batch norm; `tiny` takes the top left of a 2x2 map."""
    if min(im_size) < 32:
        raise InputError("its 5 poolings need at least 32 pixels a side")
    layers: list[nn.Module] = []
    for number, width in enumerate(_WIDTHS):
        layers += [nn.Conv2d(channel, width, 3, padding=1), make_norm(norm, width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if number in _POOLED else []
        channel = width
    layers += [TopLeft()] if tiny else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channel, num_classes))


def make_norm(kind: str, channels: int) -> nn.Module:
    """Return batch norm, or instance norm as a group norm with one channel a group."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(channels, channels)
