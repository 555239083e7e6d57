"""The benchmark's real images: its lists, the user's ImageNet, prepared subsets, splits as tensors."""
