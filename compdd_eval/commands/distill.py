"""Distil a subset into a few images."""

from compdd_eval.config import DistillConfig

CONFIG = DistillConfig
POSITIONAL = ("method",)


def run(config: DistillConfig) -> None:
    """Make the set and print what was made."""
    from compdd_eval.console import free_stdout, print_json
    from compdd_eval.distill import content_of, distill, print_distilled
    from compdd_eval.processes import make_accelerator

    with free_stdout(config.json):
        accelerator = make_accelerator()
        distilled = distill(config, accelerator)
    if not accelerator.is_main_process:
        return
    if config.json:
        print_json(content_of(config, distilled))
    else:
        print_distilled(config, distilled)
