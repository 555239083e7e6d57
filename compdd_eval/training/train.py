"""Train one student on a distilled set; predict with it."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from compdd_eval.config.protocol import Protocol
from compdd_eval.data.choices import LABEL_KINDS
from compdd_eval.training import compiling
from compdd_eval.training.augment import augment_batch, mix_batch
from compdd_eval.training.compiling import new_step
from compdd_eval.training.losses import soft_losses, soften
from compdd_eval.training.memory import images_at_a_time
from compdd_eval.training.predict import predict_logits
from compdd_eval.training.stack import Stack
from compdd_eval.utils.errors import InputError, unknown


def train_student(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    label_kind: str,
    lr: float,
    protocol: Protocol | None = None,
    seed: int = 0,
    teacher: nn.Module | None = None,
) -> list[float]:
    """Train a student in place.

    The published protocol (Comp-DD release, `evaluate_synset`): passes 0 to E inclusive with SGD; after pass
    `E // 2 + 1` the rate is multiplied by 0.1 and the optimiser starts afresh, so momentum is reset.

    Args:
        model: Student, on the device where it trains.
        images: Float `[N, C, H, W]`, normalised.
        labels: int64 `[N]`, or float `[N, K]`; without meaning where the protocol's labels are `soft+kd`.
        label_kind: `hard`, `logits` or `probabilities`.
        lr: Learning rate of the first pass.
        protocol: How; default: preset `comp-dd`. Its `lr_net` and `labels` are not looked at, but for `soft+kd`.
        seed: Seeds the order of the images and the augmentation.
        teacher: Network from images to logits that labels every augmented batch, where the labels are `soft+kd`.

    Returns:
        Mean loss over the images of each of the E + 1 passes.

    Raises:
        InputError: Unknown kind of labels, images and labels that do not match, a teacher that is missing.
    """
    protocol = protocol or Protocol()
    run = Training(model, [StudentBatches(images, labels, label_kind, protocol, seed, teacher)], lr, protocol)
    return torch.stack(list(run.passes())).tolist()


class GradientSync:
    """Processes that train one student together: each takes its share of every batch, gradients are summed.

    All draw the same random numbers, so that augmentation and order are those of a single process.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def share(self, places: torch.Tensor) -> torch.Tensor:
        """Return the part of a batch that is this process's; it may be empty."""
        return places.tensor_split(self._accelerator.num_processes)[self._accelerator.process_index]

    def sum_gradients(self, model: nn.Module, loss: torch.Tensor) -> torch.Tensor:
        """Sum gradients and loss over the processes, in place; return the loss."""
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([loss.reshape(1), *[gradient.flatten() for gradient in gradients]])
        flat = self._accelerator.reduce(flat, reduction="sum")
        sizes = [1, *[parameter.numel() for parameter in parameters]]
        loss, *summed = flat.split(sizes)
        for parameter, gradient in zip(parameters, summed, strict=True):
            parameter.grad = gradient.view_as(parameter).clone()
        return loss.reshape(())


