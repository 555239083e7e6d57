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
    everybodys = _teachers(setting for method in methods for setting in method.cells)
    # tables have subsets as columns: regimes stand in their place, and subsets in that of regimes
    real, turned = {}, []
    for method in methods:
        cells, own = {}, _teachers(method.cells)
        for setting, cell in method.cells.items():
            untaught = _untaught(setting)
            others = everybodys.get(untaught, {None})
            beside = own.get(untaught) or (others if len(others) == 1 else {None})
            for teacher in beside if setting.teacher is None else {setting.teacher}:
                place = replace(setting, config_name=setting.labels, labels=setting.config_name, teacher=teacher)
                cells[place] = cell
                real[method.name, place] = setting
                if cell.entry.random is not None:
                    real.setdefault((None, place), setting)
        turned.append(replace(method, cells=cells))
    return [_named(table, real) for table in build_tables(turned, by_teacher=True)]


def _untaught(setting: Setting) -> Setting:
    return replace(setting, labels="", teacher=None)


def _teachers(settings: Iterable[Setting]) -> dict[Setting, set[str]]:
    """Return the teachers of the regimes that have one, by what they have in common with the others."""
    found: dict[Setting, set[str]] = {}
    for setting in settings:
        if setting.teacher is not None:
            found.setdefault(_untaught(setting), set()).add(setting.teacher)
    return found


def _named(table: Table, real: dict[tuple[str | None, Setting], Setting]) -> Table:
    """Return a table whose title and settings are the real ones, by the name of the row; None is random images."""

    def of(name: str, value: Value) -> Value:
        place = value.setting
        return value if place is None else replace(value, setting=real.get((name, place)) or real[None, place])

    rows = {name: {column: of(name, value) for column, value in row.items()} for name, row in table.rows.items()}
    settings = [value.setting for row in rows.values() for value in row.values() if value.setting is not None]
    first = settings[0]
    teachers = dict.fromkeys(f"{one.labels} by the teacher {one.teacher}" for one in settings if one.teacher)
    parts = [first.config_name, first.model, first.value("resolution"), f"protocol {first.value('protocol')}"]
    return replace(table, title=", ".join([*parts, *teachers]), rows=rows, notes=[*table.notes, SEEN], across="Labels")
