"""`torchvision:NAME`: any classifier of torchvision, with fresh weights.

Architectures and their default initialisation are torchvision's; nothing is downloaded. Parameters at other sizes are
those of the architecture, but for networks that are made for one size, which get the size of the images: vision
transformers (square images only; their position embedding has one row a patch) and MaxViT. GoogLeNet and Inception have
no auxiliary classifiers, so that all outputs are plain logits.
"""

import functools

from torch import nn

from compdd_eval.models.other_libraries import build_checked
from compdd_eval.models.registry import Build, register_library
from compdd_eval.utils.errors import InputError, unknown


@register_library("torchvision")
def torchvision_model(name: str) -> Build:
    """Return what builds a classifier of torchvision.

    Raises:
        InputError: Unknown name, or no classifier of images.
    """
    from torchvision import models

    classifiers = models.list_models(module=models)
    if name not in classifiers:
        if name in models.list_models():
            raise InputError(f"torchvision:{name} is no plain classifier of images; expected for example 'resnet50'")
        raise unknown("torchvision model", name, classifiers)

    def build(num_classes: int, im_size: tuple[int, int], channel: int) -> nn.Module:
        if channel != 3:
            raise InputError(f"torchvision:{name} takes images of 3 channels, not {channel}")
        options = {"num_classes": num_classes, **_options(name, im_size)}
        made = functools.partial(models.get_model, name, weights=None, **options)
        return build_checked(f"torchvision:{name}", made, num_classes, im_size, channel)

    return build


def _options(name: str, im_size: tuple[int, int]) -> dict[str, object]:
    if name in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": True}
    if name.startswith("maxvit"):
        return {"input_size": im_size}
    if name.startswith("vit_"):
        if im_size[0] != im_size[1]:
            raise InputError(f"torchvision:{name} takes square images, not {im_size[0]} x {im_size[1]} pixels")
        return {"image_size": im_size[0]}
    return {}
