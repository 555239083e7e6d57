"""Mosaics: several smaller images stored in one, as IDC (Kim et al., ICML 2022), DANCE and NCFM do."""

import torch
from torch.nn.functional import interpolate, pad

from compdd_eval.data.transforms import normalise

FACTOR = "factor"  # the entry of a set's metadata that says how many images of a side were stored in one
_FACTORS = (2, 3, 4)  # that are looked for; the field uses 2, and 3 at 224 px
_LEAST = 16  # pixels of a side of the parts that are looked for
_SEAM = 1.8  # steps across the seams against those elsewhere, from which images look like mosaics
_NESTED = 0.85  # the seams of 4 x 4 hold those of 2 x 2: they are as clear in mosaics of 4 x 4, and half as clear else
_GREY = 0.5  # of RGB in [0, 1]: what IDC fills up images with whose side is no multiple


def cut_mosaics(images: torch.Tensor, factor: int) -> torch.Tensor:
    """Cut images into their parts, and resize each to the size of the whole, as IDC decodes them.

    Args:
        images: float32 `[N, 3, H, H]`, ImageNet-normalised.
        factor: Parts of a side.

    Returns:
        `[N * factor**2, 3, H, H]`: the parts of each image in turn, row by row; bilinear, without antialiasing.
    """
    side = images.shape[-1]
    if missing := -side % factor:
        grey = normalise(torch.full((3, 1, 1), _GREY))
        images = pad(images - grey, (0, missing, 0, missing)) + grey
    part = images.shape[-1] // factor
    parts = images.unfold(2, part, part).unfold(3, part, part)  # [N, 3, factor, factor, part, part]
    parts = parts.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, part, part)
    return interpolate(parts, (side, side), mode="bilinear", align_corners=False)


def looks_like_mosaics(images: torch.Tensor) -> int | None:
    """Return the number of parts of a side that images `[N, 3, H, H]` seem to have, or None.

    Neighbouring pixels differ more across a seam than elsewhere. The seams of all factors are compared with the steps
    beside them, along both sides; the median over images leaves out single pictures with a border of their own.
    """
    # [N, H - 1] each: step i is between rows (columns) i and i + 1
    steps = [images.diff(dim=dim).abs().mean(dim=(1, 5 - dim)) for dim in (2, 3)]
    sides = {factor: -(-images.shape[-1] // factor) for factor in _FACTORS}
    ratios = {factor: min(_seam(each, side) for each in steps) for factor, side in sides.items() if side >= _LEAST}
    clear = [factor for factor, ratio in ratios.items() if ratio >= max(_SEAM, _NESTED * max(ratios.values()))]
    return max(clear, default=None)


def _seam(steps: torch.Tensor, part: int) -> float:
    """Return how much larger steps across seams are than those next to them, the median over images."""
    seams = torch.arange(part - 1, steps.shape[1], part)
    seams = seams[(seams >= 2) & (seams < steps.shape[1] - 2)]
    beside = torch.stack([steps[:, seams + shift] for shift in (-2, -1, 1, 2)]).mean(dim=0)
    ratio = steps[:, seams].mean(dim=1) / beside.mean(dim=1).clamp(min=1e-6)
    return ratio.median().item()
