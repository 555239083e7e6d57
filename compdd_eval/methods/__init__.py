"""Distillation methods: a method is a file of its name."""
