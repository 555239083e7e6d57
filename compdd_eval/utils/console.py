"""What people and programs see: tables or JSON on stdout, warnings and progress on stderr."""

import contextlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator

from tqdm.auto import tqdm

_GAP = "  "  # between the columns of plain text
_RULE = 120  # characters of the line under a header, however long the rows are


def setup_logging() -> None:
    """Show the library's warnings as one line each on stderr; let no character stop the output."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    logger = logging.getLogger("compdd_eval")
    logger.handlers, logger.propagate = [_OneLineHandler()], False
    logger.setLevel(logging.INFO)


class _OneLineHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write `compdd_eval: warning: ...` above the progress bars; information goes without its level."""
        level = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        tqdm.write(f"compdd_eval: {level}{record.getMessage()}", file=sys.stderr)


def print_json(content: object) -> None:
    """Print one JSON document, the only thing on stdout of a command with --json; NaN and infinity are refused."""
    print(json.dumps(content, indent=1, allow_nan=False), flush=True)


def counted(number: int, noun: str) -> str:
    """Return a number of things, such as `1 seed` or `2 seeds`."""
    return f"{number} {noun}{'s' if number != 1 else ''}"


@contextlib.contextmanager
def warnings_kept(shown: bool) -> Iterator[list[str]]:
    """Yield a list that gets the library's warnings of a block; unless they are to be `shown`, they go nowhere else."""
    kept: list[str] = []
    handler = _KeepingHandler(kept)
    logger = logging.getLogger("compdd_eval")
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [*(handlers if shown else []), handler], propagate and shown
    try:
        yield kept
    finally:
        logger.handlers, logger.propagate = handlers, propagate


class _KeepingHandler(logging.Handler):
    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self._kept.append(record.getMessage())


@contextlib.contextmanager
def stdout_to_stderr(wanted: bool) -> Iterator[None]:
    """Where it is wanted, send what is printed meanwhile, by libraries too, to stderr: stdout is for the JSON alone."""
    with contextlib.redirect_stdout(sys.stderr) if wanted else contextlib.nullcontext():
        yield


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print one table; columns whose name ends with ">" are aligned right.

    At a terminal it is drawn, and folded to its width. Elsewhere it is plain text without folds, a line for each row
    however long, so that `grep` finds whole rows and a log has no line that means nothing by itself.
    """
    cells = [[_printable(cell) for cell in row] for row in rows]
    show = _draw if sys.stdout.isatty() else _print_text
    show(_printable(title), [_printable(column) for column in columns], cells)


def _printable(text: object) -> str:
    """Return a text as one line that stdout can write: names in files may hold line ends and codes of a terminal."""
    line = "".join(character if character.isprintable() else " " for character in str(text))
    try:
        "±".encode(sys.stdout.encoding or "utf-8")
        return line
    except UnicodeEncodeError:
        return line.replace("±", "+-")


def _draw(title: str, columns: list[str], rows: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text  # unlike a plain str, it has no markup: [red] and :car: are printed as they are

    console = Console(highlight=False)
    table = Table(box=box.SIMPLE, pad_edge=False, show_header=any(columns))
    for column in columns:
        side = "right" if column.endswith(">") else "left"
        table.add_column(Text(column.rstrip(">")), justify=side, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(Text(title), style="bold")
    console.print(table)


def _print_text(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table without drawn lines, and an empty line after it."""
    from rich.cells import cell_len  # columns of a terminal: two for a Chinese character

    names = [column.rstrip(">") for column in columns]
    body = [names, *rows]
    widths = [max(map(cell_len, cells)) for cells in zip(*body, strict=True)]

    def line(cells: list[str]) -> str:
        filled = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
        parts = [
            blank + cell if column.endswith(">") else cell + blank
            for cell, blank, column in zip(cells, filled, columns, strict=True)
        ]
        return _GAP.join(parts).rstrip()

    head = [line(body[0]), _GAP.join("-" * width for width in widths)[:_RULE].rstrip()] if any(names) else []
    print(title, *head, *map(line, rows), "", sep="\n")


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, length, most in (("ms", 0.001, 1), ("s", 1, 120), ("min", 60, 7200)):
        if seconds < most:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 3600:,.1f} h"


def cut(text: str, most: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
