"""An image and its map as PNG files."""

import io

import torch
from PIL import Image


def png_of_image(image: torch.Tensor) -> bytes:
    """Return a PNG of an image, float `[3, H, W]` in [0, 1]."""
    return _png(Image.fromarray(_bytes(image).permute(1, 2, 0).numpy()))


def png_of_map(activation: torch.Tensor, side: int) -> bytes:
    """Return a greyscale PNG of a map, float `[h, w]` in [0, 1], brought to `side` pixels, bilinear."""
    larger = torch.nn.functional.interpolate(activation[None, None].float(), (side, side), mode="bilinear")
    return _png(Image.fromarray(_bytes(larger[0, 0]).numpy()))


def _bytes(values: torch.Tensor) -> torch.Tensor:
    return values.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()
