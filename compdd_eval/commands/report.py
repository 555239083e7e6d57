"""Write one HTML file on results."""

from compdd_eval.config.report import ReportConfig
from compdd_eval.reports.report.write import Written, write_report


def run(config: ReportConfig) -> None:
    """Write the report and print where it lies."""
    print_written(write_report(config))


def print_written(written: Written) -> None:
    """Say where it lies."""
    runs = "1 run" if written.runs == 1 else f"{written.runs} runs"
    print(f"report: {written.path} ({runs}, {written.size / 1e6:.1f} MB; open it in a browser)")
