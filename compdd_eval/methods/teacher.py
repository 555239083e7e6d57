"""The teacher of the methods that have one."""

from torch import nn

from compdd_eval.config.distill import DistillConfig
from compdd_eval.config.many_sets import CONFIG_NAME
from compdd_eval.evaluation.plan import Teacher
from compdd_eval.evaluation.teachers import given_teacher
from compdd_eval.evaluation.train_group import teacher_network
from compdd_eval.methods.job import Job
from compdd_eval.models.imagenet import IMAGENET_CLASSES
from compdd_eval.utils.errors import InputError


def _given(config: DistillConfig) -> Teacher:
    return given_teacher(config.teacher, config.res, config.load_subset())


def teacher_digest(config: DistillConfig) -> str:
    """Return the digest of the teacher that --teacher names: of its weights, and of all else that decides its outputs.

    Raises:
        InputError: It names no weights; or as from `compdd_eval.evaluation.teachers.read_teacher`.
    """
    return _given(config).digest


def check_serves_all(config: DistillConfig) -> None:
    """Raise InputError where the teacher of many subsets has the outputs of one."""
    if _given(config).classes is None:
        expected = f"ImageNet's {IMAGENET_CLASSES} outputs for several subsets, or a name with {CONFIG_NAME}"
        raise InputError(f"--teacher {config.teacher}: has the outputs of one subset; expected {expected}")


def teacher_of(job: Job) -> nn.Module:
    """Return the teacher on the device of the job: `[N, 3, H, W]`, normalised, -> logits `[N, 10]`; in eval mode.

    What it is, is recorded in `job.notes["teacher"]`.
    """

    def make() -> nn.Module:
        teacher = _given(job.config)
        job.notes["teacher"] = {"name": teacher.name, "digest": teacher.digest}
        return teacher_network(teacher, job.config.res).to(job.device)

    return job.once("teacher", make)
