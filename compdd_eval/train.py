"""Train one student on a distilled set; count its correct predictions."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from compdd_eval.augment import diff_augment
from compdd_eval.config import LABEL_KINDS, Protocol, require
from compdd_eval.errors import InputError, unknown
from compdd_eval.labels import infer_label_kind


def soft_cross_entropy(inputs: torch.Tensor, target: torch.Tensor, label_kind: str | None = None) -> torch.Tensor:
    """Return the mean cross-entropy between logits and soft labels.

    Args:
        inputs: Logits of the student, float `[N, K]`.
        target: Soft labels, float `[N, K]`.
        label_kind: `logits` (softmax is applied to the target) or `probabilities` (it is taken as it is);
            None looks at the target, as `infer_label_kind` does.

    Returns:
        Scalar: mean over N of -sum_k p_k log softmax(inputs)_k.

    Raises:
        InputError: The target is no float tensor of the shape of the inputs.
    """
    if inputs.shape != target.shape or not target.is_floating_point():
        found = f"{list(target.shape)} {target.dtype}"
        raise InputError(f"soft labels {found}: expected float {list(inputs.shape)}; hard labels take cross_entropy")
    if (label_kind or infer_label_kind(target)) == "logits":
        target = F.softmax(target, dim=1)
    return -(target * F.log_softmax(inputs, dim=1)).sum(dim=1).mean()


def train_student(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    label_kind: str,
    lr: float,
    epochs: int = Protocol.epoch_eval_train,
    batch_size: int = Protocol.batch_train,
    dsa: bool = Protocol.dsa,
    dsa_strategy: str = Protocol.dsa_strategy,
    crop_pad: float = Protocol.crop_pad,
    momentum: float = Protocol.momentum,
    weight_decay: float = Protocol.weight_decay,
    seed: int = 0,
) -> list[float]:
    """Train a student in place.

    The published protocol (Comp-DD release, `evaluate_synset`): passes 0 to `epochs` inclusive with SGD; after pass
    `epochs // 2 + 1` the rate is multiplied by 0.1 and the optimiser starts afresh, so momentum is reset.

    Args:
        model: Student, on the device where it trains.
        images: Float `[N, C, H, W]`, normalised.
        labels: int64 `[N]`, or float `[N, K]`.
        label_kind: `hard`, `logits` or `probabilities`.
        lr: Learning rate of the first half.
        epochs: One less than the number of passes.
        batch_size: Images in a batch.
        dsa: Whether the images are augmented.
        dsa_strategy: Operations of `diff_augment`.
        crop_pad: Padding of its crop as a share of the image size.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD, on all parameters.
        seed: Seeds the order of the images and the augmentation.

    Returns:
        Mean loss over the images of each of the `epochs` + 1 passes.

    Raises:
        InputError: Unknown kind of labels or augmentation, numbers out of range, images and labels that do not match.
    """
    passes = train_passes(
        model,
        images,
        labels,
        label_kind=label_kind,
        lr=lr,
        epochs=epochs,
        batch_size=batch_size,
        dsa=dsa,
        dsa_strategy=dsa_strategy,
        crop_pad=crop_pad,
        momentum=momentum,
        weight_decay=weight_decay,
        seed=seed,
    )
    return torch.stack(list(passes)).tolist()


def train_passes(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    label_kind: str,
    lr: float,
    epochs: int,
    batch_size: int,
    dsa: bool,
    dsa_strategy: str,
    crop_pad: float,
    momentum: float,
    weight_decay: float,
    seed: int,
) -> Iterator[torch.Tensor]:
    """Train a student in place, pass by pass: the loop behind `train_student`, with its arguments and errors.

    Yields:
        Mean loss of each pass, a scalar on the student's device.
    """
    if label_kind not in LABEL_KINDS:
        raise unknown("label kind", label_kind, LABEL_KINDS)
    if len(images) != len(labels) or not len(images):
        raise InputError(f"{len(images)} images and {len(labels)} labels: expected as many of both, at least one")
    require("epochs", epochs, epochs >= 0, "a whole number from 0")
    require("batch_size", batch_size, batch_size >= 1, "a whole number from 1")
    device = next(model.parameters()).device
    images, labels = images.to(device), labels.to(device)
    targets = F.softmax(labels, dim=1) if label_kind == "logits" else labels
    generator = torch.Generator().manual_seed(seed)
    optimizer = _sgd(model, lr, momentum, weight_decay)
    model.train()
    for epoch in range(epochs + 1):
        loss_sum = torch.zeros((), device=device)
        for batch in torch.randperm(len(images), generator=generator).to(device).split(batch_size):
            inputs = diff_augment(images[batch], dsa_strategy, crop_pad, generator) if dsa else images[batch]
            loss = _loss(model(inputs), targets[batch], label_kind)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach() * len(batch)
        yield loss_sum / len(images)
        if epoch == epochs // 2 + 1:
            optimizer = _sgd(model, lr * 0.1, momentum, weight_decay)


@torch.no_grad()
def count_correct(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, num_classes: int, batch_size: int = 256
) -> torch.Tensor:
    """Return int64 `[num_classes]`: how many images of each class the student gets right.

    Args:
        model: Student, on its device; put into eval mode.
        images: Float `[N, C, H, W]`, normalised, on any device.
        labels: int64 `[N]`.
        num_classes: Number of labels.
        batch_size: Images in a batch.
    """
    device = next(model.parameters()).device
    model.eval()
    correct = torch.zeros(num_classes, dtype=torch.int64, device=device)
    for batch, expected in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        expected = expected.to(device)
        right = model(batch.to(device)).argmax(dim=1) == expected
        correct += torch.bincount(expected[right], minlength=num_classes)
    return correct.cpu()


def _sgd(model: nn.Module, lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)


def _loss(logits: torch.Tensor, targets: torch.Tensor, label_kind: str) -> torch.Tensor:
    """Mean loss of a batch; soft targets are probabilities by now."""
    if label_kind == "hard":
        return F.cross_entropy(logits, targets)
    return soft_cross_entropy(logits, targets, "probabilities")
