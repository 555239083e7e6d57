"""Classifiers of torchvision and timm as students: `torchvision:resnet50`, `timm:convnext_tiny`."""

import inspect

from torch import nn
from torchvision import models

from compdd_eval.errors import InputError, unknown

LIBRARIES = ("torchvision", "timm")


def library_model(name: str, num_classes: int, im_size: tuple[int, int], channel: int) -> nn.Module:
    """Build `torchvision:NAME` or `timm:NAME` with fresh weights.

    Raises:
        InputError: No such library or classifier, timm is not installed, or the network cannot take such images.
    """
    library, _, network = name.partition(":")
    if library not in LIBRARIES:
        raise unknown("library of models", library, LIBRARIES)
    return (_torchvision if library == "torchvision" else _timm)(network, num_classes, im_size, channel)


def _torchvision(name: str, num_classes: int, im_size: tuple[int, int], channel: int) -> nn.Module:
    if name not in models.list_models(module=models):
        raise unknown("classifier of torchvision", name, models.list_models(module=models))
    if channel != 3:
        raise InputError(f"torchvision's networks take 3 channels, not {channel}")
    options: dict[str, object] = {"num_classes": num_classes}
    if name.startswith("vit_"):
        if im_size[0] != im_size[1]:
            raise InputError("a vision transformer takes square images")
        options["image_size"] = im_size[0]
    if name in ("inception_v3", "googlenet"):
        options |= {"aux_logits": False, "init_weights": True}
    try:
        return models.get_model(name, weights=None, **options)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"torchvision cannot build it: {str(error) or 'sides must be a multiple of a patch'}"
        ) from error


def _timm(name: str, num_classes: int, im_size: tuple[int, int], channel: int) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise InputError('timm is not installed; pip install "compdd-eval[timm]"') from error
    if name not in timm.list_models():
        raise unknown("model of timm", name, timm.list_models())
    options: dict[str, object] = {"num_classes": num_classes, "in_chans": channel}
    if "img_size" in inspect.signature(timm.create_model(name, pretrained=False).__class__.__init__).parameters:
        options["img_size"] = im_size
    try:
        return timm.create_model(name, pretrained=False, **options)
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"timm cannot build it: {error}") from error
