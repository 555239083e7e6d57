"""Show what of an evaluation or a grid is done."""

from compdd_eval.config import StatusConfig

CONFIG = StatusConfig
POSITIONAL = ("results...",)


def run(config: StatusConfig) -> None:
    """Print a table, or JSON."""
    from compdd_eval.status import print_status, status

    print_status(status(config.results), config.json)
