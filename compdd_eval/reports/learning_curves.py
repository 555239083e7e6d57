"""What the files of single students add to a summary: losses and learning curves."""

import logging
from dataclasses import dataclass

import numpy as np

from compdd_eval.reports.summaries import Run
from compdd_eval.results.result_files import MOST_BYTES
from compdd_eval.results.student_result import StudentResult, read_student
from compdd_eval.utils.errors import InputError

_logger = logging.getLogger(__name__)
_POINTS = 200  # of a curve, as many as a chart can show


@dataclass(frozen=True)
class SeedCurve:
    """Values over the passes: mean over students, lowest and highest.

    Attributes:
        passes: Passes that were finished, from 1.
        mean: Mean over the students.
        low: Lowest of them.
        high: Highest.
    """

    passes: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def read_students(run: Run) -> dict[str, list[StudentResult]]:
    """Read the files of the students of the set that lie beside the summary, by network.

    Those that are not there are left out; damaged ones, too, with a warning.
    """
    found: dict[str, list[StudentResult]] = {}
    for name in run.students:
        path = run.file.parent / name
        try:
            if not path.is_file() or path.stat().st_size > MOST_BYTES:
                continue
            student = read_student(path)
        except (InputError, OSError) as error:
            _logger.warning(f"left out: {error}")
            continue
        if student.labels == run.labels and student.tested_on == "validation":
            found.setdefault(student.model, []).append(student)
    return found


def loss_curve(students: list[StudentResult]) -> SeedCurve | None:
    """Return the loss of each pass; None where there is none, or one was not finite."""
    return _curve([[(number, loss) for number, loss in enumerate(student.losses, 1)] for student in students])


def accuracy_curve(students: list[StudentResult]) -> SeedCurve | None:
    """Return the accuracy on the validation images, as fractions, after the passes where it was asked for."""
    return _curve([student.curve for student in students])


def _curve(tables: list[list]) -> SeedCurve | None:
    """Put the points of students together, in blocks where they are many."""
    try:
        arrays = [np.asarray([[float(at), float(value)] for at, value in table]) for table in tables]
    except (TypeError, ValueError):
        return None
    # students with other numbers of points cannot be averaged point by point
    if not arrays or not all(array.size for array in arrays) or len({len(array) for array in arrays}) > 1:
        return None
    stacked = np.stack(arrays)  # [students, points, 2]
    if not np.isfinite(stacked).all():
        return None
    number = stacked.shape[1]
    blocks = np.array_split(np.arange(number), min(number, _POINTS))
    values = np.stack([stacked[:, block, 1].mean(axis=1) for block in blocks])  # [blocks, students]
    passes = [float(stacked[0, block[-1], 0]) for block in blocks]
    return SeedCurve(passes, values.mean(axis=1).tolist(), values.min(axis=1).tolist(), values.max(axis=1).tolist())
