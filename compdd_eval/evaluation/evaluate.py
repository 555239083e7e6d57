"""Evaluate a distilled set: its students and those of its baselines, shared out over the processes."""

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator

from compdd_eval.config.arguments import arguments_of, checked_arguments
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.protocol import VIEWS
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.evaluation.cost import measure_costs
from compdd_eval.evaluation.diagnosis import doubts_before_training
from compdd_eval.evaluation.image_sets import TrainingSet
from compdd_eval.evaluation.open import name_of_set, open_set, with_networks
from compdd_eval.evaluation.outcome import Outcome
from compdd_eval.evaluation.plan import (
    Condition,
    EvaluationInputs,
    Planner,
    Task,
    Teacher,
    best_rates,
    conditions,
    expected_students,
)
from compdd_eval.evaluation.real_images import RealImages
from compdd_eval.evaluation.resources import Resources
from compdd_eval.evaluation.summary import finish, planned, summary_path
from compdd_eval.evaluation.tables import print_plan, print_results
from compdd_eval.evaluation.teachers import load_teacher, teacher_task
from compdd_eval.evaluation.trackers import Tracker, check_trackers, logging_dir
from compdd_eval.evaluation.train_students import StudentTrainer
from compdd_eval.evaluation.training_images import make_training_sets
from compdd_eval.results.run_folder import RunFile
from compdd_eval.results.student_result import FULL, StudentResult
from compdd_eval.results.summary import Summary
from compdd_eval.training.precision import precision_of
from compdd_eval.utils.devices import has_triton
from compdd_eval.utils.environment import environment
from compdd_eval.utils.errors import named_as_arguments
from compdd_eval.utils.processes import make_accelerator, on_main_process, set_torch

T = TypeVar("T")
_logger = logging.getLogger(__name__)


def evaluate(
    config: EvaluateConfig,
    distilled: DistilledSet | tuple[torch.Tensor, torch.Tensor] | None = None,
    accelerator: Accelerator | None = None,
    cache_dir: str | os.PathLike | None = None,
    quiet: bool = False,
    **changes: Any,
) -> dict[str, object]:
    """Train students on a distilled set and test them on the real validation images of its subset.

    Students that have a result file already are not trained again. Every process must call this.

    Args:
        config: All settings.
        distilled: The set, or its images and labels; None reads the files that the configuration names.
        accelerator: Devices and processes; None makes one.
        cache_dir: Cache to look for the prepared subset in; default: that of `datasets`.
        quiet: Print no tables.
        changes: Settings that replace those of `config`, such as `output_dir=None`, with which nothing is written.

    Returns:
        The summary, as it is written to `summary.json`: `category`, `subset`, `ipc`, `resolution`, `results` (a
        list as of `compdd_eval.evaluation.outcome.Outcome.entries`), `regimes`, `scores`, `rate_search`, and what
        the numbers were made from. With `config.dry_run`, as of `compdd_eval.evaluation.summary.planned`,
        and `costs`, one `compdd_eval.evaluation.cost.Cost` a network.

    Raises:
        InputError: Anything in the settings or the data that the user can mend.
    """
    arguments = arguments_of(EvaluateConfig)
    with named_as_arguments(arguments):
        config = config.changed(**checked_arguments(EvaluateConfig, changes, arguments))
    accelerator = accelerator or accelerator_of(config)
    with contextlib.ExitStack() as locks:
        run = Evaluation(config, accelerator, locks, distilled, cache_dir)
        run.look_for_doubts()
        if config.dry_run:
            return run.plan(quiet)
        with run.recorded():
            return run.results(quiet)[0].content()


def accelerator_of(config: EvaluateConfig) -> Accelerator:
    """Make the `Accelerator` of a run, with its trackers."""
    trackers = config.listed("log_with")
    check_trackers(trackers)
    return make_accelerator(trackers, logging_dir(config) if trackers else None)


