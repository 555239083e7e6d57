"""Train a group of alike students on this device: alone or together, compiled or not, as it is fastest."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import nn

from compdd_eval.config.checks import AUTO
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.evaluation.plan import Task, Teacher
from compdd_eval.evaluation.replay import ReplayedBatches
from compdd_eval.models.imagenet import IMAGENET_CLASSES, OfImageNet
from compdd_eval.models.layers import has_batch_norm
from compdd_eval.models.registry import create_model, is_listed
from compdd_eval.training import compiling, memory
from compdd_eval.training.compiling import Compiler, eager_seconds
from compdd_eval.training.memory import images_at_a_time
from compdd_eval.training.predict import predict
from compdd_eval.training.retry import train_with_retries
from compdd_eval.training.stack import Stack, can_be_stacked
from compdd_eval.training.train import GradientSync, StudentBatches, Training
from compdd_eval.utils.console import counted
from compdd_eval.utils.devices import peak_memory
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import on_main_process
from compdd_eval.utils.random_state import seed_of, seed_torch

T = TypeVar("T")
_logger = logging.getLogger(__name__)
_WARM_UP = {False: 1, True: 4}  # steps that are not timed, on a CPU and on a GPU, which records its graphs in the third
_TIMED = 2
_TIMING_PAYS = 60.0  # seconds of training, from which on it is worth the seconds of finding out how to train
_GAIN = 0.95  # of the time of half as many students together


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


class GroupTrainer:
    """Makes and trains the networks of a run; what they share lies on the device from one to the next.

    Args:
        config: Settings of the run.
        accelerator: Devices and processes.

    Attributes:
        as_team: Whether all processes train each student together.
        compiler: Knows which networks are compiled.
    """

    def __init__(self, config: EvaluateConfig, accelerator: Accelerator) -> None:
        self._config, self._accelerator, self._device = config, accelerator, accelerator.device
        self._size = (config.res, config.res)
        self.as_team = config.parallel == "ddp" and accelerator.num_processes > 1
        self.compiler = Compiler(config.compile, "students")
        self._eager: dict[str, float] = {}  # seconds of an image in eager mode, of networks that were timed
        self._together: dict[tuple, int] = {}  # students that are trained together, where that was timed
        self._warned: set[str] = set()  # networks of which it was said that they are trained one at a time
        self._resident: tuple[torch.Tensor, torch.Tensor] | None = None  # test images, and the same on the device

    def time_steps(self, task: Task) -> Timing:
        """Train students as a task says, on their first batch alone, for a few steps, and write nothing."""
        number = self._config.num_eval
        self.choose_compiled([task] * number)
        together = min(number, self.students_at_a_time(task, number))
        return self.timed(task, together, self.compiler.compiles(task.model))

    def timed(self, task: Task, together: int, compiled: bool) -> Timing:
        """Time a few steps, and a test, of some students of one task."""
        warm_up = _WARM_UP[self._device.type == "cuda"]
        batch, given = task.protocol.batch_train, task.training_set
        protocol = replace(task.protocol, epoch_eval_train=warm_up + _TIMED)
        # of views, which are of whole passes, only the number of steps would differ
        first = replace(given, images=given.images[:batch], labels=given.labels[:batch], views=None)
        group = [replace(task, training_set=first, protocol=protocol)] * together

        def attempt(part: int) -> tuple[float, float]:
            training = self.training(group, part, compiled)
            passes = training.passes()
            for _ in range(warm_up):
                next(passes).tolist()  # waits for a GPU
            start = time.perf_counter()
            for _ in range(_TIMED):
                next(passes).tolist()
            trained = time.perf_counter()
            next(self.test(group, training))
            return trained - start, time.perf_counter() - trained

        on_gpu = [self._device] if self._device.type == "cuda" else []
        for device in on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        with torch.random.fork_rng(devices=on_gpu):
            training, testing = self.retried(attempt, group)
        return Timing(
            students=together,
            processes=self._accelerator.num_processes,
            compiled=compiled,
            seconds_of_an_image=training / (_TIMED * together * len(first.images)),
            seconds_of_a_test=testing,
            peak_bytes=peak_memory(self._device),
        )

    def choose_compiled(self, tasks: list[Task]) -> None:
        """Decide which networks are compiled, by the work of all their students, finished ones, too."""
        models = dict.fromkeys(task.model for task in tasks)
        seconds = dict.fromkeys(models, 0.0)
        if self.compiler.by_time:
            own = [[task for task in tasks if task.model == model] for model in models]
            measured = on_main_process(self._accelerator, lambda: list(map(self._eager_seconds, own)))
            seconds = dict(zip(models, measured, strict=True))
        self.compiler.choose(seconds)

    def _eager_seconds(self, tasks: list[Task]) -> float:
        """Return the time of students of one network in eager mode: of a few steps on a GPU, on CPUs by arithmetic."""
        if self._device.type != "cuda" or self.as_team:  # the others would have to take part in the steps
            return eager_seconds(sum(task.flops for task in tasks), sum(task.steps for task in tasks), self._device)
        if tasks[0].model not in self._eager:
            self._eager[tasks[0].model] = self.timed(tasks[0], 1, compiled=False).seconds_of_an_image
        return self._eager[tasks[0].model] * sum(task.protocol.passes * len(task.training_set.images) for task in tasks)

    def students_at_a_time(self, task: Task, students: int) -> int:
        """Return how many of some alike students are trained together: as many as asked, or as measured."""
        asked = self._config.students_per_device
        if self.as_team or asked == 1 or (asked == AUTO and self._device.type != "cuda"):
            return 1
        stackable = is_listed(task.model) and can_be_stacked(self._without_weights(task.model))
        if not stackable and asked != AUTO and task.model not in self._warned:
            self._warned.add(task.model)
            why = "they hold more than weights" if is_listed(task.model) else "it is another library's or your own"
            _logger.warning(f"{task.model}: its students are trained one at a time, since {why}")
        if not stackable:
            return 1
        if asked != AUTO:
            return asked
        alike = (task.model, task.training_set.images.shape, task.protocol.batch_train, students)
        if alike not in self._together:
            self._together[alike] = self._fastest(task, students)
        return self._together[alike]

    def _fastest(self, task: Task, students: int) -> int:
        """Return with how many students together one takes least: measured, where they take long."""
        batch, given = task.protocol.batch_train, task.training_set
        estimate = memory.students_at_a_time(given.images, batch)
        alone = self.timed(task, 1, self.compiler.compiles(task.model)).seconds_of_an_image
        if alone * len(given.images) * task.protocol.passes * students < _TIMING_PAYS:
            return estimate
        best, together = alone, 1
        while 2 * together <= students:
            found = self.timed(task, 2 * together, self.compiler.compiles(task.model))
            # less by more than noise; two that did not fit into memory were timed in parts, which is no gain
            if found.seconds_of_an_image > _GAIN * best:
                break
            best, together = found.seconds_of_an_image, 2 * together
        compiling.forget_compiled()  # with the CUDA graphs of the other numbers, which keep their memory
        _logger.info(f"{task.model}: {counted(together, 'student')} at a time, as measured")
        return together

    def retried(
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
            compiler=self.compiler,
            device=self._device,
            shared=self.as_team,
            fewer_students=fewer_students,
        )

    def training(self, group: list[Task], part: int, compiled: bool) -> Training:
        """Make the networks of a group, by the seed of each, and what they train on."""
        task = group[0]
        teacher = None
        networks = []
        for member in group:
            seed_torch(self._device, member.seed)
            networks.append(self._on_device(member.model))
        if self.as_team:  # each process has other images in hand, for which dropout has to draw anew
            seed_torch(self._device, seed_of(task.seed, "process", self._accelerator.process_index))
        network = networks[0] if len(group) == 1 else Stack(networks)
        if task.protocol.labels == "soft+kd":
            teacher = teacher_network(task.teacher, self._config.res).to(self._device)
        return Training(
            compiling.in_place(network, task.model, len(group), self._config.res),
            [_batches(member, teacher) for member in group],
            task.lr,
            task.protocol,
            part=part,
            sync=GradientSync(self._accelerator) if self.as_team else None,
            precision=self._config.precision,
            compiled=compiled,
        )

    def test(self, group: list[Task], training: Training) -> Iterator[tuple[nn.Module, torch.Tensor]]:
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
        if self._config.fused_norm:
            from compdd_eval.models.fused_norm import fuse_norms  # needs Triton

            fuse_norms(model)
        if self.as_team and has_batch_norm(model):
            if self._device.type != "cuda":
                raise InputError(f"--parallel ddp: {name} has batch norm, which CPU processes cannot share")
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return model


def _batches(task: Task, teacher: nn.Module | None) -> StudentBatches:
    given = task.training_set
    if given.views is not None:
        return ReplayedBatches(given.images, given.views, task.protocol)
    return StudentBatches(given.images, given.labels, given.label_kind, task.protocol, task.seed, teacher)


def teacher_network(teacher: Teacher, res: int) -> nn.Module:
    """Return a teacher in eval mode, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        network = create_model(teacher.name, IMAGENET_CLASSES if teacher.classes else NUM_CLASSES, (res, res))
    network.load_state_dict(teacher.weights)
    if teacher.classes:
        network = OfImageNet(network, teacher.classes, NUM_CLASSES, teacher.statistics)
    return network.eval().requires_grad_(False)
