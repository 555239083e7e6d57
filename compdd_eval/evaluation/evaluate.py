"""Evaluate a distilled set: its students and those of its baselines, shared out over the processes."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from accelerate import Accelerator

from compdd_eval.config.checks import AUTO
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.evaluation.open import open_inputs, with_networks
from compdd_eval.evaluation.outcome import Outcome
from compdd_eval.evaluation.plan import (
    Condition,
    EvaluationInputs,
    Task,
    conditions,
    expected_students,
    make_task,
    sources,
)
from compdd_eval.evaluation.real_images import RealImages
from compdd_eval.evaluation.summary import finish, planned
from compdd_eval.evaluation.tables import print_plan, print_results
from compdd_eval.evaluation.teachers import load_teacher, teacher_task
from compdd_eval.evaluation.trackers import Tracker, check_trackers, logging_dir
from compdd_eval.evaluation.train_students import StudentTrainer
from compdd_eval.evaluation.training_images import make_training_sets
from compdd_eval.results.run_folder import RunFile
from compdd_eval.results.student_result import FULL, SET, SUMMARY_NAME, StudentResult
from compdd_eval.training.memory import keep_memory
from compdd_eval.training.precision import precision_of, set_precision
from compdd_eval.utils.environment import environment
from compdd_eval.utils.processes import make_accelerator, on_main_process, repeatable, set_threads

_logger = logging.getLogger(__name__)


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
        the numbers were made from. With `config.dry_run`, as of `compdd_eval.evaluation.summary.planned`.

    Raises:
        InputError: Anything in the settings or the data that the user can mend.
    """
    accelerator = accelerator or accelerator_of(config)
    threads = set_threads(config.threads, accelerator)
    repeatable()
    keep_memory()
    with contextlib.ExitStack() as held:  # the lock of the output folder, on the main process
        run = Evaluation(accelerator, threads)
        run.open(config, distilled, cache_dir, held)
        if config.dry_run:
            number = expected_students(run.config)
            if accelerator.is_main_process and not quiet:
                print_plan(run.inputs, run.environment, number, [], None)
            return planned(run.inputs, run.environment, number)
        with run.recorded():
            summary = run.all(quiet)
    return summary


def accelerator_of(config: EvaluateConfig) -> Accelerator:
    """Make the `Accelerator` of a run, with its trackers."""
    trackers = config.listed("log_with")
    check_trackers(trackers)
    return make_accelerator(trackers, logging_dir(config) if trackers else None)


