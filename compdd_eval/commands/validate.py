"""Check a distilled set without training."""

from compdd_eval.config.validate import ValidateConfig
from compdd_eval.distilled.validate import Report, validate
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr


def run(config: ValidateConfig) -> None:
    """Check, print a table or JSON, and fail if a check did."""
    with stdout_to_stderr(config.json):
        report = validate(config)
    print_checks(report, config.json)
    report.raise_failures()


def print_checks(report: Report, as_json: bool = False) -> None:
    """Print the checks as a table, or all as JSON."""
    if as_json:
        print_json(report.to_dict())
        return
    rows = [(check.name, check.result, check.detail) for check in report.checks]
    print_table(f"Checks of {report.name}", ["check", "result", ""], rows)
