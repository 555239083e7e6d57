"""The table of the whole benchmark, as papers print it: subsets x IPC, with the means over easy, hard and all."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from compdd_eval.data.subset_files import DIFFICULTIES
from compdd_eval.reports.checked_fields import clean
from compdd_eval.reports.compare.measured import MeasuredCell, Setting, cells_of
from compdd_eval.reports.compare.table_formats import escape_latex, escape_markdown, latex_row, markdown_row
from compdd_eval.reports.summaries import Run, network_of, seeds_in_words, teachers_note
from compdd_eval.utils.errors import InputError

ALL, DROP = "all", "drop"
AVERAGES = {"easy": "mean of easy", "hard": "mean of hard", ALL: "mean of all", DROP: "drop from easy to hard"}
_MISSING = "-"
_NAMED = 4  # subsets in a note
_FORMS = {  # of a number with its spread, of one alone
    "text": ("{:.1f} ± {:.1f}", "{:.1f}"),
    "markdown": ("{:.1f} ± {:.1f}", "{:.1f}"),
    "latex": (r"${:.1f} \pm {:.1f}$", "${:.1f}$"),
}


@dataclass(frozen=True)
class Number:
    """A number over students, as a fraction.

    Attributes:
        mean: Its mean.
        std: Sample standard deviation over the seeds that all have; None for fewer than two.
    """

    mean: float
    std: float | None


@dataclass(frozen=True)
class BenchmarkTable:
    """What a method reaches with one network under one protocol.

    Attributes:
        method: Its name.
        title: Network, resolution, protocol and labels in words.
        config_names: Subsets that were asked for, in the order of the benchmark.
        ipcs: Images per class that were asked for.
        cells: (Subset, IPC) -> what was measured.
    """

    method: str
    title: str
    config_names: list[str]
    ipcs: list[int]
    cells: dict[tuple[str, int], MeasuredCell]

    @cached_property
    def kinds(self) -> dict[str, Callable[[MeasuredCell], dict[int, float]]]:
        """What is shown: name -> seed -> number; beside the accuracy, what was asked for."""
        entries = [cell.entry for cell in self.cells.values()]
        found = {"accuracy": _accuracies}
        if any(entry.random for entry in entries):
            found["gain over random"] = _gains
        if any(entry.full for entry in entries):
            found["recovery ratio"] = _ratios
        return found

    def number(self, kind: str, name: str, ipc: int) -> Number | None:
        """Return what is shown of a subset; None where it is missing."""
        return _number(self._by_seed(kind, [name], ipc))

    def average(self, kind: str, over: str, ipc: int) -> Number | None:
        """Return the mean over subsets; None where one of them is missing, or there is none.

        Its spread is that of the means of single seeds: of each seed the mean over the subsets.

        Args:
            kind: One of `kinds`.
            over: `easy`, `hard`, `all`; or `drop`, the mean over easy subsets less that over hard ones.
            ipc: Images per class.
        """
        easy, hard = ([name for name in self.config_names if name.endswith(f"-{end}")] for end in DIFFICULTIES)
        if over != DROP:
            return _number(self._by_seed(kind, {"easy": easy, "hard": hard, ALL: self.config_names}[over], ipc))
        if {name.partition("-")[0] for name in easy} != {name.partition("-")[0] for name in hard}:
            return None
        ours, theirs = (self._by_seed(kind, names, ipc) for names in (easy, hard))
        return _number({seed: value - theirs[seed] for seed, value in ours.items() if seed in theirs})

    def _by_seed(self, kind: str, names: Sequence[str], ipc: int) -> dict[int, float]:
        """Return for each seed that all subsets have its mean over them; nothing where one is missing."""
        found = [self.kinds[kind](self.cells[name, ipc]) if (name, ipc) in self.cells else {} for name in names]
        seeds = set.intersection(*map(set, found)) if found else set()
        return {seed: statistics.mean(of_one[seed] for of_one in found) for seed in sorted(seeds)}

    @property
    def missing(self) -> list[str]:
        """What was asked for and is not there, such as `bird-hard, IPC 50`."""
        asked = [(name, ipc) for ipc in self.ipcs for name in self.config_names]
        return [f"{name}, IPC {ipc}" for name, ipc in asked if (name, ipc) not in self.cells]

    @property
    def notes(self) -> list[str]:
        """What is to be known of the numbers, a sentence each."""
        seeds = seeds_in_words(cell.entry.students for cell in self.cells.values())
        notes = [f"mean and sample standard deviation over {seeds}, in % (gains in points)"]
        if self.missing:
            number = len(self.missing)
            notes.append(f"incomplete: {number} of {len(self.config_names) * len(self.ipcs)} are missing")
            notes.append("no mean is taken over subsets of which one is missing")
        notes += teachers_note(cell.entry.teacher for cell in self.cells.values())
        part = list(dict.fromkeys(name for (name, _), cell in self.cells.items() if not cell.run.whole))
        if part:
            names = ", ".join(part) if len(part) <= _NAMED else f"{len(part)} of {len(self.config_names)} subsets"
            notes.append(f"not on all validation images, so no numbers of the benchmark: {names}")
        return notes

    def to_dict(self) -> dict[str, object]:
        """Return it for programs; accuracies, gains and ratios are fractions."""
        cells = [
            {
                "config_name": name,
                "ipc": ipc,
                "summary": str(cell.run.place),
                "seeds": list(cell.entry.students.seeds),
                "accuracies": list(cell.entry.students.accuracies),
                **{
                    kind.replace(" ", "_"): (found := self.number(kind, name, ipc)) and vars(found)
                    for kind in self.kinds
                },
            }
            for (name, ipc), cell in self.cells.items()
        ]
        averages = [
            {"ipc": ipc, "over": over, "kind": kind.replace(" ", "_"), **vars(found)}
            for kind in self.kinds
            for over in AVERAGES
            for ipc in self.ipcs
            if (found := self.average(kind, over, ipc))
        ]
        named = {name: getattr(self, name) for name in ("method", "title", "config_names", "ipcs", "missing", "notes")}
        return {**named, "cells": cells, "averages": averages}

    def rows(self, form: str, across: str) -> tuple[list[str], list[list[str]]]:
        """Return a header, and rows of texts whose first one names the row.

        Args:
            form: `text`, `markdown` or `latex`.
            across: What stands in the columns: `ipc` or `configs`.
        """
        escape = {"text": str, "markdown": escape_markdown, "latex": escape_latex}[form]
        columns = [(kind, ipc) for kind in self.kinds for ipc in self.ipcs]
        header = [f"IPC {ipc}" if kind == "accuracy" else f"{kind}, IPC {ipc}" for kind, ipc in columns]
        rows = [
            [name, *[shown_number(self.number(kind, name, ipc), form) for kind, ipc in columns]]
            for name in self.config_names
        ]
        rows += [
            [said, *[shown_number(self.average(kind, over, ipc), form) for kind, ipc in columns]]
            for over, said in AVERAGES.items()
        ]
        table = [[escape(self.method), *map(escape, header)], *([escape(name), *cells] for name, *cells in rows)]
        if across == "configs":
            table = [list(column) for column in zip(*table, strict=True)]
        return table[0], table[1:]


def benchmark_tables(method: str, runs: list[Run], config_names: list[str], ipcs: list[int]) -> list[BenchmarkTable]:
    """Return a table for each network, resolution, protocol, regime of labels and network of the teacher.

    Raises:
        InputError: Two runs are of the same setting, or of two teachers of one network.
    """
    found: dict[tuple, dict[tuple[str, int], MeasuredCell]] = {}
    for setting, cell in cells_of(runs).items():
        if setting.config_name in config_names and setting.ipc in ipcs:
            cells, place = found.setdefault(_head(setting), {}), (setting.config_name, int(setting.ipc))
            if place in cells:
                places = f"{clean(cells[place].run.place)} and {clean(cell.run.place)}"
                raise InputError(f"{places}: {setting.place([])} under two teachers; give one of them")
            cells[place] = cell
    return [BenchmarkTable(method, ", ".join(head), config_names, ipcs, cells) for head, cells in found.items()]


def _head(setting: Setting) -> tuple[str, ...]:
    # each subset has a teacher of its own
    network = setting.teacher and network_of(setting.teacher)
    return setting.model, setting.value("resolution"), *replace(setting, teacher=network).trained_how


def _accuracies(cell: MeasuredCell) -> dict[int, float]:
    return cell.entry.students.by_seed


def _gains(cell: MeasuredCell) -> dict[int, float]:
    random = cell.entry.random.by_seed if cell.entry.random else {}
    return {seed: value - random[seed] for seed, value in cell.entry.students.by_seed.items() if seed in random}


def _ratios(cell: MeasuredCell) -> dict[int, float]:
    full = cell.entry.full
    if not full or not full.mean:
        return {}
    return {seed: value / full.mean for seed, value in cell.entry.students.by_seed.items()}


def _number(by_seed: dict[int, float]) -> Number | None:
    values = list(by_seed.values())
    return Number(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None) if values else None


def shown_number(number: Number | None, form: str) -> str:
    """Return a number in %, in one of the forms of `BenchmarkTable.rows`."""
    if number is None:
        return _MISSING
    both, alone = _FORMS[form]
    return alone.format(100 * number.mean) if number.std is None else both.format(100 * number.mean, 100 * number.std)


def markdown_of(tables: Sequence[BenchmarkTable], across: str) -> str:
    """Return tables in Markdown."""
    lines: list[str] = []
    for table in tables:
        header, rows = table.rows("markdown", across)
        ruler = ["---", *["---:"] * (len(header) - 1)]
        lines += [f"{escape_markdown(table.title)}:", "", *map(markdown_row, (header, ruler, *rows))]
        lines += ["", *[f"- {escape_markdown(note)}" for note in table.notes], ""]
    return "\n".join(lines)


def latex_of(tables: Sequence[BenchmarkTable], across: str) -> str:
    """Return tables in LaTeX with booktabs; what belongs into their captions is in comments."""
    lines: list[str] = []
    for table in tables:
        header, rows = table.rows("latex", across)
        lines += [f"% {note}" for note in (table.title, *table.notes)] + [r"% needs \usepackage{booktabs}"]
        lines += [rf"\begin{{tabular}}{{l{'c' * (len(header) - 1)}}}", r"\toprule", latex_row(header), r"\midrule"]
        for number, row in enumerate(rows):
            if across == "ipc" and number == len(table.config_names):
                lines.append(r"\midrule")
            lines.append(latex_row(row))
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(lines)
