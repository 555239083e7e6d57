"""Features of a network: what goes into its last linear layer."""

import torch
from torch import nn

from compdd_eval.utils.errors import InputError


def embed(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return what goes into the last linear layer of a network, float `[N, D]`; part of the graph.

    Args:
        network: Any classifier that ends with a `torch.nn.Linear`.
        images: Float `[N, 3, H, W]`, normalised, on its device.

    Raises:
        InputError: It has no linear layer, or does not use the last one.
    """
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"{type(network).__name__} has no linear layer at its end; take another network")
    seen: list[torch.Tensor] = []
    # a hook, since networks of libraries name and call their last layers in many ways
    handle = linear[-1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        network(images)
    finally:
        handle.remove()
    if not seen:
        raise InputError(f"{type(network).__name__} does not use its last linear layer; take another network")
    return seen[-1].flatten(1)
