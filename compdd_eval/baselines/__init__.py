"""Baselines: distilled sets made by simple means, to compare with."""

from compdd_eval.baselines.random_images import random_images

__all__ = ["random_images"]
