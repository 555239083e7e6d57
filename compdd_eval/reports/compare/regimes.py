"""Methods under several kinds of labels, `evaluate --regimes`: methods x regimes, each beside random images there."""

from collections.abc import Sequence
from dataclasses import replace

from compdd_eval.reports.compare.measured import MeasuredCell, MeasuredMethod, Setting, setting_of
from compdd_eval.reports.compare.paper_tables import Table, Value, build_tables
from compdd_eval.utils.errors import InputError

SEEN = "each regime has random images under the same labels, with as many images seen"


def under_regimes(methods: Sequence[MeasuredMethod]) -> list[MeasuredMethod]:
    """Return methods with what they have under each regime of labels, in the place of what they have else.

    Raises:
        InputError: One was evaluated under no regimes.
    """
    found = []
    for method in methods:
        runs = list({id(cell.run): cell.run for cell in method.cells.values()}.values())
        cells = {
            replace(setting_of(run, entry), labels=labels): MeasuredCell(run, entry)
            for run in runs
            for labels, entries in run.regimes.items()
            for entry in entries
        }
        if not cells:
            raise InputError(
                f"{method.source}: was evaluated under no regimes of labels; run evaluate --regimes hard,soft,soft+kd"
            )
        found.append(replace(method, cells=cells))
    return found


def regime_tables(methods: Sequence[MeasuredMethod]) -> list[Table]:
    """Return a table for each subset, network, resolution and protocol, with the regimes as columns.

    Args:
        methods: As `under_regimes` returns them.
    """
    # tables have subsets as columns: regimes stand in their place, and subsets in that of regimes
    real = {_turned(setting): setting for method in methods for setting in method.cells}
    turned = [
        replace(method, cells={_turned(setting): cell for setting, cell in method.cells.items()}) for method in methods
    ]
    return [_named(table, real) for table in build_tables(turned)]


def _turned(setting: Setting) -> Setting:
    return replace(setting, config_name=setting.labels, labels=setting.config_name, teacher=None)


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
