"""MTT: matching training trajectories (Cazenavette et al., CVPR 2022)."""

import torch

from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.registry import ByIPC, register_method
from compdd_eval.methods.trajectory_matching import (
    COST,
    NEEDS,
    STUDENTS,
    begin,
    experts_digest,
    match_expert,
    student_images,
)

# The command of its code for ImageNet subsets at 128 px and IPC 1, where a batch is all images; 5,000 steps are the
# default of that code. From IPC 10 on a student step takes 20 images: our choice, which bounds its cost.
MTT_SETTINGS = STUDENTS | {
    "steps": 5000,
    "lr_img": 1e3,
    "syn_steps": 20,
    "batch_syn": ByIPC({1: 1000, 10: 20}),
    "lr_lr": 1e-6,
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


@register_method(
    "mtt",
    title="matching training trajectories",
    paper="Cazenavette et al., CVPR 2022",
    cost=COST,
    needs=NEEDS,
    shared=True,
    bfloat16=True,
    begin=begin,
    compiles=student_images,
    inputs=experts_digest,
    settings=MTT_SETTINGS,
    smoke=MTT_SMOKE,
)
def mtt(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Make a step: a student on the synthetic images goes where an expert on the real images went (algorithm 1).

    1. Draw an expert and one of its epochs t below `max_start_epoch`; the student starts from its weights theta_t.
    2. The student makes `syn_steps` SGD steps on batches of the synthetic images, at the learned rate.
    3. The loss is |student - theta_{t+M}|^2 / |theta_t - theta_{t+M}|^2, with M `expert_epochs`.
    4. It is differentiated through all student steps, by the images and by the rate.

    1 is `draw_part`, 2 to 4 are `compdd_eval.methods.student_steps`.
    """
    return match_expert(job, synthetic, step)[0]
