"""Means over students."""

import statistics

import numpy as np
import torch

from compdd_eval.results.statistics import bootstrap_interval, mean_interval
from compdd_eval.results.student_result import StudentResult


def join_labels(labels: torch.Tensor) -> str:
    """Write labels 0-9 as one digit each."""
    return "".join(map(str, labels.tolist()))


def aggregate(results: list[StudentResult]) -> list[dict[str, object]]:
    """Return one entry for each model, in the order of the results.

    Each has `model`, `seeds`, `n`, `accuracies`, `accuracy_mean`, `accuracy_std` (sample standard deviation; None for a
    single student), `accuracy_interval` (95 % interval of the mean over students, Student's t; None for one),
    `bootstrap_interval` (95 % percentile interval over validation images, students held fixed), `per_class_accuracy`
    (mean over students for each of the ten labels; None for a label without validation images), `confusion` (summed
    over students; row: true label), `lr`, `lr_source`, `images_seen`, `teacher` and `diverged_seeds` (students whose
    loss was not finite in some pass; they count like any other). All accuracies are fractions in [0, 1].
    """
    entries = []
    for model in dict.fromkeys(result.model for result in results):
        runs = [result for result in results if result.model == model]
        accuracies = [run.accuracy for run in runs]
        entry = {
            "model": model,
            "seeds": [run.seed for run in runs],
            "n": len(runs),
            "accuracies": accuracies,
            "accuracy_mean": statistics.fmean(accuracies),
            "accuracy_std": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            "accuracy_interval": mean_interval(accuracies),
            "bootstrap_interval": bootstrap_interval([run.right for run in runs]),
            "per_class_accuracy": _per_class(runs),
            "confusion": np.sum([run.confusion for run in runs], axis=0).tolist(),
            "lr": runs[0].lr,
            "lr_source": runs[0].lr_source,
            "images_seen": runs[0].images_seen,
            "teacher": runs[0].teacher,
            "diverged_seeds": [run.seed for run in runs if None in run.losses],
        }
        entries.append(entry)
    return entries


def _per_class(runs: list[StudentResult]) -> list[float | None]:
    """Mean over students of each label's accuracy."""
    total = runs[0].total
    correct = [statistics.fmean(run.correct[label] for run in runs) for label in range(len(total))]
    return [right / count if count else None for right, count in zip(correct, total, strict=True)]


def chance(entry: dict[str, object]) -> float:
    """Return the accuracy of guessing, in [0, 1]: one over the number of labels that have validation images."""
    return 1 / sum(accuracy is not None for accuracy in entry["per_class_accuracy"])


def mean_and_spread(entry: dict[str, object], digits: int = 2) -> str:
    """Return `mean ± std` of an entry of `aggregate` in percent; the mean alone for a single student."""
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
