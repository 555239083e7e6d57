"""Write one HTML file on results."""

from compdd_eval.config.report import ReportConfig
from compdd_eval.reports.report.write import Written, report
from compdd_eval.utils.console import counted


def run(config: ReportConfig) -> None:
    """Write the report and print where it lies."""
    print_written(report(config))


def print_written(written: Written) -> None:
    """Say where it lies."""
    print(f"report: {written.path} ({counted(written.runs, 'run')}, {written.size / 1e6:.1f} MB; open it in a browser)")
