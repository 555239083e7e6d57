"""What the work is measured on."""

import os


def machine() -> str:
    """Return what the figures were measured on, in words."""
    import torch  # not at the top: the peak of a process that never needs it is measured here, too

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"


def device_type() -> str:
    """Return `cuda` where there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
