"""Measure how fast this machine does the work."""

from compdd_eval.config import BenchConfig

CONFIG = BenchConfig
POSITIONAL = ("what",)


def run(config: BenchConfig) -> None:
    """Measure and print the ratios."""
    from compdd_eval.bench_data import bench_data, print_figures

    print_figures(bench_data(config, progress=True))
