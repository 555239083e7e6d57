"""Why a result may be no better than guessing: labels in another order, normalisation, what `validate` finds."""

from compdd_eval.distilled import checks
from compdd_eval.distilled.checks import Check, RealSample
from compdd_eval.evaluation.plan import EvaluationInputs
from compdd_eval.results.confusion import looks_permuted
from compdd_eval.results.statistics import beyond_chance
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
    doubts = doubts_before_training(inputs) if inputs.doubts is None else inputs.doubts
    found += [*_odd(_checks(inputs)), *doubts]
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
    found = [checks.whitening(inputs.distilled, inputs.config.zca)]
    if not inputs.config.zca:
        found.append(checks.label_order(inputs.distilled, inputs.subset, _real_images(inputs)))
    return tuple(_odd(found))


def _odd(found: list[Check]) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in found if check.result in (checks.WARNING, checks.FAILED)]


def _real_images(inputs: EvaluationInputs) -> RealSample:
    return RealSample(inputs.validation.images, inputs.validation.labels)


def _checks(inputs: EvaluationInputs) -> list[Check]:
    distilled = inputs.distilled
    found = [
        checks.value_range(distilled),
        checks.class_balance(distilled, inputs.subset),
        checks.soft_labels(distilled),
        checks.duplicates(distilled),
    ]
    if not inputs.config.zca:
        found.append(checks.normalisation(distilled, _real_images(inputs)))
    return found
