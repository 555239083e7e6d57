"""How much memory a process had; without torch, which would be most of it."""

import re
import resource
from pathlib import Path


def peak_of_process() -> int:
    """Return the most memory that this process ever had, in bytes."""
    # on Linux `ru_maxrss` of a child begins at its parent's, VmHWM does not
    status = Path("/proc/self/status")
    known = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(known[1]) * 1024 if known else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
