"""Compare methods seed by seed; tables for papers."""

import logging
from pathlib import Path

from compdd_eval.config.compare import CompareConfig
from compdd_eval.reports.compare.compare import compare
from compdd_eval.reports.compare.table_formats import escape_markdown, print_text, render_tables
from compdd_eval.utils.console import print_json
from compdd_eval.utils.files import write_text

_logger = logging.getLogger(__name__)


def run(config: CompareConfig) -> None:
    """Compare; print tables and sentences, or JSON alone; write the tables to `--output` where it is given.

    What is printed is valid in its format: sentences are a list in Markdown, comments in LaTeX, and go to stderr
    beside CSV.
    """
    comparison = compare(config)
    if config.output is not None:
        write_text(Path(config.output), render_tables(comparison.tables, config.format))
    if config.json:
        print_json(comparison.to_dict())
        return
    if config.output is not None:
        for sentence in comparison.sentences:
            print(sentence)
        print(f"table: {config.output} ({config.format})")
        return
    if config.format == "text":
        print_text(comparison.tables)
    else:
        print(render_tables(comparison.tables, config.format), end="" if config.format == "csv" else "\n")
    for sentence in comparison.sentences:
        if config.format == "csv":
            _logger.info(sentence)
        else:
            print({"markdown": f"- {escape_markdown(sentence)}", "latex": f"% {sentence}"}.get(config.format, sentence))
