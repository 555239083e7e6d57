"""The one image transform: original bytes -> normalised float tensor.

RGB, float in [0, 1], resized straight to the target size (the aspect ratio is squashed), bilinear with
antialiasing, then normalised. The reference normalises before it resizes; the two agree up to rounding.
"""

import functools
import io
import warnings
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from compdd_eval.utils.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1], as torchvision's ImageNet models take them
IMAGENET_STD = (0.229, 0.224, 0.225)
_ADVICE = "replace the file by ImageNet's (if prepared, prepare again)"
_SIZES = 1024  # sizes of images whose resampling weights are kept; ImageNet has some hundreds that are common


def decode_rgb(data: bytes, name: str, advice: str = _ADVICE) -> torch.Tensor:
    """Decode one image to uint8 `[3, H, W]`, RGB whatever is stored (greyscale, CMYK, palette, alpha).

    The pixels are PIL's, as in the reference; EXIF orientation is not applied, as in the reference. Common JPEGs are
    decoded by torchvision, which gives the same pixels faster.

    Args:
        data: The bytes of the file.
        name: What to call it in an error.
        advice: How to mend that.

    Raises:
        InputError: The bytes are no whole image.
    """
    try:
        image = Image.open(io.BytesIO(data))
        decode = jpeg_decoder()
        # only where both give the same pixels: torchvision converts CMYK otherwise, and fills up a cut JPEG in silence,
        # which its end marker (ff d9) rules out
        if decode and image.format == "JPEG" and image.mode in ("RGB", "L") and b"\xff\xd9" in data[-64:]:
            return decode(torch.frombuffer(bytearray(data), dtype=torch.uint8))  # a copy: tensors can be written to
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as error:
        reason = "it is not an image" if isinstance(error, UnidentifiedImageError) else str(error).partition("\n")[0]
        raise InputError(f"{name}: cannot be decoded ({reason}); {advice}") from error


@functools.cache
def jpeg_decoder() -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return torchvision's decoder of JPEG files, as RGB; None where it is gone. The import takes a second."""
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError:  # deprecated since torchvision 0.29; without it PIL gives the same pixels, slower
        return None
    return functools.partial(decode_jpeg, mode=ImageReadMode.RGB)


def preprocess(
    image: torch.Tensor, im_size: tuple[int, int], antialias: bool = True, mode: str = "squash"
) -> torch.Tensor:
    """Turn uint8 `[3, H, W]` into normalised float32 `[3, im_size[0], im_size[1]]`.

    Args:
        image: RGB.
        im_size: Height and width in pixels.
        antialias: Whether the resize is antialiased.
        mode: `squash` resizes straight to `im_size`; `crop` resizes the shorter side to 8/7 of it (`size // 7 * 8`, as
            the release of RDED: 144 for 128) and takes the centre.
    """
    if mode == "crop":
        resized = resize(image, _around(image, im_size), antialias)
        top, left = (round((side - target) / 2) for side, target in zip(resized.shape[1:], im_size, strict=True))
        return normalise(resized[:, top : top + im_size[0], left : left + im_size[1]])
    return normalise(resize(image, im_size, antialias))


def _around(image: torch.Tensor, im_size: tuple[int, int]) -> tuple[int, int]:
    """Return the size with an image's aspect ratio whose shorter side is 8/7 of a crop's longer one."""
    short = max(max(im_size) // 7 * 8, max(im_size))
    height, width = image.shape[1:]
    if height <= width:
        return short, max(int(short * width / height), short)
    return max(int(short * height / width), short), short


def resize(image: torch.Tensor, im_size: tuple[int, int], antialias: bool = True) -> torch.Tensor:
    """Turn uint8 `[3, H, W]` into float32 `[3, im_size[0], im_size[1]]` in [0, 1]; the values are torch's, faster.

    Bilinear resampling is linear along each axis, with weights that are mostly zero: two sparse products, of which
    the first, over whole rows, leaves little for the second.
    """
    channels, height, width = image.shape
    rows = image.permute(1, 2, 0).reshape(height, width * channels).float()
    rows = resampling_weights(height, im_size[0], antialias, 1 / 255) @ rows
    columns = rows.view(im_size[0], width, channels).permute(1, 2, 0).reshape(width, channels * im_size[0])
    columns = resampling_weights(width, im_size[1], antialias) @ columns
    return columns.view(im_size[1], channels, im_size[0]).permute(1, 2, 0)


@functools.lru_cache(_SIZES)
def resampling_weights(size: int, target: int, antialias: bool, scale: float = 1.0) -> torch.Tensor:
    """Return what torch's bilinear interpolation does to one axis, as a sparse `[target, size]` matrix, times scale."""
    # interpolating the unit matrix gives the weights themselves, those of this torch
    unit = torch.eye(size)[None, None]
    weights = torch.nn.functional.interpolate(
        unit, (target, size), mode="bilinear", antialias=antialias, align_corners=False
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return (weights[0, 0] * scale).to_sparse_csr()


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Map `[..., 3, H, W]` from [0, 1] to ImageNet-normalised space."""
    return (images - _column(IMAGENET_MEAN, images)) / _column(IMAGENET_STD, images)


def denormalise(
    images: torch.Tensor, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD
) -> torch.Tensor:
    """Map `[..., 3, H, W]` from normalised space (ImageNet's) to [0, 1]; values outside are not clamped."""
    return images * _column(std, images) + _column(mean, images)


def _column(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(3, 1, 1)
