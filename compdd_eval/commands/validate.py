"""Check a distilled set without training."""

from compdd_eval.config import ValidateConfig

CONFIG = ValidateConfig
POSITIONAL = ("path",)


def run(config: ValidateConfig) -> None:
    """Check, print a table or JSON, and fail if a check did."""
    from compdd_eval.console import free_stdout
    from compdd_eval.validate import print_report, validate

    with free_stdout(config.json):
        report = validate(config)
    print_report(report, config.json)
    report.raise_failures()
