"""Tables as papers print them: methods as rows, subsets x IPC as columns, `mean ± std (recovery ratio)`, Full last.

A number is bold where its method is better than every other one of its column, Random included: the paired 95 %
interval over the seeds that both have excludes 0. Where one of the others cannot be compared, nothing is bold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compdd_eval.data.subsets import subset_names
from compdd_eval.reports.compare.measured import MeasuredCell, MeasuredMethod, Setting
from compdd_eval.reports.paired import best_of, disagree
from compdd_eval.reports.summaries import ONE_DRAW_NOTE, Group, network_of, seeds_in_words, teachers_note
from compdd_eval.results.statistics import Ratio, ratio_interval

RANDOM = "Random"
MEANING = "better than every other method of its column, paired 95 % intervals over the same seeds"


@dataclass(frozen=True)
class Column:
    """A column: a subset, and images per class or None for Full."""

    config_name: str
    ipc: float | None

    @property
    def short(self) -> str:
        """Its name below that of the subset."""
        return "Full" if self.ipc is None else f"{self.ipc:g}"


@dataclass(frozen=True)
class Value:
    """What a method has in a column.

    Attributes:
        group: The students.
        full: Those of all training images, or None.
        ratio: Recovery ratio and its interval, as of `ratio_interval`, or None.
        setting: Under which they were trained; None in the column Full.
        best: Whether it is bold.
    """

    group: Group
    full: Group | None = None
    ratio: Ratio | None = None
    setting: Setting | None = None
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Numbers of one network, resolution, protocol, regime of labels and network of the teacher.

    Attributes:
        title: All of these in words.
        columns: The subsets one after the other, each with its IPCs ascending and then Full where it is known.
        rows: Name of the method -> its values; the random baseline first.
        notes: What is to be known of the numbers, a sentence each.
        across: What the columns are: subsets, or in their place kinds of labels.
    """

    title: str
    columns: list[Column]
    rows: dict[str, dict[Column, Value]]
    notes: list[str]
    across: str = "Subset"

    @property
    def values(self) -> list[tuple[str, Value]]:
        """Name of the method and value, row by row, without the columns Full: each value has its own."""
        columns = [column for column in self.columns if column.ipc is not None]
        return [(name, row[column]) for name, row in self.rows.items() for column in columns if column in row]


def build_tables(methods: Sequence[MeasuredMethod], by_teacher: bool = False) -> list[Table]:
    """Make one table for each network, resolution, protocol, regime of labels and network of the teacher.

    Each subset may have a teacher of its own. Where one has results on different validation images, or under several
    teachers, these are in different tables.

    Args:
        methods: What is shown.
        by_teacher: Give each teacher tables of its own.
    """

    def head(setting: Setting) -> tuple:
        network = setting.teacher if by_teacher or setting.teacher is None else network_of(setting.teacher)
        return _head(replace(setting, teacher=network))

    found: dict[tuple, dict[str, list[tuple[str, str | None]]]] = {}
    settings = list(dict.fromkeys(setting for method in methods for setting in method.cells))
    for setting in settings:
        parts = found.setdefault(head(setting), {}).setdefault(setting.config_name, [])
        parts += [_part(setting)] if _part(setting) not in parts else []
    tables = []
    for of_head, by_subset in found.items():
        for number in range(max(map(len, by_subset.values()))):
            of_table = [
                setting
                for setting in settings
                if head(setting) == of_head and by_subset[setting.config_name].index(_part(setting)) == number
            ]
            several = {name: parts for name, parts in by_subset.items() if number < len(parts) > 1}
            marks = [mark for name, parts in several.items() for mark in _marks(name, parts, number)]
            tables.append(_table(methods, sorted(of_table, key=order_of), marks))
    return tables


def _part(setting: Setting) -> tuple[str, str | None]:
    return setting.validation, setting.teacher


def _marks(name: str, parts: list[tuple[str, str | None]], number: int) -> list[str]:
    """Say what tells one of several results of a subset from the others."""
    (digest, teacher), (digests, teachers) = parts[number], map(set, zip(*parts, strict=True))
    marks = [f"{name} on validation images {digest[:8]}"] if len(digests) > 1 else []
    return marks + ([f"{name} under {teacher}"] if len(teachers) > 1 else [])


def order_of(setting: Setting) -> tuple:
    """Return what settings are sorted by: network and protocol, then subsets as the benchmark lists them, then IPC."""
    return _head(setting), *_subset_order(setting.config_name), setting.ipc, setting.validation


def _subset_order(name: str) -> tuple[int, str]:
    names = subset_names()
    return (names.index(name) if name in names else len(names)), name


def _head(setting: Setting) -> tuple:
    return setting.model, setting.resolution, setting.protocol, setting.labels, setting.teacher or ""


