"""What people see: tables on stdout, warnings and progress on stderr."""

import logging
import os
import sys
from collections.abc import Iterable

from tqdm import tqdm

_WIDTH = "120"  # where the output is no terminal and COLUMNS is not set


def setup_logging() -> None:
    """Show the library's warnings as one line each on stderr; let no character stop the output."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    handler = _AboveProgress()
    handler.setFormatter(_OneLine())
    logger = logging.getLogger("compdd_eval")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)


class _AboveProgress(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write one line on stderr without breaking a progress bar."""
        tqdm.write(self.format(record), file=sys.stderr)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return `compdd_eval: warning: ...`; information goes without its level."""
        level = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        return f"compdd_eval: {level}{record.getMessage()}"


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print one table; columns whose name ends with ">" are aligned right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", _WIDTH)), highlight=False)
    table = Table(box=box.SIMPLE, pad_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*[_escape(str(cell)) for cell in row])
    console.print(_escape(title), style="bold")
    console.print(table)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
