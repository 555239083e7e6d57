"""Trajectory matching: students on synthetic images go where experts on real images went."""

import functools
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import nn

from compdd_eval.config.distill import CROP_PAD, DistillConfig
from compdd_eval.config.protocol import DSA_STRATEGY
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.distilled.random_images import check_ipc
from compdd_eval.methods.expert_files import Experts, open_experts
from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.learning_loop import SKIPPED
from compdd_eval.methods.student_steps import Student, StudentSteps, draw_batches
from compdd_eval.training.predict import predict_logits
from compdd_eval.utils.devices import send
from compdd_eval.utils.errors import InputError

NEEDS = "experts"
COST = "two passes of second order over all student steps"
STUDENTS = {
    "experts": None,
    "syn_steps": 40,
    "expert_epochs": 2,
    "batch_syn": 1000,
    "min_start_epoch": 0,
    "max_start_epoch": 10,
    "momentum_img": 0.5,
    "lr_student": 0.01,
    "lr_lr": 1e-5,
    "momentum_lr": 0.5,
    "dsa": True,
    "dsa_strategy": DSA_STRATEGY,
    "crop_pad": CROP_PAD,
    "recompute": True,
}


@functools.lru_cache(maxsize=1)
def _opened(path: str, model: str, res: int) -> Experts:
    return open_experts(path, model, res)


def experts_of(config: DistillConfig) -> Experts:
    """Open the experts that a run matches; once, their files are not read at every step.

    Raises:
        InputError: As from `open_experts`, or they have fewer epochs than the settings ask for.
    """
    experts = _opened(config.experts, config.model, config.res)
    last = config.max_start_epoch - 1 + config.expert_epochs
    if last > experts.epochs:
        raise InputError(
            f"--max_start_epoch {config.max_start_epoch} and --expert_epochs {config.expert_epochs} need experts of "
            f"{last} epochs; those of {config.experts} have {experts.epochs}: lower one of both, or train longer ones"
        )
    if config.first_max_start_epoch is not None and config.first_max_start_epoch > config.max_start_epoch:
        raise InputError(
            f"--first_max_start_epoch {config.first_max_start_epoch}: expected at most --max_start_epoch, "
            f"{config.max_start_epoch}, to which it grows"
        )
    if config.min_start_epoch >= window_end(config, 0):
        raise InputError(
            f"--min_start_epoch {config.min_start_epoch}: expected an epoch below the end of the window of start "
            f"epochs, {window_end(config, 0)}; lower it, or raise --first_max_start_epoch or --max_start_epoch"
        )
    return experts


def experts_digest(config: DistillConfig) -> str:
    """Return the digest of the experts that a run matches, opened anew."""
    _opened.cache_clear()
    return experts_of(config).digest


def student_images(config: DistillConfig) -> float:
    """Return how many images pass a network forward and backward in a step, for the time that it takes.

    A student's step is made twice; its backward pass is differentiated, which costs three times as much as it does.
    """
    return 4 * config.syn_steps * min(config.batch_syn, NUM_CLASSES * config.ipc)


