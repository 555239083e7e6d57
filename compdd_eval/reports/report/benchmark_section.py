"""The whole benchmark in a report: a table of all subsets, with the methods side by side."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.data.subsets import subset_names
from compdd_eval.reports.benchmark import AVERAGES, BenchmarkTable, Number, benchmark_tables, shown_number
from compdd_eval.reports.benchmark_file import BENCHMARK_NAME, Benchmark, read_benchmark
from compdd_eval.reports.report.panels import ShownRun


@dataclass(frozen=True)
class BenchmarkSection:
    """Methods that were evaluated alike.

    Attributes:
        title: Network, resolution, protocol and labels.
        methods: Their names.
        ipcs: Images per class; each has a column for each method.
        parts: What is shown (accuracy, gain, ...) with its rows: a name, and a text for each column.
        notes: What must be known to read the numbers right.
    """

    title: str
    methods: list[str]
    ipcs: list[int]
    parts: list[tuple[str, list[tuple[str, list[str]]]]]
    notes: list[str]


def benchmark_of(place: str) -> Benchmark | None:
    """Return what the folder of a benchmark was asked for; None where a place is none."""
    folder = Path(os.path.expanduser(place))
    folder = folder.parent if folder.name == BENCHMARK_NAME else folder
    return read_benchmark(folder) if (folder / BENCHMARK_NAME).is_file() else None


def benchmark_sections(benchmarks: Sequence[Benchmark], shown: Sequence[ShownRun]) -> list[BenchmarkSection]:
    """Return a section for each network, resolution, protocol, regime of labels and teacher."""
    by_title: dict[str, list[BenchmarkTable]] = {}
    for asked in benchmarks:
        folders = {os.path.realpath(asked.root / name) for name in asked.names}
        found = [one for one in shown if os.path.realpath(one.run.file.parent) in folders]
        if found:
            tables = benchmark_tables(found[0].name, [one.run for one in found], asked.config_names, asked.ipcs)
            for table in tables:
                by_title.setdefault(table.title, []).append(table)
    return [_section(title, tables) for title, tables in by_title.items()]


def _section(title: str, tables: list[BenchmarkTable]) -> BenchmarkSection:
    names = [name for name in subset_names() if any(name in table.config_names for table in tables)]
    ipcs = sorted({ipc for table in tables for ipc in table.ipcs})
    columns = [(table, ipc) for ipc in ipcs for table in tables]
    parts = []
    for kind in dict.fromkeys(kind for table in tables for kind in table.kinds):
        having = [(table, ipc) if kind in table.kinds else None for table, ipc in columns]
        rows = [(name, [_text(one and one[0].number(kind, name, one[1])) for one in having]) for name in names]
        rows += [
            (said, [_text(one and one[0].average(kind, over, one[1])) for one in having])
            for over, said in AVERAGES.items()
        ]
        parts.append((kind, rows))
    said = {note: [table.method for table in tables if note in table.notes] for table in tables for note in table.notes}
    notes = [note if len(of) == len(tables) else f"{', '.join(of)}: {note}" for note, of in said.items()]
    return BenchmarkSection(title, [table.method for table in tables], ipcs, parts, notes)


def _text(number: Number | None) -> str:
    return shown_number(number, "text")
