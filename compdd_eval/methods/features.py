"""Features of real images: what k-center and herding compare them by."""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from compdd_eval.complexity.classifier import load_pretrained
from compdd_eval.complexity.score import given_to
from compdd_eval.config.complexity import OFFLINE_MODEL
from compdd_eval.config.distill import DistillConfig
from compdd_eval.config.protocol import Protocol
from compdd_eval.methods.job import Job
from compdd_eval.models.embedding import embed
from compdd_eval.training.predict import accuracy
from compdd_eval.training.train import StudentBatches, Training
from compdd_eval.utils.errors import InputError, first_line, unknown
from compdd_eval.utils.random_state import own_random_state

PIXELS, TRAINED = "pixels", "trained"
_FLAG = "--features"
_SIZE = 224  # pixels that the classifiers of `complexity` are given
_AT_A_TIME = 32  # images in a network: of 224 px, some hundred megabytes
_RATE, _MOMENTUM = 0.01, 0.9  # of the network of --features trained: those of the benchmark's students


def read_features(config: DistillConfig) -> str | None:
    """Return the SHA-256 of the file that --features names, None where it names no file.

    Raises:
        InputError: `config.features` is nothing that gives features, or there is no such file.
    """
    name = config.features
    if name in (PIXELS, TRAINED, OFFLINE_MODEL) or name.startswith("torchvision:"):
        return None
    if not name.endswith(".py"):
        raise unknown(f"value of {_FLAG}", name, (TRAINED, PIXELS, OFFLINE_MODEL, "torchvision:NAME", "FILE.py"))
    path = Path(name).expanduser()
    if not path.is_file():
        raise InputError(f"{path}: no such file; {_FLAG} FILE.py has a function create_model()")
    return hashlib.sha256(path.read_bytes()).hexdigest()


class FeatureSpace:
    """Gives the features that `job.config.features` names; its network is trained or read once.

    - "pixels": the normalised image, flattened.
    - "trained": what goes into the last linear layer of `job.config.model`, trained on all images of the job with hard
      labels for `feature_epochs` passes (SGD, rate 0.01, momentum 0.9, batches of 128, weight decay 5e-4). Without DSA:
      features are taken of images that are not augmented, and in so few passes it brings nothing on other images.
    - torchvision:NAME, efficientnet-lite0, FILE.py: what goes into the last linear layer of that classifier, which is
      given the images in 224 x 224 pixels, normalised as it wants them.

    Args:
        job: Its settings and images.

    Attributes:
        facts: What gives the features, in values that JSON can hold; of a trained network with its accuracy on the
            images that it was trained on, a fraction.

    Raises:
        InputError: An unknown name, weights that cannot be had, a network without features.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        read_features(job.config)
        self.facts: dict[str, object] = {"kind": job.config.features}
        self._given: Callable[[torch.Tensor], torch.Tensor] = lambda images: images
        self._network = None
        if job.config.features == TRAINED:
            self._train()
        elif job.config.features != PIXELS:
            self._read()

    @torch.no_grad()
    def of(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Return the features of the images at some positions, float32 `[n, D]` on the CPU.

        Raises:
            InputError: Some are not finite.
        """
        parts = torch.as_tensor(indices).split(_AT_A_TIME)
        features = torch.cat([self._of_batch(self._job.real.at(part)).float().cpu() for part in parts])
        if not features.isfinite().all():
            raise InputError(f"{_FLAG} {self.facts['kind']}: gives features that are not finite; take others")
        return features

    def _of_batch(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) if self._network is None else embed(self._network, self._given(images))

    def _train(self) -> None:
        """Train the job's model on all of its images, with hard labels."""
        job, config = self._job, self._job.config
        network, passes = job.network("features"), config.feature_epochs
        _check_linear(network, f"--model {config.model}")
        protocol = Protocol(
            epoch_eval_train=passes,  # one pass more than is taken
            schedule="constant",
            lr_net=_RATE,
            momentum=_MOMENTUM,
            dsa=False,
        )
        feed = StudentBatches(job.real.images, job.real.labels, "hard", protocol, config.seed)
        training = Training(network, [feed], protocol.rate, protocol)
        steps = itertools.islice(training.passes(), passes)
        bar = tqdm(steps, total=passes, unit="pass", desc=f"features: training {config.model}")
        with bar, own_random_state(job.device, config.seed):  # of dropout
            for loss in bar:
                bar.set_postfix(loss=f"{loss.item():.4g}", refresh=False)
        right = round(accuracy(network, (job.real.images, job.real.labels)), 4)
        self.facts |= {"model": config.model, "passes": passes, "train_accuracy": right}
        self._network = network.eval()

    def _read(self) -> None:
        """Read the classifier that the settings name, and try it."""
        job, name = self._job, self._job.config.features
        found = load_pretrained(name, None, job.device, _FLAG)
        _check_linear(found.network, f"{_FLAG} {name}")
        self._network, self._given = found.network, lambda images: given_to(images, found, _SIZE)
        try:
            with torch.no_grad():
                self._of_batch(job.real.at([0]))
        except Exception as error:  # a user's own network can fail in any way
            raise InputError(f"{name} cannot take images of {_SIZE} x {_SIZE} pixels: {first_line(error)}") from error
        self.facts |= {"weights": found.weights, "weights_digest": found.digest, "image_size": _SIZE}


def _check_linear(network: nn.Module, flag: str) -> None:
    if not any(isinstance(module, nn.Linear) for module in network.modules()):
        raise InputError(f"{flag}: has no linear layer, whose input would be the features; take another network")
