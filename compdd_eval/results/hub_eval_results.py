"""The Hub's own leaderboards: `eval.yaml` of a benchmark, `.eval_results/*.yaml` of a model; known here alone.

Both formats are a preview (https://huggingface.co/docs/hub/eval-results) and may change. The Hub validates `eval.yaml`
when it is pushed, and shows a leaderboard only for benchmarks that its team has put on a list; until then the files
are plain text there, which does no harm.
"""

from datetime import UTC, datetime

import yaml

from compdd_eval.config.protocol import Protocol
from compdd_eval.data.card import CardEntry
from compdd_eval.data.imagenet.hub_files import parse_address
from compdd_eval.data.subsets import config_names, load_subset
from compdd_eval.results.student_result import StudentResult
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.markdown import to_yaml

EVAL_NAME = "eval.yaml"
RESULTS_PATTERN = ".eval_results/comp-dd-*.yaml"
IPCS = (1, 10, 50)  # images per class that the benchmark has tables for (Wang, Li et al., CVPR 2025)
FRAMEWORK = "compdd_eval"  # "could be your own", says the Hub's documentation
_SPLIT = "validation"
_HUB = "https://huggingface.co"
_DESCRIPTION = (
    "Dataset distillation in complex scenes: a student network is trained on a distilled set of IPC images per class, "
    "and tested on the real validation images of its subset of ImageNet-1K. The value is its accuracy in percent."
)


def eval_yaml(entries: list[CardEntry]) -> str | None:
    """Return the content of `eval.yaml`: a task for each configuration with validation images and each IPC.

    Args:
        entries: The configurations that the benchmark's repository holds.

    Returns:
        YAML with `name`, `description`, `evaluation_framework` and `tasks` (`id`, `config`, `split`); None where there
        are no validation images, so no tasks.
    """
    names = [entry.subset.name for entry in entries if _SPLIT in entry.images and entry.subset.name in config_names()]
    tasks = [{"id": task_id(name, ipc), "config": name, "split": _SPLIT} for name in names for ipc in IPCS]
    if not tasks:
        return None
    content = {"name": "Comp-DD", "description": _DESCRIPTION, "evaluation_framework": FRAMEWORK, "tasks": tasks}
    return to_yaml(content)


def task_id(config_name: str, ipc: float) -> str:
    """Return the id of a task, such as `bird-easy-ipc10`.

    Raises:
        InputError: The benchmark has no such task: a list of a user's own, or another IPC than 1, 10 and 50.
    """
    if config_name not in config_names():
        raise InputError(f"{config_name}: no subset of the benchmark, so it has no task there; leave --benchmark out")
    if ipc not in IPCS:
        raise InputError(f"{config_name}, IPC {ipc:g}: the benchmark has IPC 1, 10 and 50; leave --benchmark out")
    return f"{config_name}-ipc{ipc:g}"


def listed_tasks(text: str, source: str) -> list[str]:
    """Return the ids of the tasks of an `eval.yaml`; `source` says where it is from.

    Raises:
        InputError: It is none.
    """
    try:
        return [str(task["id"]) for task in yaml.safe_load(text)["tasks"]]
    except (yaml.YAMLError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{source}: lists no tasks; push the benchmark again, or leave --benchmark out") from error


def results_name(result: StudentResult) -> str:
    """Return the file for the entry of a student; errors as of `task_id`."""
    return RESULTS_PATTERN.replace("*", task_id(result.config_name, result.ipc))


def results_yaml(result: StudentResult, benchmark: str, revision: str | None, repo_id: str, set_id: str | None) -> str:
    """Return the content of `.eval_results/*.yaml` for one student.

    Args:
        result: The student's record.
        benchmark: Repository of the benchmark, USER/NAME.
        revision: Its commit, where it is known.
        repo_id: Repository of the student.
        set_id: USER/NAME[/FOLDER]@COMMIT of the distilled set, if that came from the Hub.

    Raises:
        InputError: As of `task_id`; the record has no date; `huggingface_hub` is too old.
    """
    entry_class, as_content = eval_results_client()
    entry = entry_class(
        dataset_id=benchmark,
        task_id=task_id(result.config_name, result.ipc),
        value=round(100 * result.accuracy, 2),  # an image of 500 is 0.2 points
        dataset_revision=revision,
        date=_date(result),
        source_url=parse_address(set_id).page if set_id else f"{_HUB}/{repo_id}",
        source_name=f"distilled set {set_id.partition('@')[0]}" if set_id else f"student {repo_id}",
        notes=result_notes(result),
    )
    return to_yaml(as_content([entry]))


def result_notes(result: StudentResult) -> str:
    """Return in one line how a student was trained and tested: what a reader of a leaderboard has to know."""
    expected = load_subset(result.config_name).splits[_SPLIT]
    tested = f"{len(result.truth)} of {expected} validation images (digest {result.digests['validation'][:16]})"
    parts = [f"{result.model} at {result.resolution} px", *training_of(result), f"seed {result.seed}", tested]
    return "; ".join(parts)


def training_of(result: StudentResult) -> list[str]:
    """Return protocol with changes, rate, label regime and teacher of a student, each in words."""
    try:
        protocol = Protocol(**result.protocol)
    except TypeError as error:
        raise InputError(f"protocol of the result: {error}; evaluate again with this version") from error
    teacher = f"teacher {result.teacher['name']}" if result.teacher else "no teacher"
    return [
        f"protocol {protocol.in_words()}",
        f"rate {result.lr:g} ({result.lr_source})",
        f"labels {result.labels} ({result.label_kind})",
        teacher,
    ]


def _date(result: StudentResult) -> str:
    try:
        moment = datetime.fromisoformat(result.created).astimezone(UTC)
    except (TypeError, ValueError) as error:
        raise InputError(f"created {result.created!r}: no date of a result; evaluate again") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def eval_results_client() -> tuple[type, object]:
    """Return the class of an entry, and what writes entries.

    Raises:
        InputError: `huggingface_hub` is too old.
    """
    try:
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    except ImportError as error:
        raise InputError(
            "--benchmark with --student: huggingface_hub is too old for results of benchmarks, expected 1.4 or later; "
            "run pip install -U huggingface_hub"
        ) from error
    return EvalResultEntry, eval_result_entries_to_yaml
