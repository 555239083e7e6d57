"""Measure the complexity of images."""

from compdd_eval.config import ComplexityConfig

CONFIG = ComplexityConfig


def run(config: ComplexityConfig) -> None:
    """Score, write the tables and print the classes."""
    from compdd_eval.complexity.report import print_classes, print_distilled
    from compdd_eval.console import free_stdout
    from compdd_eval.processes import make_accelerator

    if config.distilled is not None:
        from compdd_eval.complexity.distilled import score_distilled as measure

        show = print_distilled
    else:
        from compdd_eval.complexity.scoring import score as measure

        show = print_classes
    with free_stdout(config.json):
        accelerator = make_accelerator()
        rows = measure(config, accelerator)
    if accelerator.is_main_process:
        show(config, rows)
