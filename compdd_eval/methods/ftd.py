"""FTD: MTT on flat trajectories (Du et al., CVPR 2023)."""

import logging

import torch

from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.mtt import MTT_SETTINGS, MTT_SMOKE
from compdd_eval.methods.registry import register_method
from compdd_eval.methods.trajectory_matching import (
    COST,
    begin,
    experts_digest,
    experts_of,
    match_expert,
    student_images,
)

_logger = logging.getLogger(__name__)

# Those of MTT, on which it is built; the decay is that of the commands of its release.
FTD_SETTINGS = MTT_SETTINGS | {"ema_img": 0.9995}
FTD_SMOKE = MTT_SMOKE | {"ema_img": 0.9}  # remembers ten steps of those few


def begin_on_flat_trajectories(job: Job) -> Synthetic:
    """Begin as MTT does; warn of experts that are known not to be those of FTD."""
    if experts_of(job.config).flat is False:
        _logger.warning(
            f"{job.config.experts}: trained without --sam, so that this is MTT with averaged images, not FTD"
        )
    return begin(job)


@register_method(
    "ftd",
    title="MTT on flat trajectories, images averaged over the steps",
    paper="Du et al., CVPR 2023",
    cost=COST,
    needs="experts (--sam)",
    shared=True,
    bfloat16=True,
    begin=begin_on_flat_trajectories,
    compiles=student_images,
    inputs=experts_digest,
    experts={"sam": True},
    settings=FTD_SETTINGS,
    smoke=FTD_SMOKE,
)
def ftd(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Make a step of MTT; what is new lies before it and after it.

    1. Experts are trained to flat minima (`experts --sam`), so that errors of the student's start weigh less.
    2. The set is the moving average of the images, average = ema_img average + (1 - ema_img) images after every update,
       which starts from the first images; evaluations in between are of it, too.
    """
    return match_expert(job, synthetic, step)[0]
