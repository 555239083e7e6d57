"""Measure how fast this machine does the work."""

from compdd_eval.config import BenchConfig

CONFIG = BenchConfig
POSITIONAL = ("what",)


def run(config: BenchConfig) -> None:
    """Measure and print the ratios."""
    if config.what == "train":
        from compdd_eval.bench_train import bench_train, print_rows

        print_rows(config, bench_train(config))
    elif config.what == "scaling":
        from compdd_eval.bench_scaling import bench_scaling, print_scaling

        print_scaling(config, bench_scaling(config))
    elif config.what == "complexity":
        from compdd_eval.bench_complexity import bench_complexity, print_complexity

        print_complexity(config, bench_complexity(config))
    else:
        from compdd_eval.bench_data import bench_data, print_figures

        print_figures(bench_data(config, progress=True))
