"""Names of students -> the functions that build them."""

import functools
from collections.abc import Callable

from torch import nn

from compdd_eval.errors import InputError, unknown
from compdd_eval.subsets import NUM_CLASSES

_BUILDERS: dict[str, tuple[Callable[..., nn.Module], dict[str, object]]] = {}


def register_model(name: str, **options: object) -> Callable:
    """Register a function `(num_classes, im_size, channel, **options) -> Module` under a name; a decorator.

    Raises:
        ValueError: The name is taken.
    """

    def register(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        if name in _BUILDERS:
            raise ValueError(f"a student network {name!r} is registered already")
        _BUILDERS[name] = (build, options)
        return build

    return register


def list_models() -> list[str]:
    """Return the names of all student networks, sorted."""
    return sorted(_BUILDERS)


def create_model(
    name: str,
    num_classes: int = NUM_CLASSES,
    im_size: tuple[int, int] = (128, 128),
    channel: int = 3,
) -> nn.Module:
    """Build a student with fresh weights, drawn from torch's default generator.

    Args:
        name: One of `list_models()`, `torchvision:NAME` or `timm:NAME`.
        num_classes: Number of logits.
        im_size: Height and width of the images in pixels.
        channel: Channels of the images.

    Returns:
        A module from float `[N, channel, *im_size]`, ImageNet-normalised, to logits `[N, num_classes]`.

    Raises:
        InputError: Unknown name (the message has the nearest valid one), or images too small for the network.
    """
    from compdd_eval.models.library import library_model

    if name not in _BUILDERS and ":" not in name:
        raise unknown("model", name, list_models())
    build, options = _BUILDERS.get(name, (functools.partial(library_model, name), {}))
    try:
        return build(num_classes, tuple(im_size), channel, **options)
    except InputError as error:
        raise InputError(f"{name} cannot take images of {im_size[0]} x {im_size[1]} pixels: {error}") from error
