"""Baselines: distilled sets made by the classical methods, to compare with; and how to add one."""

from compdd_eval.baselines import coreset, dc, dm, edf, mtt  # noqa: F401 (each registers its methods)
from compdd_eval.baselines.job import Job, Synthetic, TrainingImages
from compdd_eval.baselines.random_images import random_images
from compdd_eval.baselines.registry import ByIPC, find_method, list_methods, load_plugin, register_method

__all__ = [
    "ByIPC",
    "Job",
    "Synthetic",
    "TrainingImages",
    "find_method",
    "list_methods",
    "load_plugin",
    "random_images",
    "register_method",
]
