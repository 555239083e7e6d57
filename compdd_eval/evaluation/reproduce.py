"""`reproduce`: train a recorded student again and compare."""

import contextlib
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path

from accelerate import Accelerator

from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.network_names import network_name, own_file, recorded_network, split_teacher
from compdd_eval.config.reproduce import ReproduceConfig
from compdd_eval.evaluation.evaluate import Evaluation, accelerator_of
from compdd_eval.evaluation.plan import Condition, Planner, Task
from compdd_eval.evaluation.train_students import StudentTrainer
from compdd_eval.models.registry import find_model
from compdd_eval.results.result_files import read_results, read_summary
from compdd_eval.results.statistics import CONFIDENCE, equally_accurate
from compdd_eval.results.student_result import FULL, StudentResult, read_student
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import on_main_process

EQUAL, CLOSE, DIFFERS = "equal", "same accuracy, but the losses differ", "differs"


@dataclass(frozen=True)
class Reproduction:
    """A recorded student and the same made again.

    Attributes:
        path: The record.
        source: What the student was trained on: `distilled` (the set), `random` (real images) or `full` (all training
            images).
        tested_on: `validation`, or `held-out training images` where a rate was searched.
        verdict: `equal`: same inputs, predictions and losses, to the last bit; else what differs, and of accuracies
            whether by more than chance.
        recorded: What was compared, of the record: `trained_digest` and `tested_digest` (SHA-256 of these images and
            their labels), `accuracy` (a fraction), `last_loss` (None where it was not finite).
        now: The same, made again; accuracy and loss are None where it was not trained.
        predictions: Images that both were tested on.
        differing: Of these, the ones that get another label now; None where it was not trained.
        notes: What else is different: versions, device, threads.
    """

    path: str
    source: str
    tested_on: str
    verdict: str
    recorded: dict[str, object]
    now: dict[str, object]
    predictions: int
    differing: int | None
    notes: list[str]


def reproduce(config: ReproduceConfig) -> list[Reproduction]:
    """Train again what result files record (of a `summary.json`: all its students); every process must call this.

    Raises:
        InputError: As `read_results`; what a student was made from is not where it was.
    """
    paths = list(dict.fromkeys(path for paths in read_results(config.results, _records) for path in paths))
    records = [read_student(path) for path in paths]
    settings = [_checked_settings(record, config, path) for path, record in zip(paths, records, strict=True)]
    accelerator = accelerator_of(settings[0])
    return [_again(*each, accelerator) for each in zip(paths, records, settings, strict=True)]


