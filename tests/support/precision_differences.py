"""How far the methods' losses and gradients in bfloat16 are from those in float32, on a small fixed input.

`python -m tests.support.precision_differences` prints the table of compdd_eval/methods/README.md.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F

from compdd_eval.commands.bench.distill import _RandomImages
from compdd_eval.config.distill import DistillConfig
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.registry import fill_settings, find_method
from compdd_eval.methods.trajectory_matching import match_expert
from compdd_eval.models.registry import create_model
from compdd_eval.training.compiling import Compiler

METHODS = ("dm", "dc", "mtt", "datm", "edf")
_IPC, _REAL = 2, 16  # real images of each class
_STUDENTS = {"syn_steps": 10, "max_start_epoch": 2, "expert_epochs": 2}
_GROWING = {"min_start_epoch": 0, "first_max_start_epoch": 2, "match_threshold": 1e9}
_MORE = {"datm": _GROWING, "edf": {**_GROWING, "loss_threshold": 0.25}}
_EPOCHS, _STEPS, _RATE = 3, 5, 0.05  # of the expert


class Difference(NamedTuple):
    """A step in bfloat16 against the same one in float32.

    Attributes:
        loss: |difference| / |loss in float32|.
        gradient: Of the images: norm of the difference / norm in float32.
        cosine: Of the two gradients of the images.
    """

    loss: float
    gradient: float
    cosine: float


def differences(
    methods: tuple[str, ...] = METHODS, model: str = "ConvNetD3", resolution: int = 32, compile: str = "never"
) -> dict[str, Difference]:
    """Make the first step of methods in both precisions; return method -> difference."""
    images = _alike_by_class(resolution)
    with tempfile.TemporaryDirectory() as folder:
        _write_expert(Path(folder), model, images)
        return {name: _difference(name, model, folder, images, compile) for name in methods}


def _difference(method: str, model: str, folder: str, images: torch.Tensor, compile: str) -> Difference:
    (expected, wanted), (loss, found) = (
        _step(method, model, folder, images, precision, compile) for precision in ("float32", "bfloat16")
    )
    assert found.dtype == torch.float32
    return Difference(
        ((loss - expected) / expected).abs().item(),
        ((found - wanted).norm() / wanted.norm()).item(),
        F.cosine_similarity(found.flatten(), wanted.flatten(), dim=0).item(),
    )


def _step(
    name: str, model: str, folder: str, images: torch.Tensor, precision: str, compile: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of a method's first step and the gradient of its images."""
    method, device = find_method(name), torch.device("cpu")
    settings = {"model": model, "res": images.shape[-1], "ipc": _IPC, "precision": precision}
    if "experts" in method.settings("published", _IPC):
        settings |= {"experts": folder, **_STUDENTS, **_MORE.get(name, {})}
    config = DistillConfig(method=name, category="bird", subset="easy", **settings)
    compiler = Compiler(compile, "steps")
    compiler.choose({model: 0})
    job = Job(fill_settings(config, method), _RandomImages(images, device), device, None, compiler)
    synthetic = Synthetic.begin(job)
    if job.config.lr_label is not None:
        logits = 5 * F.one_hot(synthetic.classes, NUM_CLASSES).float()
        synthetic = Synthetic(synthetic.images, logits, synthetic.classes, job.config.lr_student)
    if name == "edf":  # without its maps, which are made in float32
        loss = match_expert(job, synthetic, 0, job.config.loss_threshold)[0]
    else:
        loss = method.run(job, synthetic, 0)
    return loss, synthetic.images.grad


def _alike_by_class(resolution: int) -> torch.Tensor:
    """Return images, ordered by class, of which those of a class are alike."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(NUM_CLASSES, 1, 3, 8, 8, generator=generator).repeat_interleave(_REAL, 1).flatten(0, 1)
    noise = torch.randn(len(means), 3, resolution, resolution, generator=generator)
    return F.interpolate(means, (resolution, resolution), mode="bilinear") + 0.5 * noise


def _write_expert(folder: Path, model: str, images: torch.Tensor) -> None:
    """Train an expert on the images, in float32, and write it as the published kind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = create_model(model, NUM_CLASSES, images.shape[2:])
    labels = torch.arange(NUM_CLASSES).repeat_interleave(_REAL)
    optimizer = torch.optim.SGD(network.parameters(), _RATE)
    trajectory = [[parameter.detach().clone() for parameter in network.parameters()]]
    for _ in range(_EPOCHS):
        for step in range(_STEPS):
            optimizer.zero_grad()
            F.cross_entropy(network(images[step::_STEPS]), labels[step::_STEPS]).backward()
            optimizer.step()
        trajectory.append([parameter.detach().clone() for parameter in network.parameters()])
    torch.save([trajectory], folder / "replay_buffer_0.pt")


def main() -> None:
    """Print the table."""
    for name, found in differences().items():
        print(f"| `{name}` | {100 * found.loss:.2g} % | {100 * found.gradient:.2g} % | {found.cosine:.4f} |")


if __name__ == "__main__":
    main()
