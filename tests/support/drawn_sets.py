"""A distilled set of noise, as tensors and as a folder of images."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(20, 3, 8, 8, generator=GENERATOR)
PIXELS = (torch.rand(20, 3, 8, 8, generator=GENERATOR) * 255).round().to(torch.uint8)
HARD = torch.arange(10).repeat_interleave(2)
LOGITS = torch.randn(20, 10, generator=GENERATOR)


def image_folder(
    root: Path, names: list[str], file_format: str = "PNG", per_class: int = 2, size: tuple[int, int] = (8, 8)
) -> Path:
    """Write noise; the red value of the first pixel of image i of class k is 10 k + i."""
    for number, name in enumerate(names):
        for index in range(per_class):
            pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
            pixels[0, 0, 0] = 10 * number + index
            path = root / name / f"{index}.{file_format.lower()}"
            path.parent.mkdir(parents=True, exist_ok=True)
            options = {"lossless": True} if file_format == "WEBP" else {}
            Image.fromarray(pixels).save(path, **options)
    return root
