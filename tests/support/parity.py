"""Numbers of the reference implementation (tests/parity), and the weights and images that they were made with."""

import json

import numpy as np
import torch
from torch import nn

from tests.conftest import ROOT

PARITY = ROOT / "tests/parity"
NETWORKS = json.loads((PARITY / "networks.json").read_text())
RUNS = json.loads((PARITY / "training.json").read_text())


def normal(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Draw normal values, as the reference drew its images."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


def fill(model: nn.Module, seed: int) -> nn.Module:
    """Give a network the weights that the reference had."""
    random = np.random.RandomState(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            values = 0.05 * random.standard_normal(tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    return model.eval()
