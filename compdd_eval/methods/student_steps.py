"""A student's steps on synthetic images, the distance of its parameters from an expert's, and the gradients of that.

Sources: Cazenavette et al., "Dataset Distillation by Matching Training Trajectories" (CVPR 2022); Wang et al.,
"Emphasizing Discriminative Features for Dataset Distillation in Complex Scenarios" (CVPR 2025) for the dropout.

With student steps theta_{k+1} = theta_k - lr g_k, where g_k is the gradient of the cross-entropy of batch k, the
gradients of a loss of theta_N are found in two ways, which agree to rounding: one autograd graph over all steps, or
the adjoint recursion lambda_N = dL/dtheta_N, lambda_k = lambda_{k+1} + d(-lr <g_k, lambda_{k+1}>)/dtheta_k, which
computes each step again and keeps nothing but the parameters theta_k; the same scalar gives the gradients of images,
labels and rate. The second one is a function of tensors alone, and can be compiled.

The constant-memory form of TESLA (Cui et al., ICML 2023) takes every theta_k as a constant, lambda_k = lambda_N, and so
leaves out how the gradients of later steps depend on the images of earlier ones. It is not the same gradient, and not
offered: on ConvNetD3 (32 px, 10 images, experts of 20 epochs) the images' gradient is off by 57 % of its norm after 10
steps and by 92 % after 20, on a network of 231 parameters by 57 % and 81 %.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad

from compdd_eval.methods.job import Job
from compdd_eval.training.memory import images_at_a_time
from compdd_eval.training.precision import forward_pass
from compdd_eval.utils.devices import send
from compdd_eval.utils.errors import InputError

_PART_PIXELS = 2**20  # of the images that go through a network at a time: they keep a GPU busy, more take only memory


def match_trajectory(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    lr: float | torch.Tensor,
    start: Sequence[torch.Tensor],
    target: Sequence[torch.Tensor],
    batches: Sequence[Sequence[int]],
    *,
    dropped: float = 0.0,
    recompute: bool = True,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Train a student on synthetic images; return how far it ends from an expert, and the gradients of that.

    The outer step of MTT, DATM and EDF without augmentation: the student starts from `start`, makes one SGD step at
    rate `lr` for each of `batches`, and its distance is |theta - target|^2 / |start - target|^2.

        distance, gradients = match_trajectory(create_model("ConvNetD3", im_size=(32, 32)), images, labels, 0.01,
                                               expert[3], expert[5], [[0, 1], [2, 3]])
        images = images - 1000 * gradients["images"]

    Args:
        model: A classifier `[N, 3, H, W]` -> `[N, K]` without batch norm and dropout. Its own parameters are not used.
        images: Float `[N, 3, H, W]`, on the device of the model.
        labels: Logits, float `[N, K]`, whose softmax is the target; or int64 `[N]`.
        lr: The student's learning rate.
        start: Parameters, in the order of `model.parameters()`.
        target: Likewise.
        batches: Indices of the images of each step.
        dropped: Share of the parameters, those that end nearest to the target, that is left out of both sums: the
            common pattern dropout of EDF.
        recompute: Compute each step again in the backward pass, with the memory of one step; else one graph over all.

    Returns:
        The distance, a scalar; and its gradients by the name of what they are by: `images`, `lr`, and `labels` where
        these are logits. All without a graph.

    Raises:
        InputError: A model with batch norm or dropout.
    """
    student = Student(model)
    batches = [torch.as_tensor(indices, device=images.device) for indices in batches]
    lr = torch.as_tensor(lr, dtype=images.dtype, device=images.device)
    steps = StudentSteps(student, images, labels, lr, batches, recompute=recompute)
    return steps.match(student.flat(start), student.flat(target), dropped)


