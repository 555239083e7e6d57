"""Trajectory matching: students on synthetic images go where experts on real images went (MTT, DATM).

Sources: MTT: Cazenavette et al., "Dataset Distillation by Matching Training Trajectories" (CVPR 2022); DATM: Guo et
al., "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching" (ICLR 2024).
"""

import functools

import torch
from torch import nn

from compdd_eval.baselines.expert_files import Experts, open_experts
from compdd_eval.baselines.job import Job, Synthetic
from compdd_eval.baselines.loop import SKIPPED
from compdd_eval.baselines.random_images import check_ipc
from compdd_eval.baselines.registry import ByIPC, register_method
from compdd_eval.baselines.trajectory import Distance, Student, StudentSteps
from compdd_eval.config import DSA_STRATEGY, DistillConfig
from compdd_eval.config.distill import CROP_PAD
from compdd_eval.errors import InputError
from compdd_eval.train import predict_logits

NEEDS = "experts"
COST = "two passes of second order over all student steps"

_STUDENTS = {
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

# The command of its code for ImageNet subsets at 128 px and IPC 1, where a batch is all images; 5,000 steps are the
# default of that code. From IPC 10 on a student step takes 20 images: our choice, which bounds its cost.
MTT_SETTINGS = _STUDENTS | {
    "steps": 5000,
    "lr_img": 1e3,
    "syn_steps": 20,
    "batch_syn": ByIPC({1: 1000, 10: 20}),
    "lr_lr": 1e-6,
}
DATM_SETTINGS = _STUDENTS | {
    "steps": 10_000,
    "lr_img": ByIPC({1: 1e4, 10: 1e3, 50: 1e2}),
    "batch_syn": ByIPC({1: 1000, 50: 200}),
    "max_start_epoch": ByIPC({1: 10, 10: 20, 50: 40}),
    "first_max_start_epoch": ByIPC({1: 5, 10: 10, 50: 20}),
    "window_steps": 1000,
    "lr_label": ByIPC({1: 2.0, 10: 3.0, 50: 5.0}),
    "momentum_label": 0.9,
    "match_threshold": ByIPC({1: 1.7, 10: 2.0, 50: 1.0}),
}
# For experts of 20 epochs on 600 images at 32 px; a higher first rate blows the images up in the first steps.
MTT_SMOKE = {
    "steps": ByIPC({1: 60, 10: 40}),
    "lr_img": ByIPC({1: 5e3, 10: 1e4}),
    "syn_steps": 10,
    "expert_epochs": 4,
    "batch_syn": 20,
    "max_start_epoch": 10,
    "lr_student": ByIPC({1: 0.001, 10: 0.002}),
    "lr_lr": 1e-6,
}
DATM_SMOKE = MTT_SMOKE | {"first_max_start_epoch": 5, "window_steps": 20}


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


def match_expert(job: Job, synthetic: Synthetic, step: int, dropped: float = 0.0) -> tuple[torch.Tensor, bool]:
    """Train a student from a drawn epoch of a drawn expert and match what the expert became.

    Args:
        job: The distillation; where its settings have a `match_threshold`, nothing is learned above it, and
            `notes["skipped_steps"]` counts.
        synthetic: Images, labels and rate; gradients are added.
        step: Number of the step.
        dropped: As in `Distance`.

    Returns:
        This process's part of the distance, and whether gradients were added.
    """
    experts, student = experts_of(job.config), Student(job.network("student"))
    expert, start = draw_part(job, step)
    first, target = (
        student.flat(experts.parameters(expert, epoch)) for epoch in (start, start + job.config.expert_epochs)
    )
    most = job.config.match_threshold
    if most is not None:
        job.notes.setdefault(SKIPPED, 0)
    steps = StudentSteps(job, synthetic, student, step)
    distance, matched = steps.match(Distance(first, target, dropped), most)
    if not matched:
        job.notes[SKIPPED] += 1
    return distance / job.processes, matched


def trained_expert(job: Job, *purpose: object) -> nn.Module:
    """Return a drawn expert's network after its last epoch, on the device of the job.

    Args:
        job: The distillation.
        *purpose: What the draw is for, such as `("maps", step)`.
    """
    experts, network = experts_of(job.config), job.network("student")
    drawn = int(torch.randint(experts.count, (1,), generator=job.generator("expert", *purpose)))
    vector = Student(network).flat(experts.parameters(drawn, experts.epochs))
    nn.utils.vector_to_parameters(vector, network.parameters())
    return network


def begin(job: Job) -> Synthetic:
    """Begin as `Synthetic.begin` does, where experts and network can be used.

    Raises:
        InputError: The experts are of other images, or the network has state besides its parameters.
    """
    experts_of(job.config).check_images(job.real.digest)
    Student(job.network("student"))
    return Synthetic.begin(job)


def begin_with_soft_labels(job: Job) -> Synthetic:
    """Begin with real images that a trained expert classifies correctly, and its logits as labels.

    Where a class has too few of these, those of the highest probability of the class fill up; `job.notes["filled_up"]`
    is their number. With `init` "noise", noise takes the place of the images.

    Raises:
        InputError: A class has fewer training images than the IPC; or as from `begin`.
    """
    config, real = job.config, job.real
    experts_of(config).check_images(real.digest)
    check_ipc(real.labels, config.ipc, real.classes)
    logits = predict_logits(trained_expert(job, "begin"), real.images)
    places: list[int] = []
    filled = 0
    for label in real.classes:
        found, wrong = _recognised(real.places(label), logits, label, job.generator("begin", label))
        places += (found + wrong)[: config.ipc]
        filled += max(0, config.ipc - len(found))
    job.notes["filled_up"] = filled
    images, classes = real.at(places), real.labels[places].to(job.device)
    if config.init == "noise":
        images = torch.randn(images.shape, generator=job.generator("init")).to(job.device)
    return Synthetic(images, logits[places].to(job.device), classes, config.lr_student)


def _recognised(
    members: torch.Tensor, logits: torch.Tensor, label: int, generator: torch.Generator
) -> tuple[list[int], list[int]]:
    """Return the images of a class that are classified correctly, in random order, and the others, surest first."""
    members = members[torch.randperm(len(members), generator=generator)]
    right = logits[members].argmax(dim=1) == label
    wrong = members[~right]
    sure = logits[wrong].softmax(dim=1)[:, label]
    return members[right].tolist(), wrong[sure.argsort(descending=True, stable=True)].tolist()


@register_method(
    "mtt",
    title="matching training trajectories",
    paper="Cazenavette et al., CVPR 2022",
    cost=COST,
    needs=NEEDS,
    shared=True,
    begin=begin,
    inputs=experts_digest,
    settings=MTT_SETTINGS,
    smoke=MTT_SMOKE,
)
def mtt(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Match one part of an expert's trajectory; see `match_expert`."""
    return match_expert(job, synthetic, step)[0]


@register_method(
    "datm",
    title="MTT with growing difficulty, soft labels",
    paper="Guo et al., ICLR 2024",
    cost=COST,
    needs=NEEDS,
    shared=True,
    begin=begin_with_soft_labels,
    inputs=experts_digest,
    settings=DATM_SETTINGS,
    smoke=DATM_SMOKE,
)
def datm(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Match one part of an expert's trajectory from a window that grows; see `match_expert`."""
    return match_expert(job, synthetic, step)[0]
