"""Means over students."""

import statistics

import numpy as np
import torch

from compdd_eval.results.statistics import accuracy_interval, bootstrap_interval
from compdd_eval.results.student_result import StudentResult
from compdd_eval.results.summary import Students


def join_labels(labels: torch.Tensor) -> str:
    """Write labels 0-9 as one digit each."""
    return "".join(map(str, labels.tolist()))


def aggregate(results: list[StudentResult]) -> list[Students]:
    """Return one entry for each model, in the order of the results."""
    models = dict.fromkeys(result.model for result in results)
    return [_students_of(model, [result for result in results if result.model == model]) for model in models]


def _students_of(model: str, runs: list[StudentResult]) -> Students:
    accuracies = [run.accuracy for run in runs]
    return Students(
        model=model,
        seeds=[run.seed for run in runs],
        n=len(runs),
        accuracies=accuracies,
        accuracy_mean=statistics.fmean(accuracies),
        accuracy_std=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        accuracy_interval=accuracy_interval(accuracies),
        bootstrap_interval=bootstrap_interval([run.right for run in runs]),
        per_class_accuracy=_per_class(runs),
        confusion=np.sum([run.confusion for run in runs], axis=0).tolist(),
        lr=runs[0].lr,
        lr_source=runs[0].lr_source,
        images_seen=runs[0].images_seen,
        teacher=runs[0].teacher,
        diverged_seeds=[run.seed for run in runs if None in run.losses],
    )


def _per_class(runs: list[StudentResult]) -> list[float | None]:
    """Mean over students of each label's accuracy."""
    total = runs[0].total
    correct = [statistics.fmean(run.correct[label] for run in runs) for label in range(len(total))]
    return [right / count if count else None for right, count in zip(correct, total, strict=True)]


def mean_and_spread(entry: dict[str, object], digits: int = 2) -> str:
    """Return `mean ± std` of an entry of a summary in percent; the mean alone for a single student."""
    mean = f"{100 * entry['accuracy_mean']:.{digits}f}"
    return mean if entry["accuracy_std"] is None else f"{mean} ± {100 * entry['accuracy_std']:.{digits}f}"


def environments(results: list[StudentResult]) -> list[dict[str, object]]:
    """Return the distinct environments of the results, each with its `students` as [model, seed]."""
    distinct: list[dict[str, object]] = []
    for result in results:
        if result.environment not in distinct:
            distinct.append(result.environment)
    return [
        {**environment, "students": [[run.model, run.seed] for run in results if run.environment == environment]}
        for environment in distinct
    ]
