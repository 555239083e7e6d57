"""Teachers: networks trained on all training images, or read from a file, whose outputs are soft labels."""

import hashlib
import json
import textwrap
from dataclasses import replace
from pathlib import Path

import torch

from compdd_eval.complexity.classifier import three_numbers
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.network_names import (
    TEACHER_RECORD,
    TEACHER_WEIGHTS,
    network_name,
    pinned,
    split_teacher,
)
from compdd_eval.config.protocol import LATER_FIELDS, Protocol
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.evaluation.image_sets import TrainingSet
from compdd_eval.evaluation.plan import TEACHER_SEED, Condition, EvaluationInputs, Planner, Task, Teacher, baseline_dir
from compdd_eval.evaluation.train_group import teacher_network
from compdd_eval.models.imagenet import IMAGENET_CLASSES, statistics_of
from compdd_eval.models.registry import create_model, own_code
from compdd_eval.results.student_result import FULL
from compdd_eval.training.predict import accuracy, predict_logits
from compdd_eval.training.weights import digest_of_weights, read_weights
from compdd_eval.utils.digests import digest_of_tensors
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import read_json

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


def load_teacher(inputs: EvaluationInputs, task: Task | None, known: float | None) -> Teacher:
    """Read a teacher's weights and test it on the validation images.

    Args:
        inputs: The run.
        task: How it was trained, where we did.
        known: Its accuracy on the validation images, where it is known.

    Raises:
        InputError: As from `read_teacher`.
    """
    config = inputs.config
    file = config.teacher_file or task.weights
    teacher = read_teacher(config.teacher_name, file, config.res, inputs.subset)
    if task is not None:
        teacher = replace(teacher, recipe=trained_how(task.protocol, task.lr, task.seed))
    if known is None:
        tested = inputs.validation.images, inputs.validation.labels
        known = accuracy(teacher_network(teacher, config.res), tested)
    return replace(teacher, accuracy=known)


def given_teacher(given: str, res: int, subset: Subset) -> Teacher:
    """Read the teacher that a setting names; arguments as of `read_teacher`.

    Args:
        given: `NAME=FILE`.
        res: Side of the images that it will see, in pixels.
        subset: The subset.

    Raises:
        InputError: It has no file; or as from `read_teacher`.
    """
    name, file = split_teacher(given)
    if not file:
        raise InputError(
            f"--teacher {name}: is no folder that `teacher` made, and a name alone has no weights; give such a folder, "
            "or NAME=FILE"
        )
    return read_teacher(network_name(pinned(name)), Path(file).expanduser(), res, subset)


def read_teacher(name: str, file: Path, res: int, subset: Subset) -> Teacher:
    """Read a teacher's weights; one with ImageNet's 1000 outputs is cut to the classes of the subset.

    Args:
        name: Its network, as `create_model` takes it.
        file: Its weights; what `teacher` wrote beside them says what they are for.
        res: Side of the images that it will see, in pixels.
        subset: The subset.

    Raises:
        InputError: The file cannot be read, its weights are those of another network, or it was trained for another
            subset or resolution.
    """
    weights = read_weights(file, "--teacher takes a folder that `teacher` made, NAME, or NAME=FILE with its weights")
    recipe, accuracy = _recorded(file, weights, res, subset) or (f"weights of {file}", 0.0)
    weights, outputs = _fitting(file, name, res, weights)
    teacher = Teacher(name, str(file), weights, digest_of_weights(weights), accuracy, recipe)
    if outputs == IMAGENET_CLASSES:
        teacher = _cut(teacher, res, subset)
    if (code := own_code(name)) is not None:  # decides what it gives, too
        teacher = replace(teacher, digest=_joined(teacher.digest, code))
    try:
        teacher_network(teacher, res)
    except RuntimeError as error:
        reason = textwrap.shorten(str(error), 160, placeholder=" ...")
        raise InputError(f"{file}: not the weights of {name} at {res} px with {outputs} classes: {reason}") from error
    return teacher


def _recorded(file: Path, weights: dict[str, torch.Tensor], res: int, subset: Subset) -> tuple[str, float] | None:
    """Return recipe and accuracy of the record that `teacher` wrote beside weights, None where there is none.

    Raises:
        InputError: It says that they are for another subset or resolution, or is of other weights.
    """
    path = file.with_name(TEACHER_RECORD)
    if file.name != TEACHER_WEIGHTS or not path.exists():
        return None
    record = read_json(path)
    try:
        made_for, found = (record["subset"], record["res"]), record["weights_digest"]
        same = record["classes"] == subset.wnids and record["res"] == res
        protocol = Protocol(**{**LATER_FIELDS, **record["protocol"]})
        recipe, accuracy = trained_how(protocol, protocol.rate, record["seed"]), float(record["accuracy"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error!r}); train the teacher again with --overwrite") from error
    if not same:
        raise InputError(
            f"{file.parent}: a teacher of {made_for[0]} at {made_for[1]} px, expected one of {subset.name} at {res} "
            "px; train one with `python -m compdd_eval teacher`"
        )
    if found != digest_of_weights(weights):
        raise InputError(f"{path}: is the record of other weights than {file.name}; train the teacher again")
    return recipe, accuracy


def trained_how(protocol: Protocol, lr: float, seed: int) -> str:
    """Return the recipe of a teacher in words."""
    how = f"{protocol.optimizer}, rate {lr:g}, seed {seed}"
    return f"{protocol.passes} passes over all training images, {how}"


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


def _cut(teacher: Teacher, res: int, subset: Subset) -> Teacher:
    """Return a teacher with ImageNet's outputs as one of the subset's classes."""
    with torch.random.fork_rng(devices=[]):
        network = create_model(teacher.name, IMAGENET_CLASSES, (res, res))
    named = zip(("mean", "std"), statistics_of(teacher.name, network), strict=True)
    statistics = tuple(three_numbers(what, value, teacher.name) for what, value in named)
    classes = subset.class_map_inv
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
