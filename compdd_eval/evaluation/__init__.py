"""Evaluate a distilled set: its students and those of its baselines, shared out over the processes."""
