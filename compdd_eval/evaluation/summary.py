"""From the students of a run to its `summary.json`."""

import logging
from dataclasses import asdict
from pathlib import Path

from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.protocol import Protocol
from compdd_eval.distilled.result_pictures import sheet_of
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.evaluation.by_complexity import by_quartile
from compdd_eval.evaluation.diagnosis import diagnose
from compdd_eval.evaluation.outcome import Outcome
from compdd_eval.evaluation.plan import Condition, EvaluationInputs, Task, Teacher
from compdd_eval.results.aggregate import environments
from compdd_eval.results.student_result import SET, SUMMARY_NAME, StudentResult
from compdd_eval.results.summary import Compared, Evaluated, RateSearch, Regime, Summary, SummaryEntry

_logger = logging.getLogger(__name__)


def finish(
    inputs: EvaluationInputs,
    conditions: list[Condition],
    outcome: Outcome,
    teacher: Teacher | None,
    search: list[Task],
    searched: list[StudentResult],
) -> Summary:
    """Return the summary of all students of this run; write it, and pictures of the set, where there is a folder."""
    config = inputs.config
    entries = [_entry(inputs, outcome, conditions[0], compared) for compared in outcome.entries(conditions[0])]
    for entry in entries:
        _warn(entry)
    summary = Summary(
        **asdict(_evaluated(inputs)),
        lr=entries[0].lr,
        lr_source=entries[0].lr_source,
        protocol=config.settings(),
        protocol_changes=config.changes(),
        teacher=teacher.record() if teacher else outcome.students[0].teacher,
        full_recipe=_recipe(config.full_protocol) if config.baselines or teacher else None,
        results=entries,
        regimes=[_regime(outcome, condition) for condition in map(Condition, config.listed("regimes"))],
        scores=outcome.scores(config.listed("scores"), config.labels) if config.listed("scores") else [],
        rate_search=_search(search, searched),
        digests=outcome.students[0].digests,
        distilled=_known(inputs.distilled),
        config=asdict(config),
        students=[str(task.path) for task in outcome.tasks],
        environments=environments(outcome.students),
    )
    if len(summary.environments) > 1:
        _logger.warning(
            "the students were made in different environments (see summary.json); their last bits may differ"
        )
    if config.output_dir is not None:
        sheet_of(inputs.distilled).write(Path(config.output_dir) / inputs.set_name)
        summary.write(Path(config.output_dir))
    return summary


def summary_path(config: EvaluateConfig) -> Path | None:
    """Return the file of the summary; None where none is written."""
    return None if config.dry_run or config.output_dir is None else Path(config.output_dir) / SUMMARY_NAME


def planned(inputs: EvaluationInputs, environment: dict[str, object], students: int) -> dict[str, object]:
    """Return what a run would do: the facts of a summary that are known before, `models`, `seeds` and `students`."""
    config = inputs.config
    return {
        **asdict(_evaluated(inputs)),
        "protocol": config.settings(),
        "protocol_changes": config.changes(),
        "models": config.models,
        "seeds": config.seeds,
        "baselines": config.baselines,
        "students": students,
        "distilled": _known(inputs.distilled),
        "config": asdict(config),
        "environment": environment,
    }


def _known(distilled: DistilledSet) -> dict[str, object]:
    """Return what is known of a set: its metadata, where it comes from, and its labels of views in words."""
    labels = distilled.view_labels
    views = {"view_labels": labels.record.in_words()} if labels else {}
    return distilled.metadata | distilled.origin | views


def _evaluated(inputs: EvaluationInputs) -> Evaluated:
    subset, distilled, tested = inputs.subset, inputs.distilled, inputs.validation
    return Evaluated(
        category=inputs.config.category,
        subset=inputs.config.subset,
        config_name=subset.name,
        set=inputs.set_name,
        ipc=distilled.ipc,
        decoded_ipc=distilled.decoded_ipc,
        resolution=distilled.resolution,
        images=len(distilled.images),
        label_kind=distilled.label_kind,
        class_names=subset.label_names,
        validation_images=len(tested.labels),
        validation_images_expected=tested.expected,
    )


def _entry(inputs: EvaluationInputs, outcome: Outcome, condition: Condition, compared: Compared) -> SummaryEntry:
    students = outcome.of(SET, condition, compared.model)
    return SummaryEntry(
        **vars(compared),
        diagnosis=diagnose(inputs, compared),
        accuracy_by_complexity=by_quartile(inputs.complexity, students) if inputs.complexity else None,
    )


def _recipe(protocol: Protocol) -> dict[str, object]:
    return {"passes": protocol.passes, "changes": protocol.changes(), **protocol.settings()}


def _regime(outcome: Outcome, condition: Condition) -> Regime:
    entries = outcome.entries(condition)
    return Regime(condition.labels, entries, [_regime_line(condition, entry) for entry in entries])


def _regime_line(condition: Condition, entry: Compared) -> str:
    """Say in one line whether the set beats random images under a regime, at which compute."""
    gain = entry.improvement
    low, high = gain.interval or (0, 0)
    span = f" (95 % interval {100 * low:+.2f} to {100 * high:+.2f})" if gain.interval else ""
    return (
        f"{condition.labels}: {entry.model} {gain.verdict}: {100 * gain.mean:+.2f} points{span}, "
        f"{entry.images_seen:,} images seen by each student of both"
    )


def _search(tasks: list[Task], students: list[StudentResult]) -> list[RateSearch]:
    """Return what the search of the rate tried, the rates of one source, condition and network together."""
    searches: dict[tuple, RateSearch] = {}
    for task, student in zip(tasks, students, strict=True):
        key = (task.source, str(task.condition), task.model)
        search = searches.setdefault(key, RateSearch(*key, seed=task.seed, images=len(student.truth), accuracies={}))
        search.accuracies[f"{task.lr:g}"] = student.accuracy
    return list(searches.values())


def _warn(entry: SummaryEntry) -> None:
    if entry.diverged_seeds:
        seeds = ", ".join(map(str, entry.diverged_seeds))
        _logger.warning(f"{entry.model} seed {seeds}: the loss was not finite; a lower rate may help")
    if entry.diagnosis:
        _logger.warning(f"{entry.model}: no better than guessing, or labels in another order")
        for line in entry.diagnosis:
            _logger.warning(f"  {line}")
