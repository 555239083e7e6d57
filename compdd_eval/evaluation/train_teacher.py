"""Train a teacher on all training images of a subset: weights and a record in a folder, which `--teacher` takes."""

import logging
import math
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import nn
from tqdm.auto import tqdm

from compdd_eval.config.network_names import TEACHER_RECORD, TEACHER_WEIGHTS, network_name, pinned
from compdd_eval.config.teacher import TeacherConfig
from compdd_eval.data.decoded_cache import decode_once
from compdd_eval.data.splits import SubsetSplit
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.evaluation.real_images import open_as_asked
from compdd_eval.models.cost import count_flops
from compdd_eval.models.registry import create_model, registered_code
from compdd_eval.results.run_folder import claim
from compdd_eval.training.compiling import Compiler
from compdd_eval.training.memory import images_at_a_time
from compdd_eval.training.precision import precision_of
from compdd_eval.training.predict import accuracy
from compdd_eval.training.retry import train_with_retries
from compdd_eval.training.train import StudentBatches, Training
from compdd_eval.training.weights import digest_of_weights
from compdd_eval.utils.digests import digest_of
from compdd_eval.utils.environment import environment
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import atomic_write, read_json, write_json
from compdd_eval.utils.processes import on_main_process, set_torch
from compdd_eval.utils.random_state import own_random_state

_logger = logging.getLogger(__name__)
_CHECKPOINT = "checkpoint.pt"
_SAVE_EVERY = 10.0  # seconds of training between two checkpoints: what a run that is stopped may lose


def train_teacher(config: TeacherConfig, accelerator: Accelerator, quiet: bool = False) -> dict[str, object]:
    """Train a teacher, on the main process; every process must call this.

    A run that was stopped goes on from its last checkpoint, with the same weights; a teacher that is finished is read.

    Args:
        config: All settings.
        accelerator: Devices and processes.
        quiet: Show no bars.

    Returns:
        The record, as `teacher.json` has it; the same on every process.

    Raises:
        InputError: Anything in the settings or the data that the user can mend.
    """
    config = replace(config, model=network_name(pinned(config.model)))
    config = replace(config, precision=precision_of(config.precision, accelerator.device))
    count_flops(config.model, NUM_CLASSES, (config.res, config.res))  # refuses an unknown network before any work
    threads = set_torch(config.threads, accelerator, config.precision)
    here = environment(accelerator, threads, config.precision)
    return on_main_process(accelerator, lambda: _TeacherTrainer(config, accelerator.device, here, quiet).run())