def _records(path: Path) -> list[Path]:
    """Return the files of a summary's students; a student's own file is the only one."""
    content = read_summary(path)
    if "predictions" in content:
        return [path]
    try:
        return [_beside(path, Path(student), content) for student in content["students"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: no summary of evaluate ({error!r}); evaluate again, or leave it out") from error


def _beside(summary: Path, student: Path, content: dict) -> Path:
    """Find a student of a summary also where the output folder was moved."""
    root = Path(content["config"]["output_dir"])
    # paths in a summary are those of the machine that wrote it
    if not student.exists() and student.is_relative_to(root):
        return summary.parent / student.relative_to(root)
    return student


def _checked_settings(record: StudentResult, config: ReproduceConfig, path: Path) -> EvaluateConfig:
    """Do as `_settings`, and find the networks, so that nothing is trained for a record that cannot be."""
    try:
        settings = _settings(record, config, path)
        for name in (settings.model, *([split_teacher(settings.teacher)[0]] if settings.teacher else [])):
            find_model(name)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path}: no result of this version of evaluate ({error!r}); evaluate again") from error
    return settings


def _settings(record: StudentResult, config: ReproduceConfig, path: Path) -> EvaluateConfig:
    """Return the recorded settings, for this student alone."""
    known = {field.name for field in fields(EvaluateConfig)}
    settings = {name: value for name, value in record.config.items() if name in known}
    settings |= {"seed": record.seed, "num_eval": 1, "overwrite": False, "log_with": None}
    settings["model"] = own_file(recorded_network(settings["model"], record.model), config.model or "", "--model")
    settings |= {"threads": config.threads or record.environment["threads"], "parallel": "students", "grid": None}
    # as they were for this student: the last bits depend on them
    settings |= {"precision": record.environment["precision"], "compile": "always" if record.compiled else "never"}
    settings["eval_every"] = settings["eval_every"] if record.curve else 0
    settings["save_students"] = False
    if config.data_path is not None:
        settings["data_path"] = config.data_path
    if config.distilled is not None:
        settings |= {"distilled": config.distilled, "data_dir": None}
    if settings["distilled"] is None and settings["data_dir"] is None:
        raise InputError(f"{path}: the set was given in Python, not as a file; give it with --distilled")
    if settings["teacher"] is not None:
        settings["teacher"] = _teacher(record, settings["teacher"], config.teacher or "")
    return EvaluateConfig(**settings)


def _teacher(record: StudentResult, recorded: str, given: str) -> str:
    """Return the recorded teacher, NAME or NAME=FILE, with the user's own file and weights where they are given."""
    (name, weights), (own, own_weights) = map(split_teacher, (recorded, given))
    network = own_file(name, own, "--teacher")
    if own_weights and network_name(network) == network_name(name):
        return f"{network}={own_weights}"
    if record.teacher and Path(record.teacher["file"]).is_file():
        return f"{network}={record.teacher['file']}"
    return f"{network}={weights}" if weights else network


def _again(path: Path, record: StudentResult, settings: EvaluateConfig, accelerator: Accelerator) -> Reproduction:
    """Train one student once more, in a folder that is thrown away, and compare; not where its images are others."""
    with tempfile.TemporaryDirectory(prefix="compdd_reproduce_") as folder, contextlib.ExitStack() as locks:
        settings = settings.changed(output_dir=str(Path(folder) / "out"), baseline_dir=None)
        run = Evaluation(settings, accelerator, locks)
        run.look_for_doubts()
        trainer = StudentTrainer(run.inputs, run.resources)
        teacher, condition = run.teacher(trainer), _condition(record, settings)
        if record.source == FULL:
            training_sets = {FULL: run.resources.everything}
        else:
            training_sets = run.training_sets([condition], [record.seed], teacher)
        task = Planner(run.inputs, training_sets, teacher).task(
            record.source,
            condition,
            record.model,
            record.seed,
            record.lr,
            record.lr_source,
            searching=record.tested_on != "validation",
        )
        others, again = _others(record, task), None
        if others is None and accelerator.is_main_process:
            # as it was trained, where the last bits can be the same
            same_device = record.environment["device"] == run.resources.environment["device"]
            as_it_was = (record.students_at_a_time, record.images_at_a_time) if same_device else ()
            again = trainer.repeat(task, *as_it_was)
        notes = ["the teacher was trained again, to other weights"] if _other_teacher(record, task) and again else []
        notes += _notes(record.environment, run.resources.environment)
        return on_main_process(accelerator, lambda: _compare(str(path), record, task.digests, others, again, notes))


def _others(record: StudentResult, task: Task) -> str | None:
    """Say what of a student's inputs is not what it was; None where all is."""
    if any(task.digests[name] != record.digests[name] for name in ("distilled", "validation")):
        return "trained or tested on other images"
    found = task.digests.get("view_labels")
    given = found is not None or split_teacher(record.config.get("teacher") or "")[1]
    if given and _other_teacher(record, task):
        return "taught by another teacher"
    return "taught by other labels of views" if found != record.digests.get("view_labels", found) else None


def _other_teacher(record: StudentResult, task: Task) -> bool:
    before, now = ((taught or {}).get("digest") for taught in (record.teacher, task.taught_by))
    return before != now


def _condition(record: StudentResult, settings: EvaluateConfig) -> Condition:
    if record.source == FULL:
        return Condition("hard")
    return Condition(record.labels, record.augmented or not settings.augmented)


def _compare(
    path: str,
    record: StudentResult,
    digests: dict[str, str],
    others: str | None,
    again: StudentResult | None,
    notes: list[str],
) -> Reproduction:
    verdict = f"{DIFFERS}: it would be {others}, so it was not trained"
    differing = None
    if again is not None:
        same = again.predictions == record.predictions and again.losses == record.losses
        differing = sum(a != b for a, b in zip(again.predictions, record.predictions, strict=True))
        verdict = EQUAL if same else CLOSE if again.accuracy == record.accuracy else _closeness(record, again)
    sides = _side(record.digests, record), _side(digests, again)
    what = path, record.source, record.tested_on
    return Reproduction(*what, verdict, *sides, len(record.predictions), differing, notes)


def _closeness(record: StudentResult, again: StudentResult) -> str:
    """Say whether two accuracies differ by more than chance: rounding that training amplifies changes some images."""
    right = [[a == b for a, b in zip(student.predictions, student.truth, strict=True)] for student in (record, again)]
    p_value = equally_accurate(*right)
    by = "more" if p_value < 1 - CONFIDENCE else "no more"
    return f"{DIFFERS}: the accuracies by {by} than chance (McNemar's test, p = {p_value:.2g})"


def _side(digests: dict[str, str], student: StudentResult | None) -> dict[str, object]:
    """Return what is compared of a student, or of its images alone."""
    return {
        "trained_digest": digests["distilled"],
        "tested_digest": digests["validation"],
        "accuracy": student.accuracy if student else None,
        "last_loss": student.losses[-1] if student else None,
    }


def _notes(recorded: dict[str, object], now: dict[str, object]) -> list[str]:
    """Say what of the environment is another."""
    notes = [f"{name} was {recorded[name]}, is {now[name]}" for name in recorded if recorded[name] != now.get(name)]
    before, after = recorded["versions"], now["versions"]
    changed = [f"{name} {before[name]} -> {after.get(name)}" for name in before if before[name] != after.get(name)]
    notes = [note for note in notes if not note.startswith("versions ")]
    return [*notes, *([f"versions: {', '.join(changed)}"] if changed else [])]
