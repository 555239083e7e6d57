"""A student's steps on synthetic images, the distance of its parameters from an expert's, and the gradients of that.

Sources: Cazenavette et al., "Dataset Distillation by Matching Training Trajectories" (CVPR 2022); Wang et al.,
"Emphasizing Discriminative Features for Dataset Distillation in Complex Scenarios" (CVPR 2025) for the dropout.

With student steps theta_{k+1} = theta_k - lr g_k, where g_k is the gradient of the cross-entropy of batch k, the
gradients of a loss of theta_N are found in two ways, which agree to rounding: one autograd graph over all steps, or
the adjoint recursion lambda_N = dL/dtheta_N, lambda_k = lambda_{k+1} + d(-lr <g_k, lambda_{k+1}>)/dtheta_k, which
computes each step again and keeps nothing but the parameters theta_k; the same scalar gives the gradients of images,
labels and rate.

The constant-memory form of TESLA (Cui et al., ICML 2023) takes every theta_k as a constant, lambda_k = lambda_N, and so
leaves out how the gradients of later steps depend on the images of earlier ones. It is not the same gradient, and not
offered: on ConvNetD3 (32 px, 10 images, experts of 20 epochs) the images' gradient is off by 57 % of its norm after 10
steps and by 92 % after 20, on a network of 231 parameters by 57 % and 81 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.training.memory import images_at_a_time
from compdd_eval.utils.devices import send
from compdd_eval.utils.errors import InputError

_PART_PIXELS = 2**20  # of the images that go through a network at a time: they keep a GPU busy, more take only memory


class Student:
    """A network as a function of one flat vector of parameters.

    Args:
        network: A classifier `[N, 3, H, W]` -> `[N, K]`, in training mode.

    Attributes:
        network: The same.

    Raises:
        InputError: It has state besides its parameters (batch norm), or dropout: its steps are no function of them.
    """

    def __init__(self, network: nn.Module) -> None:
        name = type(network).__name__
        if any(True for _ in network.buffers()):
            raise InputError(
                f"--model {name}: has batch norm, or other state that no expert keeps; take ConvNetD5, ..."
            )
        if any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p for module in network.modules()):
            raise InputError(f"--model {name}: has dropout, whose students match no expert; take ConvNetD5, ...")
        self.network = network.train()
        self._shapes = {key: parameter.shape for key, parameter in network.named_parameters()}

    def flat(self, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return parameters in the order of `network.parameters()` as one vector `[P]`, on the network's device."""
        like = next(self.network.parameters())
        return send(torch.cat([tensor.detach().flatten() for tensor in parameters]), like.device).to(like.dtype)

    def __call__(self, theta: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return the logits `[N, K]` of the network with parameters `theta`, float `[P]`."""
        parts = theta.split([shape.numel() for shape in self._shapes.values()])
        named = {key: part.view(shape) for (key, shape), part in zip(self._shapes.items(), parts, strict=True)}
        return functional_call(self.network, named, (images,))


@dataclass(frozen=True)
class Distance:
    """How far a student is from the expert: |theta - target|^2 / |start - target|^2.

    Attributes:
        start: Parameters that the student starts from, float `[P]`.
        target: Those that it should reach.
        dropped: Share of the elements of theta - target, those nearest to 0, that is left out of the numerator: the
            common pattern dropout of EDF.
    """

    start: torch.Tensor
    target: torch.Tensor
    dropped: float = 0.0

    def __call__(self, theta: torch.Tensor) -> torch.Tensor:
        """Return the distance of `theta`, a scalar that is part of its graph."""
        squares = (theta - self.target).square()
        # the smallest ones: what a student matches anyway (EDF, common pattern dropout)
        left_out = int(self.dropped * len(squares))
        if left_out:
            squares = squares.sort().values[left_out:]
        return squares.sum() / (self.start - self.target).square().sum()


def batches(number: int, batch: int, steps: int, generator: torch.Generator) -> list[torch.Tensor]:
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

    Processes take their shares of every batch; all come to the same parameters.

    Args:
        job: Its settings `syn_steps`, `batch_syn`, DSA and `recompute` say how; its random numbers are drawn.
        synthetic: Images, labels and rate, whose gradients are wanted.
        student: The network.
        number: Number of this step of the distillation.
    """

    def __init__(self, job: Job, synthetic: Synthetic, student: Student, number: int) -> None:
        self._job, self._synthetic, self._student, self._number = job, synthetic, student, number
        config, images = job.config, synthetic.images
        drawn = batches(len(images), config.batch_syn, config.syn_steps, job.generator("batch", number))
        self._batches = send(torch.cat(drawn), job.device).split([len(indices) for indices in drawn])
        part = images_at_a_time(student.network, images, config.batch_syn, job.device)
        self._part = min(part, max(1, _PART_PIXELS // (images.shape[2] * images.shape[3])))

    def match(self, distance: Distance, most: float | None = None) -> tuple[torch.Tensor, bool]:
        """Train the student and add the gradients of its distance to those of the synthetic images, labels and rate.

        Several processes add the gradients of their own shares.

        Args:
            distance: From the expert; also where the student starts.
            most: Distance up to which gradients are added; None: any.

        Returns:
            The distance, a detached scalar, the same on all processes; and whether gradients were added.
        """
        whole = not self._job.config.recompute and self._job.processes == 1
        return self._unrolled(distance, most) if whole else self._recomputed(distance, most)

    def _unrolled(self, distance: Distance, most: float | None) -> tuple[torch.Tensor, bool]:
        """One graph over all steps."""
        theta = distance.start.detach().requires_grad_()
        for step, indices in enumerate(self._batches):
            loss = self._loss(theta, self._augmented(step), self._synthetic.labels[indices])
            (slope,) = torch.autograd.grad(loss / len(indices), theta, create_graph=True)
            theta = theta - self._synthetic.lr * slope  # theta_{k+1} = theta_k - lr g_k
        loss = distance(theta)
        matched = most is None or bool(loss <= most)
        if matched:
            loss.backward(inputs=list(self._synthetic.learned().values()))
        return loss.detach(), matched

    def _recomputed(self, distance: Distance, most: float | None) -> tuple[torch.Tensor, bool]:
        """The adjoint recursion: one step's graph at a time."""
        # forward: keep each theta_k, and no graph
        thetas = [distance.start.detach()]
        rate = self._synthetic.lr.detach()
        for step in range(len(self._batches)):
            thetas.append(thetas[-1] - rate * self._job.sum(self._slope(thetas[-1], step)))
        last = thetas.pop().requires_grad_()
        loss = distance(last)
        value = self._job.sum(loss.detach().clone()) / self._job.processes  # all decide by the same number
        if most is not None and value > most:
            return value, False
        # backward: lambda_N, then every step again, from the last to the first
        (adjoint,) = torch.autograd.grad(loss, last)
        for step in reversed(range(len(self._batches))):
            adjoint = adjoint + self._job.sum(self._back(thetas.pop(), adjoint, step))
        return value, True

    def _augmented(self, step: int) -> torch.Tensor:
        """Return the batch of a student step, augmented, each image by parameters of its own; part of the graph."""
        images = self._synthetic.images[self._batches[step]]
        return self._job.augment(images, self._job.generator("dsa", self._number, step), siamese=False)

    def _shares(self, step: int) -> Sequence[torch.Tensor]:
        """Return this process's positions in the batch of a step, in parts that go through the network at a time."""
        positions = torch.arange(len(self._batches[step]), device=self._job.device)
        share = positions.tensor_split(self._job.processes)[self._job.rank]
        return share.split(self._part) if len(share) else []

    def _loss(self, theta: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum of the cross-entropies; soft labels are logits."""
        logits = self._student(theta, images)
        target = F.softmax(labels, dim=1) if labels.is_floating_point() else labels
        return F.cross_entropy(logits, target, reduction="sum")

    def _slope(self, theta: torch.Tensor, step: int) -> torch.Tensor:
        """Return this process's part of g_k."""
        with torch.no_grad():
            images = self._augmented(step)
        labels = self._synthetic.labels.detach()[self._batches[step]]
        theta, slope = theta.detach().requires_grad_(), torch.zeros_like(theta)
        for part in self._shares(step):
            loss = self._loss(theta, images[part], labels[part]) / len(images)
            slope += torch.autograd.grad(loss, theta)[0]
        return slope

    def _back(self, theta: torch.Tensor, adjoint: torch.Tensor, step: int) -> torch.Tensor:
        """Add this process's part of the gradients of a step; return its part of that of theta_k."""
        synthetic, rate = self._synthetic, self._synthetic.lr.detach()
        images = self._augmented(step)
        labels = synthetic.labels[self._batches[step]]
        wanted = [tensor for tensor in (images, labels) if tensor.requires_grad]
        slopes = [torch.zeros_like(tensor) for tensor in wanted]
        theta, of_theta, of_rate = theta.requires_grad_(), torch.zeros_like(theta), torch.zeros_like(rate)
        for part in self._shares(step):
            leaves = [tensor.detach()[part].requires_grad_(tensor.requires_grad) for tensor in (images, labels)]
            loss = self._loss(theta, *leaves) / len(images)
            (slope,) = torch.autograd.grad(loss, theta, create_graph=True)
            along = slope @ adjoint  # <g_k, lambda_{k+1}>
            of_rate -= along.detach()
            # d(-lr <g_k, lambda_{k+1}>) by theta_k, the images and the labels
            gradients = torch.autograd.grad(
                -rate * along, [theta, *[tensor for tensor in leaves if tensor.requires_grad]]
            )
            of_theta += gradients[0]
            for total, gradient in zip(slopes, gradients[1:], strict=True):
                total[part] = gradient
        torch.autograd.backward(wanted, slopes)  # from the augmented batch back through the augmentation
        synthetic.lr.grad = of_rate if synthetic.lr.grad is None else synthetic.lr.grad + of_rate
        return of_theta
