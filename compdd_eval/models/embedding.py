"""Features of a network: what goes into its last linear layer."""

import torch
from torch import nn

from compdd_eval.models.layers import eval_mode
from compdd_eval.utils.errors import InputError


def embed(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return what goes into the last linear layer of a network, float `[N, D]`; part of the graph.

    Args:
        network: Any classifier that ends with a `torch.nn.Linear`.
        images: Float `[N, 3, H, W]`, normalised, on its device.

    Raises:
        InputError: It has no linear layer, or does not use the last one.
    """
    linear = _linear_layers(network)
    if not linear:
        raise InputError(f"{type(network).__name__} has no linear layer at its end; take another network")
    seen: list[torch.Tensor] = []
    # a hook, since networks of libraries name and call their last layers in many ways
    handle = linear[-1][1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        network(images)
    finally:
        handle.remove()
    if not seen:
        raise InputError(f"{type(network).__name__} does not use its last linear layer; take another network")
    return seen[-1].flatten(1)


@torch.no_grad()
def head_of(network: nn.Module, images: torch.Tensor) -> str | None:
    """Return the name of a network's last linear layer, where its outputs are those of the network; else None.

    Args:
        network: Any classifier.
        images: Float `[N, 3, H, W]`, on its device.
    """
    linear = _linear_layers(network)
    if not linear:
        return None
    name, layer = linear[-1]
    made: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: made.append(output))
    try:
        with eval_mode(network):  # a single image has no statistics for batch norm
            output = network(images)
    finally:
        handle.remove()
    return name if made and made[-1] is output else None


def without_head(network: nn.Module, name: str) -> nn.Module:
    """Let a network return its features, what `head_of` was given; it is changed, and returned."""
    place, _, last = name.rpartition(".")
    setattr(network.get_submodule(place), last, nn.Identity())
    return network


def _linear_layers(network: nn.Module) -> list[tuple[str, nn.Linear]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
