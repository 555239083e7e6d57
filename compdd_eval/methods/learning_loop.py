"""The loop of all methods that learn: step, update, checkpoint; a run that was killed goes on as if it had not been."""

import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm.auto import tqdm

from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.registry import Method
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import atomic_write

CHECKPOINT_NAME = "checkpoint.safetensors"
LOSSES_NAME = "losses.csv"
_MEMORY = "memory."
# what an optimiser keeps of a tensor -> its name in a checkpoint
_KEPT = {"momentum_buffer": "momentum", "exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq", "step": "step"}
_BETA = 0.9  # of the squares: that of SRe2L's release
SKIPPED = "skipped_steps"  # a note of the methods whose steps may leave all as it is
_LEAST_RATE = 1e-6  # a learned rate that a step pushes below 0 would make every later step useless


@dataclass
class Progress:
    """How far a distillation is.

    Attributes:
        step: Steps that are done.
        losses: Loss of each; None where it was not finite.
        seconds: That they took, over all starts.
        evaluations: `step` and `accuracy_mean`, `accuracy_std` of each evaluation in between.
        notes: What the method wants to be recorded with the set.
        compiled: Whether steps were compiled.
    """

    step: int = 0
    losses: list[float | None] = field(default_factory=list)
    seconds: float = 0.0
    evaluations: list[dict[str, object]] = field(default_factory=list)
    notes: dict[str, object] = field(default_factory=dict)
    compiled: bool = False


