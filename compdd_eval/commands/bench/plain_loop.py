"""A student's training as the authors' release has it: what `bench train` compares with.

Eager float32, a `DataLoader`, augmentation of a whole batch by tensor operations, loss and accuracy read after every
batch. It does the same work as `compdd_eval.training.train` under preset `comp-dd`, with the same draws on a CPU.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compdd_eval.config.protocol import Protocol


def plain_passes(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, protocol: Protocol
) -> Iterator[tuple[float, float]]:
    """Train on images `[N, 3, H, W]` and labels int64 `[N]`; yield mean loss and accuracy of each pass, for ever."""
    device = next(model.parameters()).device
    data = TensorDataset(images.to(device), labels.to(device))
    loader = DataLoader(data, batch_size=protocol.batch_train, shuffle=True, num_workers=0)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=protocol.rate, momentum=protocol.momentum, weight_decay=protocol.weight_decay
    )
    while True:
        model.train()
        loss_sum, correct = 0.0, 0
        for inputs, targets in loader:
            if protocol.dsa:
                inputs = augment(inputs, protocol)
            logits = model(inputs)
            loss = F.cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(targets)
            correct += (logits.argmax(dim=1) == targets).sum().item()
        yield loss_sum / len(images), correct / len(images)


def augment(images: torch.Tensor, protocol: Protocol) -> torch.Tensor:
    """Apply one operation of the protocol's strategy to a batch `[N, 3, H, W]`, each image with its own parameters."""
    names = protocol.dsa_strategy.split("_")
    name = names[torch.randint(0, len(names), (1,)).item()]
    if name == "crop":
        return _crop(images, protocol.crop_pad)
    for operation in _OPERATIONS[name]:
        images = operation(images)
    return images


def _brightness(x: torch.Tensor) -> torch.Tensor:
    return x + _uniform(x, -0.5, 0.5)


def _saturation(x: torch.Tensor) -> torch.Tensor:
    mean = x.mean(dim=1, keepdim=True)
    return (x - mean) * _uniform(x, 0, 2) + mean


def _contrast(x: torch.Tensor) -> torch.Tensor:
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * _uniform(x, 0.5, 1.5) + mean


def _flip(x: torch.Tensor) -> torch.Tensor:
    return torch.where(_uniform(x, 0, 1) < 0.5, x.flip(3), x)


def _scale(x: torch.Tensor) -> torch.Tensor:
    width, height = (_uniform(x, 1 / 1.2, 1.2) for _ in range(2))
    return _warp(x, width, torch.zeros_like(width), torch.zeros_like(width), height)


def _rotate(x: torch.Tensor) -> torch.Tensor:
    angle = _uniform(x, -15, 15) * math.pi / 180
    return _warp(x, angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def _crop(x: torch.Tensor, ratio: float) -> torch.Tensor:
    size = x.shape[3]  # images are square here
    pad = int(size * ratio + 0.5)
    rows, columns = (torch.randint(0, 2 * pad + 1, (len(x), 1), device=x.device) for _ in range(2))
    return F.pad(x, [pad] * 4).permute(0, 2, 3, 1)[_square(rows, columns, size)].permute(0, 3, 1, 2)


def _cutout(x: torch.Tensor) -> torch.Tensor:
    size = x.shape[3]
    side = int(size * 0.5 + 0.5)
    rows, columns = (torch.randint(0, size + 1 - side % 2, (len(x), 1), device=x.device) for _ in range(2))
    batch, *places = _square(rows - side // 2, columns - side // 2, side)
    mask = torch.ones(len(x), size, size, device=x.device)
    mask[(batch, *(place.clamp(0, size - 1) for place in places))] = 0
    return x * mask[:, None]


def _uniform(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return torch.rand(len(x), 1, 1, 1, device=x.device) * (high - low) + low


def _warp(x: torch.Tensor, *factors: torch.Tensor) -> torch.Tensor:
    """Sample each image where a matrix of four factors says."""
    theta = F.pad(torch.cat(factors, dim=1).view(-1, 2, 2), (0, 1))
    return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=True), align_corners=True)


def _square(rows: torch.Tensor, columns: torch.Tensor, side: int) -> tuple[torch.Tensor, ...]:
    """Return the indices of a square of pixels of each image; rows and columns are the first ones, `[N, 1]`."""
    batch, offset = (torch.arange(number, device=rows.device) for number in (len(rows), side))
    return batch[:, None, None], (rows + offset)[:, :, None], (columns + offset)[:, None]


_OPERATIONS = {
    "color": [_brightness, _saturation, _contrast],
    "cutout": [_cutout],
    "flip": [_flip],
    "scale": [_scale],
    "rotate": [_rotate],
}
