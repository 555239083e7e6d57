"""Train and test students: shared out over the processes by cost, or each on all processes."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from tqdm import tqdm

from compdd_eval.config.checks import AUTO
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.evaluation.plan import EvaluationInputs, Task, Teacher
from compdd_eval.evaluation.student_weights import collect_weights, is_done, save_weights
from compdd_eval.models.imagenet import IMAGENET_CLASSES, OfImageNet
from compdd_eval.models.layers import has_batch_norm
from compdd_eval.models.registry import create_model, is_listed
from compdd_eval.results.aggregate import join_labels
from compdd_eval.results.statistics import confusion_matrix
from compdd_eval.results.student_result import (
    SCHEMA_VERSION,
    StudentResult,
    finite_or_none,
    read_student,
    weights_path,
    write_student,
)
from compdd_eval.training import compiling
from compdd_eval.training.compiling import Compiler
from compdd_eval.training.memory import images_at_a_time, students_at_a_time
from compdd_eval.training.predict import predict
from compdd_eval.training.retry import train_with_retries
from compdd_eval.training.stack import Stack, can_be_stacked
from compdd_eval.training.train import GradientSync, StudentBatches, Training
from compdd_eval.utils.devices import peak_memory
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import on_main_process

_logger = logging.getLogger(__name__)
T = TypeVar("T")
_WARM_UP = {False: 1, True: 4}  # steps that are not timed, on a CPU and on a GPU, which records its graphs in the third
_TIMED = 2
_APART = 2**32  # between the seeds of the processes of one student: further than seeds of students


@dataclass(frozen=True)
class Timing:
    """What was measured of a few steps.

    Attributes:
        students: How many were trained together.
        processes: How many share the students.
        compiled: Whether the steps were compiled.
        seconds_of_an_image: That one image takes in a student's training.
        seconds_of_a_test: Of one student.
        peak_bytes: As of `peak_memory`.
    """

    students: int
    processes: int
    compiled: bool
    seconds_of_an_image: float
    seconds_of_a_test: float
    peak_bytes: int


class StudentTrainer:
    """Trains students of a run; what they share lies on the device from one to the next.

    Args:
        inputs: The run.
        accelerator: Devices and processes.
        environment: Where the numbers are made.
        finished: Called with every new result, on the main process.
    """

    def __init__(
        self,
        inputs: EvaluationInputs,
        accelerator: Accelerator,
        environment: dict[str, object],
        finished: Callable[[StudentResult], None] = lambda student: None,
    ) -> None:
        self._inputs, self._accelerator, self._environment = inputs, accelerator, environment
        self._config, self._device, self._main = inputs.config, accelerator.device, accelerator.is_main_process
        self._size = (inputs.config.res, inputs.config.res)
        self._finished = finished
        self._as_team = inputs.config.parallel == "ddp" and accelerator.num_processes > 1
        self._compiler = Compiler(inputs.config.compile, accelerator.device, "students")
        self._made: set[Path] = set()  # results of this run, which --overwrite does not make twice
        self._warned: set[str] = set()  # networks of which it was said that they are trained one at a time
        self._resident: tuple[torch.Tensor, torch.Tensor] | None = None  # test images, and the same on the device

    def run(self, tasks: list[Task]) -> list[StudentResult]:
        """Train what has no result file yet; return all results in the order of the tasks, on every process.

        Every process must call this, with the same tasks.
        """
        pending = self._pending(tasks)
        self._choose_compiled(tasks)
        processes, rank = self._accelerator.num_processes, self._accelerator.process_index
        mine = pending if self._as_team else share(pending, processes)[rank]
        new: list[tuple[Path, StudentResult]] = []
        passes = sum(task.protocol.passes for task in mine)
        if self._main and any(self._compiler.compiles(task.model) for task in mine):
            _logger.info("students are compiled (--compile): the first pass of a network takes some seconds longer")
        with tqdm(total=passes, unit="pass", disable=not self._main or not mine) as bar:
            for group in self._groups(mine):
                for task, result in zip(group, self._run(group, bar), strict=True):
                    if self._main or not self._as_team:
                        if task.weights is None:  # those of an earlier training are not of this result
                            weights_path(task.path).unlink(missing_ok=True)
                        # at once, not at the end: a run that is stopped loses only the students in training
                        write_student(task.path, result)
                        new.append((task.path, result))
                    if self._main:
                        self._finished(result)
        self._collect(new)
        collect_weights(self._accelerator, pending)
        self._made |= {task.path for task in pending}
        return on_main_process(self._accelerator, lambda: [read_student(task.path) for task in tasks])

    def repeat(self, task: Task, students: int = 1, part: int | None = None) -> StudentResult:
        """Train one student once more, and write nothing.

        Args:
            task: The student.
            students: How many were trained together: it is trained beside copies of itself, since the last bits of a
                stack's sums depend on how many students there are, but not on who they are.
            part: Images of a student that went through the network at a time; None: what this device likes.
        """
        self._choose_compiled([task])
        with tqdm(total=students * task.protocol.passes, unit="pass", disable=not self._main) as bar:
            return self._run([task] * students, bar, part)[0]

    def time_steps(self, task: Task) -> Timing:
        """Train students as a task says, on their first batch alone, for a few steps, and write nothing."""
        warm_up = _WARM_UP[self._device.type == "cuda"]
        batch, given = task.protocol.batch_train, task.training_set
        protocol = replace(task.protocol, epoch_eval_train=warm_up + _TIMED)
        self._choose_compiled([task] * self._config.num_eval)
        first = replace(given, images=given.images[:batch], labels=given.labels[:batch])
        group = [replace(task, training_set=first, protocol=protocol)] * self._students_at_a_time(task)
        group = group[: self._config.num_eval]

        def attempt(part: int) -> tuple[float, float]:
            training = self._training(group, part)
            passes = training.passes()
            for _ in range(warm_up):
                next(passes).tolist()  # waits for a GPU
            start = time.perf_counter()
            for _ in range(_TIMED):
                next(passes).tolist()
            trained = time.perf_counter()
            next(self._test(group, training))
            return trained - start, time.perf_counter() - trained

        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            training, testing = self._retried(attempt, group)
        return Timing(
            students=len(group),
            processes=self._accelerator.num_processes,
            compiled=self._compiler.compiles(task.model),
            seconds_of_an_image=training / (_TIMED * len(group) * len(first.images)),
            seconds_of_a_test=testing,
            peak_bytes=peak_memory(self._device),
        )

    def _pending(self, tasks: list[Task]) -> list[Task]:
        """Return the tasks without a result; the main process looks, so that all agree."""

        def is_pending(task: Task) -> bool:
            return task.path not in self._made and (self._config.overwrite or not is_done(task))

        pending = on_main_process(self._accelerator, lambda: [is_pending(task) for task in tasks])
        # conditions may share a student, so a path may be there twice
        unique = {task.path: task for task, needed in zip(tasks, pending, strict=True) if needed}
        return list(unique.values())

    def _collect(self, new: list[tuple[Path, StudentResult]]) -> None:
        """Let the main process have what the others made, and write it where their disk is another."""
        if self._accelerator.num_processes == 1:
            return
        own = {path for path, _ in new}
        for path, result in gather_object(new):
            if not self._main:
                continue
            if not path.exists():
                write_student(path, result)
            if path not in own:
                self._finished(result)

    def _choose_compiled(self, tasks: list[Task]) -> None:
        """Decide which networks are compiled, by the work of all their students, finished ones, too."""
        work: dict[str, tuple[int, int]] = {}
        for task in tasks:
            flops, steps = work.get(task.model, (0, 0))
            work[task.model] = flops + task.flops, steps + task.steps
        self._compiler.choose(work)

    def _groups(self, tasks: list[Task]) -> list[list[Task]]:
        """Return the tasks in groups that are trained together on this device: alike but for images and seeds."""
        alike: dict[tuple, list[Task]] = {}
        for task in tasks:
            given = task.training_set
            shapes = given.images.shape, given.labels.shape, given.label_kind
            alike.setdefault((task.model, task.protocol, task.lr, task.searching, shapes), []).append(task)
        groups = []
        for members in alike.values():
            most = self._students_at_a_time(members[0])
            groups += [members[start : start + most] for start in range(0, len(members), most)]
        return groups

    def _students_at_a_time(self, task: Task) -> int:
        asked = self._config.students_per_device
        number = students_at_a_time(asked, task.training_set.images, task.protocol.batch_train, self._device)
        if number == 1 or self._as_team:
            return 1
        stackable = is_listed(task.model) and can_be_stacked(self._without_weights(task.model))
        if not stackable and asked != AUTO and task.model not in self._warned:
            self._warned.add(task.model)
            why = "they hold more than weights" if is_listed(task.model) else "it is another library's or your own"
            _logger.warning(f"{task.model}: its students are trained one at a time, since {why}")
        return number if stackable else 1

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

        return self._retried(attempt, group, part, halves if len(group) > 1 else None)

    def _retried(
        self,
        attempt: Callable[[int], T],
        group: list[Task],
        part: int | None = None,
        fewer_students: Callable[[], T] | None = None,
    ) -> T:
        """Return what an attempt gives, which takes the number of images at a time."""
        task, seeds = group[0], ", ".join(str(task.seed) for task in group)
        images, batch = task.training_set.images, task.protocol.batch_train
        return train_with_retries(
            attempt,
            part or images_at_a_time(self._without_weights(task.model), images, batch, self._device, len(group)),
            who=f"{task.model} seed {seeds}",
            network=task.model,
            res=self._config.res,
            compiler=self._compiler,
            device=self._device,
            shared=self._as_team,
            fewer_students=fewer_students,
        )

    def _train(self, group: list[Task], part: int, bar: tqdm) -> list[StudentResult]:
        """Train and test students together; the seed of each alone decides all of its random numbers."""
        start, task, device = time.perf_counter(), group[0], self._device
        every = 0 if task.searching else self._config.eval_every
        losses, curves, predictions = [], [[] for _ in group], []
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            training = self._training(group, part)
            seeds = ", ".join(dict.fromkeys(str(task.seed) for task in group))
            bar.set_description(f"{task.source} {task.model} seed {seeds}")
            for number, loss in enumerate(training.passes(), start=1):
                losses.append(loss.expand(len(group)))
                bar.update(len(group))
                if every and (number % every == 0 or number == task.protocol.passes):
                    for curve, (_, predicted) in zip(curves, self._test(group, training), strict=True):
                        curve.append([number, (predicted == task.test_set.labels).float().mean().item()])
            for member, (network, predicted) in zip(group, self._test(group, training), strict=True):
                predictions.append(predicted)
                if member.weights is not None and (self._main or not self._as_team):
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

    def _training(self, group: list[Task], part: int) -> Training:
        task = group[0]
        teacher = None
        networks = []
        for member in group:
            torch.manual_seed(member.seed)
            networks.append(self._on_device(member.model))
        if self._as_team:  # each process has other images in hand, for which dropout has to draw anew
            torch.manual_seed(task.seed + self._accelerator.process_index * _APART)
        network = networks[0] if len(group) == 1 else Stack(networks)
        if task.protocol.labels == "soft+kd":
            teacher = teacher_network(task.teacher, self._config.res).to(self._device)
        return Training(
            compiling.in_place(network, task.model, len(group), self._config.res),
            [
                StudentBatches(given.images, given.labels, given.label_kind, member.protocol, member.seed, teacher)
                for member, given in ((member, member.training_set) for member in group)
            ],
            task.lr,
            task.protocol,
            part=part,
            sync=GradientSync(self._accelerator) if self._as_team else None,
            precision=self._config.precision,
            compiled=self._compiler.compiles(task.model),
        )

    def _test(self, group: list[Task], training: Training) -> Iterator[tuple[nn.Module, torch.Tensor]]:
        """Test each student; yield its network, which the next one takes over, and its predictions."""
        tested, images = training.tested, group[0].test_set.images
        if self._resident is None or self._resident[0] is not images:
            self._resident = images, images.to(self._device)
        spare = self._on_device(group[0].model) if len(group) > 1 else None
        for position in range(len(group)):
            network = tested if spare is None else tested.copy_to(position, spare)
            yield network, predict(network, self._resident[1])

    def _without_weights(self, name: str) -> nn.Module:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return create_model(name, NUM_CLASSES, self._size)

    def _on_device(self, name: str) -> nn.Module:
        model = create_model(name, NUM_CLASSES, self._size).to(self._device)
        if self._as_team and has_batch_norm(model):
            if self._device.type != "cuda":
                raise InputError(f"--parallel ddp: {name} has batch norm, which CPU processes cannot share")
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return model

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
            teacher=task.teacher.record() if task.teacher else None,
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
            compiled=self._compiler.compiles(task.model),
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


def share(tasks: list[Task], processes: int) -> list[list[Task]]:
    """Share tasks out: the costliest first, each to the process that has least to do; the same everywhere."""
    shares: list[list[Task]] = [[] for _ in range(processes)]
    loads = [0.0] * processes
    for task in sorted(tasks, key=lambda task: -task.flops):
        least = loads.index(min(loads))
        shares[least].append(task)
        loads[least] += task.flops
    return shares


def teacher_network(teacher: Teacher, res: int) -> nn.Module:
    """Return a teacher in eval mode, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        network = create_model(teacher.name, IMAGENET_CLASSES if teacher.classes else NUM_CLASSES, (res, res))
    network.load_state_dict(teacher.weights)
    if teacher.classes:
        network = OfImageNet(network, teacher.classes, NUM_CLASSES, teacher.statistics)
    return network.eval().requires_grad_(False)
