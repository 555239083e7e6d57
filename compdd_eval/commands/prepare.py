"""Build subsets from ImageNet into the cache of `datasets`."""

from compdd_eval.config import PrepareConfig

CONFIG = PrepareConfig


def run(config: PrepareConfig) -> None:
    """Prepare the subsets that are asked for and print what was built and where it lies."""
    from compdd_eval.console import free_stdout
    from compdd_eval.prepare import prepare, print_report

    with free_stdout(config.json):
        report = prepare(config, progress=True)
    print_report(report, config.json)
    report.raise_failures()
