"""Decoded validation images on disk: a split is decoded once for each resolution, transform and version of decoder."""

import logging
import os
from importlib import metadata
from pathlib import Path

import datasets
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from compdd_eval.data.splits import SubsetSplit
from compdd_eval.utils.digests import digest_of
from compdd_eval.utils.files import atomic_write

_logger = logging.getLogger(__name__)
FOLDER_NAME = "comp_dd_decoded"
LIMIT = 8 * 2**30  # bytes that are kept; sixteen subsets of 500 images are 1.6 GB at 128 px, 4.8 GB at 224 px
_DECODERS = ("pillow", "torch", "torchvision")  # another version may give other pixels


def decode_once(
    split: SubsetSplit, cache_dir: str | os.PathLike | None, progress: bool = False, keep: bool = True
) -> tuple[torch.Tensor, str]:
    """Return what `split.decode` returns, from disk where these very images were decoded before.

    The original bytes are read and hashed every time, so that a changed image is never taken for the old one.

    Args:
        split: The images.
        cache_dir: Cache to keep them in; default: that of `datasets`. Nothing is kept where it cannot be written.
        progress: Show a bar where images are decoded.
        keep: Keep what is decoded.
    """
    digest = split.digest()
    versions = [metadata.version(name) for name in _DECODERS]
    key = digest_of([digest, *split.im_size, split.antialias, split.resize, versions])
    path = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / FOLDER_NAME / f"{key}.safetensors"
    images = _read(path, (len(split), 3, *split.im_size))
    if images is not None:
        return images, digest
    images, found = split.decode(progress)
    if keep and found == digest:  # else an image was replaced in between
        _keep(path, images)
    return images, found


def _read(path: Path, shape: tuple[int, ...]) -> torch.Tensor | None:
    if not path.exists():
        return None
    try:
        images = load_file(path)["images"]
        if tuple(images.shape) == shape and images.dtype == torch.float32:
            os.utime(path)  # the time of last use, by which `_keep` removes
            return images
    except (SafetensorError, OSError, KeyError):
        pass
    _logger.warning(f"{path}: damaged; the images are decoded again")
    return None


def _keep(path: Path, images: torch.Tensor) -> None:
    """Write images, and remove those that were not used for longest where there is too much."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            save_file({"images": images.contiguous()}, temporary)
        kept = sorted(path.parent.glob("*.safetensors"), key=lambda file: -file.stat().st_mtime)
        total = 0
        for file in kept:
            total += file.stat().st_size
            if total > LIMIT and file != path:
                file.unlink(missing_ok=True)
    except OSError as error:
        _logger.info(f"{path.parent}: decoded images are not kept ({error.strerror})")