class Evaluation:
    """One run; every process goes through all steps.

    Args:
        config: All settings.
        accelerator: Devices and processes.
        locks: Keeps the lock of the output folder, on the main process; None: another process has it.
        distilled: The set, or its images and labels; None reads the files that the configuration names.
        cache_dir: Cache to look for the prepared subset in; default: that of `datasets`.
        lr: The learned rate, in place of the set's.
        resources: Those of an earlier run with the same settings, for what does not depend on the set.
        real: Real images of an earlier run, which are used where they serve this one.
        progress: Show bars.

    Attributes:
        inputs: What is evaluated.
        resources: What a later run with the same settings can use.

    Raises:
        InputError: Set, validation images or settings do not go together, or the output folder is in use.
    """

    def __init__(
        self,
        config: EvaluateConfig,
        accelerator: Accelerator,
        locks: contextlib.ExitStack | None,
        distilled: object = None,
        cache_dir: str | os.PathLike | None = None,
        *,
        lr: float | torch.Tensor | None = None,
        resources: Resources | None = None,
        real: RealImages | None = None,
        progress: bool = True,
    ) -> None:
        self.accelerator = accelerator
        precision = precision_of(config.precision, accelerator.device)
        # results record how students were trained, and not how they were printed
        config = config.changed(precision=precision, fused_norm=_fuses_norms(config, accelerator), json=False)
        threads = set_torch(config.threads, accelerator, config.precision)
        # Seconds before minutes: settings, then the set, then the lock, and only then are real images decoded.
        config, subset, distilled, digest = on_main_process(accelerator, lambda: open_set(config, distilled, locks, lr))
        self.config = with_networks(config)  # on every process: each runs the files of networks itself
        if resources is None or resources.config.res != config.res:
            here = environment(accelerator, threads, precision)
            resources = Resources(self.config, subset, accelerator, here, cache_dir, progress, real)
        self.resources = resources
        name, made = name_of_set(distilled, digest), self.resources
        known = made.validation, made.held_out, made.complexity
        self.inputs = EvaluationInputs(self.config, subset, name, distilled, digest, *known)
        self._run_file = None if config.output_dir is None else RunFile(Path(config.output_dir), [])

    def look_for_doubts(self) -> None:
        """Warn of what can be known to be wrong before a student is trained; seconds for thousands of images."""
        self.warn()

        def doubts() -> tuple[str, ...]:
            found = doubts_before_training(self.inputs)
            for doubt in found:
                _logger.warning(doubt)
            return found

        self.inputs = replace(self.inputs, doubts=on_main_process(self.accelerator, doubts))

    def warn(self) -> None:
        """Warn of what is odd about the set, and of validation images that are missing."""
        inputs, tested = self.inputs, self.inputs.validation
        if not self.accelerator.is_main_process:
            return
        for remark in inputs.distilled.remarks(inputs.subset.class_map_inv):
            _logger.warning(remark)
        labels = inputs.distilled.view_labels
        if self.config.labels == VIEWS and self.config.passes > labels.record.passes:
            _logger.warning(
                f"{self.config.passes} passes on labels of views for {labels.record.passes}: they begin again then"
            )
        if self.config.labels != VIEWS and (doubt := self.config.doubt_at(inputs.distilled.ipc)):
            _logger.warning(doubt)
        if len(tested.labels) != tested.expected:
            _logger.warning(
                f"{len(tested.labels)} validation images, expected {tested.expected}: no accuracy of the benchmark"
            )

    def plan(self, quiet: bool) -> dict[str, object]:
        """Return what would be done, as of `planned`, and what it takes (`costs`), and print it."""
        number, here = expected_students(self.config), self.resources.environment
        real_images = on_main_process(self.accelerator, self.resources.real.number_of_training_images)
        costs = measure_costs(self.inputs, self.resources.group_trainer, real_images)
        if self.accelerator.is_main_process and not quiet:
            print_plan(self.inputs, here, number, [], None, [cost.in_words() for cost in costs])
        return planned(self.inputs, here, number) | {"costs": [asdict(cost) for cost in costs]}

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep `run.json`, with the error where the run ends with one; not where nothing is written."""
        if self._run_file is None:
            yield
            return
        self._write_run_file()
        try:
            yield
        except KeyboardInterrupt:
            raise  # stopped by the user, to be resumed: no error of the run
        except BaseException as error:
            self._run_file.error = str(error) or type(error).__name__
            self._write_run_file()
            raise
        self._run_file.finished = True
        self._write_run_file()

    def _write_run_file(self) -> None:
        if self.accelerator.is_main_process:
            self._run_file.write()

    def results(self, quiet: bool) -> tuple[Summary, list[StudentResult]]:
        """Train, test and compare everything; return the summary, and its students in the order of it."""
        main, inputs = self.accelerator.is_main_process, self.inputs
        tracker = Tracker(self.accelerator, self.config, inputs.set_name, inputs.subset.name)
        trainer = StudentTrainer(inputs, self.resources, tracker.log)

        def train(tasks: list[Task]) -> list[StudentResult]:
            self.expect(tasks)
            return trainer.run(tasks)

        summary, students = _answered(self.rounds(quiet), train)
        tracker.close()
        if main and not quiet:
            print_results(summary.content(), summary_path(self.config))
        return summary, students

    def rounds(self, quiet: bool) -> Generator[list[Task], list[StudentResult], tuple[Summary, list[StudentResult]]]:
        """Yield what is to be trained, round by round, each of which needs the results that are sent for the last.

        Every process goes through all rounds.

        Args:
            quiet: Print no plan.

        Returns:
            The summary, and its students in the order of it.
        """
        # The teacher comes first, since training images may get their labels from it.
        teacher = yield from self._teacher()
        training_sets = self.training_sets(conditions(self.config), self.config.seeds, teacher)
        planner = Planner(self.inputs, training_sets, teacher)

        # Rates are searched next (--lr_net auto), on held-out training images: validation images choose nothing.
        search = planner.search()
        searched = (yield search) if search else []

        tasks = planner.students(best_rates(search, searched))
        if self.accelerator.is_main_process and not quiet:
            print_plan(self.inputs, self.resources.environment, len(tasks), tasks, teacher)
        outcome = Outcome(tasks, (yield tasks))
        summary = on_main_process(
            self.accelerator,
            lambda: finish(self.inputs, conditions(self.config), outcome, teacher, search, searched),
        )
        return summary, outcome.students

    def teacher(self, trainer: StudentTrainer) -> Teacher | None:
        """Read the teacher, training it first where it has no file."""
        return _answered(self._teacher(), trainer.run)

    def _teacher(self) -> Generator[list[Task], list[StudentResult], Teacher | None]:
        if self.config.teacher is None or self.resources.teacher is not None:
            return self.resources.teacher
        task, accuracy = None, None
        if self.config.teacher_file is None:
            task = teacher_task(self.inputs, self.resources.everything)
            (student,) = yield [task]
            accuracy = student.accuracy
        read = on_main_process(self.accelerator, lambda: load_teacher(self.inputs, task, accuracy))
        self.resources.teacher = read
        return read

    def training_sets(
        self, conditions: list[Condition], seeds: Sequence[int], teacher: Teacher | None
    ) -> dict[str, TrainingSet]:
        """Make what students train on, by `training_set_key`, on the main process, and give it to the others."""
        full = {FULL: self.resources.everything} if FULL in self.config.baselines else {}
        real, device = self.resources.real, self.accelerator.device
        return full | self.resources.shared(
            lambda: make_training_sets(self.inputs, real, conditions, seeds, teacher, device)
        )

    def expect(self, tasks: list[Task], finished: bool = False) -> None:
        """Write down which students will be there, and whether the summary is, for `status`."""
        if (tasks or finished) and self.accelerator.is_main_process and self._run_file is not None:
            self._run_file.finished = finished
            self._run_file.add([task.path for task in tasks])


def _fuses_norms(config: EvaluateConfig, accelerator: Accelerator) -> bool:
    """Return whether norms are fused: where it is asked for, and can be had."""
    able = has_triton(accelerator.device)
    if config.fused_norm and not able and accelerator.is_main_process:
        _logger.warning("--fused_norm needs a GPU and Triton: students train without it here")
    return config.fused_norm and able


def _answered(
    rounds: Generator[list[Task], list[StudentResult], T], train: Callable[[list[Task]], list[StudentResult]]
) -> T:
    """Train what each round asks for; return what the last one gives."""
    try:
        tasks = next(rounds)
        while True:
            tasks = rounds.send(train(tasks))
    except StopIteration as end:
        return end.value
