"""Readers of a user's copy of ImageNet: one per storage layout, all yielding the same rows in the same order."""
