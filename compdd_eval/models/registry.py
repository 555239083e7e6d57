"""Names of students -> the functions that build them."""

from collections.abc import Callable

from torch import nn

from compdd_eval.errors import InputError, unknown
from compdd_eval.subsets import NUM_CLASSES

_BUILDERS: dict[str, tuple[Callable[..., nn.Module], dict[str, object]]] = {}
_LIBRARIES: dict[str, Callable[..., nn.Module]] = {}


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


def register_library(prefix: str) -> Callable:
    """Register a function `(name, num_classes, im_size, channel) -> Module` for all names `PREFIX:NAME`; a decorator.

    The function finds errors in all of its arguments itself.
    """

    def register(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        _LIBRARIES[prefix] = build
        return build

    return register


def list_models() -> list[str]:
    """Return the names of our own student networks, sorted; `torchvision:NAME` and `timm:NAME` work, too."""
    return sorted(_BUILDERS)


def create_model(
    name: str,
    num_classes: int = NUM_CLASSES,
    im_size: tuple[int, int] = (128, 128),
    channel: int = 3,
) -> nn.Module:
    """Build a student with fresh weights, drawn from torch's default generator.

    Under `torch.device("meta")` nothing is drawn and no memory is taken, but everything is checked.

    Args:
        name: One of `list_models()`, `torchvision:NAME` or `timm:NAME`.
        num_classes: Number of logits.
        im_size: Height and width of the images in pixels.
        channel: Channels of the images.

    Returns:
        A module from float `[N, channel, *im_size]`, ImageNet-normalised, to logits `[N, num_classes]`.

    Raises:
        InputError: Unknown name (the message has the nearest valid one), or images that the network cannot take.
    """
    library, colon, inner = name.partition(":")
    if colon:
        if library not in _LIBRARIES:
            raise unknown("library of networks", library, _LIBRARIES)
        return _LIBRARIES[library](inner, num_classes, tuple(im_size), channel)
    if name not in _BUILDERS:
        raise unknown("model", name, list_models())
    build, options = _BUILDERS[name]
    try:
        return build(num_classes, tuple(im_size), channel, **options)
    except InputError as error:
        raise InputError(f"{name} cannot take images of {im_size[0]} x {im_size[1]} pixels: {error}") from error
