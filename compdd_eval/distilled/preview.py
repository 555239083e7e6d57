"""A picture of a distilled set: one row a class, with its name."""

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from compdd_eval.data.transforms import denormalise
from compdd_eval.distilled.tensors import SetTensors

_TILE = 64  # smallest side of a shown image in pixels
_GAP = 2
_COLUMNS = 10
_TEXT = 14


def save_preview(distilled: SetTensors, label_names: list[str], path: Path, title: str = "") -> None:
    """Write a PNG grid of the images: a row for each label that has some, at most ten images in it.

    A title stands above it. Small images are enlarged without smoothing; values outside [0, 1] after denormalising
    are clipped.
    """
    # whole multiples: a pixel of a 32 px image becomes a square, and none is invented
    scale = max(1, -(-_TILE // distilled.resolution))
    side = distilled.resolution * scale
    classes = distilled.classes
    present = [label for label, count in enumerate(distilled.class_counts) if count]
    columns = min(_COLUMNS, max(distilled.class_counts))
    font = ImageFont.load_default(_TEXT)
    left = int(max(font.getlength(label_names[label]) for label in present)) + 3 * _GAP
    head = 2 * _TEXT if title else _GAP
    width = max(left + columns * (side + _GAP), int(font.getlength(title)) + 2 * _GAP)
    size = (width, len(present) * (side + _GAP) + head)
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    pen.text((_GAP, _GAP), title, fill="black", font=font)
    for row, label in enumerate(present):
        top = head + row * (side + _GAP)
        pen.text((_GAP, top + side // 2), label_names[label], fill="black", font=font, anchor="lm")
        for column, image in enumerate(distilled.images[classes == label][:columns]):
            picture.paste(to_picture(image, side), (left + column * (side + _GAP), top))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def to_picture(image: torch.Tensor, side: int | None = None) -> Image.Image:
    """Return an 8-bit RGB picture of a normalised image float `[3, H, H]`, enlarged without smoothing to a side."""
    pixels = denormalise(image).clamp(0, 1).mul(255).byte().permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(pixels)
    return picture if side is None else picture.resize((side, side), Image.Resampling.NEAREST)