def _table(methods: Sequence[MeasuredMethod], settings: list[Setting], marks: list[str]) -> Table:
    """Fill in a table; `marks` tell it from others, where subsets have more than one."""
    rows: dict[str, dict[Column, Value]] = {}
    alike = any(method.name.lower().startswith(RANDOM.lower()) for method in methods)
    random = f"{RANDOM} (a draw for each seed)" if alike else RANDOM
    for setting in settings:
        having = [method for method in methods if setting in method.cells]
        drawn = next((method for method in having if method.cells[setting].entry.random), None)
        if drawn:
            _add(rows, random, setting, drawn.cells[setting], drawn.cells[setting].entry.random)
    for method in methods:
        for setting in settings:
            if setting in method.cells:
                _add(rows, method.name, setting, method.cells[setting], method.cells[setting].entry.students)
    subsets = list(dict.fromkeys(setting.config_name for setting in settings))
    columns = sorted(
        {column for row in rows.values() for column in row},
        key=lambda column: (subsets.index(column.config_name), column.ipc is None, column.ipc or 0),
    )
    _mark_best(rows, columns)
    return Table(_title(settings, marks), columns, rows, _notes(methods, settings, rows))


def _add(rows: dict, name: str, setting: Setting, cell: MeasuredCell, group: Group) -> None:
    full = cell.entry.full
    ratio = ratio_interval(group.accuracies, full.accuracies) if full else None
    ratio = ratio if ratio and ratio.ratio is not None else None
    row = rows.setdefault(name, {})
    row[Column(setting.config_name, setting.ipc)] = Value(group, full, ratio, setting)
    if full:
        row.setdefault(Column(setting.config_name, None), Value(full))


def _mark_best(rows: dict[str, dict[Column, Value]], columns: list[Column]) -> None:
    """Mark the one value of each column whose method is better than every other one, if there is one."""
    for column in columns:
        having = [row for row in rows.values() if column in row]
        best = None if column.ipc is None else best_of([row[column].group for row in having])
        if best is not None:
            having[best][column] = replace(having[best][column], best=True)


def _title(settings: list[Setting], marks: list[str]) -> str:
    first = settings[0]
    if len({setting.teacher for setting in settings}) > 1:
        first = replace(first, teacher=network_of(first.teacher))
    return ", ".join([first.model, first.value("resolution"), *first.trained_how, *marks])


def _notes(
    methods: Sequence[MeasuredMethod], settings: list[Setting], rows: dict[str, dict[Column, Value]]
) -> list[str]:
    values = [value for row in rows.values() for column, value in row.items() if column.ipc is not None]
    seeds = seeds_in_words(value.group for value in values)
    brackets = "; in brackets: % of Full, all training images" if any(value.ratio for value in values) else ""
    spread = "mean and sample standard deviation" if any(len(value.group.seeds) > 1 for value in values) else "accuracy"
    notes = [f"{spread} in % over {seeds}{brackets}", *teachers_note(setting.teacher for setting in settings)]
    for setting in settings:
        run = next(method.cells[setting].run for method in methods if setting in method.cells)
        if not run.whole:
            tested = f"{run.validation_images:,} of {run.validation_expected:,} validation images"
            notes.append(f"{run.config_name} was tested on {tested}: the copy of ImageNet was not whole")
    if any(
        method.cells[setting].run.is_one_draw for method in methods for setting in settings if setting in method.cells
    ):
        notes.append(ONE_DRAW_NOTE)
    for kind in ("random", "full"):
        notes += _unlike_baselines(methods, settings, kind)
    return list(dict.fromkeys(notes))


def _unlike_baselines(methods: Sequence[MeasuredMethod], settings: list[Setting], kind: str) -> list[str]:
    """Say where baselines of the same seeds differ: in results that are compared they should not."""
    groups: dict[str, list[Group]] = {}
    for setting in settings:
        place = setting.config_name if kind == "full" else f"{setting.config_name}, IPC {setting.ipc:g}"
        for method in methods:
            group = getattr(method.cells[setting].entry, kind) if setting in method.cells else None
            groups.setdefault(place, []).extend([group] if group else [])
    unlike = [place for place, found in groups.items() if disagree(found)]
    if not unlike:
        return []
    shown = "each row has that of its first IPC" if kind == "full" else "that of the first method is shown"
    why = "its settings, the machine or the version of the software differ"
    return [
        f"{kind.title()} of {'; '.join(unlike)} is not the same in all results, with the same seeds: {why}; {shown}"
    ]


def table_json(table: Table) -> dict[str, object]:
    """Return a table for programs; accuracies and ratios are fractions."""
    cells = [
        {
            "method": name,
            **vars(value.setting),
            **_group_json(value.group),
            "recovery_ratio": value.ratio and vars(value.ratio),
            "full": _group_json(value.full) if value.full else None,
            "best": value.best,
        }
        for name, value in table.values
    ]
    return {"title": table.title, "notes": table.notes, "best": MEANING, "cells": cells}


def _group_json(group: Group) -> dict[str, object]:
    numbers = {"mean": group.mean, "std": group.std, "n": len(group.seeds), "interval": group.interval}
    return numbers | {"seeds": list(group.seeds), "accuracies": list(group.accuracies)}
