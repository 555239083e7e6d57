"""Networks of others: whether one maps images of a size to plain logits; of libraries, without memory or draws."""

from collections.abc import Callable

import torch
from torch import nn

from compdd_eval.utils.errors import InputError, first_line

_checked: set[tuple] = set()


def build_checked(
    name: str, build: Callable[[], nn.Module], num_classes: int, im_size: tuple[int, int], channel: int
) -> nn.Module:
    """Build a network of a library, once it is known that it takes the images; cheap when asked again.

    Args:
        name: Full name of the network, for the message.
        build: Makes the network.
        num_classes: Number of logits.
        im_size: Height and width of the images in pixels.
        channel: Channels of the images.

    Returns:
        The network; under `torch.device("meta")` one without values.

    Raises:
        InputError: With the first line of what went wrong; or the network gives anything but logits `[N, K]`.
    """
    key = (name, num_classes, im_size, channel)
    if key not in _checked:
        images = torch.empty(2, channel, *im_size, device="meta")
        checked_logits(name, lambda: _without_values(build).eval()(images), images, num_classes)
        _checked.add(key)
    return _without_values(build) if torch.empty(0).device.type == "meta" else build()


def checked_logits(name: str, forward: Callable[[], object], images: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Return what a network makes of images, if that is logits.

    Args:
        name: Full name of the network, for the message.
        forward: Gives the images to the network.
        images: Float `[N, C, H, W]`.
        num_classes: Number of logits.

    Raises:
        InputError: It fails, with the first line of what went wrong; or it gives anything but logits `[N, K]`.
    """
    try:
        logits = forward()
    except Exception as error:  # whatever a library raises where shapes do not fit
        height, width = images.shape[-2:]
        raise InputError(f"{name} cannot take images of {height} x {width} pixels: {first_line(error)}") from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (len(images), num_classes):
        found = list(logits.shape) if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
        raise InputError(
            f"{name} is no classifier: it does not map images to logits [N, {num_classes}], but {len(images)} images "
            f"to {found}"
        )
    return logits


def _without_values(build: Callable[[], nn.Module]) -> nn.Module:
    """Build with empty weights; not by `torch.device("meta")`, where networks fail that compute widths by torch."""
    from accelerate import init_empty_weights

    with torch.random.fork_rng(devices=[]), torch.device("cpu"), init_empty_weights():
        network = build()
    return network.to("meta")
