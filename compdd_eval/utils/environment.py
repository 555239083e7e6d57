"""Where numbers are made: versions of packages, the commit, the device."""

import contextlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch
from accelerate import Accelerator

_PACKAGES = ("torch", "torchvision", "datasets", "accelerate", "huggingface-hub", "numpy", "pillow")


def environment(accelerator: Accelerator, threads: int, precision: str) -> dict[str, object]:
    """Describe where the numbers are made."""
    return {
        "device": device_name(accelerator.device),
        "precision": precision,
        "threads": threads,
        "processes": accelerator.num_processes,
        "versions": versions(),
        "commit": commit(),
    }


def device_name(device: torch.device) -> str:
    """Return a GPU's name; of a CPU its model and the instructions that torch uses: the last bits depend on them."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    return f"cpu ({processor_name()}, {torch.backends.cpu.get_cpu_capability()})"


def processor_name() -> str:
    """Return the processor's name as the system tells it, e.g. `AMD EPYC 9654 96-Core Processor`."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


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
