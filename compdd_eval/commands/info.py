"""Show the subsets, and what a copy of ImageNet can serve."""

from compdd_eval.config import InfoConfig

CONFIG = InfoConfig
POSITIONAL = ("name",)


def run(config: InfoConfig) -> None:
    """Print a table, or JSON."""
    from compdd_eval.console import free_stdout
    from compdd_eval.info import describe, print_description

    with free_stdout(config.json):
        description = describe(config)
    print_description(description, config.json)
