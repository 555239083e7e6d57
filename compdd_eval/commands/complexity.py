"""Measure the complexity of images."""

from compdd_eval.config import ComplexityConfig

CONFIG = ComplexityConfig


def run(config: ComplexityConfig) -> None:
    """Score, write the tables and print the classes."""
    from compdd_eval.complexity.report import print_classes, print_distilled
    from compdd_eval.processes import make_accelerator

    accelerator = make_accelerator()
    if config.distilled is not None:
        from compdd_eval.complexity.distilled import score_distilled

        found = score_distilled(config, accelerator)
        if accelerator.is_main_process:
            print_distilled(config, found)
        return
    from compdd_eval.complexity.scoring import score

    rows = score(config, accelerator)
    if accelerator.is_main_process:
        print_classes(config, rows)
