"""The students of a run: shared out over the processes by cost, trained in groups, kept as results."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.evaluation.plan import EvaluationInputs, Task
from compdd_eval.evaluation.resources import Resources
from compdd_eval.evaluation.student_weights import collect_weights, save_weights
from compdd_eval.results.aggregate import join_labels
from compdd_eval.results.confusion import confusion_matrix
from compdd_eval.results.student_result import SCHEMA_VERSION, StudentResult, finite_or_none
from compdd_eval.utils.processes import on_main_process

_logger = logging.getLogger(__name__)


class StudentTrainer:
    """Trains the students of a run that have no result yet, and keeps their results.

    Args:
        inputs: The run.
        resources: Where they are trained, and their results kept.
        finished: Called with every new result, on the main process.
    """

    def __init__(
        self,
        inputs: EvaluationInputs,
        resources: Resources,
        finished: Callable[[StudentResult], None] = lambda student: None,
    ) -> None:
        accelerator = resources.accelerator
        self._inputs, self._accelerator, self._environment = inputs, accelerator, resources.environment
        self._config, self._device, self._main = inputs.config, accelerator.device, accelerator.is_main_process
        self._finished, self._shows = finished, resources.progress and accelerator.is_main_process
        self._group_trainer, self._records = resources.group_trainer, resources.records
        self._made: set[Path] = set()  # results of this run, which --overwrite does not make twice

    def run(self, tasks: list[Task]) -> list[StudentResult]:
        """Train what has no result file yet; return all results in the order of the tasks, on every process.

        Every process must call this, with the same tasks.
        """
        pending = self._pending(tasks)
        if pending:
            self.choose_compiled(tasks)
        processes, rank = self._accelerator.num_processes, self._accelerator.process_index
        mine = pending if self._group_trainer.as_team else share(pending, processes)[rank]
        passes = sum(task.protocol.passes for task in mine)
        if self._main and any(self._group_trainer.compiler.compiles(task.model) for task in mine):
            _logger.info("students are compiled (--compile): the first pass of a network takes some seconds longer")
        with tqdm(total=passes, unit="pass", disable=not self._shows or not mine) as bar:
            new = self.train(mine, bar)
        self._collect(new, {task.path: task for task in pending})
        collect_weights(self._accelerator, pending)
        self._made |= {task.path for task in pending}
        return on_main_process(self._accelerator, lambda: [self._records.read(task) for task in tasks])

    def choose_compiled(self, tasks: list[Task]) -> list[str]:
        """Decide which networks are compiled, by the work of all students of a round; return these."""
        self._group_trainer.choose_compiled(tasks)
        return [model for model in {task.model for task in tasks} if self._group_trainer.compiler.compiles(model)]

    def compile_only(self, models: list[str]) -> None:
        """Compile these networks, as was decided elsewhere."""
        self._group_trainer.compiler.take(models)

    def train(self, tasks: list[Task], bar: tqdm) -> list[tuple[Path, StudentResult]]:
        """Train students here, alike ones together where that is faster, and keep their results; return them by path.

        Args:
            tasks: The students; `choose_compiled` knows of them.
            bar: Counts passes.
        """
        new: list[tuple[Path, StudentResult]] = []
        for group in self._groups(tasks):
            for task, result in zip(group, self._run(group, bar), strict=True):
                if self._main or not self._group_trainer.as_team:
                    # at once, not at the end: a run that is stopped loses only the students in training
                    self._records.write(task, result)
                    new.append((task.path, result))
                if self._main:
                    self._finished(result)
        return new

    def repeat(self, task: Task, students: int = 1, part: int | None = None) -> StudentResult:
        """Train one student once more, and write nothing.

        Args:
            task: The student.
            students: How many were trained together: it is trained beside copies of itself, since the last bits of a
                stack's sums depend on how many students there are, but not on who they are.
            part: Images of a student that went through the network at a time; None: what this device likes.
        """
        self._group_trainer.choose_compiled([task])
        with tqdm(total=students * task.protocol.passes, unit="pass", disable=not self._shows) as bar:
            return self._run([task] * students, bar, part)[0]

    def _pending(self, tasks: list[Task]) -> list[Task]:
        """Return the tasks without a result; the main process looks, so that all agree."""

        def is_pending(task: Task) -> bool:
            return task.path not in self._made and (self._config.overwrite or not self._records.has(task))

        pending = on_main_process(self._accelerator, lambda: [is_pending(task) for task in tasks])
        # conditions may share a student, so a path may be there twice
        unique = {task.path: task for task, needed in zip(tasks, pending, strict=True) if needed}
        return list(unique.values())

    def _collect(self, new: list[tuple[Path, StudentResult]], tasks: dict[Path, Task]) -> None:
        """Let the main process have what the others made, and write it where their disk is another."""
        if self._accelerator.num_processes == 1:
            return
        own = {path for path, _ in new}
        for path, result in gather_object(new):
            if not self._main or path in own:
                continue
            task = tasks[path]
            # one that is made again may have an older result on this disk
            if not self._records.has(task) or self._records.read(task).created != result.created:
                self._records.write(task, result)
            self._finished(result)

    def _groups(self, tasks: list[Task]) -> list[list[Task]]:
        """Return the tasks in groups that are trained together on this device."""
        groups = []
        for members in alike(tasks):
            most = self._group_trainer.students_at_a_time(members[0], len(members))
            groups += [members[start : start + most] for start in range(0, len(members), most)]
        return groups

    def _run(self, group: list[Task], bar: tqdm, part: int | None = None) -> list[StudentResult]:
        """Train and test students together; where memory runs out, fewer of them, then fewer images at a time."""
        task, first = group[0], bar.n
        seeds = ", ".join(str(task.seed) for task in group)

        def attempt(part: int) -> list[StudentResult]:
            bar.n = first  # a failed attempt made no progress
            return self._train(group, part, bar)

        def halves() -> list[StudentResult]:
            bar.n, half = first, (len(group) + 1) // 2
            _logger.warning(f"{task.model} seeds {seeds}: out of memory; again with {half} students at a time")
            return [*self._run(group[:half], bar), *self._run(group[half:], bar)]

        return self._group_trainer.retried(attempt, group, part, halves if len(group) > 1 else None)

    def _train(self, group: list[Task], part: int, bar: tqdm) -> list[StudentResult]:
        """Train and test students together; the seed of each alone decides all of its random numbers."""
        start, task, device = time.perf_counter(), group[0], self._device
        every = 0 if task.searching else self._config.eval_every
        losses, curves, predictions = [], [[] for _ in group], []
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            training = self._group_trainer.training(group, part, self._group_trainer.compiler.compiles(task.model))
            seeds = ", ".join(dict.fromkeys(str(task.seed) for task in group))
            bar.set_description(f"{task.source} {task.model} seed {seeds}")
            for number, loss in enumerate(training.passes(), start=1):
                losses.append(loss.expand(len(group)))
                bar.update(len(group))
                if every and (number % every == 0 or number == task.protocol.passes):
                    for curve, (_, predicted) in zip(curves, self._group_trainer.test(group, training), strict=True):
                        curve.append([number, (predicted == task.test_set.labels).float().mean().item()])
            for member, (network, predicted) in zip(group, self._group_trainer.test(group, training), strict=True):
                predictions.append(predicted)
                if member.weights is not None and (self._main or not self._group_trainer.as_team):
                    save_weights(network, member.weights)
        seconds = (time.perf_counter() - start) / len(group)
        measured = zip(group, predictions, torch.stack(losses, dim=1).tolist(), curves, strict=True)
        return [
            self._result(
                member,
                predicted,
                losses=finite_or_none(own),
                curve=curve,
                images_at_a_time=part,
                students_at_a_time=len(group),
                seconds=round(seconds, 3),
            )
            for member, predicted, own, curve in measured
        ]

    def _result(self, task: Task, predicted: torch.Tensor, **measured: object) -> StudentResult:
        """Return the record of a student; `measured` are the fields that its training gives."""
        labels, given = task.test_set.labels, task.training_set
        correct = torch.bincount(labels[predicted == labels], minlength=NUM_CLASSES)
        return StudentResult(
            schema_version=SCHEMA_VERSION,
            config_name=self._inputs.subset.name,
            source=task.source,
            labels=task.protocol.labels,
            augmented=task.protocol.augmented,
            teacher=task.taught_by,
            model=task.model,
            seed=task.seed,
            tested_on="held-out training images" if task.searching else "validation",
            accuracy=correct.sum().item() / len(labels),
            correct=correct.tolist(),
            total=torch.bincount(labels, minlength=NUM_CLASSES).tolist(),
            confusion=confusion_matrix(predicted.tolist(), labels.tolist(), NUM_CLASSES),
            predictions=join_labels(predicted),
            truth=join_labels(labels),
            lr=task.lr,
            lr_source=task.lr_source,
            label_kind=given.label_kind,
            images=len(given.images),
            images_seen=len(given.images) * task.protocol.passes,
            compiled=self._group_trainer.compiler.compiles(task.model),
            ipc=self._inputs.distilled.ipc,
            resolution=self._config.res,
            files=given.files,
            protocol=task.protocol.settings(),
            digests=task.digests,
            config=asdict(self._config),
            environment=self._environment,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            **measured,
        )


def alike(tasks: list[Task]) -> list[list[Task]]:
    """Return tasks that are the same but for images and seeds together."""
    found: dict[tuple, list[Task]] = {}
    for task in tasks:
        given = task.training_set
        shapes = given.images.shape, given.labels.shape, given.label_kind
        found.setdefault((task.model, task.protocol, task.lr, task.searching, shapes), []).append(task)
    return list(found.values())


def share(tasks: list[Task], processes: int) -> list[list[Task]]:
    """Share tasks out: the costliest first, each to the process that has least to do; the same everywhere."""
    shares: list[list[Task]] = [[] for _ in range(processes)]
    loads = [0.0] * processes
    for task in sorted(tasks, key=lambda task: -task.flops):
        least = loads.index(min(loads))
        shares[least].append(task)
        loads[least] += task.flops
    return shares
