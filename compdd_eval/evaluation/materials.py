"""The training images of all students of a run: the set, random images, all images, under each kind of labels."""

from dataclasses import replace

import torch

from compdd_eval.distilled.content import digest_of_tensors
from compdd_eval.errors import InputError
from compdd_eval.evaluation.plan import RANDOM, SET, Condition, Material, Study, Teacher, material_key, sources
from compdd_eval.evaluation.real import RealImages
from compdd_eval.evaluation.teachers import soft_labelled


def make_materials(
    study: Study,
    real: RealImages,
    conditions: list[Condition],
    seeds: list[int],
    teacher: Teacher | None,
    device: torch.device,
) -> dict[str, Material]:
    """Return what the students of all conditions train on, by `material_key`; random images for each seed."""
    exclude = real.held_out_places() if study.held_out is not None else []
    given = {"": Material.of(study.distilled)}
    if RANDOM in sources(study.config):
        given |= {f"/{seed}": real.drawn(study.distilled.ipc, seed, exclude) for seed in seeds}
    found = {}
    for condition in conditions:
        for place, material in given.items():
            source, seed = (SET, 0) if not place else (RANDOM, int(place[1:]))
            key = material_key(source, condition, seed)
            if key not in found:
                found[key] = labelled(study, material, source, condition.labels, teacher, device)
    return found


def labelled(
    study: Study, material: Material, source: str, regime: str, teacher: Teacher | None, device: torch.device
) -> Material:
    """Return images with the labels of a regime.

    Raises:
        InputError: Soft labels are asked for, and there is no teacher to give them.
    """
    if regime in ("given", "soft+kd"):
        return material
    if regime == "hard":
        return material if material.label_kind == "hard" else hard_labelled(study, material)
    if material.label_kind != "hard":
        return material
    if teacher is None:
        whose = "the set has hard labels" if source == SET else "random images have hard labels"
        raise InputError(f"soft labels are asked for, but {whose}; give --teacher NAME or NAME=FILE to label them")
    return soft_labelled(material, teacher, study.config.res, device)


def hard_labelled(study: Study, material: Material) -> Material:
    """Return soft-labelled images with hard labels: the class of their position, or else the label's peak.

    Sets are saved class after class or in turns; where neither agrees with most of the peaks, or the images are not as
    many of each class, positions say nothing and the peaks decide.
    """
    peaks, number = study.distilled.classes, len(material.images)
    present = sorted(study.subset.class_map.values())
    labels, remark = peaks, "hard labels by the peak of the soft ones"
    if number % len(present) == 0:
        classes = torch.tensor(present)
        orders = [classes.repeat_interleave(number // len(present)), classes.repeat(number // len(present))]
        best = max(orders, key=lambda order: int((order == peaks).sum()))
        if int((best == peaks).sum()) > number // 2:
            labels, remark = best, "hard labels by the position of the images"
    digest = digest_of_tensors(material.images, labels)
    return replace(material, labels=labels, label_kind="hard", digest=digest, remark=remark)
