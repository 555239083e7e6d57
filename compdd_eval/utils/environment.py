"""Where numbers are made: versions of packages, the commit, the device."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch
from accelerate import Accelerator

_PACKAGES = ("torch", "torchvision", "datasets", "accelerate", "huggingface-hub", "numpy", "pillow")


def environment(accelerator: Accelerator, threads: int, precision: str) -> dict[str, object]:
    """Describe where the numbers are made."""
    device = accelerator.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": precision,
        "threads": threads,
        "processes": accelerator.num_processes,
        "versions": versions(),
        "commit": commit(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, this package and the packages that decide its numbers."""
    from compdd_eval import __version__

    found = {"python": platform.python_version(), "compdd_eval": __version__}
    return found | {package: metadata.version(package) for package in _PACKAGES}


def commit() -> str | None:
    """Return the commit of the checkout that this package runs from (`+` where it was changed), or None."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    git = ["git", "-C", str(root)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed.strip() else "")