class Learning:
    """A distillation that learns, with all that changes from step to step.

    Args:
        job: What the method works with.
        method: The method.
        synthetic: The first synthetic images.

    Attributes:
        progress: How far it is.
        synthetic: The images as they are now.
    """

    def __init__(self, job: Job, method: Method, synthetic: Synthetic) -> None:
        self.job, self.method, self.synthetic = job, method, synthetic
        self.progress = Progress()
        config = job.config
        if not isinstance(synthetic, Synthetic):
            found = type(synthetic).__name__
            raise InputError(f"{method.name}: its `begin` returned {found}, expected a compdd_eval.Synthetic")
        if config.lr_img is None:
            raise InputError(f"--lr_img is missing: {method.name} has no default for it")
        rates = {
            "images": (config.lr_img, config.momentum_img),
            "labels": (config.lr_label, config.momentum_label),
            "lr": (config.lr_lr, config.momentum_lr),
        }
        if config.ema_img is not None:
            synthetic.average = synthetic.images.detach().clone()
        # a tensor without a rate is learned by nobody: its gradient is left alone
        learned = {name: tensor for name, tensor in synthetic.learned().items() if rates[name][0] is not None}
        self._learned = learned
        groups = []
        for name, tensor in learned.items():
            rate, momentum = rates[name][0], rates[name][1] or 0.0
            inertia = {"betas": (momentum, _BETA)} if method.adam else {"momentum": momentum}
            groups.append({"params": [tensor], "lr": rate, **inertia})
        self._optimizer = (torch.optim.Adam if method.adam else torch.optim.SGD)(groups)
        self._rates = [group["lr"] for group in groups]

    def step(self) -> float:
        """Make one step and return its loss.

        Raises:
            InputError: Loss or gradients are not finite, or there are none; nothing was updated.
        """
        number = self.progress.step
        self._optimizer.zero_grad()
        with self.job.draws("global", "step", number):  # whatever a method draws from, a resume repeats it
            loss = self.method.run(self.job, self.synthetic, number)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            found = list(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise InputError(f"{self.method.name}: a step returned {found}, expected its loss, a scalar tensor")
        value = self._checked(self._summed(loss.detach()))
        if self.method.adam:
            share = (1 + math.cos(math.pi * number / self.job.config.steps)) / 2
            for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * share
        self._optimizer.step()
        self._settle()
        self.progress.step += 1
        self.progress.losses.append(value if math.isfinite(value) else None)
        return value

    @torch.no_grad()
    def _settle(self) -> None:
        """Do what follows an update."""
        synthetic = self.synthetic
        if synthetic.lr is not None:
            synthetic.lr.clamp_(min=_LEAST_RATE)
        if synthetic.limits is not None:
            synthetic.images.clamp_(*synthetic.limits)
        if synthetic.average is not None:
            synthetic.average.lerp_(synthetic.images, 1 - self.job.config.ema_img)

    def _checked(self, loss: torch.Tensor) -> float:
        """Return the loss; refuse to update by a loss or gradients that are not finite, or by none at all."""
        name, step = self.method.name, self.progress.step
        gradients = [tensor.grad for tensor in self._learned.values() if tensor.grad is not None]
        loss = loss.reshape(()).to(self.synthetic.images.device)
        finite = torch.stack([tensor.isfinite().all() for tensor in (loss, *gradients)]).all()
        # both in one tensor: the only time in a step that Python waits for a GPU
        value, usable = torch.stack([loss, finite.to(loss.dtype)]).tolist()
        if not usable and (gradients or SKIPPED not in self.job.notes):
            raise InputError(
                f"{name}: the loss of step {step} is {value}, or its gradients are not finite; give a smaller "
                "--lr_img, or other settings"
            )
        if not gradients and SKIPPED not in self.job.notes:
            raise InputError(
                f"{name}: step {step} left no gradient in the synthetic images; call loss.backward(), or count the "
                f"steps that are left out on purpose in job.notes[{SKIPPED!r}]"
            )
        return value

    def _summed(self, loss: torch.Tensor) -> torch.Tensor:
        """Sum gradients and loss over the processes; return the loss."""
        if self.job.processes == 1:
            return loss
        for tensor in self._learned.values():  # an update that one process leaves out is left out by all
            if tensor.grad is not None:
                tensor.grad = self.job.sum(tensor.grad)
        return self.job.sum(loss)

    def save(self, path: Path, digest: str) -> None:
        """Write a checkpoint, whole or not at all."""
        tensors = self.synthetic.state()
        for name, tensor in self._learned.items():
            kept = self._optimizer.state[tensor]
            tensors |= {f"{_KEPT[key]}.{name}": value for key, value in kept.items() if value is not None}
        tensors |= {_MEMORY + name: tensor for name, tensor in self.job.memory.items()}
        self.progress.notes, self.progress.compiled = self.job.notes, self.job.compiled
        facts = {"digest": digest, "progress": json.dumps(vars(self.progress)), "format": "pt"}
        with atomic_write(path) as temporary:
            save_file({name: _plain(tensor) for name, tensor in tensors.items()}, temporary, facts)

    def go_on(self, tensors: dict[str, torch.Tensor], progress: Progress) -> None:
        """Take over what `read_checkpoint` returned."""
        self._fill(tensors)
        self.progress, self.job.notes = progress, dict(progress.notes)

    def _fill(self, tensors: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self.synthetic.state().items():
                tensor.copy_(tensors[name])
        for name, tensor in self._learned.items():
            for key, prefix in _KEPT.items():
                if (value := tensors.get(f"{prefix}.{name}")) is not None:
                    # Adam counts its steps on the CPU
                    self._optimizer.state[tensor][key] = value if key == "step" else value.to(tensor.device)
        kept = {name: tensor for name, tensor in tensors.items() if name.startswith(_MEMORY)}
        self.job.memory = {name.removeprefix(_MEMORY): tensor.to(self.job.device) for name, tensor in kept.items()}


def read_checkpoint(path: Path, digest: str) -> tuple[dict[str, torch.Tensor], Progress] | None:
    """Read what `Learning.save` wrote; None where there is nothing.

    Raises:
        InputError: It is damaged, or was made with other settings or images.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        progress, found = Progress(**json.loads(facts["progress"])), facts["digest"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it, or give --overwrite to begin anew") from error
    if found != digest:
        raise InputError(
            f"{path}: was made with other settings or other images; give another --output_dir, or --overwrite"
        )
    return tensors, progress


def learn(learning: Learning, steps: int, after: Callable[[Learning], None], show: bool) -> None:
    """Make all steps that are left, with a bar of loss and time.

    Args:
        learning: The distillation.
        steps: Steps in all.
        after: Called after every step, for checkpoints and evaluations.
        show: Whether the bar is shown.
    """
    progress = learning.progress
    with tqdm(total=steps, initial=progress.step, unit="step", desc=learning.method.name, disable=not show) as bar:
        seconds, start = progress.seconds, time.perf_counter()
        while progress.step < steps:
            loss = learning.step()
            bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
            bar.update()
            progress.seconds = seconds + time.perf_counter() - start
            after(learning)


def write_losses(progress: Progress, path: Path) -> None:
    """Write the loss of every step as CSV."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss"])
        writer.writerows(enumerate(progress.losses, start=1))


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous().clone()
