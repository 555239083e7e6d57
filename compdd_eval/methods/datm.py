"""DATM: difficulty-aligned trajectory matching (Guo et al., ICLR 2024)."""

import torch

from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.mtt import MTT_SMOKE
from compdd_eval.methods.registry import ByIPC, register_method
from compdd_eval.methods.trajectory_matching import (
    COST,
    NEEDS,
    STUDENTS,
    begin_with_soft_labels,
    experts_digest,
    match_expert,
    student_images,
)

# The configurations of the release of EDF for its six subsets, by images per class: those of bird-easy, then what is
# other in the rest. `first_max_start_epoch` and `max_start_epoch` are T and T+ of the paper of DATM.
DATM_SETTINGS = STUDENTS | {
    "steps": 10_000,
    "lr_img": ByIPC({1: 1e4, 10: 1e3, 50: 1e2}),
    "batch_syn": ByIPC({1: 1000, 10: 200, 50: 200}, {"dog-easy": {10: 250}}),
    "max_start_epoch": ByIPC({1: 10, 10: 20, 50: 40}),
    "first_max_start_epoch": ByIPC({1: 5, 10: 10, 50: 20}),
    "window_steps": ByIPC(
        {1: 1000}, dict.fromkeys(("bird-hard", "car-easy", "car-hard", "dog-easy", "dog-hard"), {50: 2000})
    ),
    "lr_label": ByIPC(
        {1: 2.0, 10: 3.0, 50: 5.0},
        {"car-easy": {1: 3.0}, "car-hard": {1: 3.0}, "dog-easy": {10: 5.0}, "dog-hard": {10: 2.0}},
    ),
    "momentum_label": 0.9,
    "match_threshold": ByIPC(
        {1: 1.7, 10: 2.0, 50: 1.0},
        {
            "bird-hard": {1: 1.5},
            "car-easy": {1: 2.0},
            "car-hard": {1: 2.0, 50: 1.5},
            "dog-easy": {1: 2.0},
            "dog-hard": {1: 2.5},
        },
    ),
}
DATM_SMOKE = MTT_SMOKE | {"first_max_start_epoch": 5, "window_steps": 20}


@register_method(
    "datm",
    title="MTT with growing difficulty, soft labels",
    paper="Guo et al., ICLR 2024",
    cost=COST,
    needs=NEEDS,
    shared=True,
    bfloat16=True,
    begin=begin_with_soft_labels,
    compiles=student_images,
    inputs=experts_digest,
    experts={"sam": True},
    settings=DATM_SETTINGS,
    smoke=DATM_SMOKE,
)
def datm(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Make a step of MTT, with easy parts of the trajectories first and labels that are learned.

    1. Labels begin as the logits of an expert, for images that it classifies correctly (`begin_with_soft_labels`).
    2. The start epoch is drawn from a window whose end grows from `first_max_start_epoch` to `max_start_epoch`, one
       epoch after the other (`window_end`).
    3. Student steps and loss are those of MTT; its gradient moves the label logits, too.
    4. A step whose loss is above `match_threshold` changes nothing.
    """
    return match_expert(job, synthetic, step)[0]
