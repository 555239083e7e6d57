"""The distilled sets of the whole benchmark: one pool, from which whoever of the processes is idle takes the next set.

A method that needs experts or a teacher has them trained first, once a subset.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from compdd_eval.config.distill import DISTILL_PRESETS, DistillConfig, DistillSetsConfig
from compdd_eval.config.experts import ExpertsConfig
from compdd_eval.config.many_sets import CONFIG_NAME
from compdd_eval.config.teacher import TeacherConfig
from compdd_eval.config.training_data import TrainingDataConfig
from compdd_eval.evaluation.real_images import open_as_asked
from compdd_eval.evaluation.train_teacher import train_teacher
from compdd_eval.methods.distill import DistillationCost, distill_set
from compdd_eval.methods.registry import Method, fill_settings, find_method, load_plugin
from compdd_eval.methods.teacher import check_serves_all
from compdd_eval.methods.train_experts import train_experts
from compdd_eval.utils.console import counted
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import Alone, on_main_process
from compdd_eval.utils.work_queue import WorkQueue

_logger = logging.getLogger(__name__)
_EXPERTS = "experts"
_TRAINED = (_EXPERTS, "teacher")  # settings that are trained where they are left out, in folders of these names
_SMOKE = {ExpertsConfig: {"num_experts": 5, "epochs": 20}, TeacherConfig: {"epochs": 20}}  # minutes on a CPU, at 32 px
_AS_DISTILLED = ("threads", "overwrite", *(field.name for field in fields(TrainingDataConfig)))
_PAUSE = 0.5  # seconds between two words on how far a process is
_STEP, _DONE, _FAILED = "step", "done", "failed"


@dataclass
class SetToMake:
    """One of the sets.

    Attributes:
        name: Its folder.
        config: All its settings.
        images: How many it has.
        sha256: Of its content, once it is made.
        last_loss: Loss of the last step; None where there are no steps.
        error: Why it was not made.
    """

    name: str
    config: DistillConfig
    images: int = 0
    sha256: str | None = None
    last_loss: float | None = None
    error: str | None = None


def distill_all(config: DistillSetsConfig, accelerator: Accelerator, quiet: bool = False) -> list[SetToMake]:
    """Make all sets that are not there yet; every process must call this.

    A set that fails does not stop the others; what was interrupted goes on from its last checkpoint. The numbers of
    a set do not depend on the number of processes.

    Args:
        config: Settings with `all`.
        accelerator: Devices and processes; they must see the same folders.
        quiet: Show no bar, and no line a set.

    Returns:
        All sets, on every process.

    Raises:
        InputError: The settings are wrong, there are no images of any subset, or experts cannot be trained.
    """
    method, missing = _method_of(config)
    sets = [SetToMake(name, one) for name, one in config.of_sets().items()]
    for made in sets:  # refuses wrong settings before any work
        fill_settings(replace(made.config, **dict.fromkeys(missing, TeacherConfig.model)), method)
    if config.teacher is not None and CONFIG_NAME not in config.teacher and len(config.config_names) > 1:
        on_main_process(accelerator, lambda: check_serves_all(sets[0].config))
    sets = on_main_process(accelerator, lambda: _with_data(sets))
    for name in missing:
        _train(name, sets, os.path.join(config.output_dir, name), method, accelerator, quiet)
    for made in sets:
        if made.error is None:
            made.config = fill_settings(made.config, method)
    _Pool(sets, method, accelerator, quiet).run()
    return on_main_process(accelerator, lambda: sets)


def _method_of(config: DistillSetsConfig) -> tuple[Method, list[str]]:
    """Return the method, and what is trained for it first."""
    if config.plugin is not None:
        load_plugin(config.plugin)
    method = find_method(config.method)
    takes = method.settings(config.preset, 1)
    return method, [name for name in _TRAINED if name in takes and getattr(config, name) is None]


def _with_data(sets: list[SetToMake]) -> list[SetToMake]:
    """Return the sets, those with an error whose images are not there; raise it where there are none of any."""
    errors: dict[str, str | None] = {}
    for made in sets:
        subset = made.config.load_subset()
        if subset.name not in errors:
            errors[subset.name] = None
            try:
                open_as_asked(made.config, subset, "train")
            except InputError as error:
                errors[subset.name] = str(error)
        made.error = errors[subset.name]
    if all(errors.values()):
        raise InputError(sets[0].error)
    if absent := [name for name, error in errors.items() if error is not None]:
        shown = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
        _logger.warning(f"images of {counted(len(absent), 'subset')} of {len(errors)} are not there: {shown}")
    return sets


def _train(name: str, sets: list[SetToMake], root: str, method: Method, accelerator: Accelerator, quiet: bool) -> None:
    """Train experts or a teacher for each subset, in a folder of its name, and let the sets have them."""
    found = {made.config.load_subset().name: made.config for made in sets if made.error is None}
    folders = {subset: os.path.join(root, subset) for subset in found}
    errors: dict[str, str] = {}
    if name == _EXPERTS:  # shared out over the processes
        for subset, config in found.items():
            alike = {"model": config.model, "compile": config.compile}
            train_experts(_settings_of(ExpertsConfig, config, folders[subset], **alike, **method.experts), accelerator)
    else:  # a subset each
        mine = list(found)[accelerator.process_index :: accelerator.num_processes]
        for subset in mine:
            try:
                settings = _settings_of(TeacherConfig, found[subset], folders[subset])
                train_teacher(settings, Alone(accelerator), quiet or not accelerator.is_main_process)
            except InputError as error:
                errors[subset] = str(error)
        errors = {subset: error for each in gather_object([errors]) for subset, error in each.items()}
    for made in sets:
        subset = made.config.load_subset().name
        made.error = made.error or errors.get(subset)
        if made.error is None:
            made.config = replace(made.config, **{name: folders[subset]})


def _settings_of(kind: type, config: DistillConfig, folder: str, **settings: object) -> ExpertsConfig | TeacherConfig:
    """Return the settings that train what a set needs: on the same images, as briefly as its preset."""
    settings |= {name: getattr(config, name) for name in _AS_DISTILLED}
    if config.preset != DISTILL_PRESETS[0]:
        settings |= _SMOKE[kind]
    return kind(**settings, output_dir=folder)


class _Pool:
    """Makes the sets; every process must make one, and call `run`."""

    def __init__(self, sets: list[SetToMake], method: Method, accelerator: Accelerator, quiet: bool) -> None:
        self._sets, self._method, self._accelerator, self._quiet = sets, method, accelerator, quiet
        self._queue, self._main = WorkQueue(accelerator), accelerator.is_main_process
        self._steps = [1 if method.selects else made.config.steps for made in sets]
        self._done = [0] * len(sets)  # of these, as far as it was heard
        self._told = 0.0  # when this process has last said how far it is

    def run(self) -> None:
        to_make = [index for index, made in enumerate(self._sets) if made.error is None]
        with self._bar(sum(self._steps[index] for index in to_make)) as self._shown:
            if self._main:
                for index in sorted(to_make, key=lambda index: -self._cost(index)):
                    self._queue.put(index)
                if not to_make:
                    self._queue.close()
            while (index := self._queue.take(self._hear)) is not None:
                self._make(index)
                if self._queue.count("ended") == len(to_make):
                    self._queue.close()
            self._accelerator.wait_for_everyone()
            self._hear()

    @contextmanager
    def _bar(self, total: int) -> Iterator[tqdm]:
        show, unit = self._main and not self._quiet, "set" if self._method.selects else "step"
        with tqdm(total=total, unit=unit, desc=self._method.name, disable=not show) as bar:
            yield bar

    def _cost(self, index: int) -> float:
        """Return a number that grows with the work that a set is."""
        config, images = self._sets[index].config, self._method.compiles
        return self._steps[index] * (images(config) if images else config.ipc)

    def _make(self, index: int) -> None:
        def watch(step: int) -> None:
            if time.monotonic() - self._told > _PAUSE:
                self._told = time.monotonic()
                self._queue.tell([_STEP, index, step])
                self._hear()

        try:
            made = distill_set(
                self._sets[index].config, self._method, Alone(self._accelerator), quiet=True, watch=watch
            )
        except InputError as error:
            self._queue.tell([_FAILED, index, str(error)])
        else:
            losses = made.metadata["distillation"].get("last_losses")
            self._queue.tell([_DONE, index, [len(made.images), made.sha256, losses[-1] if losses else None]])

    def _hear(self) -> None:
        """Show what has happened; for the main process."""
        if not self._main:
            return
        for what, index, value in self._queue.hear():
            made = self._sets[index]
            if what == _DONE:
                made.images, made.sha256, made.last_loss = value
            elif what == _FAILED:
                made.error = value
            step = value if what == _STEP else self._steps[index]
            self._shown.update(step - self._done[index])
            self._done[index] = step
            if what != _STEP and not self._quiet:
                ended = sum(each.sha256 is not None or each.error is not None for each in self._sets)
                said = f"failed: {made.error}" if made.error else _in_words(made)
                _logger.info(f"{made.name} ({ended} of {len(self._sets)}): {said}")


def _in_words(made: SetToMake) -> str:
    loss = "" if made.last_loss is None else f", last loss {made.last_loss:.4g}"
    return f"{made.images} images{loss}"


def cost_of_all(config: DistillSetsConfig, accelerator: Accelerator) -> dict[int, tuple[DistillationCost, int]]:
    """Measure a few steps for each number of images per class, on one subset; write nothing.

    Returns:
        Images per class -> cost of one set, and the number of sets.

    Raises:
        InputError: The method makes no steps, or its experts or teachers are not there yet.
    """
    method, missing = _method_of(config)
    if missing and not method.selects:
        raise InputError(
            f"--dry_run: {method.name} is measured with what --all trains first, and it is not given; give "
            f'--{missing[0]} "{missing[0]}/{CONFIG_NAME}"'
        )
    by_ipc: dict[int, list[DistillConfig]] = {}
    for one in config.of_sets().values():
        by_ipc.setdefault(one.ipc, []).append(one)
    alone = Alone(accelerator)
    return {ipc: (distill_set(sets[0], method, alone, True), len(sets)) for ipc, sets in by_ipc.items()}
