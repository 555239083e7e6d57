"""Sharpness-aware training: trajectories that end in flat places, as FTD takes them for experts.

Sources: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization" (SAM, ICLR 2021); Kwon et
al., "ASAM: Adaptive Sharpness-Aware Minimization" (ICML 2021); Zhuang et al., "Surrogate Gap Minimization Improves
Sharpness-Aware Training" (GSAM, ICLR 2022); Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset
Distillation" (FTD, CVPR 2023).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from compdd_eval.config.protocol import Protocol
from compdd_eval.training.train import StudentBatches, Training

EPSILON = 1e-12  # added to norms, as in GSAM


class SharpnessAware:
    """SGD whose gradients are taken where the loss is about the worst in a neighbourhood of the weights.

    With g the gradient of a batch at the weights w, the gradient g_p of the same batch is taken at w + e:

        SAM   e = rho g / (|g| + 1e-12)
        ASAM  e = rho w^2 g / (|w g| + 1e-12)

    products by element, norms over all parameters. The update follows g_p - alpha g_v (GSAM), where g_v is the part of
    g that is orthogonal to g_p. Each step takes twice the time of one of SGD.

        optimizer = SharpnessAware(model, lr=0.01, rho=2.0, alpha=0.4, adaptive=True)
        for images, labels in batches:
            loss = optimizer.step(images, labels)

    Args:
        model: A classifier `[N, 3, H, W]` -> `[N, K]`, on the device where it trains.
        lr: Learning rate.
        momentum: Of SGD.
        weight_decay: Of SGD.
        rho: Radius of the neighbourhood, from 0.
        alpha: Share of g_v; 0 is plain SAM.
        adaptive: ASAM's neighbourhood.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        rho: float,
        alpha: float = 0.0,
        adaptive: bool = False,
    ) -> None:
        self._model = model
        self._optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
        self._neighbourhood = Neighbourhood(model, rho, alpha, adaptive)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Make a step.

        Args:
            images: Float `[N, 3, H, W]`.
            labels: int64 `[N]`.

        Returns:
            The mean cross-entropy at the weights before the step, a scalar without a graph.
        """

        def add_gradients() -> torch.Tensor:
            loss = F.cross_entropy(self._model(images), labels)
            loss.backward()
            return loss.detach()

        self._optimizer.zero_grad()
        loss = self._neighbourhood.add_gradients(add_gradients)
        self._optimizer.step()
        return loss


class SharpnessAwareTraining(Training):
    """Training of one network with the gradients of `SharpnessAware`.

    Args:
        model: The network, on the device where it trains.
        feed: What it trains on.
        lr: Learning rate.
        protocol: How; that of the feed.
        rho: As in `SharpnessAware`, as are the next two.
        alpha: Share of g_v.
        adaptive: ASAM's neighbourhood.
        options: Of `Training`.
    """

    def __init__(
        self,
        model: nn.Module,
        feed: StudentBatches,
        lr: float,
        protocol: Protocol,
        *,
        rho: float,
        alpha: float,
        adaptive: bool = False,
        **options: object,
    ) -> None:
        super().__init__(model, [feed], lr, protocol, **options)
        self._neighbourhood = Neighbourhood(model, rho, alpha, adaptive)

    def add_gradients(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Make the gradients of a batch; return the loss at the weights themselves.

        Args:
            inputs: Float `[N, C, H, W]` on the device.
            targets: int64 `[N]`, or probabilities `[N, K]`.
        """
        add = super().add_gradients
        return self._neighbourhood.add_gradients(lambda: add(inputs, targets))


class Neighbourhood:
    """Where the loss of a network is about the worst near its weights, and the gradients there.

    Args:
        model: The network.
        rho: As in `SharpnessAware`, as are the next two.
        alpha: Share of g_v.
        adaptive: ASAM's neighbourhood.
    """

    def __init__(self, model: nn.Module, rho: float, alpha: float, adaptive: bool) -> None:
        self._rho, self._alpha, self._adaptive = rho, alpha, adaptive
        self._learned = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def add_gradients(self, add: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Leave the gradients that the update follows in the network; return the loss at the weights themselves.

        Args:
            add: Adds the gradients of a batch at the weights that there are, and returns its loss; called twice.
        """
        loss = add()
        first = self._take_gradients()
        weights = [parameter.detach().clone() for parameter in self._learned]
        with torch.no_grad():
            for parameter, step in zip(self._learned, self._steps(first), strict=True):
                parameter.add_(step)
        add()
        with torch.no_grad():
            for parameter, before in zip(self._learned, weights, strict=True):
                parameter.copy_(before)  # w + e - e would be rounded
            self._decompose(first)
        return loss

    def _take_gradients(self) -> list[torch.Tensor]:
        """Return copies of the gradients, and let go of them: CUDA graphs write over what they returned."""
        taken = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self._learned]
        for parameter in self._learned:
            parameter.grad = None
        return taken

    def _steps(self, gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return e, from the weights to where the loss is about the worst."""
        if not self._adaptive:
            scale = self._rho / (_norm(gradients) + EPSILON)
            return [gradient * scale for gradient in gradients]
        weights = [parameter.detach() for parameter in self._learned]
        scale = self._rho / (_norm([w * g for w, g in zip(weights, gradients, strict=True)]) + EPSILON)
        return [w.square() * g * scale for w, g in zip(weights, gradients, strict=True)]

    def _decompose(self, first: Sequence[torch.Tensor]) -> None:
        """Take a share of the part of the first gradient that is orthogonal to the one there is now."""
        if not self._alpha:
            return
        now = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._learned]
        along = sum((f * g).sum() for f, g in zip(first, now, strict=True)) / (_norm(now) + EPSILON) ** 2
        for parameter, f, g in zip(self._learned, first, now, strict=True):
            parameter.grad = g - self._alpha * (f - along * g)


def _norm(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the norm of all numbers together, a scalar."""
    return torch.stack([tensor.norm() for tensor in tensors]).norm()
