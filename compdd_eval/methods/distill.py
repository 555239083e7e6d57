"""`distill`: a method makes a distilled set, in a folder that evaluates, validates and pushes as it is."""

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from compdd_eval.config.arguments import named_as_given
from compdd_eval.config.distill import DistillConfig
from compdd_eval.config.network_names import network_name, pinned
from compdd_eval.data.splits import SubsetSplit
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.distilled.formats.comp_dd import FILES, check_card
from compdd_eval.distilled.metadata import read_record
from compdd_eval.distilled.preview import save_preview
from compdd_eval.distilled.random_images import images_at
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.evaluation.real_images import open_as_asked
from compdd_eval.methods.evaluations import BEST_NAME, EVALUATIONS_NAME, Evaluations
from compdd_eval.methods.job import Job, Synthetic, TrainingImages
from compdd_eval.methods.learning_loop import (
    CHECKPOINT_NAME,
    LOSSES_NAME,
    Learning,
    learn,
    read_checkpoint,
    write_losses,
)
from compdd_eval.methods.registry import Method, asked_for, fill_settings, find_method, load_plugin
from compdd_eval.models.cost import count_flops
from compdd_eval.models.registry import registered_code
from compdd_eval.results.run_folder import claim
from compdd_eval.training.compiling import Compiler, eager_seconds
from compdd_eval.training.precision import precision_of
from compdd_eval.utils.code_digest import code_digest
from compdd_eval.utils.devices import out_of_memory, peak_memory
from compdd_eval.utils.digests import digest_of
from compdd_eval.utils.environment import commit
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import atomic_write
from compdd_eval.utils.processes import make_accelerator, on_main_process, set_torch
from compdd_eval.utils.random_state import own_random_state

_logger = logging.getLogger(__name__)
PROGRESS_NAME = "progress"  # folder with the checkpoint, previews, losses and evaluations
_DECIDE_NOTHING = (
    *("output_dir", "save_every", "threads", "overwrite", "json", "steps", "data_path", "layout", "plugin", "preset"),
    *("dry_run", "compile", "subsets_dir", "classes"),  # the digest of the images says which classes
)
_CAME_LATER = (  # settings that older sets do not have in their digests
    *("ema_img", "teacher", "factor", "mipc", "num_crop", "r_bn", "first_bn_multiplier", "tv_l2", "l2_scale"),
)
_WARM_UP, _TIMED = 2, 3  # steps of a dry run
_LAST_LOSSES = 10  # that are recorded with the set
_WATCHING = ("eval_every", "num_eval", "epoch_eval_train", "keep")


def distill(
    method: Callable | str | DistillConfig, accelerator: Accelerator | None = None, quiet: bool = False, **settings: Any
) -> "DistilledSet | DistillationCost":
    """Make a distilled set and write it to `output_dir`; every process must call this.

    A run that was interrupted goes on from its last checkpoint, with the same result; a finished one is read. The
    global random numbers of the caller are left as they are.

    Args:
        method: The function or the name of a method; or all settings. A function that is not registered makes a step,
            as of `compdd_eval.methods.registry.Method`; its settings are `steps`, `lr_img`, `momentum_img` and `init`.
        accelerator: Devices and processes; None makes one.
        quiet: Show no bar of the steps, and say nothing in between.
        settings: Those of `DistillConfig`, by name, such as `category="bird"`.

    Returns:
        The set, on every process; with `dry_run` what it would take.

    Raises:
        InputError: Anything in the settings or the data that the user can mend.
    """
    accelerator = accelerator or make_accelerator()
    with named_as_given(DistillConfig, method):
        return distill_set(*asked_for(method, settings), accelerator, quiet)


