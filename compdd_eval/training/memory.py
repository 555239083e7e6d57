"""How much goes through a network at a time."""

import torch
from torch import nn

from compdd_eval.models.layers import has_batch_norm

_CPU_PIXELS, _CPU_IMAGES = 2**19, 64  # that go through a network at a time on a CPU: 32 images of 128 px
_GPU_PIXELS = 2**18  # of a batch that gives every multiprocessor of a large GPU work: an estimate, see `bench train`


def images_at_a_time(
    model: nn.Module, images: torch.Tensor, batch: int, device: torch.device, students: int = 1
) -> int:
    """Return how many images of a batch go through a network at a time: equal parts of a batch, as large as pays.

    A GPU takes the whole batch. On a CPU smaller parts need less memory, and are faster than memory that the system
    has to clear for every layer. A network with batch norm takes the whole batch, whose statistics it needs.

    Args:
        model: The network.
        images: `[N, C, H, W]`, of which only the shape counts.
        batch: Images in a batch.
        device: Where the network runs.
        students: Networks that run together.
    """
    batch = min(batch, len(images))  # the only batch of a pass may be smaller
    if device.type != "cpu" or has_batch_norm(model):
        return batch
    most = max(1, min(_CPU_IMAGES, _CPU_PIXELS // (images.shape[-2] * images.shape[-1])) // students)
    return -(-batch // -(-batch // most))  # as few parts as `most` allows, of equal size


def students_at_a_time(images: torch.Tensor, batch: int) -> int:
    """Return how many students give a large GPU work together: an estimate by the size of a batch.

    On a CPU one is faster (two cores train several students of ConvNetD3 2 to 6 times as fast one after another).

    Args:
        images: `[N, C, H, W]`, of one student; only the shape counts.
        batch: Images in a batch.
    """
    return max(1, _GPU_PIXELS // (min(batch, len(images)) * images.shape[-2] * images.shape[-1]))
