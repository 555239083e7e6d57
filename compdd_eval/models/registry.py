"""Names of students -> the classes and functions that build them."""

import fnmatch
import functools
from collections.abc import Callable
from importlib import import_module

from torch import nn

from compdd_eval.config.network_names import find_user_network, is_user_network
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.models.user_networks import build_user_network
from compdd_eval.utils.code_digest import code_digest
from compdd_eval.utils.errors import InputError, unknown

Build = Callable[[int, tuple[int, int], int], nn.Module]  # from num_classes, im_size, channel
_BUILDERS: dict[str, tuple[Callable[..., nn.Module], dict[str, object]]] = {}
_LIBRARIES: dict[str, Callable[[str], Build]] = {}
# files of this package that register networks
_FAMILIES = ("alexnet", "convnet", "lenet", "mlp", "resnet", "timm_models", "torchvision_models", "vgg")


@functools.cache
def _register_ours() -> None:
    for name in _FAMILIES:
        import_module(f"compdd_eval.models.{name}")


def register_model(name: str, **options: object) -> Callable:
    """Register a class or function `(num_classes, im_size, channel, **options) -> Module` under a name; a decorator.

    Raises:
        ValueError: The name is taken.
    """

    def register(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        if not build.__module__.startswith("compdd_eval."):
            _register_ours()  # names of ours are taken, whoever comes first
        if name in _BUILDERS:
            raise ValueError(f"a student network {name!r} is registered already")
        _BUILDERS[name] = (build, options)
        registered_code.cache_clear()
        return build

    return register


@functools.cache
def registered_code(name: str) -> str | None:
    """Return the digest of the code of a network that a user's code has registered; None for others."""
    build, options = _BUILDERS.get(name, (register_model, {}))
    return None if build.__module__.startswith("compdd_eval.") else code_digest((build, sorted(options.items())))


def own_code(name: str) -> str | None:
    """Return the digest of the code of a network of a user's own: in a file, an object or registered."""
    return find_user_network(name).digest if is_user_network(name) else registered_code(name)


def register_library(prefix: str) -> Callable:
    """Register a function `name -> Build` for all names `PREFIX:NAME`; a decorator. It refuses unknown names."""

    def register(find: Callable[[str], Build]) -> Callable[[str], Build]:
        _LIBRARIES[prefix] = find
        return find

    return register


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of our own student networks, sorted; `torchvision:NAME`, `timm:NAME`, `FILE.py` work, too.

        list_models("*D3*")  # ['ConvNetD3', 'ConvNetD3BN']

    Args:
        pattern: Only names like this one, as of files: "*" for any letters, "?" for one; capitals do not count.
    """
    _register_ours()
    return sorted(name for name in _BUILDERS if fnmatch.fnmatchcase(name.lower(), pattern.lower()))


def is_listed(name: str) -> bool:
    """Whether a network is one of `list_models()`, and none of a library or of a user's own."""
    _register_ours()
    return name in _BUILDERS


def find_model(name: str) -> Build:
    """Return what builds a student, as `create_model` does, without building one.

    Raises:
        InputError: Unknown name (the message has the nearest valid one), or a file that is not what it should be.
    """
    if is_user_network(name):
        network = find_user_network(name)
        return lambda num_classes, im_size, channel: build_user_network(network, num_classes, im_size, channel)
    _register_ours()
    library, colon, inner = name.partition(":")
    if colon:
        if library not in _LIBRARIES:
            raise unknown("library of networks", library, _LIBRARIES)
        return _LIBRARIES[library](inner)
    if name not in _BUILDERS:
        raise unknown("model", name, list_models())
    build, options = _BUILDERS[name]

    def built(num_classes: int, im_size: tuple[int, int], channel: int) -> nn.Module:
        try:
            return build(num_classes, im_size, channel, **options)
        except InputError as error:
            raise InputError(f"{name} cannot take images of {im_size[0]} x {im_size[1]} pixels: {error}") from error

    return built


def create_model(
    name: str,
    num_classes: int = NUM_CLASSES,
    im_size: tuple[int, int] = (128, 128),
    channel: int = 3,
) -> nn.Module:
    """Build a student with fresh weights, drawn from torch's default generator.

    Under `torch.device("meta")` nothing is drawn and no memory is kept, but everything is checked.

    Args:
        name: One of `list_models()`, `torchvision:NAME`, `timm:NAME`, or FILE.py with a function
            `create_model(num_classes, im_size)`; that file is run.
        num_classes: Number of logits.
        im_size: Height and width of the images in pixels.
        channel: Channels of the images.

    Returns:
        A module from float `[N, channel, *im_size]`, ImageNet-normalised, to logits `[N, num_classes]`.

    Raises:
        InputError: Unknown name (the message has the nearest valid one), or images that the network cannot take.
    """
    return find_model(name)(num_classes, tuple(im_size), channel)
