"""The second view of a leaderboard: one row a method, one column a subset."""

import statistics
from dataclasses import dataclass, fields

from compdd_eval.data.subset_files import DIFFICULTIES
from compdd_eval.data.subsets import subset_names
from compdd_eval.reports.leaderboard.rows import Row

ALL = "all"
AVERAGES = (*DIFFICULTIES, ALL)


@dataclass(frozen=True)
class MethodRow:
    """What one method reaches with one network under one protocol; accuracies are fractions in [0, 1].

    Attributes:
        protocol: As of `Row`.
        method: As of `Row`.
        owner: Who pushed the sets to the Hub, or None for results in folders.
        ipc: Images per class.
        student: The network.
        resolution: Side of the images in pixels.
        teacher: Network that gave soft labels, or None.
        cells: Subset of the benchmark -> its result.
    """

    protocol: str
    method: str
    owner: str | None
    ipc: float
    student: str
    resolution: int
    teacher: str | None
    cells: dict[str, Row]

    def average(self, over: str) -> float | None:
        """Return the mean over the subsets; None where one has no result on canonical images.

        Args:
            over: `easy`, `hard` or `all`.
        """
        names = [name for name in subset_names() if over == ALL or name.endswith(f"-{over}")]
        whole = all(name in self.cells and not self.cells[name].marks for name in names)
        return statistics.mean(self.cells[name].mean for name in names) if whole else None


_SHARED = [field.name for field in fields(MethodRow) if field.name not in ("owner", "cells")]


def method_rows(rows: list[Row]) -> list[MethodRow]:
    """Return a row for each method, owner, protocol, IPC, network, resolution and teacher; the best complete one first.

    Of several results for a cell, the one on canonical images counts, then that of the most students, then the lower
    one: nobody gets a better row by many tries.
    """
    found: dict[tuple, dict[str, Row]] = {}
    for row in sorted(rows, key=lambda row: (bool(row.marks), -row.n, row.mean, row.page)):
        if row.subset in subset_names():
            owner = row.set_name and row.set_name.partition("/")[0]
            key = (owner, *(getattr(row, name) for name in _SHARED))
            found.setdefault(key, {}).setdefault(row.subset, row)
    made = [
        MethodRow(owner=owner, cells=cells, **dict(zip(_SHARED, shared, strict=True)))
        for (owner, *shared), cells in found.items()
    ]
    return sorted(made, key=_order)


def _order(row: MethodRow) -> tuple:
    mean = row.average(ALL)
    whole = (mean is None, -(mean or 0), -len(row.cells))
    return row.protocol, row.ipc, row.student, row.resolution, *whole, row.method, row.owner or "", row.teacher or ""