class StudentBatches:
    """What one student trains on: its images and their labels, in its own order, augmented by its own random numbers.

    Args:
        images: Float `[N, C, H, W]`, normalised.
        labels: int64 `[N]`, or float `[N, K]`; without meaning where the protocol's labels are `soft+kd`.
        label_kind: `hard`, `logits` or `probabilities`.
        protocol: How students are trained.
        seed: Seeds the order of the images and the augmentation.
        teacher: Network from images to logits that labels every augmented batch, where the labels are `soft+kd`.

    Raises:
        InputError: Unknown kind of labels, images and labels that do not match, a teacher that is missing.
    """

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        label_kind: str,
        protocol: Protocol,
        seed: int,
        teacher: nn.Module | None = None,
    ) -> None:
        _check(images, labels, label_kind, protocol, teacher)
        self.images, self._protocol = images, protocol
        self._teacher = teacher if protocol.labels == "soft+kd" else None
        self._targets = soften(labels, label_kind, protocol.temperature)
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.images)

    def put_on(self, device: torch.device, classes: int) -> None:
        """Move images and labels to a device, for good; labels that will be mixed become one-hot rows."""
        self.images, self._targets = self.images.to(device), self._targets.to(device)
        if self._protocol.mix != "none" and not self._targets.is_floating_point():
            self._targets = F.one_hot(self._targets, classes).to(self.images.dtype)

    def order(self) -> torch.Tensor:
        """Draw the order of a pass: the positions of all images, int64 `[N]`, on their device."""
        return torch.randperm(len(self), generator=self._generator).to(self.images.device)

    def batch(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images at some positions, augmented, and their targets."""
        protocol = self._protocol
        inputs, targets = augment_batch(self.images[places], protocol, self._generator), self._targets[places]
        if protocol.mix != "none":
            inputs, targets = mix_batch(inputs, targets, protocol, self._generator)
        if self._teacher is not None:
            with torch.no_grad():
                targets = F.softmax(self._teacher(inputs) / protocol.temperature, dim=1)
        return inputs, targets


class Training:
    """Training pass by pass: the loop behind `train_student`, for one student, or for a stack of several.

    Args:
        model: Student, on the device where it trains; or a `compdd_eval.training.stack.Stack` of students.
        feeds: What each student trains on, in the order of the stack; as many images for each.
        lr: Learning rate of the first pass.
        protocol: How; that of the feeds.
        part: Images of a student that go through the network at a time; a batch is split into as many parts as that
            takes, and their gradients are summed: the same numbers with less memory (but for networks with batch norm,
            whose statistics are those of a part). None leaves it to `compdd_eval.training.memory.images_at_a_time`.
        team: The processes that share each batch, or None.
        precision: `float32`, `bfloat16` (autocast around the network; its weights stay float32) or `tf32` (as float32
            here: `compdd_eval.training.precision.set_precision` switches it).
        compiled: Compile network and loss with TorchInductor; on a GPU as CUDA graphs, where a batch is one part.

    Attributes:
        part: Images of a student that go through the network at a time.
        tested: The network to test: the student (or the stack), or the moving average of its weights.
    """

    def __init__(
        self,
        model: nn.Module,
        feeds: Sequence[StudentBatches],
        lr: float,
        protocol: Protocol,
        *,
        part: int | None = None,
        team: GradientSync | None = None,
        precision: str = "float32",
        compiled: bool = False,
    ) -> None:
        self.device = next(model.parameters()).device
        self.model, self.lr, self.protocol, self.team = model, lr, protocol, team
        self._stacked = isinstance(model, Stack)
        self._feeds = list(feeds)
        first = self._join([feed.images[:1] for feed in feeds])
        classes = predict_logits(model, first, len(first)).shape[-1] if protocol.mix != "none" else 0
        for feed in self._feeds:
            feed.put_on(self.device, classes)
        images = self._feeds[0].images
        students = len(self._feeds)
        self.part = part or images_at_a_time(model, images, protocol.batch_train, self.device, students)
        self._average = _average(model, protocol.ema) if protocol.ema else None
        self._precision = precision
        whole = self.part >= min(protocol.batch_train, len(images))
        self._graphs = compiled and whole and self.device.type == "cuda"
        self._network_loss = compiling.compiled(_network_loss, self._graphs) if compiled else _network_loss

    @property
    def tested(self) -> nn.Module:
        """The network to test: the student (or the stack), or the moving average of its weights."""
        return self.model if self._average is None else self._average

    def passes(self) -> Iterator[torch.Tensor]:
        """Train pass by pass; yield the mean loss of each, on the device: a scalar, or `[K]` for a stack of K."""
        optimizer = self._optimizer(self.lr)
        schedule = _schedule(optimizer, self.protocol)
        for epoch in range(self.protocol.passes):
            self.model.train()
            loss_sum = torch.zeros((), device=self.device)
            orders = [feed.order().split(self.protocol.batch_train) for feed in self._feeds]
            for batches in zip(*orders, strict=True):
                optimizer.zero_grad()
                loss_sum = loss_sum + self._backward(batches) * len(batches[0])
                optimizer.step()
                if self._average is not None:
                    self._average.update_parameters(self.model)
            yield loss_sum / len(self._feeds[0])
            if schedule is not None:
                schedule.step()
            elif self.protocol.schedule == "step" and epoch == self.protocol.epoch_eval_train // 2 + 1:
                optimizer = self._optimizer(self.lr * 0.1)

    def _backward(self, batches: Sequence[torch.Tensor]) -> torch.Tensor:
        """Add the gradients of the mean loss of a batch (one of each student); return that loss."""
        drawn = [feed.batch(places) for feed, places in zip(self._feeds, batches, strict=True)]
        inputs, targets = (self._join(tensors) for tensors in zip(*drawn, strict=True))
        return self.add_gradients(inputs, targets)

    def add_gradients(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Add the gradients of the mean loss of an augmented batch, part by part; a subclass may make others.

        Args:
            inputs: Float `[N, C, H, W]` on the device; with a dimension more for a stack.
            targets: int64 `[N]`, or probabilities `[N, K]`, likewise.

        Returns:
            That loss, detached: a scalar, or `[K]` for a stack of K.
        """
        size = inputs.shape[1 if self._stacked else 0]
        places = torch.arange(size, device=self.device)
        mine = places if self.team is None else self.team.share(places)
        total = torch.zeros((), device=self.device)
        for part in mine.split(self.part):
            images, labels = (self._at(tensor, part) for tensor in (inputs, targets))
            if self._graphs:
                new_step()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
                loss = self._network_loss(self.model, images, labels, self.protocol.temperature)
            loss = loss * (len(part) / size)
            loss.sum().backward()
            total = total + loss.detach()
        return total if self.team is None else self.team.sum_gradients(self.model, total)

    def _join(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return what the network takes: the tensor of the one student, or those of a stack with a dimension more."""
        return torch.stack(list(tensors)) if self._stacked else tensors[0]

    def _at(self, tensor: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        images = 1 if self._stacked else 0
        return tensor if len(part) == tensor.shape[images] else tensor.index_select(images, part)

    def _optimizer(self, lr: float) -> torch.optim.Optimizer:
        parameters = self.model.parameters()
        options = {"lr": lr, "weight_decay": self.protocol.weight_decay}
        if self.device.type == "cuda":
            options["fused"] = True  # one kernel for all parameters
        if self.protocol.optimizer == "sgd":
            return torch.optim.SGD(parameters, momentum=self.protocol.momentum, **options)
        kind = torch.optim.Adam if self.protocol.optimizer == "adam" else torch.optim.AdamW
        return kind(parameters, **options)


def _check(
    images: torch.Tensor, labels: torch.Tensor, label_kind: str, protocol: Protocol, teacher: nn.Module | None
) -> None:
    if label_kind not in LABEL_KINDS:
        raise unknown("label kind", label_kind, LABEL_KINDS)
    if len(images) != len(labels) or not len(images):
        raise InputError(f"{len(images)} images and {len(labels)} labels: expected as many of both, at least one")
    if protocol.labels == "soft+kd" and teacher is None:
        raise InputError("labels soft+kd: no teacher was given")


def _average(model: nn.Module, decay: float) -> AveragedModel:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def _schedule(optimizer: torch.optim.Optimizer, protocol: Protocol) -> LRScheduler | None:
    """Return what changes the rate after each pass; None where nothing does, or the optimiser starts afresh."""
    passes = protocol.passes
    if protocol.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=passes)
    if protocol.schedule == "half-cosine":  # RDED's: from the rate to a half of it
        return CosineAnnealingLR(optimizer, T_max=2 * passes)
    if protocol.schedule == "linear":
        return LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=passes)
    return None


def _network_loss(model: nn.Module, images: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean loss of a network on a batch, of each network of a stack; soft targets are probabilities by now."""
    outputs = model(images)
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32)) / temperature
    if not targets.is_floating_point():
        losses = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)
    else:
        losses = soft_losses(outputs, targets)
    return losses.sum(dim=-1) / max(1, losses.shape[-1])  # a process of a team may have no image of a small batch
