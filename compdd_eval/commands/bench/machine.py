"""What the work is measured on."""

import os
import re
import resource
from pathlib import Path


def machine() -> str:
    """Return what the figures were measured on, in words."""
    import torch  # not at the top: the peak of a process that never needs it is measured here, too

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"


def device_type() -> str:
    """Return `cuda` where there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def peak_of_process() -> int:
    """Return the most memory that this process ever had, in bytes."""
    # on Linux `ru_maxrss` of a child begins at its parent's, VmHWM does not
    status = Path("/proc/self/status")
    known = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(known[1]) * 1024 if known else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
