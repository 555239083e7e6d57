"""Networks of other libraries: whether one maps images of a size to plain logits, found out without memory or draws."""

from collections.abc import Callable

import torch
from torch import nn

from compdd_eval.errors import InputError

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
        try:
            logits = _without_values(build).eval()(torch.empty(2, channel, *im_size, device="meta"))
        except Exception as error:  # whatever a library raises where shapes do not fit
            cause = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{name} cannot take images of {im_size[0]} x {im_size[1]} pixels: {cause}") from error
        if not isinstance(logits, torch.Tensor) or logits.shape != (2, num_classes):
            raise InputError(f"{name} is no classifier: it does not map images to logits [N, {num_classes}]")
        _checked.add(key)
    return _without_values(build) if torch.empty(0).device.type == "meta" else build()


def _without_values(build: Callable[[], nn.Module]) -> nn.Module:
    """Build with empty weights; not by `torch.device("meta")`, where networks fail that compute widths by torch."""
    from accelerate import init_empty_weights

    with torch.random.fork_rng(devices=[]), torch.device("cpu"), init_empty_weights():
        network = build()
    return network.to("meta")
