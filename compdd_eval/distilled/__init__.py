"""Distilled sets: the type, and one file for each format that is read or written."""

from compdd_eval.distilled.part_files import save_published
from compdd_eval.distilled.reading import read_distilled
from compdd_eval.distilled.set import DistilledSet

__all__ = ["DistilledSet", "read_distilled", "save_published"]
