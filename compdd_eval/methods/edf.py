"""EDF: DATM that leaves out what matches anyway and lets the pixels that decide the class learn faster.

Source: Wang et al., "Emphasizing Discriminative Features for Dataset Distillation in Complex Scenarios" (CVPR 2025).
"""

import torch

from compdd_eval.config.distill import DistillConfig
from compdd_eval.methods.datm import DATM_SETTINGS, DATM_SMOKE
from compdd_eval.methods.edf_maps import EXPERT, activation_maps, enhancement_factors, map_classifier
from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.registry import ByIPC, register_method
from compdd_eval.methods.trajectory_matching import (
    COST,
    NEEDS,
    begin_with_soft_labels,
    experts_digest,
    match_expert,
    student_images,
)

_MAPS = "maps"  # in the memory of a job


def _inputs(config: DistillConfig) -> list[str]:
    """Return digests of the experts and of the classifier whose maps are taken."""
    found = [experts_digest(config)]
    if config.map_model != EXPERT:
        found.append(map_classifier(config.map_model, config.res, torch.device("cpu")).digest)
    return found


@register_method(
    "edf",
    title="DATM that emphasises discriminative features",
    paper="Wang et al., CVPR 2025",
    cost=COST,
    needs=f"{NEEDS}, TorchCAM",
    shared=True,
    bfloat16=True,
    begin=begin_with_soft_labels,
    compiles=student_images,
    inputs=_inputs,
    experts={"sam": True},
    settings=DATM_SETTINGS
    | {
        "loss_threshold": ByIPC({1: 0.0, 10: 0.25, 50: 0.375}, {"bird-hard": {50: 0.25}}),
        "interval": ByIPC({1: 50, 10: 100}),
        "beta": 1.0,
        "map_threshold": None,
        "map_model": "torchvision:resnet18",
    },
    # at 32 px the last layer of an ImageNet classifier has 1 x 1 values, whose map would say nothing
    smoke=DATM_SMOKE | {"interval": 25, "map_model": EXPERT},
)
def edf(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Make a step of DATM, with two changes.

    1. Common pattern dropout: the share `loss_threshold` of the parameters, those that match best, is left out of the
       loss.
    2. Discriminative area enhancement: every `interval` steps the images get class-activation maps; the gradient of a
       pixel is multiplied by `beta` + its activation where that is high, else by 1.

    Raises:
        InputError: As from `activation_maps`.
    """
    config = job.config
    if step % config.interval == 0 or _MAPS not in job.memory:
        job.memory[_MAPS] = activation_maps(job, synthetic, step)
    distance, matched = match_expert(job, synthetic, step, config.loss_threshold)
    if matched:
        # a process holds the gradients of its own share: they are multiplied before the sum, which changes nothing
        synthetic.images.grad *= enhancement_factors(job.memory[_MAPS], config.beta, config.map_threshold)
    return distance
