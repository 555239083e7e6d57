"""Readers of a user's copy of ImageNet: one per storage layout, all yielding the same rows in the same order."""

from compdd_eval.sources.factory import IMAGENET_HELP, find_imagenet, open_source
from compdd_eval.sources.rows import ImageRow, Source, check_image, read_bytes, rows_digest, subset_rows

__all__ = [
    "IMAGENET_HELP",
    "ImageRow",
    "Source",
    "check_image",
    "find_imagenet",
    "open_source",
    "read_bytes",
    "rows_digest",
    "subset_rows",
]