class Evaluation:
    """One run, step by step; every process goes through all steps.

    Args:
        accelerator: Devices and processes.
        threads: CPU threads of each process.
    """

    def __init__(self, accelerator: Accelerator, threads: int) -> None:
        self.accelerator, self.threads = accelerator, threads
        self.real: RealImages | None = None  # on the main process

    def open(
        self,
        config: EvaluateConfig,
        distilled: DistilledSet | None,
        cache_dir: str | os.PathLike | None,
        held: contextlib.ExitStack,
    ) -> None:
        """Read and check set and validation images; `held` keeps the lock of the output folder."""
        precision = precision_of(config.precision, self.accelerator.device)
        config = config.changed(precision=precision, json=False)  # results do not record how they were printed
        set_precision(config.precision)
        self.environment = environment(self.accelerator, self.threads, config.precision)

        def read() -> EvaluationInputs:
            inputs, self.real = open_inputs(config, distilled, cache_dir, held)
            return inputs

        self.inputs: EvaluationInputs = on_main_process(self.accelerator, read)
        self.config = with_networks(self.inputs.config)
        self.conditions = conditions(self.config)
        self.run_file = RunFile(Path(self.config.output_dir), [])

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep `run.json`, with the error where the run ends with one."""
        main = self.accelerator.is_main_process
        if main:
            self.run_file.write()
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.run_file.error = str(error) or type(error).__name__
            if main:
                self.run_file.write()
            raise
        self.run_file.finished = True
        if main:
            self.run_file.write()

    def all(self, quiet: bool) -> dict[str, object]:
        """Train, test and compare everything; return the summary."""
        tracker = Tracker(self.accelerator, self.config, self.inputs)
        self.trainer = StudentTrainer(self.inputs, self.accelerator, self.environment, tracker.log)
        self.prepare_teacher()
        self.prepare_materials([*self.config.seeds])
        search = self.search_tasks()
        if search:
            self._plan(search)
        found = self.trainer.run(search)
        tasks = self.tasks(_best_rates(search, found))
        self._plan(tasks)
        if self.accelerator.is_main_process and not quiet:
            print_plan(self.inputs, self.environment, len(tasks), tasks, self.trainer.teacher)
        students = self.trainer.run(tasks)
        outcome = Outcome(tasks, students)
        summary = on_main_process(
            self.accelerator, lambda: finish(self.inputs, self.conditions, outcome, self.trainer.teacher, search, found)
        )
        tracker.close()
        if self.accelerator.is_main_process and not quiet:
            print_results(summary, Path(self.config.output_dir) / SUMMARY_NAME)
        return summary

    def prepare_teacher(self) -> None:
        """Read the teacher, training it first where it has no file."""
        if self.config.teacher is None:
            return
        task, accuracy = None, None
        if self.config.teacher_file is None:
            self._need_everything()
            task = teacher_task(self.inputs, self.trainer.training_sets)
            self._plan([task])
            accuracy = self.trainer.run([task])[0].accuracy
        self.trainer.teacher = on_main_process(self.accelerator, lambda: load_teacher(self.inputs, task, accuracy))

    def prepare_materials(self, seeds: list[int]) -> None:
        """Make all training images, on the main process, and give them to the others."""
        if FULL in self.config.baselines:
            self._need_everything()

        def make() -> dict:
            teacher, device = self.trainer.teacher, self.accelerator.device
            return make_training_sets(self.inputs, self.real, self.conditions, seeds, teacher, device)

        self.trainer.training_sets |= on_main_process(self.accelerator, make)

    def search_tasks(self) -> list[Task]:
        """Return the students that choose the rates: one for each candidate, of each condition, source and model."""
        if self.config.lr_net != AUTO:
            return []
        return [
            self.task(source, condition, model, self.config.seed, rate, "candidate", searching=True)
            for condition in self.conditions
            for source in sources(self.config)
            for model in self.config.models
            for rate in self.config.candidates
        ]

    def tasks(self, rates: dict[tuple, float]) -> list[Task]:
        """Return all students that are reported: of the set, of random images, of all images."""
        found = [
            self.task(source, condition, model, seed, *self._rate(source, condition, model, rates))
            for condition in self.conditions
            for source in sources(self.config)
            for model in self.config.models
            for seed in self.config.seeds
        ]
        if FULL in self.config.baselines:
            rate = self.config.full_protocol.lr_net
            found += [
                self.task(FULL, Condition("hard"), model, seed, rate, "recipe of --baseline full")
                for model in self.config.models
                for seed in self.config.seeds
            ]
        return found

    def _rate(self, source: str, condition: Condition, model: str, rates: dict[tuple, float]) -> tuple[float, str]:
        if self.config.lr_net == AUTO:
            held_out = len(self.inputs.held_out.labels)
            return rates[source, condition, model], f"searched on {held_out} held-out training images"
        if source == SET and self.inputs.distilled.lr is not None:
            return self.inputs.distilled.lr, "learned with the set"
        return self.config.rate, "--lr_net"

    def task(self, *arguments: object, **options: object) -> Task:
        """Put together one student, as of `make_task`."""
        return make_task(self.inputs, self.trainer.training_sets, self.trainer.teacher, *arguments, **options)

    def _need_everything(self) -> None:
        if FULL not in self.trainer.training_sets:
            self.trainer.training_sets[FULL] = on_main_process(self.accelerator, lambda: self.real.everything())

    def _plan(self, tasks: list[Task]) -> None:
        if self.accelerator.is_main_process:
            self.run_file.add([task.path for task in tasks])


def _best_rates(tasks: list[Task], students: list[StudentResult]) -> dict[tuple, float]:
    """Return the rate with the best accuracy on the held-out images; the lower one where two are equal."""
    best: dict[tuple, tuple] = {}
    for task, student in zip(tasks, students, strict=True):
        key, score = (task.source, task.condition, task.model), (student.accuracy, -task.lr)
        best[key] = max(best.get(key, score), score)
    return {key: -score[1] for key, score in best.items()}
