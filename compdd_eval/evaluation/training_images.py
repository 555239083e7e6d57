"""The training images of all students of a run: the set, random images, all images, under each kind of labels."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from compdd_eval.config.protocol import VIEWS
from compdd_eval.evaluation.image_sets import TrainingSet
from compdd_eval.evaluation.plan import Condition, EvaluationInputs, Teacher, sources, training_set_key
from compdd_eval.evaluation.real_images import RealImages
from compdd_eval.evaluation.teachers import soft_labelled
from compdd_eval.results.student_result import RANDOM, SET
from compdd_eval.utils.digests import digest_of_tensors
from compdd_eval.utils.errors import InputError


def make_training_sets(
    inputs: EvaluationInputs,
    real: RealImages,
    conditions: list[Condition],
    seeds: Sequence[int],
    teacher: Teacher | None,
    device: torch.device,
) -> dict[str, TrainingSet]:
    """Return what the students of all conditions train on, by `training_set_key`; random images for each seed."""
    exclude = real.held_out_indices() if inputs.held_out is not None else []
    images = {(SET, 0): TrainingSet.of(inputs.distilled, inputs.digest)}  # by source and seed
    if RANDOM in sources(inputs.config):
        images |= {(RANDOM, seed): real.drawn(inputs.distilled.ipc, seed, exclude) for seed in seeds}
    training_sets = {}
    for condition in conditions:
        for (source, seed), training_set in images.items():
            key = training_set_key(source, condition, seed)
            if key not in training_sets:
                training_sets[key] = labelled(inputs, training_set, source, condition.labels, teacher, device)
    return training_sets


def labelled(
    inputs: EvaluationInputs,
    training_set: TrainingSet,
    source: str,
    regime: str,
    teacher: Teacher | None,
    device: torch.device,
) -> TrainingSet:
    """Return images with the labels of a regime.

    Raises:
        InputError: Soft labels are asked for, and there is no teacher to give them.
    """
    if regime in ("given", "soft+kd"):  # with soft+kd, labels are made batch by batch
        return training_set
    if regime == VIEWS:
        views = inputs.distilled.view_labels
        return replace(
            training_set, views=views, remark=f"labels of views by the teacher {views.record.teacher['name']}"
        )
    if regime == "hard":
        return training_set if training_set.label_kind == "hard" else hard_labelled(inputs, training_set)
    if training_set.label_kind != "hard":
        return training_set
    if teacher is None:
        whose = "the set has hard labels" if source == SET else "random images have hard labels"
        raise InputError(f"soft labels are asked for, but {whose}; give --teacher NAME or NAME=FILE to label them")
    return soft_labelled(training_set, teacher, inputs.config.res, device)


def hard_labelled(inputs: EvaluationInputs, training_set: TrainingSet) -> TrainingSet:
    """Return soft-labelled images with hard labels: the class of their position, or else the label's peak.

    Sets are saved class after class or in turns; where neither agrees with most of the peaks, or the images are not as
    many of each class, positions say nothing and the peaks decide.
    """
    peaks, number = inputs.distilled.classes, len(training_set.images)
    present = sorted(inputs.subset.class_map.values())
    labels, remark = peaks, "hard labels by the peak of the soft ones"
    if number % len(present) == 0:
        classes = torch.tensor(present)
        orders = [classes.repeat_interleave(number // len(present)), classes.repeat(number // len(present))]
        # more than a half must agree: peaks of a good teacher err now and then, those of another order nearly always
        best = max(orders, key=lambda order: int((order == peaks).sum()))
        if int((best == peaks).sum()) > number // 2:
            labels, remark = best, "hard labels by the position of the images"
    digest = digest_of_tensors(training_set.images, labels)
    return replace(training_set, labels=labels, label_kind="hard", digest=digest, remark=remark)
