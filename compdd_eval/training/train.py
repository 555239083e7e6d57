"""Train one student on a distilled set; predict with it."""

import copy
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import reduce
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler
from torch.optim.swa_utils import get_ema_multi_avg_fn

from compdd_eval.config.protocol import Protocol
from compdd_eval.data.choices import LABEL_KINDS
from compdd_eval.training import compiling
from compdd_eval.training.augment import augment_batch
from compdd_eval.training.losses import soft_losses, soften
from compdd_eval.training.memory import images_at_a_time
from compdd_eval.training.precision import bfloat16_where
from compdd_eval.training.predict import predict_logits
from compdd_eval.training.stack import Stack
from compdd_eval.utils.devices import repeatable_here, send
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
    batches = StudentBatches(images, labels, label_kind, protocol, seed, teacher)
    with repeatable_here():
        return torch.stack(list(Training(model, [batches], lr, protocol).passes())).tolist()


class GradientSync:
    """Processes that train one student together: each takes its share of every batch, gradients are summed.

    All draw the same random numbers, so that augmentation and order are those of a single process.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def share(self, batch: torch.Tensor, dim: int) -> torch.Tensor:
        """Return the part of a batch, whose images lie along `dim`, that is this process's; it may be empty."""
        return batch.tensor_split(self._accelerator.num_processes, dim)[self._accelerator.process_index]

    def sum_gradients(self, model: nn.Module, loss: torch.Tensor) -> torch.Tensor:
        """Sum gradients and loss over the processes, in place; return the loss."""
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # a process without images in this batch has no gradients, but must take part in the sum
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        # one message for all: a network has dozens of small tensors, and each message costs a round trip
        flat = torch.cat([loss.reshape(1), *[gradient.flatten() for gradient in gradients]])
        flat = reduce(flat, reduction="sum")
        loss, *summed = flat.split([1, *[parameter.numel() for parameter in parameters]])
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

    Attributes:
        images: As given.
        generator: Where order and augmentation come from.

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
        if label_kind not in LABEL_KINDS:
            raise unknown("label kind", label_kind, LABEL_KINDS)
        if len(images) != len(labels) or not len(images):
            raise InputError(f"{len(images)} images and {len(labels)} labels: expected as many of both, at least one")
        if protocol.labels == "soft+kd" and teacher is None:
            raise InputError("labels soft+kd: no teacher was given")
        self.images, self._protocol = images, protocol
        self._teacher = teacher if protocol.labels == "soft+kd" else None
        self._targets = soften(labels, label_kind, protocol.temperature)
        # on the CPU and of this student alone: every device, and every company of a stack, sees the same numbers
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.images)

    def put_on(self, device: torch.device, classes: int) -> None:
        """Move images and labels to a device, for good; labels that will be mixed become one-hot rows."""
        self.images, self._targets = self.images.to(device), self._targets.to(device)
        if self._protocol.mix != "none" and not self._targets.is_floating_point():
            self._targets = F.one_hot(self._targets, classes).to(self.images.dtype)

    def order(self) -> torch.Tensor:
        """Draw the order of a pass: the indices of all images, int64 `[N]`, on their device."""
        return send(torch.randperm(len(self), generator=self.generator), self.images.device)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images at some indices, augmented, and their targets."""
        protocol = self._protocol
        inputs, targets = augment_batch(self.images[indices], self._targets[indices], protocol, self.generator)
        if self._teacher is not None:  # it sees what the student sees, so it comes after augmenting and mixing (RDED)
            with torch.no_grad():
                targets = F.softmax(self._teacher(inputs) / protocol.temperature, dim=1)
        return inputs, targets


class Training:
    """Training pass by pass: the loop behind `train_student`, for one student, or for a stack of several.

    Args:
        model: Student, on the device where it trains; or a `compdd_eval.training.stack.Stack` of students.
        batches: What each student trains on, in the order of the stack; as many images for each.
        lr: Learning rate of the first pass.
        protocol: How; that of the batches.
        part: Images of a student that go through the network at a time; a batch is split into as many parts as that
            takes, and their gradients are summed: the same numbers with less memory (but for networks with batch norm,
            whose statistics are those of a part). None leaves it to `compdd_eval.training.memory.images_at_a_time`.
        sync: The processes that share each batch, or None.
        precision: `float32`, `bfloat16` (autocast around the network; its weights stay float32) or `tf32` (as float32
            here: `compdd_eval.utils.devices.repeatable` switches it).
        compiled: Compile network and loss with TorchInductor; on a GPU as CUDA graphs, where a batch is one part.
        counts: Count in `right` the images of a pass that the network classifies correctly while it trains; not where
            processes share batches.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[StudentBatches],
        lr: float,
        protocol: Protocol,
        *,
        part: int | None = None,
        sync: GradientSync | None = None,
        precision: str = "float32",
        compiled: bool = False,
        counts: bool = False,
    ) -> None:
        self.right: torch.Tensor | None = None  # of the last pass, on the device: a number, or `[K]` for a stack of K
        self._counts = counts
        self.device = next(model.parameters()).device
        self.model, self.lr, self.protocol, self._sync = model, lr, protocol, sync
        self._batches, self._precision = list(batches), precision
        self._stacked = isinstance(model, Stack)
        first = self._join([student.images[:1] for student in self._batches])
        # one-hot rows, which mixing needs, have as many columns as the network has outputs
        classes = predict_logits(model, first, len(first)).shape[-1] if protocol.mix != "none" else 0
        for student in self._batches:
            student.put_on(self.device, classes)
        images, batch = self._batches[0].images, protocol.batch_train
        self.part = part or images_at_a_time(model, images, batch, self.device, len(self._batches))
        self._average: nn.Module | None = None
        self._passed = 0
        self._optimizer = self._new_optimizer(lr)
        self._schedule = _schedule(self._optimizer, protocol)
        self._average_with = get_ema_multi_avg_fn(protocol.ema)
        # a CUDA graph returns its gradients in memory that the next part would write over
        gpu = self.device.type == "cuda"
        self._graphs = compiled and self.part >= min(batch, len(images)) and gpu
        network_loss = _counted_loss if counts else _network_loss
        self._network_loss = compiling.compiled(network_loss, gpu, self._graphs) if compiled else network_loss

    @property
    def tested(self) -> nn.Module:
        """The network to test: the student (or the stack), or the moving average of its weights."""
        return self.model if self._average is None else self._average

    def passes(self) -> Iterator[torch.Tensor]:
        """Make the passes that are left; yield the mean loss of each, on the device: a scalar, `[K]` of K students."""
        protocol = self.protocol
        for epoch in range(self._passed, protocol.passes):  # 0 to E inclusive, as the Comp-DD release counts
            self.model.train()  # a test between two passes leaves it in eval mode
            loss_sum = torch.zeros((), device=self.device)
            self.right = torch.zeros((), dtype=torch.int64, device=self.device) if self._counts else None
            orders = [student.order().split(protocol.batch_train) for student in self._batches]
            for indices in zip(*orders, strict=True):  # one batch of each student; the last one may be smaller
                self._optimizer.zero_grad()  # first: the old gradients' memory is free for augmentation
                # Draw and augment the whole batch, before it is split: no random number depends on parts or processes.
                drawn = [student.batch(own) for student, own in zip(self._batches, indices, strict=True)]
                inputs, targets = (self._join(tensors) for tensors in zip(*drawn, strict=True))
                loss = self.add_gradients(inputs, targets)  # forward, loss, backward
                self._optimizer.step()
                if protocol.ema:
                    self._update_average()
                # stays on the device: reading a number at every step would make a GPU wait
                loss_sum = loss_sum + loss * len(indices[0])
            if self._schedule is not None:
                self._schedule.step()
            elif protocol.schedule == "step" and epoch == protocol.epoch_eval_train // 2 + 1:
                # as the Comp-DD release (`evaluate_synset`): a new optimiser, so momentum starts at zero, too
                self._optimizer = self._new_optimizer(self.lr * 0.1)
            self._passed += 1
            yield loss_sum / len(self._batches[0])

    def state(self) -> dict[str, object]:
        """Return all that passes change, for `torch.save`; of one student, between two passes."""
        (student,) = self._batches
        gpu = self.device.type == "cuda"
        return {
            "passed": self._passed,
            "model": self.model.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "student": student.generator.get_state(),
            "global": torch.get_rng_state(),  # of dropout
            "device": torch.cuda.get_rng_state(self.device) if gpu else None,
        }

    def go_on(self, state: dict[str, object]) -> None:
        """Take over what `state` returned; the passes that are left end as if there had been no stop."""
        (student,) = self._batches
        self._passed = state["passed"]
        self.model.load_state_dict(state["model"])
        if state["average"] is not None:
            self._average = copy.deepcopy(self.model).requires_grad_(False)
            self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        student.generator.set_state(state["student"])
        torch.set_rng_state(state["global"])
        if state["device"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["device"], self.device)

    def _update_average(self) -> None:
        """Take the weights of a step into the moving average, buffers, too; it begins with those of the first one.

        As torch's `AveragedModel`, which copies the number of updates to a GPU every time and waits for it.
        """
        if self._average is None:
            self._average = copy.deepcopy(self.model).requires_grad_(False)
            self._average.zero_grad()
            return
        averaged, new = self._average.state_dict(), self.model.state_dict()
        names = [name for name, value in new.items() if value.is_floating_point()]  # else: numbers of batches
        self._average_with([averaged[name] for name in names], [new[name] for name in names], None)

    def add_gradients(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Add the gradients of the mean loss of an augmented batch, part by part; a subclass may make others.

        Args:
            inputs: Float `[N, C, H, W]` on the device; with a dimension more for a stack.
            targets: int64 `[N]`, or probabilities `[N, K]`, likewise.

        Returns:
            That loss, detached: a scalar, or `[K]` for a stack of K.
        """
        dim = 1 if self._stacked else 0  # along which the images of a student lie
        size = inputs.shape[dim]
        if self._sync is not None:
            inputs, targets = self._sync.share(inputs, dim), self._sync.share(targets, dim)
        total = torch.zeros((), device=self.device)
        for images, labels in zip(inputs.split(self.part, dim), targets.split(self.part, dim), strict=True):
            if self._graphs:
                compiling.new_step()
            with bfloat16_where(self._precision, self.device):
                loss = self._network_loss(
                    self.model, images.contiguous(), labels.contiguous(), self.protocol.temperature
                )
            if self._counts:
                loss, right = loss
                self.right = self.right + right
            # by the size of the whole batch, so that gradients of parts and processes sum to that of the mean loss
            loss = loss * (images.shape[dim] / size)
            loss.sum().backward()  # students of a stack share no parameter: the sum leaves their gradients apart
            total = total + loss.detach()
        return total if self._sync is None else self._sync.sum_gradients(self.model, total)

    def _join(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return what the network takes: the tensor of the one student, or those of a stack with a dimension more."""
        return torch.stack(list(tensors)) if self._stacked else tensors[0]

    def _new_optimizer(self, lr: float) -> torch.optim.Optimizer:
        # no Nesterov: as the Comp-DD release
        options = {"lr": lr, "weight_decay": self.protocol.weight_decay}
        if self.device.type == "cuda":
            options["fused"] = True  # one kernel for all parameters
        parameters = self.model.parameters() if self.protocol.decay_all else _weights_apart(self.model)
        if self.protocol.optimizer == "sgd":
            return torch.optim.SGD(parameters, momentum=self.protocol.momentum, **options)
        kind = torch.optim.Adam if self.protocol.optimizer == "adam" else torch.optim.AdamW
        return kind(parameters, **options)


def _weights_apart(model: nn.Module) -> list[dict[str, object]]:
    """Return the parameters in two groups: weights of more than one axis, and all others, which do not decay.

    As `get_parameters` of the releases of SRe2L and RDED.
    """
    stacked = isinstance(model, Stack)
    named = zip(model.names, model.stacked, strict=True) if stacked else model.named_parameters()
    weights, others = [], []
    for name, parameter in named:
        (weights if "weight" in name and parameter.dim() - stacked > 1 else others).append(parameter)
    return [{"params": weights}, {"params": others, "weight_decay": 0.0}]


def _schedule(optimizer: torch.optim.Optimizer, protocol: Protocol) -> LRScheduler | None:
    """Return what changes the rate after each pass; None where nothing does, or the optimiser starts afresh."""
    passes = protocol.passes
    if protocol.schedule == "cosine":  # to 0, as SRe2L
        return CosineAnnealingLR(optimizer, T_max=passes)
    if protocol.schedule == "half-cosine":  # half a period over twice the passes: from the rate to a half of it (RDED)
        return CosineAnnealingLR(optimizer, T_max=2 * passes)
    if protocol.schedule == "linear":
        return LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=passes)
    return None


def _network_loss(model: nn.Module, images: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean loss of a network on a batch, of each network of a stack; soft targets are probabilities by now."""
    return _loss_of(model(images), targets, temperature)


def _counted_loss(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same, and how many images are classified correctly: int64, or `[K]` for a stack of K."""
    outputs = model(images)
    classes = targets.argmax(dim=-1) if targets.is_floating_point() else targets
    return _loss_of(outputs, targets, temperature), (outputs.detach().argmax(dim=-1) == classes).sum(dim=-1)


def _loss_of(outputs: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    # under autocast they are bfloat16, whose 8 bits are too few for a softmax; float64 stays what it is
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32)) / temperature
    if not targets.is_floating_point():
        losses = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)
    else:
        losses = soft_losses(outputs, targets)
    return losses.sum(dim=-1) / max(1, losses.shape[-1])  # a process may have no image of a small batch
