"""The one image transform: original bytes -> normalised float tensor.

RGB, float in [0, 1], resized straight to the target size (the aspect ratio is squashed), bilinear with
antialiasing, then normalised. The reference normalises before it resizes; the two agree up to rounding.
"""

import io

import torch
from PIL import Image, UnidentifiedImageError
from torchvision.transforms.v2 import functional as transforms

from compdd_eval.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1], as torchvision's ImageNet models take them
IMAGENET_STD = (0.229, 0.224, 0.225)


def decode_rgb(data: bytes, name: str) -> torch.Tensor:
    """Decode one image to uint8 `[3, H, W]`, RGB whatever is stored (greyscale, CMYK, palette, alpha).

    The pixels are PIL's, as in the reference; EXIF orientation is not applied, as in the reference.

    Args:
        data: The bytes of the file.
        name: What to call it in an error.

    Raises:
        InputError: The bytes are no whole image.
    """
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "it is not an image" if isinstance(error, UnidentifiedImageError) else error
        message = f"{name}: cannot be decoded ({reason}); replace the file by ImageNet's (if prepared, prepare again)"
        raise InputError(message) from error
    return transforms.pil_to_tensor(image)


def preprocess(image: torch.Tensor, im_size: tuple[int, int], antialias: bool = True) -> torch.Tensor:
    """Turn uint8 `[3, H, W]` into normalised float32 `[3, im_size[0], im_size[1]]`."""
    image = transforms.resize(image.float() / 255, list(im_size), antialias=antialias)
    return normalise(image)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Map `[..., 3, H, W]` from [0, 1] to ImageNet-normalised space."""
    return (images - _column(IMAGENET_MEAN, images)) / _column(IMAGENET_STD, images)


def denormalise(images: torch.Tensor) -> torch.Tensor:
    """Map `[..., 3, H, W]` from ImageNet-normalised space to [0, 1]; values outside are not clamped."""
    return images * _column(IMAGENET_STD, images) + _column(IMAGENET_MEAN, images)


def _column(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(3, 1, 1)
