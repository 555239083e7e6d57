"""Measure how fast this machine does the work."""

from importlib import import_module

from compdd_eval.config.bench import BenchConfig
from compdd_eval.utils.console import print_json, stdout_to_stderr


def run(config: BenchConfig) -> None:
    """Measure and print the ratios.

    Each `what` is a file of its name beside this one: its `bench_NAME(config)` returns rows, `print_rows(config, rows)`
    prints them as a table. It has `as_json(rows)` where `--json` prints more than the rows.
    """
    bench = import_module(f"{__name__}.{config.what}")
    with stdout_to_stderr(config.json):
        rows = getattr(bench, f"bench_{config.what}")(config)
    if config.json:
        print_json(bench.as_json(rows) if hasattr(bench, "as_json") else {"rows": rows})
    else:
        bench.print_rows(config, rows)
