"""Sharpness-aware training: trajectories that end in flat places, as FTD takes them for experts.

Sources: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization" (SAM, ICLR 2021); Kwon et
al., "ASAM: Adaptive Sharpness-Aware Minimization" (ICML 2021); Zhuang et al., "Surrogate Gap Minimization Improves
Sharpness-Aware Training" (GSAM, ICLR 2022); Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset
Distillation" (FTD, CVPR 2023).
"""

from collections.abc import Sequence

import torch
from torch import nn

from compdd_eval.config.protocol import Protocol
from compdd_eval.training.train import StudentBatches, Training

EPSILON = 1e-12  # added to norms, as in GSAM


class SharpnessAware(Training):
    """Training of one network with gradients taken where the loss is about the worst in a neighbourhood.

    With g the gradient of a batch at the weights w, the gradient g_p of the same augmented batch is taken at w + e:

        SAM   e = rho g / (|g| + 1e-12)
        ASAM  e = rho w^2 g / (|w g| + 1e-12)

    products by element, norms over all parameters. The update follows g_p - alpha g_v (GSAM), where g_v is the part of
    g that is orthogonal to g_p. Each step takes twice the time of one of `Training`.

    Args:
        model: The network, on the device where it trains.
        feed: What it trains on.
        lr: Learning rate.
        protocol: How; that of the feed.
        rho: Radius of the neighbourhood, from 0.
        alpha: Share of g_v; 0 is plain SAM.
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
        self._rho, self._alpha, self._adaptive = rho, alpha, adaptive
        self._learned = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def add_gradients(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Make the gradients of a batch: SAM's, changed as in GSAM; return the loss at the weights themselves.

        Args:
            inputs: Float `[N, C, H, W]` on the device.
            targets: int64 `[N]`, or probabilities `[N, K]`.
        """
        loss = super().add_gradients(inputs, targets)
        first = self._take_gradients()
        weights = [parameter.detach().clone() for parameter in self._learned]
        with torch.no_grad():
            for parameter, step in zip(self._learned, self._steps(first), strict=True):
                parameter.add_(step)
        super().add_gradients(inputs, targets)
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