def window_end(config: DistillConfig, step: int) -> int:
    """Return the end of the window of start epochs at a step of the distillation; it is not drawn itself.

    DATM's "sequential generation": min(T+, T + int((T+ - T) step / S)), with T+ max_start_epoch, T
    first_max_start_epoch, S window_steps; MTT's window has its end from the beginning.
    """
    first, last = config.first_max_start_epoch, config.max_start_epoch
    if first is None:
        return last
    return min(last, first + (last - first) * step // config.window_steps)


def draw_part(job: Job, step: int) -> tuple[int, int]:
    """Draw an expert and a start epoch from the window, both from 0."""
    config, experts, generator = job.config, experts_of(job.config), job.generator("mtt", step)
    expert = torch.randint(experts.count, (1,), generator=generator)
    start = torch.randint(config.min_start_epoch, window_end(config, step), (1,), generator=generator)
    return int(expert), int(start)


class _ReadAhead:
    """Reads what a step needs of the experts while the step before is made, in a thread.

    It holds the parameters of two steps, each at two epochs: 10 MB of ConvNetD5; of a GPU's in pinned memory.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._part: tuple[int, ...] | None = None
        self._reading: Future | None = None

    def of(self, job: Job, step: int) -> list[torch.Tensor]:
        """Return an expert's parameters at the start of a step's part and at its end, float32 `[P]` on the CPU.

        Raises:
            InputError: As from `Experts.parameters`.
        """
        part = self._drawn(job, step)
        # a step may be made again, or after others than those that a run makes before it
        found = self._reading if part == self._part else self._begin(job, part)
        self._part = self._drawn(job, step + 1)
        self._reading = self._begin(job, self._part)
        return found.result()

    def _drawn(self, job: Job, step: int) -> tuple[int, ...]:
        expert, start = draw_part(job, step)
        return expert, start, start + job.config.expert_epochs

    def _begin(self, job: Job, part: tuple[int, ...]) -> Future:
        return self._thread.submit(_read_part, experts_of(job.config), part, job.device.type == "cuda")


def _read_part(experts: Experts, part: tuple[int, ...], pinned: bool) -> list[torch.Tensor]:
    expert, *epochs = part
    vectors = [torch.cat([tensor.flatten() for tensor in experts.parameters(expert, epoch)]) for epoch in epochs]
    return [vector.pin_memory() for vector in vectors] if pinned else vectors


def match_expert(job: Job, synthetic: Synthetic, step: int, dropped: float = 0.0) -> tuple[torch.Tensor, bool]:
    """Let a student on the synthetic images start from weights of a drawn expert and match what the expert became.

    Args:
        job: The distillation; where its settings have a `match_threshold`, nothing is learned above it, and
            `notes["skipped_steps"]` counts.
        synthetic: Images, labels and rate; gradients are added.
        step: Number of the step.
        dropped: As in `trajectory_distance`.

    Returns:
        This process's part of the distance, and whether gradients were added.
    """
    config, student = job.config, student_of(job)
    read = job.once("snapshots", _ReadAhead).of(job, step)
    first, target = (send(vector, job.device).to(synthetic.images.dtype) for vector in read)
    drawn = draw_batches(len(synthetic.images), config.batch_syn, config.syn_steps, job.generator("batch", step))
    steps = StudentSteps(
        student,
        synthetic.images,
        synthetic.labels,
        synthetic.lr,
        send(torch.cat(drawn), job.device).split([len(indices) for indices in drawn]),
        # each image by parameters of its own
        augment=lambda images, number: job.augment(images, job.generator("dsa", step, number), siamese=False),
        team=job,
        recompute=config.recompute,
        call=job.compiled_call,
    )
    if config.match_threshold is not None:
        job.notes.setdefault(SKIPPED, 0)
    distance, gradients = steps.match(first, target, dropped, config.match_threshold)
    for name, gradient in gradients.items():
        tensor = synthetic.learned()[name]
        tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient
    if not gradients:
        job.notes[SKIPPED] += 1
    return distance / job.processes, bool(gradients)


def student_of(job: Job) -> Student:
    """Return the network that all students of a distillation have, as a function of its parameters.

    Raises:
        InputError: It has state besides its parameters.
    """
    # one object for all steps: what is compiled is compiled for it
    return job.once("student", lambda: Student(job.network("student"), job.config.precision))


def trained_expert(job: Job, *purpose: object) -> nn.Module:
    """Return a drawn expert's network after its last epoch, on the device of the job.

    Args:
        job: The distillation.
        *purpose: What the draw is for, such as `("maps", step)`.
    """
    return _trained(
        job, int(torch.randint(experts_of(job.config).count, (1,), generator=job.generator("expert", *purpose)))
    )


def _trained(job: Job, number: int) -> nn.Module:
    """Return the network of an expert after its last epoch."""
    experts, network = experts_of(job.config), job.network("student")
    vector = Student(network).flat(experts.parameters(number, experts.epochs))
    nn.utils.vector_to_parameters(vector, network.parameters())
    return network


def begin(job: Job) -> Synthetic:
    """Begin as `Synthetic.begin` does, where experts and network can be used.

    Raises:
        InputError: The experts are of other images, or the network has state besides its parameters.
    """
    experts_of(job.config).check_images(job.real.digest)
    student_of(job)
    return Synthetic.begin(job)


def begin_with_soft_labels(job: Job) -> Synthetic:
    """Begin with real images that a drawn expert classifies correctly; their labels are `soft_labels_of_experts`.

    Where a class has too few of these, those of the highest probability of the class fill up; `job.notes["filled_up"]`
    is their number. With `init` "noise", noise takes the place of the images.

    Raises:
        InputError: A class has fewer training images than the IPC; or as from `begin`.
    """
    config, real = job.config, job.real
    experts = experts_of(config)
    experts.check_images(real.digest)
    check_ipc(real.labels, config.ipc, real.classes)
    logits = predict_logits(trained_expert(job, "begin"), real.images)
    indices: list[int] = []
    filled = 0
    for label in real.classes:
        found, wrong = _recognised(real.indices_of(label), logits, label, job.generator("begin", label))
        indices += (found + wrong)[: config.ipc]
        filled += max(0, config.ipc - len(found))
    job.notes["filled_up"] = filled
    images, classes = real.at(indices), real.labels[indices]
    labels = soft_labels_of_experts(
        torch.stack([predict_logits(_trained(job, number), images) for number in range(experts.count)]), classes
    )
    if config.init == "noise":
        images = torch.randn(images.shape, generator=job.generator("init")).to(job.device)
    return Synthetic(images, labels.to(job.device), classes.to(job.device), config.lr_student)


def soft_labels_of_experts(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the first soft labels of DATM and EDF: of each image the mean logits of the experts that are right.

    As in the releases of both (Guo et al., ICLR 2024; Wang et al., CVPR 2025). Of an image that all get wrong, which
    the releases never take, the mean of all.

    Args:
        logits: Of each expert for each image, float `[E, N, K]`.
        classes: Class of each image, int64 `[N]`.

    Returns:
        Logits, float `[N, K]`.
    """
    right = logits.argmax(dim=2) == classes
    counted = (right | ~right.any(dim=0))[..., None]
    return (logits * counted).sum(dim=0) / counted.sum(dim=0)


def _recognised(
    members: torch.Tensor, logits: torch.Tensor, label: int, generator: torch.Generator
) -> tuple[list[int], list[int]]:
    """Return the images of a class that are classified correctly, in random order, and the others, surest first."""
    members = members[torch.randperm(len(members), generator=generator)]
    right = logits[members].argmax(dim=1) == label
    wrong = members[~right]
    sure = logits[wrong].softmax(dim=1)[:, label]
    return members[right].tolist(), wrong[sure.argsort(descending=True, stable=True)].tolist()
