"""Accuracy by complexity: does the student fail on the complex images?"""

from pathlib import Path

import numpy as np

from compdd_eval.complexity.scores_folder import read_complexity
from compdd_eval.results.student_result import StudentResult
from compdd_eval.results.summary import Quarter
from compdd_eval.utils.errors import InputError

QUARTERS = 4


def complexity_of(folder: str, file_names: list[str], wnids: list[str]) -> list[float]:
    """Return the complexity of each validation image, from what `complexity` wrote.

    Raises:
        InputError: The folder holds no scores, or not those of all these images.
    """
    known = read_complexity(Path(folder))
    missing = [name for name in file_names if name not in known]
    if missing:
        which = f"{len(missing)} of {len(file_names)} validation images ({missing[0]}, ...)"
        raise InputError(
            f"{folder}: has no complexity of {which}; run complexity --split validation --classes "
            f"{','.join(wnids)} first"
        )
    return [known[name] for name in file_names]


def by_quartile(complexity: list[float], students: list[StudentResult]) -> list[Quarter]:
    """Return the accuracy on each quarter of the validation images, the least complex first.

    Images of equal complexity are ranked by their row, so that the quarters are of equal size (up to one image).
    """
    order = np.argsort(np.asarray(complexity), kind="stable")
    right = np.array([student.right for student in students], dtype=float)
    quarters = []
    for number, indices in enumerate(np.array_split(order, QUARTERS), start=1):
        values = [complexity[index] for index in indices]
        accuracies = right[:, indices].mean(axis=1).tolist() if len(indices) else []
        quarters.append(
            Quarter(
                quartile=number,
                low=min(values, default=None),
                high=max(values, default=None),
                images=len(indices),
                accuracy=float(np.mean(accuracies)) if accuracies else None,
                accuracies=accuracies,
            )
        )
    return quarters
