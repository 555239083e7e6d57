"""Measure how fast this machine does the work."""

from importlib import import_module

from compdd_eval.config.bench import BenchConfig
from compdd_eval.utils.console import print_json, stdout_to_stderr


def run(config: BenchConfig) -> None:
    """Measure and print the ratios.

    Each `what` is a file of its name beside this one, with three functions: `bench_NAME(config)` returns rows,
    `print_rows(config, rows)` prints them as a table, `as_json(rows)` returns what `--json` prints.
    """
    bench = import_module(f"{__name__}.{config.what}")
    with stdout_to_stderr(config.json):
        rows = getattr(bench, f"bench_{config.what}")(config)
    if config.json:
        print_json(bench.as_json(rows))
    else:
        bench.print_rows(config, rows)
