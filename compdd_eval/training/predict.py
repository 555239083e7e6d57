"""What a student predicts."""

import torch
from torch import nn

from compdd_eval.data.splits import SubsetSplit
from compdd_eval.models.layers import eval_mode
from compdd_eval.training.memory import images_at_a_time
from compdd_eval.utils.errors import InputError

_TESTED_AT_A_TIME = 256  # decides memory, not numbers


def predict(model: nn.Module, images: torch.Tensor, batch_size: int | None = None) -> torch.Tensor:
    """Return the label that a network gives to each image, int64 `[N]` on the CPU.

    Args:
        model: Network, on its device; put into eval mode.
        images: Float `[N, C, H, W]`, normalised, on any device.
        batch_size: Images in a batch; default: what `compdd_eval.training.memory.images_at_a_time` makes of 256.
    """
    return predict_logits(model, images, batch_size).argmax(dim=1)


def accuracy(model: nn.Module, split: SubsetSplit | tuple[torch.Tensor, torch.Tensor]) -> float:
    """Return the share of images that a network classifies correctly, in [0, 1].

        data = load_comp_dd("bird-easy")
        print(accuracy(network, data.dst_test))  # or tensors, which are decoded once: data.dst_test.tensors()

    Args:
        model: Network from normalised images to logits, on its device; its mode is as it was afterwards.
        split: A split of a subset, or images, float `[N, C, H, W]`, and their labels, int64 `[N]`, on any device.

    Raises:
        InputError: Images and labels that do not match, or none.
    """
    images, labels = split.tensors() if isinstance(split, SubsetSplit) else split
    if len(images) != len(labels) or not len(images):
        raise InputError(f"{len(images)} images and {len(labels)} labels: expected as many of both, at least one")
    with eval_mode(model):
        return (predict(model, images) == labels.cpu()).double().mean().item()


@torch.no_grad()
def predict_logits(model: nn.Module, images: torch.Tensor, batch_size: int | None = None) -> torch.Tensor:
    """Return the logits of a network, float `[N, K]` on the CPU; arguments as in `predict`."""
    device = next(model.parameters()).device
    model.eval()  # running statistics of batch norm, no dropout; training switches back before its next pass
    batch_size = batch_size or images_at_a_time(model, images, _TESTED_AT_A_TIME, device)
    return torch.cat([model(batch.to(device)).float() for batch in images.split(batch_size)]).cpu()
