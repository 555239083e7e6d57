"""Train students on a distilled set and test them on real images."""

from compdd_eval.config import EvaluateConfig

CONFIG = EvaluateConfig


def run(config: EvaluateConfig) -> None:
    """Evaluate, or evaluate a grid; print the tables and write the results."""
    if config.grid is not None:
        from compdd_eval.grid import run_grid

        run_grid(config)
        return
    from compdd_eval.evaluation import evaluate

    evaluate(config)
