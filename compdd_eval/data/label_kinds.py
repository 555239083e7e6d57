"""What labels look like: hard ones, probabilities or logits."""

import torch

PROBABILITY_TOLERANCE = 1e-3  # rows that sum to 1 this closely are probabilities
_OF_BFLOAT16 = 5e-3  # ten numbers of eight significant bits: up to 2^-9, and the sum's own


def infer_label_kind(labels: torch.Tensor) -> str:
    """Return the kind of labels: integers `hard`, non-negative rows that sum to 1 `probabilities`, else `logits`."""
    if not labels.is_floating_point():
        return "hard"
    sums = labels.float().sum(dim=-1)
    tolerance = _OF_BFLOAT16 if labels.dtype == torch.bfloat16 else PROBABILITY_TOLERANCE
    is_distribution = bool((labels >= 0).all()) and bool(((sums - 1).abs() <= tolerance).all())
    return "probabilities" if is_distribution else "logits"
