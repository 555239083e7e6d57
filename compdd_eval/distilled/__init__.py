"""Distilled sets: the type, and one file for each format that is read or written."""

from compdd_eval.distilled.published import load_published, save_published
from compdd_eval.distilled.set import DistilledSet

__all__ = ["DistilledSet", "load_published", "save_published"]
