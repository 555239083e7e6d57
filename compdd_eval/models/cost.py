"""What a student costs and takes: operations of one forward pass, parameters, the smallest images."""

import bisect
from functools import cache

import torch
from torch import nn

from compdd_eval.config.network_names import is_user_network
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.models.layers import eval_mode
from compdd_eval.models.registry import create_model, find_model
from compdd_eval.utils.errors import InputError

_LARGEST = 1024  # pixels; every network takes these


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


def count_parameters(name: str, num_classes: int, im_size: tuple[int, int]) -> int:
    """Return the number of parameters of a network; arguments and errors as of `count_flops`."""
    return sum(parameter.numel() for parameter in _without_draws(name, num_classes, im_size).parameters())


def smallest_resolution(name: str) -> int:
    """Return the side in pixels of the smallest square images that a network of ours takes; it takes all larger ones.

    Raises:
        InputError: Unknown name.
    """
    find_model(name)

    def is_taken(side: int) -> bool:
        try:
            _without_draws(name, NUM_CLASSES, (side, side))
        except InputError:
            return False
        return True

    return 1 + bisect.bisect_left(range(1, _LARGEST), True, key=is_taken)


def _without_draws(name: str, num_classes: int, im_size: tuple[int, int]) -> nn.Module:
    """Build a network without computing or drawing anything, but for one of a user's own."""
    device = "cpu" if is_user_network(name) else "meta"  # code of a user's own may look at values
    with torch.random.fork_rng(devices=[]), torch.device(device):
        return create_model(name, num_classes, im_size).eval()


def flops_of(network: nn.Module, images: torch.Tensor) -> int:
    """Return the same for a network that is there, which is given the images; its weights and mode stay."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with eval_mode(network), torch.enable_grad(), counter:  # without gradients, a fused attention is not counted
        network(images)
    return counter.get_total_flops()


@cache  # on plain arguments; `count_flops` may be given a list
def _count(name: str, num_classes: int, im_size: tuple[int, int]) -> int:
    network = _without_draws(name, num_classes, im_size)
    device = next(network.parameters()).device
    with torch.random.fork_rng(devices=[]), device:
        return flops_of(network, torch.empty(1, 3, *im_size))