def distill_set(
    config: DistillConfig,
    method: Method | None,
    accelerator: Accelerator,
    quiet: bool,
    watch: Callable[[int], None] = lambda step: None,
) -> "DistilledSet | DistillationCost":
    """Do as `distill`.

    Args:
        config: All settings.
        method: The method; None finds it by its name.
        accelerator: Devices and processes.
        quiet: As of `distill`.
        watch: Called after every step with the number of those that are done.
    """
    with own_random_state(accelerator.device), ExitStack() as locks:
        distillation = _opened(config, method, accelerator, quiet)
        if distillation.config.dry_run:
            return distillation.cost()
        on_main_process(accelerator, lambda: _claim(distillation.folder, locks))
        try:
            return distillation.run(watch)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise InputError(
                f"{config.output_dir}: out of memory at {config.res} px, IPC {config.ipc}; lower the batches "
                "(--batch_real, --batch_syn) or --res"
            ) from error


@dataclass(frozen=True)
class DistillationCost:
    """What a distillation takes on this device, from a few measured steps.

    Attributes:
        steps: How many it makes.
        seconds_of_a_step: The mean of those that were measured.
        seconds: Of all steps; evaluations in between are left out.
        peak_bytes: The most memory that was in use: on a GPU that of tensors, else that of the process.
    """

    steps: int
    seconds_of_a_step: float
    seconds: float
    peak_bytes: int


def _opened(config: DistillConfig, method: Method | None, accelerator: Accelerator, quiet: bool) -> "Distillation":
    plugin = None if config.plugin is None else load_plugin(config.plugin)
    method = method or find_method(config.method)
    if config.dry_run and method.selects:
        raise InputError(f"--dry_run: {method.name} chooses real images and makes no steps that could be measured")
    config = fill_settings(config, method)
    config = replace(config, model=network_name(pinned(config.model)))
    count_flops(config.model, NUM_CLASSES, (config.res, config.res))  # refuses an unknown network before any work
    set_torch(config.threads, accelerator, precision_of(config.precision, accelerator.device))
    return Distillation(config, method, accelerator, quiet, plugin)


def _claim(folder: Path, locks: ExitStack) -> None:
    claim(folder, locks)
    check_card(folder)


