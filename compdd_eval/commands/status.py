"""Show what of an evaluation or a grid is done."""

from compdd_eval.config import StatusConfig

CONFIG = StatusConfig
POSITIONAL = ("output_dir",)


def run(config: StatusConfig) -> None:
    """Print a table, or JSON."""
    from pathlib import Path

    from compdd_eval.status import print_status, status

    print_status(status(Path(config.output_dir)), config.json)
