"""A distillation method of one's own: one file, one registered function.

    python -m compdd_eval distill pixel-means --plugin tests/support/own_method.py --category bird --subset easy

A step compares what it likes of real and synthetic images, calls `backward()`, and returns the loss; optimiser,
checkpoints, previews, evaluation and the final set are made around it. `settings` names the flags that it takes,
with their defaults; what has no flag is an entry of `--options`.
"""

import torch

from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.registry import register_method


@register_method(
    "pixel-means",
    title="mean pixels of each class",
    paper="an example",
    cost="one pass over a real batch, no network",
    options=("weight",),
    settings={"steps": 50, "lr_img": 100.0, "batch_real": 64},
    smoke={"steps": 20},
)
def pixel_means(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Pull the mean image of each class towards that of a real batch, which the seed and the step decide."""
    options = job.config.options or {}
    loss = torch.zeros((), device=job.device)
    for label in job.real.classes:
        real = job.real.batch(label, job.config.batch_real, job.generator("real", step, label))
        gap = real.mean(dim=0) - synthetic.of_class(label).mean(dim=0)
        loss = loss + options.get("weight", 1.0) * gap.square().mean()
    loss.backward()
    return loss.detach()
