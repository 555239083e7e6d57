"""Teachers: networks trained on all training images, or read from a file, whose outputs are soft labels."""

import hashlib
import json
import textwrap
from dataclasses import replace
from pathlib import Path

import torch

from compdd_eval.complexity.classifier import three_numbers
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.network_names import find_user_network, is_user_network
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.evaluation.plan import (
    TEACHER_SEED,
    Condition,
    EvaluationInputs,
    Planner,
    Task,
    Teacher,
    TrainingSet,
    baseline_dir,
)
from compdd_eval.evaluation.train_group import teacher_network
from compdd_eval.models.imagenet import IMAGENET_CLASSES, statistics_of
from compdd_eval.models.registry import create_model
from compdd_eval.results.student_result import FULL
from compdd_eval.training.predict import predict, predict_logits
from compdd_eval.training.weights import digest_of_weights, read_weights
from compdd_eval.utils.digests import digest_of_tensors
from compdd_eval.utils.errors import InputError

_IN_TRAINING = ("aux1.", "aux2.", "AuxLogits.")  # parts of torchvision's networks that only training uses


def teacher_task(inputs: EvaluationInputs, everything: TrainingSet) -> Task:
    """Return the training of a teacher that has no file, on all training images."""
    name = inputs.config.teacher_name
    rate = inputs.config.full_protocol.lr_net
    planner = Planner(inputs, {FULL: everything})
    task = planner.task(FULL, Condition("hard"), name, TEACHER_SEED, rate, "recipe of a teacher")
    return replace(task, weights=_weights_file(inputs.config, task))


def _weights_file(config: EvaluateConfig, task: Task) -> Path:
    return baseline_dir(config) / "teachers" / f"{task.model.replace(':', '_')}-{task.digests['config']}.safetensors"


def load_teacher(inputs: EvaluationInputs, task: Task | None, accuracy: float | None) -> Teacher:
    """Read a teacher's weights and test it; one with ImageNet's 1000 outputs is cut to the classes of the subset.

    Args:
        inputs: The run.
        task: How it was trained, where we did.
        accuracy: Its accuracy on the validation images, where it is known.

    Raises:
        InputError: The file cannot be read, or its weights are those of another network.
    """
    name = inputs.config.teacher_name
    file = inputs.config.teacher_file or task.weights
    weights = read_weights(file, "--teacher takes NAME, or NAME=FILE with its weights")
    weights, outputs = _fitting(file, name, inputs.config.res, weights)
    recipe = f"weights of {file}"
    if task is not None:
        protocol = task.protocol
        how = f"{protocol.optimizer}, rate {task.lr:g}, seed {task.seed}"
        recipe = f"{protocol.passes} passes over all training images, {how}"
    teacher = Teacher(name, str(file), weights, digest_of_weights(weights), accuracy or 0.0, recipe)
    if outputs == IMAGENET_CLASSES:
        teacher = _cut(teacher, inputs)
    if is_user_network(name):
        # its code, too, decides what it gives
        teacher = replace(teacher, digest=_joined(teacher.digest, find_user_network(name).digest))
    try:
        network = teacher_network(teacher, inputs.config.res)
    except RuntimeError as error:
        reason = textwrap.shorten(str(error), 160, placeholder=" ...")
        raise InputError(
            f"{file}: not the weights of {name} at {inputs.config.res} px with {outputs} classes: {reason}"
        ) from error
    if accuracy is None:
        right = predict(network, inputs.validation.images) == inputs.validation.labels
        teacher = replace(teacher, accuracy=right.float().mean().item())
    return teacher


def _fitting(file: Path, name: str, res: int, weights: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], int]:
    """Return the weights that a network uses, and how many outputs it has with them.

    Raises:
        InputError: It has neither the subset's outputs nor ImageNet's.
    """

    def shapes(outputs: int) -> dict[str, torch.Size]:
        with torch.device("meta"):
            return {key: value.shape for key, value in create_model(name, outputs, (res, res)).state_dict().items()}

    ours = shapes(NUM_CLASSES)
    weights = {key: value for key, value in weights.items() if key in ours or not key.startswith(_IN_TRAINING)}
    if all(key in weights and weights[key].shape == shape for key, shape in ours.items()):
        return weights, NUM_CLASSES
    # sides that change with the number of outputs are those of the last layer
    whole = shapes(IMAGENET_CLASSES)
    sides = [zip(ours[key], whole[key], weights[key].shape, strict=False) for key in ours if key in weights]
    outputs = {size for sizes in sides for our, of_imagenet, size in sizes if our != of_imagenet}
    if len(outputs) == 1 and not outputs & {NUM_CLASSES, IMAGENET_CLASSES}:
        raise InputError(
            f"{file}: {name} has {outputs.pop()} outputs there; expected {NUM_CLASSES}, one for each label, or "
            f"ImageNet's {IMAGENET_CLASSES}"
        )
    return weights, IMAGENET_CLASSES if outputs == {IMAGENET_CLASSES} else NUM_CLASSES


def _cut(teacher: Teacher, inputs: EvaluationInputs) -> Teacher:
    """Return a teacher with ImageNet's outputs as one of the subset's classes."""
    with torch.random.fork_rng(devices=[]):
        network = create_model(teacher.name, IMAGENET_CLASSES, (inputs.config.res,) * 2)
    named = zip(("mean", "std"), statistics_of(teacher.name, network), strict=True)
    statistics = tuple(three_numbers(what, value, teacher.name) for what, value in named)
    classes = inputs.subset.class_map_inv
    recipe = f"{teacher.recipe}, cut from ImageNet's {IMAGENET_CLASSES} outputs to the subset's {len(classes)}"
    if statistics != (IMAGENET_MEAN, IMAGENET_STD):
        recipe += ", on images normalised by mean {} and std {}".format(*statistics)
    digest = _joined(teacher.digest, sorted(classes.items()), statistics)
    return replace(teacher, digest=digest, recipe=recipe, classes=classes, statistics=statistics)


def _joined(*parts: object) -> str:
    """Return a SHA-256 over several things that JSON can hold."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def soft_labelled(training_set: TrainingSet, teacher: Teacher, res: int, device: torch.device) -> TrainingSet:
    """Return images with a teacher's logits as labels."""
    logits = predict_logits(teacher_network(teacher, res).to(device), training_set.images)
    remark = f"soft labels by the teacher {teacher.name}"
    digest = digest_of_tensors(training_set.images, logits)
    return replace(training_set, labels=logits, label_kind="logits", digest=digest, remark=remark)
