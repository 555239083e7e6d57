"""Why a result may be no better than guessing: labels in another order, normalisation, what `validate` finds."""

from compdd_eval import set_checks
from compdd_eval.evaluation.plan import Study
from compdd_eval.set_checks import PASSED, SKIPPED, RealImages
from compdd_eval.statistics import beyond_chance, looks_permuted


def diagnose(study: Study, entry: dict[str, object]) -> list[str]:
    """Return what may be wrong with a set whose students guess, one line each; nothing where they do not.

    A model's students guess where none of them is right more often than chance allows (one-sided exact binomial test).

    Args:
        study: The run.
        entry: Results of one model, as of `compdd_eval.results.aggregate`.
    """
    total = len(study.validation.labels)
    chance = 1 / len(study.validation.labels.unique())
    found = _permutation(study, entry)
    if not found and any(beyond_chance(round(accuracy * total), total, chance) for accuracy in entry["accuracies"]):
        return []
    found += [*_odd(_checks(study)), *study.doubts]
    if entry["diverged_seeds"]:
        found.append(f"training: the loss was not finite (rate {entry['lr']:g}); a lower rate may help")
    if not found:
        found.append("the checks of `validate` find nothing wrong with images, normalisation and order of labels")
    return found


def _permutation(study: Study, entry: dict[str, object]) -> list[str]:
    """Return a line where other names for the labels would make many more images right."""
    permutation = looks_permuted(entry["confusion"])
    if permutation is None:
        return []
    names = study.subset.label_names
    moved = [
        f"{names[label]} -> {names[meant]}"
        for label, meant in enumerate(permutation)
        if label != meant and max(label, meant) < len(names)
    ]
    return [
        "labels: the confusion matrix fits another order of classes; what the set calls X looks like Y for "
        f"{', '.join(moved)}. See --label_order"
    ]


def doubts_before_training(study: Study) -> tuple[str, ...]:
    """Return what can be known to be wrong before a student is trained: order of the labels, whitening."""
    checks = [set_checks.whitening(study.distilled, study.config.zca)]
    if not study.config.zca:
        checks.append(set_checks.label_order(study.distilled, study.subset, _real_images(study)))
    return tuple(_odd(checks))


def _odd(checks: list[set_checks.Check]) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in checks if check.result not in (PASSED, SKIPPED)]


def _real_images(study: Study) -> RealImages:
    tested = study.validation
    return RealImages(tested.images, tested.labels, None, tested.origin)


def _checks(study: Study) -> list[set_checks.Check]:
    distilled, subset = study.distilled, study.subset
    found = [
        set_checks.value_range(distilled),
        set_checks.class_balance(distilled, subset),
        set_checks.soft_labels(distilled),
        set_checks.duplicates(distilled),
    ]
    if not study.config.zca:
        found.append(set_checks.normalisation(distilled, _real_images(study)))
    return found
