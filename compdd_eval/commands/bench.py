"""Measure how fast this machine does the work."""

from compdd_eval.config import BenchConfig

CONFIG = BenchConfig
POSITIONAL = ("what",)


def run(config: BenchConfig) -> None:
    """Measure and print the ratios."""
    if config.what == "train":
        from compdd_eval.bench_train import bench_train as measure
        from compdd_eval.bench_train import print_rows as show
    elif config.what == "scaling":
        from compdd_eval.bench_scaling import bench_scaling as measure
        from compdd_eval.bench_scaling import print_scaling as show
    elif config.what == "complexity":
        from compdd_eval.bench_complexity import bench_complexity as measure
        from compdd_eval.bench_complexity import print_complexity as show
    else:
        from compdd_eval.bench_data import bench_data as measure
        from compdd_eval.bench_data import print_figures as show
    from compdd_eval.console import free_stdout

    with free_stdout(config.json):
        found = measure(config)
    show(config, found)
