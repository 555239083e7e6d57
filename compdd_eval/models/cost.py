"""How much work a student is: floating-point operations of one image."""

import functools

import torch
from torch.utils.flop_counter import FlopCounterMode

from compdd_eval.models.registry import create_model


@functools.lru_cache
def count_flops(name: str, num_classes: int, im_size: tuple[int, int]) -> int:
    """Return the floating-point operations of one image's forward pass; nothing is computed."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = create_model(name, num_classes, im_size).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.empty(1, 3, *im_size))
    return counter.get_total_flops()
