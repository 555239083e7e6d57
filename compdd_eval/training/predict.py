"""What a student predicts."""

import torch
from torch import nn

from compdd_eval.training.memory import images_at_a_time

_TESTED_AT_A_TIME = 256  # decides memory, not numbers


def predict(model: nn.Module, images: torch.Tensor, batch_size: int | None = None) -> torch.Tensor:
    """Return the label that a network gives to each image, int64 `[N]` on the CPU.

    Args:
        model: Network, on its device; put into eval mode.
        images: Float `[N, C, H, W]`, normalised, on any device.
        batch_size: Images in a batch; default: what `compdd_eval.training.memory.images_at_a_time` makes of 256.
    """
    return predict_logits(model, images, batch_size).argmax(dim=1)


@torch.no_grad()
def predict_logits(model: nn.Module, images: torch.Tensor, batch_size: int | None = None) -> torch.Tensor:
    """Return the logits of a network, float `[N, K]` on the CPU; arguments as in `predict`."""
    device = next(model.parameters()).device
    model.eval()  # running statistics of batch norm, no dropout; training switches back before its next pass
    batch_size = batch_size or images_at_a_time(model, images, _TESTED_AT_A_TIME, device)
    return torch.cat([model(batch.to(device)).float() for batch in images.split(batch_size)]).cpu()
