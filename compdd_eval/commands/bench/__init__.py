"""Measure how fast this machine does the work."""

from compdd_eval.config.bench import BenchConfig


def run(config: BenchConfig) -> None:
    """Measure and print the ratios."""
    if config.what == "train":
        from compdd_eval.commands.bench.train import bench_train as measure
        from compdd_eval.commands.bench.train import print_rows as show
    elif config.what == "scaling":
        from compdd_eval.commands.bench.scaling import bench_scaling as measure
        from compdd_eval.commands.bench.scaling import print_scaling as show
    elif config.what == "complexity":
        from compdd_eval.commands.bench.complexity import bench_complexity as measure
        from compdd_eval.commands.bench.complexity import print_complexity as show
    else:
        from compdd_eval.commands.bench.data import bench_data as measure
        from compdd_eval.commands.bench.data import print_figures as show
    from compdd_eval.utils.console import stdout_to_stderr

    with stdout_to_stderr(config.json):
        found = measure(config)
    show(config, found)
