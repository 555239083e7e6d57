"""Random real images: what every method has to beat."""

from compdd_eval.distilled.random_images import draw_indices
from compdd_eval.methods.job import Job
from compdd_eval.methods.registry import register_method


@register_method("random", title="random real images", paper="", cost="none", selects=True)
def _random(job: Job) -> list[int]:
    return draw_indices(job.real.labels, job.config.ipc, job.config.seed)
