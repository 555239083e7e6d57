"""Teachers: networks trained on all training images, or read from a file, whose outputs are soft labels."""

from dataclasses import replace
from pathlib import Path

import torch

from compdd_eval.config import EvaluateConfig
from compdd_eval.distilled.content import digest_of_tensors
from compdd_eval.errors import InputError
from compdd_eval.evaluation.plan import (
    FULL,
    TEACHER_SEED,
    Condition,
    Material,
    Study,
    Task,
    Teacher,
    baseline_dir,
    make_task,
)
from compdd_eval.evaluation.students import teacher_network
from compdd_eval.train import predict, predict_logits
from compdd_eval.weights import digest_of_weights, read_weights


def parse_teacher(text: str) -> tuple[str, Path | None]:
    """Split `NAME` or `NAME=FILE`."""
    name, _, file = text.partition("=")
    return name, Path(file).expanduser() if file else None


def teacher_task(study: Study, materials: dict[str, Material]) -> Task:
    """Return the training of a teacher that has no file."""
    name, _ = parse_teacher(study.config.teacher)
    rate = study.config.full_protocol.lr_net
    task = make_task(study, materials, None, FULL, Condition("hard"), name, TEACHER_SEED, rate, "recipe of a teacher")
    return replace(task, weights=_weights_file(study.config, task))


def _weights_file(config: EvaluateConfig, task: Task) -> Path:
    return baseline_dir(config) / "teachers" / f"{task.model.replace(':', '_')}-{task.digests['config']}.safetensors"


def load_teacher(study: Study, task: Task | None, accuracy: float | None) -> Teacher:
    """Read a teacher's weights and test it.

    Args:
        study: The run.
        task: How it was trained, where we did.
        accuracy: Its accuracy on the validation images, where it is known.

    Raises:
        InputError: The file cannot be read, or its weights are those of another network.
    """
    name, file = parse_teacher(study.config.teacher)
    weights = read_weights(file or task.weights, "--teacher takes NAME, or NAME=FILE with its weights")
    recipe = f"weights of {file}"
    if task is not None:
        protocol = task.protocol
        how = f"{protocol.optimizer}, rate {task.lr:g}, seed {task.seed}"
        recipe = f"{protocol.passes} passes over all training images, {how}"
    digest = digest_of_weights(weights)
    teacher = Teacher(name, str(file or task.weights), weights, digest, accuracy or 0.0, recipe)
    try:
        network = teacher_network(teacher, study.config.res)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{file}: not the weights of {name} at {study.config.res} px with 10 classes: {reason}"
        ) from error
    if accuracy is None:
        right = predict(network, study.validation.images) == study.validation.labels
        teacher = replace(teacher, accuracy=right.float().mean().item())
    return teacher


def soft_labelled(material: Material, teacher: Teacher, res: int, device: torch.device) -> Material:
    """Return images with a teacher's logits as labels."""
    logits = predict_logits(teacher_network(teacher, res).to(device), material.images)
    remark = f"soft labels by the teacher {teacher.name}"
    digest = digest_of_tensors(material.images, logits)
    return replace(material, labels=logits, label_kind="logits", digest=digest, remark=remark)
