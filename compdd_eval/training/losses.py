"""Losses on hard and soft labels."""

import torch
import torch.nn.functional as F

from compdd_eval.data.label_kinds import infer_label_kind
from compdd_eval.utils.errors import InputError


def soft_cross_entropy(inputs: torch.Tensor, target: torch.Tensor, label_kind: str | None = None) -> torch.Tensor:
    """Return the mean cross-entropy between logits and soft labels.

    Args:
        inputs: Logits of the student, float `[N, K]`.
        target: Soft labels, float `[N, K]`.
        label_kind: `logits` (softmax is applied to the target) or `probabilities` (it is taken as it is);
            None looks at the target, as `infer_label_kind` does.

    Returns:
        Scalar: mean over N of -sum_k p_k log softmax(inputs)_k.

    Raises:
        InputError: The target is no float tensor of the shape of the inputs.
    """
    if inputs.shape != target.shape or not target.is_floating_point():
        found = f"{list(target.shape)} {target.dtype}"
        raise InputError(f"soft labels {found}: expected float {list(inputs.shape)}; hard labels take cross_entropy")
    # the kind is explicit, since a softmax of probabilities flattens them: one-hot rows would peak at 0.23
    if (label_kind or infer_label_kind(target)) == "logits":
        target = F.softmax(target, dim=1)
    return soft_losses(inputs, target).mean()


def soft_losses(logits: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each image, `[..., N]` from `[..., N, K]`."""
    return -(probabilities * F.log_softmax(logits, dim=-1)).sum(dim=-1)


def soften(labels: torch.Tensor, label_kind: str, temperature: float) -> torch.Tensor:
    """Return hard labels as they are, soft ones as probabilities at the temperature."""
    if label_kind == "logits":
        return F.softmax(labels / temperature, dim=1)
    if label_kind == "probabilities" and temperature != 1:
        # the logarithms are logits up to a constant, which a softmax does not see
        return F.softmax(labels.log() / temperature, dim=1)
    return labels