class Student:
    """A network as a function of one flat vector of parameters.

    Args:
        network: A classifier `[N, 3, H, W]` -> `[N, K]`, in training mode.
        precision: Of its passes, as `forward_pass` takes it.

    Attributes:
        network: The same.

    Raises:
        InputError: It has state besides its parameters (batch norm), or dropout: its steps are no function of them.
    """

    def __init__(self, network: nn.Module, precision: str = "float32") -> None:
        name = type(network).__name__
        if any(True for _ in network.buffers()):
            raise InputError(
                f"--model {name}: has batch norm, or other state that no expert keeps; take ConvNetD5, ..."
            )
        if any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p for module in network.modules()):
            raise InputError(f"--model {name}: has dropout, whose students match no expert; take ConvNetD5, ...")
        self.network, self._precision = network.train(), precision
        self._shapes = {key: parameter.shape for key, parameter in network.named_parameters()}

    def flat(self, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return parameters in the order of `network.parameters()` as one vector `[P]`, on the network's device."""
        like = next(self.network.parameters())
        return send(torch.cat([tensor.detach().flatten() for tensor in parameters]), like.device).to(like.dtype)

    def __call__(self, theta: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return the logits `[N, K]` of the network with parameters `theta`, float `[P]`."""
        parts = theta.split([shape.numel() for shape in self._shapes.values()])
        named = {key: part.view(shape) for (key, shape), part in zip(self._shapes.items(), parts, strict=True)}
        return forward_pass(lambda images: functional_call(self.network, named, (images,)), images, self._precision)


def trajectory_distance(
    theta: torch.Tensor, start: torch.Tensor, target: torch.Tensor, dropped: float = 0.0
) -> torch.Tensor:
    """Return how far a student is from an expert: |theta - target|^2 / |start - target|^2.

    Args:
        theta: The student's parameters, float `[P]`.
        start: Those that it started from.
        target: Those that it should reach.
        dropped: Share of the elements, those of theta nearest to the target, that is left out of both sums: a student
            matches them anyway (EDF, common pattern dropout, as in its release).

    Returns:
        A scalar, part of the graph of `theta`.
    """
    reached, begun = (theta - target).square(), (start - target).square()
    left_out = int(dropped * len(theta))
    if left_out:
        kept = reached.detach().argsort(stable=True)[left_out:]
        reached, begun = reached[kept], begun[kept]
    return reached.sum() / begun.sum()


def draw_batches(number: int, batch: int, steps: int, generator: torch.Generator) -> list[torch.Tensor]:
    """Draw the indices of the synthetic images of each student step, int64, as published.

    All indices in random order are cut into batches, which are used up from the last on; then they are drawn anew.

    Args:
        number: Synthetic images.
        batch: Of these in a step; the last of an order may be smaller.
        steps: Student steps.
        generator: Random numbers, on the CPU.
    """
    drawn: list[torch.Tensor] = []
    while len(drawn) < steps:
        drawn += reversed(torch.randperm(number, generator=generator).split(batch))
    return drawn[:steps]


class StudentSteps:
    """The steps of one student on synthetic images, and what these change by it.

    Args:
        student: The network.
        images: Float `[N, 3, H, W]`.
        labels: Logits, float `[N, K]`, or int64 `[N]`.
        lr: Rate of the steps, a scalar.
        batches: Indices of the images of each step, int64; none twice in a step.
        augment: `(images, number of the step) -> images`, each time the same for the same step; None: as they are.
        team: Processes that take their shares of every batch; all come to the same parameters. None: this one alone.
        recompute: Compute each step again in the backward pass; a team always does.
        call: How functions of tensors are called; `compdd_eval.methods.job.Job.compiled_call` compiles them.
    """

    def __init__(
        self,
        student: Student,
        images: torch.Tensor,
        labels: torch.Tensor,
        lr: torch.Tensor,
        batches: Sequence[torch.Tensor],
        *,
        augment: Callable[[torch.Tensor, int], torch.Tensor] | None = None,
        team: Job | None = None,
        recompute: bool = True,
        call: Callable[..., Any] = lambda function, *arguments, graphs=True: function(*arguments),
    ) -> None:
        self._student, self._batches = student, batches
        self._images, self._labels, self._lr = images.detach(), labels.detach(), lr.detach()
        self._soft = labels.is_floating_point()
        self._augment = augment or (lambda batch, step: batch)
        self._team = team if team is not None and team.processes > 1 else None
        self._recompute = recompute or self._team is not None
        self._call = call
        batch, most = max(map(len, batches)), max(1, _PART_PIXELS // (images.shape[2] * images.shape[3]))
        part = images_at_a_time(student.network, images, batch, images.device)
        self._part = min(part, -(-batch // -(-batch // most)))  # equal parts, which one compiled graph serves

    def match(
        self, start: torch.Tensor, target: torch.Tensor, dropped: float = 0.0, most: float | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Train the student; return its distance from the target, and the gradients of that.

        Args:
            start: Parameters that the student starts from, float `[P]`.
            target: Those of the expert that it should reach.
            dropped: As in `trajectory_distance`.
            most: Distance above which there are no gradients; None: any.

        Returns:
            The distance, a scalar without a graph, the same on all processes; and its gradients, of this process's
            share, by name: `images`, `lr`, and `labels` where these are logits. None of them above `most`, or where
            it is not finite.
        """
        find = self._recomputed if self._recompute else self._unrolled
        return find(start.detach(), target.detach(), dropped, most)

    def _unrolled(
        self, start: torch.Tensor, target: torch.Tensor, dropped: float, most: float | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """One graph over all steps."""
        learned = {"images": self._images, "lr": self._lr} | ({"labels": self._labels} if self._soft else {})
        learned = {name: tensor.clone().requires_grad_() for name, tensor in learned.items()}
        labels = learned.get("labels", self._labels)
        theta = start.clone().requires_grad_()
        for step, indices in enumerate(self._batches):
            images = self._augment(learned["images"][indices], step)
            # what it keeps for the backward pass must outlive the next call, so no CUDA graph
            arguments = self._student, theta, images, labels[indices], 1 / len(indices)
            theta = theta - learned["lr"] * self._call(
                _slope, *arguments, graphs=False
            )  # theta_{k+1} = theta_k - lr g_k
        distance = trajectory_distance(theta, start, target, dropped)
        if most is not None and not distance <= most:  # also of a student that diverged
            return distance.detach(), {}
        gradients = torch.autograd.grad(distance, list(learned.values()))
        return distance.detach(), dict(zip(learned, gradients, strict=True))

    def _recomputed(
        self, start: torch.Tensor, target: torch.Tensor, dropped: float, most: float | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The adjoint recursion: one step's graph at a time."""
        # forward: keep each theta_k and this process's part of g_k, and no graph
        thetas, slopes = [start], []
        for step in range(len(self._batches)):
            slopes.append(self._forward(thetas[-1], step))
            thetas.append(thetas[-1] - self._lr * self._sum(slopes[-1]))
        last = thetas.pop().requires_grad_()
        distance = trajectory_distance(last, start, target, dropped)
        # all decide by the same number
        value = distance.detach() if self._team is None else self._sum(distance.detach()) / self._team.processes
        if most is not None and not value <= most:  # also of a student that diverged
            return value, {}
        # backward: lambda_N, then every step again, from the last to the first
        (adjoint,) = torch.autograd.grad(distance, last)
        gradients = {"images": torch.zeros_like(self._images), "lr": torch.zeros_like(self._lr)}
        if self._soft:
            gradients["labels"] = torch.zeros_like(self._labels)
        for step in reversed(range(len(self._batches))):
            gradients["lr"] -= slopes.pop() @ adjoint
            of_theta = self._backward(thetas.pop(), adjoint, step, gradients)
            if step:  # where the student starts is not learned
                adjoint = adjoint + self._sum(of_theta)
        return value, gradients

    def _forward(self, theta: torch.Tensor, step: int) -> torch.Tensor:
        """Return this process's part of g_k."""
        indices = self._batches[step]
        with torch.no_grad():
            images, labels = self._augment(self._images[indices], step), self._labels[indices]
        total = torch.zeros_like(theta)
        for part in self._shares(step):
            total += self._call(_slope, self._student, theta, images[part], labels[part], 1 / len(indices))
        return total

    def _backward(
        self, theta: torch.Tensor, adjoint: torch.Tensor, step: int, gradients: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Add this process's part of the gradients of a step; return its part of that of theta_k, 0 of theta_0."""
        indices = self._batches[step]
        batch, labels = self._images[indices].requires_grad_(), self._labels[indices]
        images = self._augment(batch, step)
        leaf, of_images, of_labels = images.detach(), torch.zeros_like(images), torch.zeros_like(labels)
        total = torch.zeros_like(theta)
        # d(-lr <g_k, lambda_{k+1}>) by theta_k, the images and the labels
        scaled, weight = -self._lr * adjoint, 1 / len(indices)
        by = (1, 2) if self._soft else (1,)
        by = by if step == 0 else (0, *by)
        for part in self._shares(step):
            found = self._call(_back, self._student, theta, leaf[part], labels[part], scaled, weight, by)
            found = dict(zip(by, found, strict=True))
            of_images[part] = found[1]
            if step:
                total += found[0]
            if self._soft:
                of_labels[part] = found[2]
        # from the augmented batch back through the augmentation
        (of_batch,) = torch.autograd.grad(images, batch, of_images)
        gradients["images"][indices] += of_batch
        if self._soft:
            gradients["labels"][indices] += of_labels
        return total

    def _shares(self, step: int) -> Sequence[slice]:
        """Return this process's part of the batch of a step, in parts that go through the network at a time."""
        size, team = len(self._batches[step]), self._team
        first, end = 0, size
        if team is not None:
            each, more = divmod(size, team.processes)
            first = team.rank * each + min(team.rank, more)
            end = first + each + (team.rank < more)
        return [slice(place, min(place + self._part, end)) for place in range(first, end, self._part)]

    def _sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if self._team is None else self._team.sum(tensor)


def _loss(student: Student, theta: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of the cross-entropies; soft labels are logits."""
    target = F.softmax(labels, dim=1) if labels.is_floating_point() else labels
    return F.cross_entropy(student(theta, images), target, reduction="sum")


def _slope(
    student: Student, theta: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, weight: float
) -> torch.Tensor:
    """Return the gradient by theta of the sum of the cross-entropies times a weight, `[P]`."""
    return grad(lambda moved: weight * _loss(student, moved, images, labels))(theta)


def _back(
    student: Student,
    theta: torch.Tensor,
    images: torch.Tensor,
    labels: torch.Tensor,
    direction: torch.Tensor,
    weight: float,
    by: tuple[int, ...],
) -> tuple[torch.Tensor, ...]:
    """Return the gradients of <`_slope`, direction> by some of theta (0), images (1) and soft labels (2).

    That number itself is not asked for: so the compiler leaves a ninth of the work out, the gradients of the weights.
    """

    def along(theta: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return _slope(student, theta, images, labels, weight) @ direction

    return grad(along, argnums=by)(theta, images, labels)
