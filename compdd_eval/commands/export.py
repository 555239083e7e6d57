"""Write prepared subsets as Parquet files with a card."""

from compdd_eval.config import ExportConfig

CONFIG = ExportConfig


def run(config: ExportConfig) -> None:
    """Export the subsets that are asked for and print what was written."""
    from compdd_eval.console import free_stdout
    from compdd_eval.export import export, print_exported

    with free_stdout(config.json):
        report = export(config, progress=True)
    print_exported(report, config.json)
    report.raise_failures()
