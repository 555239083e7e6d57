"""Write one HTML file on results."""

from compdd_eval.config import ReportConfig

CONFIG = ReportConfig
POSITIONAL = ("results...",)


def run(config: ReportConfig) -> None:
    """Write the report and print where it lies."""
    from compdd_eval.reports.report import print_written, write_report

    print_written(write_report(config))
