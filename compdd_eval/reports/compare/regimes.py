"""Methods under several kinds of labels, `evaluate --regimes`: methods x regimes, each beside random images there."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from compdd_eval.reports.compare.measured import MeasuredMethod, Setting, cells_of
from compdd_eval.reports.compare.paper_tables import Table, Value, build_tables
from compdd_eval.utils.errors import InputError

SEEN = "each regime has random images under the same labels, with as many images seen"


def under_regimes(methods: Sequence[MeasuredMethod]) -> list[MeasuredMethod]:
    """Return methods with what they have under each regime of labels, in the place of what they have else.

    Raises:
        InputError: One was evaluated under no regimes, or twice under one.
    """
    found = []
    for method in methods:
        runs = {id(cell.run): cell.run for cell in method.cells.values()}.values()
        cells = cells_of(runs, regimes=True)
        if not cells:
            raise InputError(
                f"{method.source}: was evaluated under no regimes of labels; run evaluate --regimes hard,soft,soft+kd"
            )
        found.append(replace(method, cells=cells))
    return found


def regime_tables(methods: Sequence[MeasuredMethod]) -> list[Table]:
    """Return a table for each subset, network, resolution, protocol and teacher, with the regimes as columns.

    Columns without a teacher stand beside those of the method's own one.

    Args:
        methods: As `under_regimes` returns them.
    """
    teachers = [_teachers(method.cells) for method in methods]
    everybodys: dict[Setting, set[str]] = {}
    for found in teachers:
        for untaught, teacher in found.items():
            everybodys.setdefault(untaught, set()).add(teacher)
    # tables have subsets as columns: regimes stand in their place, and subsets in that of regimes
    real, turned = {}, []
    for method, own in zip(methods, teachers, strict=True):
        cells = {}
        for setting, cell in method.cells.items():
            untaught = _untaught(setting)
            others = everybodys.get(untaught, set())
            teacher = own.get(untaught) or (min(others) if len(others) == 1 else None)
            place = replace(setting, config_name=setting.labels, labels=setting.config_name, teacher=teacher)
            cells[place], real[place] = cell, setting
        turned.append(replace(method, cells=cells))
    return [_named(table, real) for table in build_tables(turned)]


def _untaught(setting: Setting) -> Setting:
    return replace(setting, labels="", teacher=None)


def _teachers(settings: Iterable[Setting]) -> dict[Setting, str]:
    """Return the teacher of the regimes that have one, by what they have in common with the others."""
    return {_untaught(setting): setting.teacher for setting in settings if setting.teacher is not None}


def _named(table: Table, real: dict[Setting, Setting]) -> Table:
    """Return a table whose title and settings are the real ones."""

    def of(value: Value) -> Value:
        return value if value.setting is None else replace(value, setting=real[value.setting])

    rows = {name: {column: of(value) for column, value in row.items()} for name, row in table.rows.items()}
    settings = [value.setting for row in rows.values() for value in row.values() if value.setting is not None]
    first = settings[0]
    teachers = dict.fromkeys(f"{one.labels} by the teacher {one.teacher}" for one in settings if one.teacher)
    parts = [first.config_name, first.model, first.value("resolution"), f"protocol {first.value('protocol')}"]
    return replace(table, title=", ".join([*parts, *teachers]), rows=rows, notes=[*table.notes, SEEN], across="Labels")
