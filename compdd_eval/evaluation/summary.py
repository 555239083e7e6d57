"""`summary.json` of a run."""

import logging
from dataclasses import asdict
from pathlib import Path

from compdd_eval.distilled.result_pictures import save_pictures
from compdd_eval.evaluation.by_complexity import by_quartile
from compdd_eval.evaluation.diagnosis import diagnose
from compdd_eval.evaluation.outcome import Outcome
from compdd_eval.evaluation.plan import Condition, EvaluationInputs, Task, Teacher
from compdd_eval.results.aggregate import environments
from compdd_eval.results.student_result import SCHEMA_VERSION, SET, SUMMARY_NAME, StudentResult
from compdd_eval.utils.files import write_json

_logger = logging.getLogger(__name__)


def finish(
    inputs: EvaluationInputs,
    conditions: list[Condition],
    outcome: Outcome,
    teacher: Teacher | None,
    search: list[Task],
    searched: list[StudentResult],
) -> dict[str, object]:
    """Write pictures of the set; write and return the summary of all students of this run."""
    config = inputs.config
    entries = outcome.entries(conditions[0])
    for entry in entries:
        entry["diagnosis"] = diagnose(inputs, entry)
        students = outcome.of(SET, conditions[0], entry["model"])
        entry["accuracy_by_complexity"] = by_quartile(inputs.complexity, students) if inputs.complexity else None
        _warn(entry)
    summary = {
        "schema_version": SCHEMA_VERSION,
        **_facts(inputs),
        "lr": entries[0]["lr"],
        "lr_source": entries[0]["lr_source"],
        "protocol": config.settings(),
        "protocol_changes": config.changes(),
        "teacher": teacher.record() if teacher else None,
        "full_recipe": _recipe(inputs) if config.baselines or teacher else None,
        "results": entries,
        "regimes": [_regime(outcome, condition) for condition in map(Condition, config.listed("regimes"))],
        "scores": outcome.scores(config.listed("scores"), config.labels) if config.listed("scores") else [],
        "rate_search": _search(search, searched),
        "digests": outcome.students[0].digests,
        "distilled": inputs.distilled.metadata | inputs.distilled.origin,
        "config": asdict(config),
        "students": [str(task.path) for task in outcome.tasks],
        "environments": environments(outcome.students),
    }
    if len(summary["environments"]) > 1:
        _logger.warning(
            "the students were made in different environments (see summary.json); their last bits may differ"
        )
    save_pictures(inputs.distilled, Path(config.output_dir) / inputs.set_name)
    write_json(Path(config.output_dir) / SUMMARY_NAME, summary)
    return summary


def planned(inputs: EvaluationInputs, environment: dict[str, object], students: int) -> dict[str, object]:
    """Return what a run would do: the facts of a summary that are known before, `models`, `seeds` and `students`."""
    config = inputs.config
    return {
        **_facts(inputs),
        "protocol": config.settings(),
        "protocol_changes": config.changes(),
        "models": config.models,
        "seeds": config.seeds,
        "baselines": config.baselines,
        "students": students,
        "distilled": inputs.distilled.metadata | inputs.distilled.origin,
        "config": asdict(config),
        "environment": environment,
    }


def _facts(inputs: EvaluationInputs) -> dict[str, object]:
    config, tested = inputs.config, inputs.validation
    return {
        "category": config.category,
        "subset": config.subset,
        "config_name": inputs.subset.name,
        "set": inputs.set_name,
        "ipc": inputs.distilled.ipc,
        "decoded_ipc": inputs.distilled.decoded_ipc,
        "resolution": inputs.distilled.resolution,
        "images": len(inputs.distilled.images),
        "label_kind": inputs.distilled.label_kind,
        "class_names": inputs.subset.label_names,
        "validation_images": len(tested.labels),
        "validation_images_expected": tested.expected,
    }


def _recipe(inputs: EvaluationInputs) -> dict[str, object]:
    protocol = inputs.config.full_protocol
    return {"passes": protocol.passes, "changes": protocol.changes(), **protocol.settings()}


def _regime(outcome: Outcome, condition: Condition) -> dict[str, object]:
    """Return the results of one regime: `labels`, `results`, and one line on each model."""
    entries = outcome.entries(condition)
    return {"labels": condition.labels, "results": entries, "lines": [regime_line(condition, e) for e in entries]}


def regime_line(condition: Condition, entry: dict[str, object]) -> str:
    """Say in one line whether the set beats random images under a regime, at which compute."""
    improvement = entry["improvement"]
    interval = improvement["interval"]
    span = f" (95 % interval {100 * interval[0]:+.2f} to {100 * interval[1]:+.2f})" if interval else ""
    return (
        f"{condition.labels}: {entry['model']} {improvement['verdict']}: {100 * improvement['mean']:+.2f} points{span}"
        f", {entry['images_seen']:,} images seen by each student of both"
    )


def _search(tasks: list[Task], students: list[StudentResult]) -> list[dict[str, object]]:
    """Return what the search of the rate tried: accuracies on held-out training images, of one student each."""
    found: dict[tuple, dict] = {}
    for task, student in zip(tasks, students, strict=True):
        key = (task.source, str(task.condition), task.model)
        entry = found.setdefault(
            key,
            {
                "source": task.source,
                "condition": str(task.condition),
                "model": task.model,
                "seed": task.seed,
                "images": len(student.truth),
                "accuracies": {},
            },
        )
        entry["accuracies"][f"{task.lr:g}"] = student.accuracy
    return list(found.values())


def _warn(entry: dict[str, object]) -> None:
    if entry["diverged_seeds"]:
        seeds = ", ".join(map(str, entry["diverged_seeds"]))
        _logger.warning(f"{entry['model']} seed {seeds}: the loss was not finite; a lower rate may help")
    if entry["diagnosis"]:
        _logger.warning(f"{entry['model']}: no better than guessing, or labels in another order")
        for line in entry["diagnosis"]:
            _logger.warning(f"  {line}")
