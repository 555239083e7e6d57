"""Train expert trajectories: networks on all training images, whose parameters are kept after every epoch.

Source of the recipe: Cazenavette et al., "Dataset Distillation by Matching Training Trajectories" (MTT, CVPR 2022): SGD
with rate 0.01 for 50 epochs, batches of 256, DSA; with `sam` that of FTD, see `compdd_eval.methods.sharpness_aware`.
"""

import hashlib
import json
import logging
import math
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from tqdm.auto import tqdm

from compdd_eval.config.experts import ExpertsConfig
from compdd_eval.config.network_names import network_name, pinned
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.evaluation.real_images import open_as_asked
from compdd_eval.methods.expert_files import (
    FACTS_NAME,
    expert_path,
    expert_paths,
    network_shapes,
    read_expert_facts,
    remove_parts,
    write_expert,
)
from compdd_eval.methods.job import TrainingImages
from compdd_eval.methods.sharpness_aware import SharpnessAwareTraining
from compdd_eval.models.cost import count_flops
from compdd_eval.models.registry import create_model, registered_code
from compdd_eval.results.run_folder import claim
from compdd_eval.training.compiling import Compiler, eager_seconds, in_place
from compdd_eval.training.memory import images_at_a_time
from compdd_eval.training.precision import precision_of
from compdd_eval.training.predict import accuracy
from compdd_eval.training.retry import train_with_retries
from compdd_eval.training.train import StudentBatches, Training
from compdd_eval.utils.digests import digest_of
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import write_json
from compdd_eval.utils.processes import on_main_process, set_torch
from compdd_eval.utils.random_state import own_random_state

_logger = logging.getLogger(__name__)
_SETTINGS = ("model", "res", "antialias", "resize", "epochs", "lr", "momentum", "weight_decay", "batch_train", "dsa")
_DSA, _SAM = ("dsa_strategy", "crop_pad"), ("rho", "sam_alpha", "sam_adaptive")


def train_experts(config: ExpertsConfig, accelerator: Accelerator) -> dict[str, object]:
    """Train the experts that a folder does not hold yet; every process must call this.

    Args:
        config: All settings.
        accelerator: Devices and processes; experts are shared out over the processes, which share `output_dir`.

    Returns:
        What the folder holds, as JSON can hold it; the same on every process.

    Raises:
        InputError: Anything in the settings or the data that the user can mend.
    """
    config = replace(config, model=network_name(pinned(config.model)))
    config = replace(config, precision=precision_of(config.precision, accelerator.device))
    network_shapes(config.model, config.res)  # refuses a network that has no trajectory before any work
    set_torch(config.threads, accelerator, config.precision)
    with ExitStack() as locks:
        on_main_process(accelerator, lambda: claim(Path(config.output_dir), locks))
        return _ExpertTrainer(config, accelerator).run()


