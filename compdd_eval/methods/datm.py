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
)

DATM_SETTINGS = STUDENTS | {
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
DATM_SMOKE = MTT_SMOKE | {"first_max_start_epoch": 5, "window_steps": 20}


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
