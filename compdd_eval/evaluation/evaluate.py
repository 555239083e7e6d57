"""Evaluate a distilled set: its students and those of its baselines, shared out over the processes."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from accelerate import Accelerator

from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.evaluation.cost import measure_costs
from compdd_eval.evaluation.open import open_inputs, with_networks
from compdd_eval.evaluation.outcome import Outcome
from compdd_eval.evaluation.plan import (
    Condition,
    EvaluationInputs,
    Planner,
    Task,
    Teacher,
    TrainingSet,
    best_rates,
    conditions,
    expected_students,
)
from compdd_eval.evaluation.summary import finish, planned
from compdd_eval.evaluation.tables import print_plan, print_results
from compdd_eval.evaluation.teachers import load_teacher, teacher_task
from compdd_eval.evaluation.trackers import Tracker, check_trackers, logging_dir
from compdd_eval.evaluation.train_group import GroupTrainer
from compdd_eval.evaluation.train_students import StudentTrainer
from compdd_eval.evaluation.training_images import make_training_sets
from compdd_eval.results.run_folder import RunFile
from compdd_eval.results.student_result import FULL, SUMMARY_NAME
from compdd_eval.training.memory import keep_memory
from compdd_eval.training.precision import precision_of
from compdd_eval.utils.devices import repeatable
from compdd_eval.utils.environment import environment
from compdd_eval.utils.processes import make_accelerator, on_main_process, set_threads, shared_from_main_process

T = TypeVar("T")


def evaluate(
    config: EvaluateConfig,
    distilled: DistilledSet | None = None,
    accelerator: Accelerator | None = None,
    cache_dir: str | os.PathLike | None = None,
    quiet: bool = False,
) -> dict[str, object]:
    """Train students on a distilled set and test them on the real validation images of its subset.

    Students that have a result file already are not trained again. Every process must call this.

    Args:
        config: All settings.
        distilled: The set; None reads the files that the configuration names.
        accelerator: Devices and processes; None makes one.
        cache_dir: Cache to look for the prepared subset in; default: that of `datasets`.
        quiet: Print no tables.

    Returns:
        The summary that is also written to `summary.json`: `category`, `subset`, `ipc`, `resolution`, `results` (a
        list as of `compdd_eval.evaluation.outcome.Outcome.entries`), `regimes`, `scores`, `rate_search`, and what
        the numbers were made from. With `config.dry_run`, as of `compdd_eval.evaluation.summary.planned`,
        and `costs`, one `compdd_eval.evaluation.cost.Cost` a network.

    Raises:
        InputError: Anything in the settings or the data that the user can mend.
    """
    accelerator = accelerator or accelerator_of(config)
    with contextlib.ExitStack() as locks:
        run = Evaluation(config, accelerator, locks, distilled, cache_dir)
        if config.dry_run:
            return run.plan(quiet)
        with run.recorded():
            return run.results(quiet)


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
        locks: Keeps the lock of the output folder, on the main process.
        distilled: The set; None reads the files that the configuration names.
        cache_dir: Cache to look for the prepared subset in; default: that of `datasets`.

    Raises:
        InputError: Set, validation images or settings do not go together, or the output folder is in use.
    """

    def __init__(
        self,
        config: EvaluateConfig,
        accelerator: Accelerator,
        locks: contextlib.ExitStack,
        distilled: DistilledSet | None = None,
        cache_dir: str | os.PathLike | None = None,
    ) -> None:
        self.accelerator = accelerator
        threads = set_threads(config.threads, accelerator)
        keep_memory()
        precision = precision_of(config.precision, accelerator.device)
        config = config.changed(precision=precision, json=False)  # results do not record how they were printed
        repeatable(precision)
        self.environment = environment(accelerator, threads, precision)

        def read() -> EvaluationInputs:
            # real images stay on the main process, which sends the others what they need
            inputs, self._real = open_inputs(config, distilled, cache_dir, locks)
            return inputs

        self.inputs: EvaluationInputs = on_main_process(accelerator, read)
        self.config = with_networks(self.inputs.config)  # on every process: each runs the files of networks itself
        self._run_file = RunFile(Path(self.config.output_dir), [])

    def plan(self, quiet: bool) -> dict[str, object]:
        """Return what would be done, as of `planned`, and what it takes (`costs`), and print it."""
        number = expected_students(self.config)
        trainer = GroupTrainer(self.config, self.accelerator)
        real_images = on_main_process(self.accelerator, lambda: self._real.number_of_training_images())
        costs = measure_costs(self.inputs, trainer, real_images)
        if self.accelerator.is_main_process and not quiet:
            print_plan(self.inputs, self.environment, number, [], None, [cost.in_words() for cost in costs])
        return planned(self.inputs, self.environment, number) | {"costs": [asdict(cost) for cost in costs]}

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep `run.json`, with the error where the run ends with one."""
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

    def results(self, quiet: bool) -> dict[str, object]:
        """Train, test and compare everything; return the summary."""
        main, tracker = self.accelerator.is_main_process, Tracker(self.accelerator, self.config, self.inputs)
        trainer = StudentTrainer(self.inputs, self.accelerator, self.environment, tracker.log)

        # The teacher comes first, since training images may get their labels from it.
        teacher = self.teacher(trainer)
        training_sets = self.training_sets(conditions(self.config), self.config.seeds, teacher)
        planner = Planner(self.inputs, training_sets, teacher)

        # Rates are searched next (--lr_net auto), on held-out training images: validation images choose nothing.
        search = planner.search()
        self._expect(search)
        searched = trainer.run(search)

        tasks = planner.students(best_rates(search, searched))
        self._expect(tasks)
        if main and not quiet:
            print_plan(self.inputs, self.environment, len(tasks), tasks, teacher)
        outcome = Outcome(tasks, trainer.run(tasks))

        summary = on_main_process(
            self.accelerator,
            lambda: finish(self.inputs, conditions(self.config), outcome, teacher, search, searched),
        )
        tracker.close()
        if main and not quiet:
            print_results(summary, Path(self.config.output_dir) / SUMMARY_NAME)
        return summary

    def teacher(self, trainer: StudentTrainer) -> Teacher | None:
        """Read the teacher, training it first where it has no file."""
        if self.config.teacher is None:
            return None
        task, accuracy = None, None
        if self.config.teacher_file is None:
            task = teacher_task(self.inputs, self.everything)
            self._expect([task])
            accuracy = trainer.run([task])[0].accuracy
        return on_main_process(self.accelerator, lambda: load_teacher(self.inputs, task, accuracy))

    def training_sets(
        self, conditions: list[Condition], seeds: Sequence[int], teacher: Teacher | None
    ) -> dict[str, TrainingSet]:
        """Make what students train on, by `training_set_key`, on the main process, and give it to the others."""
        full = {FULL: self.everything} if FULL in self.config.baselines else {}
        device = self.accelerator.device
        return full | self._shared(
            lambda: make_training_sets(self.inputs, self._real, conditions, seeds, teacher, device)
        )

    @functools.cached_property
    def everything(self) -> TrainingSet:
        """All training images, with hard labels; every process must ask for them."""
        return self._shared(lambda: self._real.everything())

    def _shared(self, work: Callable[[], T]) -> T:
        return shared_from_main_process(self.accelerator, work, Path(self.config.output_dir))

    def _expect(self, tasks: list[Task]) -> None:
        """Write down which students will be there, for `status`."""
        if tasks and self.accelerator.is_main_process:
            self._run_file.add([task.path for task in tasks])