class _TeacherTrainer:
    """One run."""

    def __init__(self, config: TeacherConfig, device: torch.device, here: dict[str, object], quiet: bool) -> None:
        self.quiet = quiet
        self.config, self.device, self.here = config, device, here
        self.folder, self.subset, self.protocol = Path(config.output_dir), config.load_subset(), config.training

    def run(self) -> dict[str, object]:
        with ExitStack() as locks:
            claim(self.folder, locks)
            train, validation = self._split("train"), self._split("validation")
            self.images, training_digest = decode_once(train, None, progress=not self.quiet)
            self.labels = train.labels
            settings = {"model": self.config.model, "res": self.config.res, "seed": self.config.seed}
            settings |= {"protocol": self.protocol.identity(), "precision": self.config.precision}
            code = registered_code(self.config.model)
            self.digest = digest_of([settings, training_digest, *([code] if code else [])])
            made = self._made()
            if made is not None:
                _logger.info(f"{self.folder}: is made already")
                return made
            network, losses, seconds = self._trained()
            tested, validation_digest = decode_once(validation, None, progress=not self.quiet)
            weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
            record = {
                "digest": self.digest,
                "subset": self.subset.name,
                "classes": self.subset.wnids,
                **settings,
                "mean": IMAGENET_MEAN,
                "std": IMAGENET_STD,
                "accuracy": accuracy(network, (tested, validation.labels)),
                "validation_images": len(validation.labels),
                "validation_digest": validation_digest,
                "training_images": len(self.labels),
                "training_digest": training_digest,
                "weights_digest": digest_of_weights(weights),
                "losses": losses,
                "seconds": round(seconds, 1),
                "environment": self.here,
            }
            with atomic_write(self.folder / TEACHER_WEIGHTS) as temporary:
                save_file(weights, temporary)
            write_json(self.folder / TEACHER_RECORD, record)  # last: what is there without it is not finished
            (self.folder / _CHECKPOINT).unlink(missing_ok=True)
            return record

    def _split(self, name: str) -> SubsetSplit:
        return open_as_asked(self.config, self.subset, name)

    def _made(self) -> dict[str, object] | None:
        """Return the record of the teacher that is there, if it is the one that is asked for."""
        path = self.folder / TEACHER_RECORD
        if self.config.overwrite:
            for name in (TEACHER_RECORD, TEACHER_WEIGHTS, _CHECKPOINT):
                (self.folder / name).unlink(missing_ok=True)
        if not path.exists():
            return None
        record = read_json(path)
        if not isinstance(record, dict) or record.get("digest") != self.digest:
            raise self._other(path)
        return record

    def _other(self, path: Path) -> InputError:
        return InputError(
            f"{path}: is of a teacher with other settings or images; give another --output_dir, or --overwrite"
        )

    def _trained(self) -> tuple[nn.Module, list[float], float]:
        """Train the network, from the checkpoint on where there is one; return it, losses and seconds."""
        config, batch = self.config, self.protocol.batch_train
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network = create_model(config.model, NUM_CLASSES, (config.res, config.res))
        return train_with_retries(
            self._attempt,
            images_at_a_time(network, self.images, batch, self.device),
            who="teacher",
            network=config.model,
            res=config.res,
            compiler=Compiler("never", "teacher"),
            device=self.device,
        )

    def _attempt(self, part: int) -> tuple[nn.Module, list[float], float]:
        config, protocol, path = self.config, self.protocol, self.folder / _CHECKPOINT
        with own_random_state(self.device, config.seed):
            network = create_model(config.model, NUM_CLASSES, (config.res, config.res)).to(self.device)
            feed = StudentBatches(self.images, self.labels, "hard", protocol, config.seed)
            training = Training(network, [feed], protocol.rate, protocol, part=part, precision=config.precision)
            losses, seconds = self._gone_on(training)
            begun = saved = time.perf_counter()
            passes = training.passes()
            shown = {"desc": config.model, "initial": len(losses), "disable": self.quiet}
            with tqdm(passes, total=protocol.passes, unit="pass", **shown) as bar:
                for loss in bar:
                    losses.append(loss.item())
                    if not math.isfinite(losses[-1]):
                        raise InputError(f"the teacher diverged in pass {len(losses)}; give a smaller --lr")
                    bar.set_postfix(loss=f"{losses[-1]:.4g}", refresh=False)
                    now = time.perf_counter()
                    if now - saved >= _SAVE_EVERY:
                        facts = {"digest": self.digest, "losses": losses, "seconds": seconds + now - begun}
                        with atomic_write(path) as temporary:
                            torch.save(facts | {"training": training.state()}, temporary)
                        saved = time.perf_counter()
        return training.tested, losses, seconds + time.perf_counter() - begun

    def _gone_on(self, training: Training) -> tuple[list[float], float]:
        """Let a training go on from the checkpoint, if there is one; return the losses and seconds until then."""
        path = self.folder / _CHECKPOINT
        if not path.exists():
            return [], 0.0
        try:
            state = torch.load(path, "cpu", weights_only=True)
            digest, losses, seconds = state["digest"], list(state["losses"]), float(state["seconds"])
            if digest == self.digest:
                training.go_on(state["training"])
        except (RuntimeError, ValueError, KeyError, TypeError, EOFError, OSError, UnpicklingError) as error:
            raise InputError(f"{path}: damaged; delete it, or give --overwrite to begin anew") from error
        if digest != self.digest:
            raise self._other(path)
        _logger.info(f"going on from pass {len(losses)} of {self.protocol.passes}")
        return losses, seconds
