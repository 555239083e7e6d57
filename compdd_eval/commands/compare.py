"""Compare methods seed by seed; tables for papers."""

from compdd_eval.config import CompareConfig

CONFIG = CompareConfig
POSITIONAL = ("results...",)


def run(config: CompareConfig) -> None:
    """Compare and print, or write the table to a file."""
    from compdd_eval.reports.comparing import compare, print_comparison

    print_comparison(config, compare(config))
