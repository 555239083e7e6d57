"""Train a recorded student again and compare."""

from compdd_eval.config import ReproduceConfig

CONFIG = ReproduceConfig
POSITIONAL = ("results...",)


def run(config: ReproduceConfig) -> None:
    """Print what is equal; exit status 1 where something differs."""
    from accelerate import PartialState

    from compdd_eval.console import free_stdout
    from compdd_eval.reproduce import EQUAL, print_comparisons, reproduce

    with free_stdout(config.json):
        found = reproduce(config)
    if PartialState().is_main_process:
        print_comparisons(found, config.json)
    if any(comparison.verdict != EQUAL for comparison in found):
        raise SystemExit(1)
