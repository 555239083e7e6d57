"""How much memory a process had, and what it keeps; without torch, which would be most of it."""

import ctypes
import re
import resource
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h


def peak_of_process() -> int:
    """Return the most memory that this process ever had, in bytes."""
    # on Linux `ru_maxrss` of a child begins at its parent's, VmHWM does not
    status = Path("/proc/self/status")
    known = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(known[1]) * 1024 if known else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def keep_memory() -> None:
    """Let this process keep the memory that tensors gave back, in place of returning it to the system at once.

    glibc maps every large tensor anew and the system clears its pages: on two CPU cores a fifth of a compiled step.
    Nothing happens where the C library is another.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
