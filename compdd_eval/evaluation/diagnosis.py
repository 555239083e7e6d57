"""Why a result may be no better than guessing: labels in another order, normalisation, what `validate` finds."""

from compdd_eval.distilled.checks import (
    PASSED,
    SKIPPED,
    Check,
    RealSample,
    class_balance,
    duplicates,
    label_order,
    normalisation,
    soft_labels,
    value_range,
    whitening,
)
from compdd_eval.evaluation.plan import EvaluationInputs
from compdd_eval.results.statistics import beyond_chance, looks_permuted
from compdd_eval.results.summary import Students


def diagnose(inputs: EvaluationInputs, entry: Students) -> list[str]:
    """Return what may be wrong with a set whose students guess, one line each; nothing where they do not.

    A model's students guess where none of them is right more often than chance allows (one-sided exact binomial test).

    Args:
        inputs: The run.
        entry: Results of one model.
    """
    total = len(inputs.validation.labels)
    chance = 1 / len(inputs.validation.labels.unique())
    found = _permutation(inputs, entry)
    if not found and any(beyond_chance(round(accuracy * total), total, chance) for accuracy in entry.accuracies):
        return []
    found += [*_odd(_checks(inputs)), *inputs.doubts]
    if entry.diverged_seeds:
        found.append(f"training: the loss was not finite (rate {entry.lr:g}); a lower rate may help")
    if not found:
        found.append("the checks of `validate` find nothing wrong with images, normalisation and order of labels")
    return found


def _permutation(inputs: EvaluationInputs, entry: Students) -> list[str]:
    """Return a line where other names for the labels would make many more images right."""
    permutation = looks_permuted(entry.confusion)
    if permutation is None:
        return []
    names = inputs.subset.label_names
    moved = [
        f"{names[label]} -> {names[meant]}"
        for label, meant in enumerate(permutation)
        if label != meant and max(label, meant) < len(names)
    ]
    return [
        "labels: the confusion matrix fits another order of classes; what the set calls X looks like Y for "
        f"{', '.join(moved)}. See --label_order"
    ]


def doubts_before_training(inputs: EvaluationInputs) -> tuple[str, ...]:
    """Return what can be known to be wrong before a student is trained: order of the labels, whitening."""
    checks = [whitening(inputs.distilled, inputs.config.zca)]
    if not inputs.config.zca:
        checks.append(label_order(inputs.distilled, inputs.subset, _real_images(inputs)))
    return tuple(_odd(checks))


def _odd(checks: list[Check]) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in checks if check.result not in (PASSED, SKIPPED)]


def _real_images(inputs: EvaluationInputs) -> RealSample:
    return RealSample(inputs.validation.images, inputs.validation.labels)


def _checks(inputs: EvaluationInputs) -> list[Check]:
    distilled, subset = inputs.distilled, inputs.subset
    checks = [value_range(distilled), class_balance(distilled, subset), soft_labels(distilled), duplicates(distilled)]
    if not inputs.config.zca:
        checks.append(normalisation(distilled, _real_images(inputs)))
    return checks
