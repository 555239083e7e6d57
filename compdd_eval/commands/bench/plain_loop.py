"""The training loop that one would write first: what `bench train` compares with.

Eager float32, a `DataLoader`, the parameters of the augmentation built image by image, the loss read after every batch.
It does the same work as `compdd_eval.training.train` under preset `comp-dd`: the same operations with the same ranges.
"""

import math
import random
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compdd_eval.config.protocol import Protocol


def plain_passes(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, protocol: Protocol) -> Iterator[float]:
    """Train a network on images `[N, 3, H, W]` and labels int64 `[N]`; yield the mean loss of each pass, for ever."""
    device = next(model.parameters()).device
    loader = DataLoader(TensorDataset(images, labels), batch_size=protocol.batch_train, shuffle=True)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=protocol.rate, momentum=protocol.momentum, weight_decay=protocol.weight_decay
    )
    while True:
        model.train()
        total = 0.0
        for inputs, targets in loader:
            inputs, targets = inputs.to(device), targets.to(device)
            if protocol.dsa:
                inputs = augment(inputs, protocol)
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(targets)
        yield total / len(images)


def augment(images: torch.Tensor, protocol: Protocol) -> torch.Tensor:
    """Apply one operation of the protocol's strategy to a batch `[N, 3, H, W]`."""
    operation = random.choice(protocol.dsa_strategy.split("_"))
    if operation in ("scale", "rotate"):
        thetas = torch.stack([_theta(operation) for _ in images]).to(images.device)
        grid = F.affine_grid(thetas, list(images.shape), align_corners=True)
        return F.grid_sample(images, grid, align_corners=True)
    return torch.stack([_ONE[operation](image, protocol) for image in images])


def _theta(operation: str) -> torch.Tensor:
    if operation == "scale":
        x, y = (random.uniform(1 / 1.2, 1.2) for _ in range(2))
        return torch.tensor([[x, 0, 0], [0, y, 0]])
    angle = random.uniform(-15, 15) * math.pi / 180
    return torch.tensor([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]])


def _color(image: torch.Tensor, protocol: Protocol) -> torch.Tensor:
    image = image + random.random() - 0.5
    mean = image.mean(dim=0, keepdim=True)
    image = (image - mean) * (random.random() * 2) + mean
    return (image - image.mean()) * (random.random() + 0.5) + image.mean()


def _crop(image: torch.Tensor, protocol: Protocol) -> torch.Tensor:
    side = image.shape[1]
    pad = int(side * protocol.crop_pad + 0.5)
    top, left = (random.randint(0, 2 * pad) for _ in range(2))
    return F.pad(image, (pad, pad, pad, pad))[:, top : top + side, left : left + side]


def _cutout(image: torch.Tensor, protocol: Protocol) -> torch.Tensor:
    side = image.shape[1]
    top, left = (random.randint(0, side - 1) - side // 4 for _ in range(2))
    image = image.clone()
    image[:, max(0, top) : top + side // 2, max(0, left) : left + side // 2] = 0
    return image


def _flip(image: torch.Tensor, protocol: Protocol) -> torch.Tensor:
    return image.flip(2) if random.random() < 0.5 else image


_ONE = {"color": _color, "crop": _crop, "cutout": _cutout, "flip": _flip}
