"""Readers of a user's copy of ImageNet: one per storage layout, all yielding the same rows in the same order."""

from compdd_eval.sources.checks import image_problem, read_checked
from compdd_eval.sources.factory import IMAGENET_HELP, PREPARED, find_imagenet, open_source
from compdd_eval.sources.reader import read_linked
from compdd_eval.sources.rows import ImageRow, Source, rows_digest, subset_rows
from compdd_eval.sources.spool import spooled

__all__ = [
    "IMAGENET_HELP",
    "PREPARED",
    "ImageRow",
    "Source",
    "find_imagenet",
    "image_problem",
    "open_source",
    "read_linked",
    "read_checked",
    "rows_digest",
    "spooled",
    "subset_rows",
]
