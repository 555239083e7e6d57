"""Train a recorded student again and compare."""

from compdd_eval.config import ReproduceConfig

CONFIG = ReproduceConfig
POSITIONAL = ("result",)


def run(config: ReproduceConfig) -> None:
    """Print what is equal; exit status 1 where something differs."""
    from compdd_eval.reproduce import EQUAL, print_comparisons, reproduce

    found = reproduce(config)
    print_comparisons(found)
    if any(comparison.verdict != EQUAL for comparison in found):
        raise SystemExit(1)
