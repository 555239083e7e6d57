"""Train and test students: shared out over the processes by cost, or each on all processes."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import nn
from tqdm import tqdm

from compdd_eval.config.checks import AUTO
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.evaluation.plan import EvaluationInputs, Task, Teacher, TrainingSet
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
from compdd_eval.training.compiling import compiling_failed, forget_compiled, pays_to_compile, without_compiling
from compdd_eval.training.memory import images_at_a_time, students_at_a_time
from compdd_eval.training.predict import predict
from compdd_eval.training.stack import Stack, can_be_stacked
from compdd_eval.training.train import GradientSync, StudentBatches, Training
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import on_main_process

_logger = logging.getLogger(__name__)
_BACKWARD = 3  # operations of forward and backward together, against forward alone


class StudentTrainer:
    """What all students of a run share.

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
        finished: Callable[[StudentResult], None],
    ) -> None:
        self.inputs, self.accelerator, self.environment = inputs, accelerator, environment
        self.training_sets: dict[str, TrainingSet] = {}
        self.teacher: Teacher | None = None
        self._finished = finished
        self._as_team = inputs.config.parallel == "ddp" and accelerator.num_processes > 1
        self._made: set[object] = set()
        self._compiled: set[str] = set()  # networks whose steps are compiled
        self._cannot_compile = False
        self._warned: set[str] = set()  # networks of which it was said that they are trained one at a time
        self._last: tuple[str, nn.Module] | None = None  # the last student that was trained alone, and its name
        self._kept: tuple[torch.Tensor, torch.Tensor] | None = None  # tested images, and the same on the device

    def run(self, tasks: list[Task]) -> list[StudentResult]:
        """Train what has no result file yet; return all results in the order of the tasks, on every process.

        Every process must call this, with the same tasks.
        """
        pending = self._pending(tasks)
        self._compiled = self._to_compile(tasks)
        mine = pending if self._as_team else share(pending, self.accelerator.num_processes)[self._rank]
        new = []
        passes = sum(task.protocol.passes for task in mine)
        main = self.accelerator.is_main_process
        if main and self._compiled & {task.model for task in mine}:
            _logger.info("students are compiled (--compile): the first pass of a network takes some seconds longer")
        with tqdm(total=passes, unit="pass", disable=not main or not mine) as bar:
            for group in self._groups(mine):
                for task, result in zip(group, self._run(group, bar), strict=True):
                    if main or not self._as_team:
                        if task.weights is None:  # those of an earlier training are not of this result
                            weights_path(task.path).unlink(missing_ok=True)
                        write_student(task.path, result)
                        new.append((task.path, result))
                    if main:
                        self._finished(result)
        self._collect(new)
        collect_weights(self.accelerator, pending)
        self._made |= {task.path for task in pending}
        return self._read(tasks)

    def _groups(self, tasks: list[Task]) -> list[list[Task]]:
        """Return the tasks in groups that are trained together on this device: alike but for images and seeds."""
        alike: dict[tuple, list[Task]] = {}
        for task in tasks:
            training_set = self.training_sets[task.training_set]
            shapes = training_set.images.shape, training_set.labels.shape, training_set.label_kind
            alike.setdefault((task.model, task.protocol, task.lr, task.searching, shapes), []).append(task)
        groups = []
        for members in alike.values():
            most = self._students_at_a_time(members[0])
            groups += [members[start : start + most] for start in range(0, len(members), most)]
        return groups

    def _students_at_a_time(self, task: Task) -> int:
        asked, device = self.inputs.config.students_per_device, self.accelerator.device
        images = self.training_sets[task.training_set].images
        number = students_at_a_time(asked, images, task.protocol.batch_train, device)
        if number == 1 or self._as_team:
            return 1
        stackable = is_listed(task.model) and can_be_stacked(self._blank(task.model))
        if not stackable and asked != AUTO and task.model not in self._warned:
            self._warned.add(task.model)
            why = "they hold more than weights" if is_listed(task.model) else "it is another library's or your own"
            _logger.warning(f"{task.model}: its students are trained one at a time, since {why}")
        return number if stackable else 1

    def _to_compile(self, tasks: list[Task]) -> set[str]:
        """Return the networks whose steps are compiled: where it pays for all their students, finished ones, too."""
        how, device = self.inputs.config.compile, self.accelerator.device
        if how == "never" or self._cannot_compile:
            return set()
        flops: dict[str, float] = {}
        steps: dict[str, int] = {}
        for task in tasks:
            batches = -(-len(self.training_sets[task.training_set].images) // task.protocol.batch_train)
            flops[task.model] = flops.get(task.model, 0) + _BACKWARD * task.cost
            steps[task.model] = steps.get(task.model, 0) + batches * task.protocol.passes
        return {model for model in flops if how == "always" or pays_to_compile(flops[model], steps[model], device)}

    @property
    def _rank(self) -> int:
        return self.accelerator.process_index

    def _pending(self, tasks: list[Task]) -> list[Task]:
        """Return the tasks without a result; the main process looks, so that all agree."""
        again = self.inputs.config.overwrite

        def look() -> list[bool]:
            return [task.path in self._made or (not again and is_done(task)) for task in tasks]

        done = on_main_process(self.accelerator, look)
        unique = {task.path: task for task, there in zip(tasks, done, strict=True) if not there}
        return list(unique.values())

    def _collect(self, new: list[tuple]) -> None:
        """Let the main process have what the others made, and write it where their disk is another."""
        if self.accelerator.num_processes == 1:
            return
        for path, result in gather_object(new):
            if not self.accelerator.is_main_process:
                continue
            if not path.exists():
                write_student(path, result)
            if path not in {mine for mine, _ in new}:
                self._finished(result)

    def _read(self, tasks: list[Task]) -> list[StudentResult]:
        return on_main_process(self.accelerator, lambda: [read_student(task.path) for task in tasks])

    def _run(self, group: list[Task], bar: tqdm) -> list[StudentResult]:
        """Train and test students together; where memory runs out, fewer of them, then fewer images at a time."""
        start, first, task = time.perf_counter(), bar.n, group[0]
        part = self._part(group)
        while True:
            try:
                outcomes = self._train(group, part, bar)
                break
            except Exception as error:
                bar.n = first
                if task.model in self._compiled and compiling_failed(error):
                    without_compiling(error, self.inputs.config.compile, "students")
                    self._compiled, self._cannot_compile = set(), True
                    continue
                if not should_reduce_batch_size(error) or self._as_team:
                    raise
                if len(group) == 1 and part == 1:
                    raise InputError(
                        f"{task.model} at {self.inputs.config.res} px: out of memory with one image at a time; give a "
                        "smaller network or another device"
                    ) from error
            if self.accelerator.device.type == "cuda":
                forget_compiled()
            clear_device_cache(garbage_collection=True)
            seeds = ", ".join(str(task.seed) for task in group)
            if len(group) > 1:
                half = (len(group) + 1) // 2
                _logger.warning(f"{task.model} seeds {seeds}: out of memory; again with {half} students at a time")
                return [*self._run(group[:half], bar), *self._run(group[half:], bar)]
            part = (part + 1) // 2
            _logger.warning(f"{task.model} seed {seeds}: out of memory; again with {part} images at a time")
        seconds = (time.perf_counter() - start) / len(group)
        return [
            self._result(task, outcome, part, len(group), seconds)
            for task, outcome in zip(group, outcomes, strict=True)
        ]

    def _part(self, group: list[Task]) -> int:
        """Return how many images of a student go through the network at a time, if there is memory for it."""
        images, batch = self.training_sets[group[0].training_set].images, group[0].protocol.batch_train
        network = self._blank(group[0].model)
        return images_at_a_time(network, images, batch, self.accelerator.device, len(group))

    def _blank(self, name: str) -> nn.Module:
        """Return a network without weights."""
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return create_model(name, NUM_CLASSES, (self.inputs.config.res,) * 2)

    def _train(self, group: list[Task], part: int, bar: tqdm) -> list[dict[str, object]]:
        """Return losses, learning curve and predictions of each; its seed alone decides all random numbers."""
        task, device = group[0], self.accelerator.device
        losses, curves = [], [[] for _ in group]
        every = 0 if task.searching else self.inputs.config.eval_every
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            students = self._students(group)
            training = Training(
                students,
                [self._feed(task) for task in group],
                task.lr,
                task.protocol,
                part=part,
                team=GradientSync(self.accelerator) if self._as_team else None,
                precision=self.inputs.config.precision,
                compiled=task.model in self._compiled,
            )
            seeds = ", ".join(dict.fromkeys(str(task.seed) for task in group))
            bar.set_description(f"{task.source} {task.model} seed {seeds}")
            for number, loss in enumerate(training.passes(), start=1):
                losses.append(loss.expand(len(group)))
                bar.update(len(group))
                if every and (number % every == 0 or number == task.protocol.passes):
                    for curve, (_, predicted) in zip(curves, self._tests(group, training), strict=True):
                        right = predicted == self._tested(task).labels
                        curve.append([number, right.float().mean().item()])
            predictions = []
            for member, (network, predicted) in zip(group, self._tests(group, training), strict=True):
                predictions.append(predicted)
                if member.weights is not None and (self.accelerator.is_main_process or not self._as_team):
                    save_weights(network, member.weights)
        losses = torch.stack(losses, dim=1).tolist()
        return [
            {"losses": own, "curve": curve, "predicted": predicted}
            for own, curve, predicted in zip(losses, curves, predictions, strict=True)
        ]

    def _students(self, group: list[Task]) -> nn.Module:
        """Return the one student, or the stack of students, with the weights of their seeds, on the device."""
        networks = []
        for task in group:
            torch.manual_seed(task.seed)
            networks.append(self._on_device(task.model))
        return self._in_place(group[0].model, networks[0]) if len(group) == 1 else Stack(networks)

    def _in_place(self, name: str, network: nn.Module) -> nn.Module:
        """Return a student that lies where the last one of its architecture lay: CUDA graphs are of that place."""
        if self._last is None or self._last[0] != name:
            self._last = name, network
        elif self._last[1] is not network:
            self._last[1].load_state_dict(network.state_dict())
        return self._last[1]

    def _feed(self, task: Task) -> StudentBatches:
        training_set = self.training_sets[task.training_set]
        teacher = self._teacher_network() if task.protocol.labels == "soft+kd" else None
        return StudentBatches(
            training_set.images, training_set.labels, training_set.label_kind, task.protocol, task.seed, teacher
        )

    def _tests(self, group: list[Task], training: Training) -> Iterator[tuple[nn.Module, torch.Tensor]]:
        """Test each student; yield its network, which the next one takes over, and its predictions."""
        tested = getattr(training.tested, "module", training.tested)  # of a moving average
        images = self._resident(self._tested(group[0]).images)
        spare = self._on_device(group[0].model) if len(group) > 1 else None
        for position in range(len(group)):
            network = tested if spare is None else tested.copy_to(position, spare)
            yield network, predict(network, images)

    def _resident(self, images: torch.Tensor) -> torch.Tensor:
        """Return tested images on the device, where they stay."""
        if self._kept is None or self._kept[0] is not images:
            self._kept = images, images.to(self.accelerator.device)
        return self._kept[1]

    def _on_device(self, name: str) -> nn.Module:
        size = (self.inputs.config.res, self.inputs.config.res)
        model = create_model(name, NUM_CLASSES, size).to(self.accelerator.device)
        if self._as_team and has_batch_norm(model):
            if self.accelerator.device.type != "cuda":
                raise InputError(f"--parallel ddp: {name} has batch norm, which CPU processes cannot share")
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return model

    def _teacher_network(self) -> nn.Module:
        return teacher_network(self.teacher, self.inputs.config.res).to(self.accelerator.device)

    def _tested(self, task: Task) -> object:
        return self.inputs.held_out if task.searching else self.inputs.validation

    def _result(self, task: Task, outcome: dict, part: int, together: int, seconds: float) -> StudentResult:
        config, training_set, tested = self.inputs.config, self.training_sets[task.training_set], self._tested(task)
        predicted = outcome["predicted"]
        correct = torch.bincount(tested.labels[predicted == tested.labels], minlength=NUM_CLASSES)
        return StudentResult(
            schema_version=SCHEMA_VERSION,
            config_name=self.inputs.subset.name,
            source=task.source,
            labels=task.protocol.labels,
            augmented=task.protocol.augmented,
            teacher=self.teacher.record() if self.teacher and _uses_teacher(task, training_set) else None,
            model=task.model,
            seed=task.seed,
            tested_on="held-out training images" if task.searching else "validation",
            accuracy=correct.sum().item() / len(tested.labels),
            correct=correct.tolist(),
            total=torch.bincount(tested.labels, minlength=NUM_CLASSES).tolist(),
            confusion=confusion_matrix(predicted.tolist(), tested.labels.tolist(), NUM_CLASSES),
            predictions=join_labels(predicted),
            truth=join_labels(tested.labels),
            losses=finite_or_none(outcome["losses"]),
            curve=outcome["curve"],
            lr=task.lr,
            lr_source=task.lr_source,
            label_kind=training_set.label_kind,
            images=len(training_set.images),
            images_seen=len(training_set.images) * task.protocol.passes,
            images_at_a_time=part,
            students_at_a_time=together,
            compiled=task.model in self._compiled,
            ipc=self.inputs.distilled.ipc,
            resolution=config.res,
            files=training_set.files,
            protocol=task.protocol.settings(),
            digests=task.digests,
            config=asdict(config),
            environment=self.environment,
            seconds=round(seconds, 3),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def share(tasks: list[Task], processes: int) -> list[list[Task]]:
    """Share tasks out: the costliest first, each to the process that has least to do; the same everywhere."""
    shares: list[list[Task]] = [[] for _ in range(processes)]
    loads = [0.0] * processes
    for task in sorted(tasks, key=lambda task: -task.cost):
        least = loads.index(min(loads))
        shares[least].append(task)
        loads[least] += task.cost
    return shares


def teacher_network(teacher: Teacher, res: int) -> nn.Module:
    """Return a teacher in eval mode, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        network = create_model(teacher.name, IMAGENET_CLASSES if teacher.classes else NUM_CLASSES, (res, res))
    network.load_state_dict(teacher.weights)
    if teacher.classes:
        network = OfImageNet(network, teacher.classes, NUM_CLASSES, teacher.statistics)
    return network.eval().requires_grad_(False)


def _uses_teacher(task: Task, training_set: TrainingSet) -> bool:
    return task.protocol.labels == "soft+kd" or "teacher" in training_set.remark