class _ExpertTrainer:
    """One run, on every process."""

    def __init__(self, config: ExpertsConfig, accelerator: Accelerator) -> None:
        self.config, self.accelerator = config, accelerator
        self.folder, self.device = Path(config.output_dir), accelerator.device
        self.subset = config.load_subset()
        self.protocol = Protocol(
            epoch_eval_train=config.epochs - 1,  # a protocol makes one pass more
            batch_train=config.batch_train,
            optimizer="sgd",
            lr_net=config.lr,
            schedule="constant",
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            labels="hard",
            dsa=config.dsa,
            dsa_strategy=config.dsa_strategy,
            crop_pad=config.crop_pad,
        )
        self._compiler = Compiler(config.compile, "experts")

    def run(self) -> dict[str, object]:
        config, accelerator = self.config, self.accelerator
        self.real = TrainingImages(open_as_asked(config, self.subset, "train"), self.device)
        self.settings = _settings(config)
        code = registered_code(config.model)
        self.digest = digest_of([self.settings, self.real.digest, *([code] if code else [])])
        missing = on_main_process(accelerator, self._missing)
        self._check_shared()
        self._choose_compiled()
        self._part = self._images_at_a_time()
        mine = missing[accelerator.process_index :: accelerator.num_processes]
        start, show = time.perf_counter(), accelerator.is_main_process and bool(mine)
        with tqdm(total=len(mine) * config.epochs, unit="epoch", disable=not show) as bar:
            for seed in mine:
                bar.set_description(f"expert {seed}")
                self._train(seed, bar)
        seconds = time.perf_counter() - start
        accelerator.wait_for_everyone()
        done = on_main_process(accelerator, self._write_facts)
        speed = seconds / (len(mine) * config.epochs) if mine else None
        parameters = sum(math.prod(shape) for shape in network_shapes(config.model, config.res).values())
        run = {"folder": str(self.folder), "parameters": parameters, "new": len(missing), "seconds_per_epoch": speed}
        return done | on_main_process(accelerator, lambda: run)

    def _missing(self) -> list[int]:
        """Return the seeds of the experts that are not there; the main process looks."""
        if self.config.overwrite:
            for path in [self.folder / FACTS_NAME, *expert_paths(self.folder)]:
                path.unlink(missing_ok=True)
        remove_parts(self.folder)
        self._check_folder()
        there = {fact["seed"] for fact in self._write_facts()["experts"]}
        first = self.config.seed
        return [seed for seed in range(first, first + self.config.num_experts) if seed not in there]

    def _check_folder(self) -> None:
        """Refuse a folder with experts of other settings or images."""
        if not expert_paths(self.folder):
            return
        path = self.folder / FACTS_NAME
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            digest, settings = found["digest"], dict(found["settings"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: damaged ({error}); give another --output_dir, or --overwrite") from error
        if digest != self.digest:
            other = [
                f"{name} {settings.get(name)}" for name, wanted in self.settings.items() if settings.get(name) != wanted
            ]
            raise InputError(
                f"{self.folder}: holds experts of other {'settings: ' + ', '.join(other) if other else 'images'}; give "
                "another --output_dir, or --overwrite to train all again"
            )

    def _there(self) -> dict[Path, dict[str, object]]:
        """Return the experts in the folder with what they say of themselves; damaged ones are left out."""
        there = {}
        for path in expert_paths(self.folder):
            try:
                facts = read_expert_facts(path)
            except InputError as error:
                _logger.warning(str(error))
                continue
            if facts["digest"] != self.digest:
                raise InputError(
                    f"{path}: trained with other settings or images; give another --output_dir, or --overwrite"
                )
            there[path] = facts
        return there

    def _write_facts(self) -> dict[str, object]:
        """Write what the folder holds, and return it."""
        experts = [
            {
                "seed": facts["seed"],
                "file": path.name,
                "accuracy": facts["accuracy"],
                "loss": facts["losses"][-1],
                "bytes": path.stat().st_size,
            }
            for path, facts in self._there().items()
        ]
        content = {
            "digest": self.digest,
            "subset": self.subset.name,
            "settings": self.settings,
            "training_images": len(self.real),
            "training_digest": self.real.digest,
            "experts": experts,
        }
        write_json(self.folder / FACTS_NAME, content)
        return content

    def _check_shared(self) -> None:
        """Refuse processes that do not share the folder, before they train for hours."""
        try:
            sees = json.loads((self.folder / FACTS_NAME).read_text(encoding="utf-8"))["digest"] == self.digest
        except (OSError, ValueError):
            sees = False
        if not all(gather_object([sees])):
            raise InputError(
                f"--output_dir {self.folder}: other processes have another folder there; give a shared one"
            )

    def _choose_compiled(self) -> None:
        """Decide for all experts, finished ones too, whether their steps are compiled."""
        config = self.config
        flops = count_flops(config.model, NUM_CLASSES, (config.res, config.res)) * len(self.real)
        steps = -(-len(self.real) // config.batch_train)
        passes = config.num_experts * config.epochs * (2 if config.sam else 1)
        self._compiler.choose({config.model: eager_seconds(flops * passes, steps * passes, self.device)})

    def _images_at_a_time(self) -> int:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network = create_model(self.config.model, NUM_CLASSES, (self.config.res,) * 2)
        return images_at_a_time(network, self.real.images, self.config.batch_train, self.device)

    def _train(self, seed: int, bar: tqdm) -> None:
        """Train one expert and write it; where memory runs out, with fewer images at a time."""
        first = bar.n

        def attempt(part: int) -> None:
            bar.n, self._part = first, part  # the next expert begins with what this one had memory for
            write_expert(expert_path(self.folder, seed), *self._trajectory(seed, bar))

        train_with_retries(
            attempt,
            self._part,
            who=f"expert {seed}",
            network=self.config.model,
            res=self.config.res,
            compiler=self._compiler,
            device=self.device,
        )

    def _trajectory(self, seed: int, bar: tqdm) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
        """Return the snapshots of an expert and what is recorded with them; its seed decides all random numbers."""
        config, expert_seed = self.config, _expert_seed(seed)
        with own_random_state(self.device, expert_seed):
            network = create_model(config.model, NUM_CLASSES, (config.res,) * 2).to(self.device)
            network = in_place(network, config.model, 1, config.res)
            training = self._training(network, expert_seed)
            snapshots = {
                name: torch.empty((config.epochs + 1, *parameter.shape))
                for name, parameter in network.named_parameters()
            }
            losses = []
            _copy_parameters(network, snapshots, 0)
            for epoch, loss in enumerate(training.passes(), start=1):
                losses.append(float(loss))
                if not (math.isfinite(losses[-1]) and _copy_parameters(network, snapshots, epoch)):
                    raise InputError(f"the expert with seed {seed} diverged in epoch {epoch}; give a smaller --lr")
                bar.set_postfix(loss=f"{losses[-1]:.4g}", refresh=False)
                bar.update()
        facts = {"digest": self.digest, "seed": seed, "epochs": config.epochs, "losses": losses}
        return snapshots, facts | {"accuracy": accuracy(network, (self.real.images, self.real.labels))}

    def _training(self, network: nn.Module, seed: int) -> Training:
        config, images = self.config, self.real.images
        feed = StudentBatches(images, self.real.labels, "hard", self.protocol, seed)
        options = {"part": self._part, "compiled": self._compiler.compiles(config.model), "precision": config.precision}
        if not config.sam:
            return Training(network, [feed], config.lr, self.protocol, **options)
        options |= {"rho": config.rho, "alpha": config.sam_alpha, "adaptive": config.sam_adaptive}
        return SharpnessAwareTraining(network, feed, config.lr, self.protocol, **options)


def _settings(config: ExpertsConfig) -> dict[str, object]:
    """Return all settings that decide an expert but its seed."""
    settings = {name: getattr(config, name) for name in _SETTINGS}
    settings |= {name: getattr(config, name) if config.dsa else None for name in _DSA}
    settings["sam"] = config.sam
    if config.precision != "float32":  # older experts, which are of float32, keep their digest
        settings["precision"] = config.precision
    return settings | {name: getattr(config, name) if config.sam else None for name in _SAM}


def _expert_seed(seed: int) -> int:
    """Return a seed of experts alone: the first weights of no student that is evaluated are those of an expert."""
    return int.from_bytes(hashlib.sha256(f"expert {seed}".encode()).digest()[:8], "big") >> 1


def _copy_parameters(network: nn.Module, snapshots: dict[str, torch.Tensor], epoch: int) -> bool:
    """Copy the parameters into the snapshots; return whether they are finite."""
    parameters = [parameter.detach() for parameter in network.parameters()]
    flat = torch.cat([parameter.flatten() for parameter in parameters]).cpu()  # one copy: each waits for a GPU
    parts = flat.split([parameter.numel() for parameter in parameters])
    for snapshot, part in zip(snapshots.values(), parts, strict=True):
        snapshot[epoch] = part.view_as(snapshot[epoch])
    return bool(flat.isfinite().all())
