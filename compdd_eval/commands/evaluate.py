"""Train students on a distilled set and test them on real images."""

from compdd_eval.config import EvaluateConfig

CONFIG = EvaluateConfig


def run(config: EvaluateConfig) -> None:
    """Evaluate, print the tables and write the results."""
    from compdd_eval.evaluation import evaluate

    evaluate(config)