class Distillation:
    """One run, on every process.

    Args:
        config: All settings; those of the method are filled in.
        method: The method.
        accelerator: Devices and processes.
        quiet: Show no bar of the steps, and say nothing in between.
        plugin: SHA-256 of the file that the method may come from.
    """

    def __init__(
        self, config: DistillConfig, method: Method, accelerator: Accelerator, quiet: bool, plugin: str | None = None
    ) -> None:
        self.config, self.method, self.accelerator, self.quiet = config, method, accelerator, quiet
        self.folder = Path(config.output_dir)
        self.progress_dir = self.folder / PROGRESS_NAME
        self.subset, self.commit = config.load_subset(), commit()
        files = method.inputs(config) if method.inputs else None  # refuses bad ones before any work
        self.inputs = {"files": files, "plugin": plugin}
        if method.adam:
            self.inputs["steps"] = config.steps  # over which its rate falls
        self._compiler = Compiler(config.compile, "steps")
        self._evaluations = Evaluations(config, self.progress_dir, accelerator, self._say)
        if (code := registered_code(config.model)) is not None:
            self.inputs["network"] = code
        if plugin is None and not method.is_ours:
            self.inputs["code"] = code_digest((method.run, method.begin))

    @property
    def _main(self) -> bool:
        return self.accelerator.is_main_process

    def _say(self, text: str | None) -> None:
        if text and self._main and not self.quiet:
            _logger.info(text)

    def run(self, watch: Callable[[int], None]) -> DistilledSet:
        """Make the set, or read the one that is finished; `watch` as of `distill_set`."""
        config, method = self.config, self.method
        if not (method.shared or method.selects) and self.accelerator.num_processes > 1 and self._main:
            _logger.warning(f"{method.name}: its steps cannot be shared; every process makes all of them")
        split = self._open("train")
        if config.eval_every:
            self._open("validation")  # refuses a copy without any before the first step
        self._say(method.settings_note(self.subset.name))
        real = TrainingImages(split, self.accelerator.device)
        self.digest = self._digest(real)
        finished = on_main_process(self.accelerator, self._finished)
        if finished is not None:
            self._say(f"{self.folder}: is made already")
            return finished
        job = self._job(real)
        distilled = self._select(job) if method.selects else self._learn(job, watch)
        on_main_process(self.accelerator, lambda: distilled.save(self.folder))
        return distilled

    def cost(self) -> DistillationCost:
        """Measure a few steps from the beginning, and write nothing."""
        steps = self.config.steps
        job = self._job(TrainingImages(self._open("train"), self.accelerator.device))
        learning = self._begun(job)
        for _ in range(_WARM_UP):
            learning.step()
        start = time.perf_counter()
        for _ in range(_TIMED):
            learning.step()
        seconds = (time.perf_counter() - start) / _TIMED
        return DistillationCost(steps, seconds, seconds * steps, peak_memory(self.accelerator.device))

    def _job(self, real: TrainingImages) -> Job:
        config, device = self.config, self.accelerator.device
        if self.method.compiles is not None:
            images = config.steps * self.method.compiles(config)
            flops = count_flops(config.model, NUM_CLASSES, (config.res, config.res)) * images
            self._compiler.choose({config.model: eager_seconds(flops, config.steps, device)})
        return Job(config, real, device, self.accelerator if self.method.shared else None, self._compiler)

    def _begun(self, job: Job) -> Learning:
        begin = self.method.begin or Synthetic.begin
        with job.draws("global", "begin"):
            synthetic = begin(job)
        return Learning(job, self.method, synthetic)

    def _open(self, split: str) -> SubsetSplit:
        return open_as_asked(self.config, self.subset, split)

    def _digest(self, real: TrainingImages) -> str:
        """Return a digest of all that decides the synthetic images but the number of steps."""
        settings = asdict(self.config)
        for name in (*_DECIDE_NOTHING, *_WATCHING):
            settings.pop(name)
        if self.config.precision == "float32":  # the digest of older sets, which knew no other
            settings.pop("precision")
        for name in [name for name in _CAME_LATER if settings[name] is None]:
            settings.pop(name)
        settings = {name: _named(value) for name, value in settings.items()}  # where files lie decides nothing
        for name in ("experts", "teacher"):
            if getattr(self.config, name) is not None:
                settings[name] = None  # what they are is in the inputs
        return digest_of([settings, real.digest, self.method.name, self.inputs])

    def _finished(self) -> DistilledSet | None:
        """Return the set that the folder holds, if it is the one that is asked for; the main process looks."""
        record = read_record(self.folder)
        made = record.settings.get("distillation") if record else None
        if record and made is None:
            raise InputError(f"{self.folder}: holds a set that `distill` did not make; give another --output_dir")
        if self.config.overwrite:
            self._clear(FILES if made else ())
            return None
        if made is None:
            return None
        if made.get("digest") != self.digest:
            raise InputError(
                f"{self.folder}: holds a set that was made with other settings, images or experts; give another "
                "--output_dir, or --overwrite"
            )
        same = made.get("keep") == self.config.keep and made.get("steps") == self.config.steps
        return DistilledSet.load(self.folder) if same else None

    def _clear(self, names: Iterable[str]) -> None:
        """Remove what an earlier run wrote, and nothing else."""
        for path in [self.folder / name for name in names]:
            path.unlink(missing_ok=True)
        written = [self.progress_dir / name for name in (CHECKPOINT_NAME, LOSSES_NAME)]
        for path in [*written, *self.progress_dir.glob("preview-*.png")]:
            path.unlink(missing_ok=True)
        for name in (BEST_NAME, EVALUATIONS_NAME):
            shutil.rmtree(self.progress_dir / name, ignore_errors=True)

    def _select(self, job: Job) -> DistilledSet:
        with job.draws("global", "select"):
            made = on_main_process(self.accelerator, lambda: self._checked(self.method.run(job), job.real))
        chosen = images_at(job.real.split, made, self.config.seed) if isinstance(made, list) else made
        metadata = {**chosen.metadata, **self._metadata(job, None)}
        return replace(chosen, metadata=metadata)

    def _checked(self, indices: object, real: TrainingImages) -> list[int] | DistilledSet:
        """Return the positions that a method chose, or what it made of parts of images; or raise InputError."""
        if isinstance(indices, Synthetic):
            return indices.as_set({})
        expected = f"{self.method.name}: expected {self.config.ipc} positions of each class in the training images"
        if not isinstance(indices, list) or not all(isinstance(index, int) for index in indices):
            raise InputError(f"{expected}, as a list of int; it returned {type(indices).__name__}")
        if len(set(indices)) < len(indices) or not set(indices) <= set(range(len(real))):
            raise InputError(f"{expected}, each once and below {len(real)}")
        counts = torch.bincount(real.labels[indices], minlength=NUM_CLASSES)[real.classes]
        if not bool((counts == self.config.ipc).all()):
            raise InputError(f"{expected}; it returned {counts.tolist()}")
        return indices

    def _learn(self, job: Job, watch: Callable[[int], None]) -> DistilledSet:
        learning = self._begun(job)
        path = self.progress_dir / CHECKPOINT_NAME
        state = on_main_process(self.accelerator, lambda: read_checkpoint(path, self.digest))
        if state is not None:
            learning.go_on(*state)
            if self._compiler.by_time:  # as it began, however many steps there are now
                self._compiler.choose({self.config.model: math.inf if learning.progress.compiled else 0})
            if learning.progress.step > self.config.steps:
                done = learning.progress.step
                raise InputError(f"{path}: has made {done} steps already; give --steps from {done}, or --overwrite")
            self._evaluations.check(learning.progress.evaluations)
            self._say(f"going on from step {learning.progress.step} of {self.config.steps}")

        def after(learning: Learning) -> None:
            self._after(learning)
            watch(learning.progress.step)

        learn(learning, self.config.steps, after, self._main and not self.quiet)
        distilled = learning.synthetic.as_set(self._metadata(job, learning))
        return self._evaluations.kept(distilled, learning)

    def _after(self, learning: Learning) -> None:
        """Evaluate and save, where it is time to."""
        step, last = learning.progress.step, learning.progress.step == self.config.steps
        evaluated = bool(self.config.eval_every) and (step % self.config.eval_every == 0 or last)
        if evaluated:
            self._evaluations.evaluate(learning, self._metadata(learning.job, learning))
        # with each evaluation, for the best set is told by the checkpoint
        if self._main and (evaluated or step % self.config.save_every == 0 or last):
            with atomic_write(self.progress_dir / f"preview-{step:06}.png") as temporary:
                save_preview(
                    learning.synthetic.as_set({}),
                    self.subset.label_names,
                    temporary,
                    f"{self.method.name}, step {step}",
                )
            write_losses(learning.progress, self.progress_dir / LOSSES_NAME)
            learning.save(self.progress_dir / CHECKPOINT_NAME, self.digest)

    def _metadata(self, job: Job, learning: Learning | None) -> dict[str, object]:
        """Return what is recorded with the set: all that it takes to make it again."""
        config, method = self.config, self.method
        made: dict[str, object] = {
            "digest": self.digest,
            "settings": {name: _named(getattr(config, name)) for name in method.settings(config.preset, config.ipc)},
            "settings_of": method.whose_settings(self.subset.name),
            "options": config.options or {},
            "inputs": self.inputs,
            "preset": method.preset_name(config.preset),
            "model": config.model,
            "resize": config.resize,
            "antialias": config.antialias,
            "training_images": len(job.real),
            "training_digest": job.real.digest,
            "steps": config.steps,
            "keep": config.keep,
            "notes": job.notes,
            "device": str(self.accelerator.device.type),
            "precision": config.precision,
            "compiled": job.compiled,
            "processes": self.accelerator.num_processes,
            "commit": self.commit,
        }
        if learning is not None:
            progress = learning.progress
            made |= {
                "step": progress.step,
                "seconds": round(progress.seconds, 1),
                "evaluations": list(progress.evaluations),
                "last_losses": progress.losses[-_LAST_LOSSES:],
            }
        return {
            **self.subset.selection,
            "method": method.name,
            **({"paper": method.paper} if method.paper else {}),
            "seed": config.seed,
            "distillation": made,
        }


def _named(value: object) -> object:
    """Return a setting as it is published: of a path, the name."""
    return Path(value).name if isinstance(value, str) and "/" in value else value
