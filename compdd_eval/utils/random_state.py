"""The global random numbers of torch, NumPy and Python, from which code that is not ours may draw."""

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def seed_of(*purpose: object) -> int:
    """Return a seed that a purpose decides, such as `(7, "views", 3)`: from 0, below 2^63.

    Sums of seeds would not do: torch's generator of the CPU takes the lowest 32 bits alone.
    """
    return int.from_bytes(hashlib.sha256(repr(purpose).encode()).digest()[:8], "big") >> 1


@contextlib.contextmanager
def own_random_state(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Let a block draw from and seed the global generators as it likes: after it they are as they were before.

    Args:
        device: Its generator is one of them, where it is a GPU. Those of other GPUs are left alone.
        seed: From 0, below 2^63; what the block's generators start from. None leaves them as they are.
    """
    of_numpy, of_python = np.random.get_state(legacy=False), random.getstate()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if seed is not None:
            _seed(device, seed)
        try:
            yield
        finally:
            np.random.set_state(of_numpy)
            random.setstate(of_python)


def seed_torch(device: torch.device, seed: int) -> None:
    """Seed torch's generators of the CPU and of one device; `torch.manual_seed` would seed every GPU."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type != "cpu":  # of other kinds there is one device
        torch.manual_seed(seed)


def _seed(device: torch.device, seed: int) -> None:
    seed_torch(device, seed)
    np.random.seed(seed % 2**32)  # it takes no more
    random.seed(seed)
