"""In which precision networks are run."""

import os
from collections.abc import Callable

import torch

from compdd_eval.utils.errors import InputError

_LAUNCHER = {"no": "float32", "bf16": "bfloat16"}  # values of `accelerate launch --mixed_precision`


def precision_of(asked: str | None, device: torch.device) -> str:
    """Return the precision of the students: `float32`, `tf32` or `bfloat16`.

    Args:
        asked: What --precision says; None takes what `accelerate launch --mixed_precision` says, else float32.
        device: Where they train.

    Raises:
        InputError: A precision that students are not trained in, or that this device has not.
    """
    launcher = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked is None and launcher not in _LAUNCHER:
        raise InputError(f"--mixed_precision {launcher}: students train in float32 or bfloat16; give no or bf16")
    precision = asked or _LAUNCHER[launcher]
    if precision == "tf32" and device.type != "cuda":
        raise InputError("--precision tf32 is a mode of NVIDIA GPUs, and this device is none; give float32")
    return precision


def bfloat16_where(precision: str, device: torch.device) -> torch.autocast:
    """Return autocast, which is on where the precision is `bfloat16`.

    Without its cache of weights, which it empties only where no other autocast, on or off, is around it: a caller's
    would leave students with the weights of their first pass.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False)


def forward_pass(network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, precision: str) -> torch.Tensor:
    """Return what a network makes of images; the gradients of all orders are taken in the same precision.

    Args:
        network: Of parameters in float32.
        images: Float32 `[N, C, H, W]`, on its device.
        precision: `bfloat16` is autocast around the network; all else leaves it as it is.

    Returns:
        Float32: the 8 bits of bfloat16 are too few for a loss.
    """
    if precision != "bfloat16":
        return network(images)
    with bfloat16_where(precision, images.device):
        return network(images).float()
