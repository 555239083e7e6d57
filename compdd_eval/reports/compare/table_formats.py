"""Tables of papers as text, Markdown, LaTeX (booktabs) and CSV; names may come from anybody and are escaped."""

import contextlib
import io
import shutil
import sys
from collections.abc import Callable, Sequence

from compdd_eval.reports.compare.paper_tables import MEANING, Column, Table, Value
from compdd_eval.utils.console import print_table
from compdd_eval.utils.files import csv_text

CSV_COLUMNS = (
    *("method", "subset", "ipc", "model", "resolution", "protocol", "labels", "teacher", "validation"),
    *("mean", "std", "n", "recovery_ratio", "best", "full_mean", "full_std", "full_n"),
)
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # what spreadsheets compute
_MARKDOWN = {ord(character): f"\\{character}" for character in "\\`*_{}[]<>#|~$&!"}
_LATEX = {ord(character): f"\\{character}" for character in "{}&%$#_"} | {
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
    ord("<"): r"\textless{}",
    ord(">"): r"\textgreater{}",
    ord("|"): r"\textbar{}",
    ord('"'): "''",  # the character itself is a command in some languages
    ord("["): "{[}",  # after \\ these two would be read as its arguments
    ord("*"): "{*}",
}


def render_tables(tables: Sequence[Table], form: str) -> str:
    """Return tables as text, Markdown, LaTeX (booktabs) or CSV, with a newline at the end.

    Args:
        tables: What to print.
        form: `text`, `markdown`, `latex` or `csv`.
    """
    if form == "csv":
        # a line for each method and setting; accuracies and ratios are fractions
        return csv_text(CSV_COLUMNS, (_csv_cells(name, value) for table in tables for name, value in table.values))
    if form == "text":
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            print_text(tables)
        return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines()) + "\n"
    one = {"markdown": _markdown, "latex": _latex}[form]
    return "\n".join("\n".join(one(table)) + "\n" for table in tables)


def print_text(tables: Sequence[Table]) -> None:
    """Print tables for reading; at a terminal a wide one in parts, a few subsets each."""
    for table in tables:
        parts = _parts(table)
        for number, columns in enumerate(parts):
            title = table.title if len(parts) == 1 else f"{table.title} ({number + 1} of {len(parts)})"
            names = [f"{column.config_name} {_ipc(column)}>" for column in columns]
            rows = [[name, *[_text(row.get(column)) for column in columns]] for name, row in table.rows.items()]
            print_table(title, ["method", *names], rows)
        for note in [*table.notes, f"*: {MEANING}"]:
            print(note)
        print()


def _parts(table: Table) -> list[list[Column]]:
    """Split columns between subsets, so that each part fits the terminal if a subset does."""
    if not sys.stdout.isatty():
        return [table.columns]
    width = shutil.get_terminal_size().columns
    parts: list[list[Column]] = []
    room = 0
    for name in dict.fromkeys(column.config_name for column in table.columns):
        columns = [column for column in table.columns if column.config_name == name]
        needed = sum(2 + max(len(_text(row.get(column))) for row in table.rows.values()) for column in columns)
        if not parts or needed > room:
            parts.append([])
            room = width - max(map(len, table.rows))
        parts[-1] += columns
        room -= needed
    return parts


def _ipc(column: Column) -> str:
    return column.short if column.ipc is None else f"IPC {column.short}"


def _text(value: Value | None) -> str:
    return _cell(value, "{} ± {}", lambda number: f"{number}*")


def _cell(value: Value | None, spread: str, emphasised: Callable[[str], str], plain: Callable[[str], str] = str) -> str:
    """Return `12.3 ± 0.4 (45.6)`."""
    if value is None:
        return "-"
    mean, std = f"{100 * value.group.mean:.1f}", value.group.std
    number = mean if std is None else spread.format(mean, f"{100 * std:.1f}")
    ratio = f" ({100 * value.ratio.ratio:.1f})" if value.ratio else ""
    return (emphasised if value.best else plain)(number) + ratio


def _markdown(table: Table) -> list[str]:
    header = [f"{column.config_name}, {_ipc(column)}" for column in table.columns]
    lines = [f"{escape_markdown(table.title)}:", ""]
    lines += [markdown_row(["method", *map(escape_markdown, header)]), markdown_row(["---", *["---:"] * len(header)])]
    for name, row in table.rows.items():
        cells = [_cell(row.get(column), "{} ± {}", lambda number: f"**{number}**") for column in table.columns]
        lines.append(markdown_row([escape_markdown(name), *cells]))
    notes = [*table.notes, f"bold: {MEANING}"]
    return [*lines, "", f"{escape_markdown('. '.join(_capital(note) for note in notes))}."]


def markdown_row(cells: Sequence[str]) -> str:
    """Return a row of a table in Markdown; its cells are escaped."""
    return f"| {' | '.join(cells)} |"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _latex(table: Table) -> list[str]:
    """Return the lines of a tabular; what belongs into its caption is in comments."""
    lines = [f"% {note}" for note in (table.title, *table.notes, f"bold: {MEANING}")]
    lines += [r"% needs \usepackage{booktabs}", rf"\begin{{tabular}}{{l{'c' * len(table.columns)}}}", r"\toprule"]
    names = list(dict.fromkeys(column.config_name for column in table.columns))
    spans, rules, first = [table.across], [], 2
    for name in names:
        width = sum(column.config_name == name for column in table.columns)
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(name)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    lines += [
        latex_row(spans),
        " ".join(rules),
        latex_row(["IPC", *[column.short for column in table.columns]]),
        r"\midrule",
    ]
    for name, row in table.rows.items():
        cells = [
            _cell(row.get(column), r"{} \pm {}", lambda number: rf"$\mathbf{{{number}}}$", lambda number: f"${number}$")
            for column in table.columns
        ]
        lines.append(latex_row([escape_latex(name), *cells]))
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def latex_row(cells: Sequence[str]) -> str:
    """Return a row of a tabular; its cells are escaped."""
    return " & ".join(cells) + r" \\"


def _csv_cells(name: str, value: Value) -> list[object]:
    setting, full = value.setting, value.full
    texts = [name, setting.config_name, f"{setting.ipc:g}", setting.model, setting.resolution, setting.protocol]
    texts += [setting.labels, setting.teacher or "", setting.validation]
    ratio = value.ratio.ratio if value.ratio else None
    numbers = [value.group.mean, value.group.std, len(value.group.seeds), ratio]
    numbers += [str(value.best).lower(), *([full.mean, full.std, len(full.seeds)] if full else [None] * 3)]
    cells = [escape_csv(text) if isinstance(text, str) else text for text in texts]
    return cells + [f"{number:.6g}" if isinstance(number, float) else number for number in numbers]


def escape_markdown(text: str) -> str:
    """Return a text for any place in Markdown."""
    return text.translate(_MARKDOWN)


def escape_latex(text: str) -> str:
    """Return a text for any place in LaTeX, the start of a row included."""
    return text.translate(_LATEX)


def escape_csv(text: str) -> str:
    """Return a text that spreadsheets do not take for a formula."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
