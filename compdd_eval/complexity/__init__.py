"""Complexity of images, the measure that Comp-DD's subsets are chosen by: maps, scores, tables."""

from compdd_eval.complexity.measure import complexity_from_maps

__all__ = ["complexity_from_maps"]
