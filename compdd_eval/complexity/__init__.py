"""Complexity of images, the measure that Comp-DD's subsets are chosen by: maps, scores, tables, figures."""
