"""In which precision the steps of a student are run."""

import os

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
