"""What a student costs: operations of one forward pass."""

from functools import cache

import torch

from compdd_eval.config.network_names import is_user_network
from compdd_eval.models.registry import create_model


def count_flops(name: str, num_classes: int, im_size: tuple[int, int]) -> int:
    """Return the floating point operations of a network for one image of three channels.

    Convolutions, matrix products and attention are counted, a multiplication and an addition as two. Nothing is
    computed or drawn, but for networks of a user's own; the same arguments give the same number at once.

    Args:
        name: As `create_model` takes it.
        num_classes: Number of logits.
        im_size: Height and width of the images in pixels.

    Raises:
        InputError: As from `create_model`.
    """
    return _count(name, num_classes, tuple(im_size))


@cache  # on plain arguments; `count_flops` may be given a list
def _count(name: str, num_classes: int, im_size: tuple[int, int]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    device = "cpu" if is_user_network(name) else "meta"  # code of a user's own may look at values
    with torch.random.fork_rng(devices=[]), torch.device(device):
        network = create_model(name, num_classes, im_size).eval()
        images = torch.empty(1, 3, *im_size)
        with torch.enable_grad(), counter:  # without gradients, attention takes a fused path that is not counted
            network(images)
    return counter.get_total_flops()
