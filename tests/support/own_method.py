"""A distillation method of one's own, as the README shows it: one file, one registered function."""

import torch

from compdd_eval import register_method


@register_method(
    "pixel-means",
    options=("weight",),  # --options '{"weight": 2}'
    settings={"steps": 50, "lr_img": 100.0, "batch_real": 64},  # flags that it takes, with their defaults
    smoke={"steps": 20},
)
def pixel_means(job, synthetic, step):
    """Pull the mean image of each class towards that of a real batch."""
    weight = (job.config.options or {}).get("weight", 1.0)
    loss = torch.zeros((), device=job.device)
    for label in job.real.classes:
        real = job.real.batch(label, job.config.batch_real, job.generator("real", step, label))
        gap = real.mean(dim=0) - synthetic.of_class(label).mean(dim=0)
        loss = loss + weight * gap.square().mean()
    loss.backward()
    return loss.detach()
