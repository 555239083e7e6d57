"""Publish a trained student as a model repository on the Hugging Face Hub, in one commit."""

import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from compdd_eval.config.network_names import is_user_network
from compdd_eval.config.push import PushConfig
from compdd_eval.data.imagenet.hub_files import is_commit
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.subsets import load_subset, selected_subset
from compdd_eval.models.registry import create_model
from compdd_eval.results.hub_eval_results import (
    EVAL_NAME,
    RESULTS_PATTERN,
    eval_results_client,
    listed_tasks,
    results_name,
    results_yaml,
    task_id,
)
from compdd_eval.results.student_card import (
    CARD_NAME,
    CONFIG_NAME,
    LIBRARY,
    WEIGHTS_NAME,
    student_card,
    student_config,
    with_edits_of,
)
from compdd_eval.results.student_result import SET, StudentResult, read_student, weights_path
from compdd_eval.training.weights import digest_of_weights, read_weights
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import write_json, write_text
from compdd_eval.utils.hub_push import Pushed, Repository, hub_errors_in_one_line, open_for_push

_logger = logging.getLogger(__name__)
_EMPTY = {".gitattributes", CARD_NAME}  # what a repository may hold that has no student yet


@dataclass(frozen=True)
class PushedStudent(Pushed):
    """What a push of a student did; `task`: that of the benchmark that its result was sent for, or None."""

    task: str | None = None


@dataclass(frozen=True)
class _Student:
    """A student that was read and checked.

    Attributes:
        result: Its record.
        weights: Its parameters and buffers.
        config: The content of its `config.json`.
        card: Its card.
        set_id: USER/NAME[/FOLDER]@COMMIT of its set, if that came from the Hub.
    """

    result: StudentResult
    weights: dict[str, torch.Tensor]
    config: dict[str, object]
    card: str
    set_id: str | None


def push_student(config: PushConfig) -> PushedStudent:
    """Send a student to a model repository; the same content again makes no commit.

    Raises:
        InputError: No result of a student of a distilled set, no weights beside it or other ones than its network's;
            a task that the benchmark lacks; a repository that holds other things; no access; with a benchmark, a
            `huggingface_hub` that is too old.
    """
    student, task = _read(config), None
    results = {}
    if config.benchmark is not None:
        task = task_id(student.result.config_name, student.result.ipc)
        eval_results_client()
        results = _results(config, student, task)  # before a repository is made: what is wrong leaves none
    with open_for_push(config.repo_id, "model", private=config.private) as repository:
        remote, card = _look(repository)
        same = remote is not None and _identity(remote) == _identity(student.config)
        if remote is not None and not same and not config.overwrite:
            raise InputError(
                f"{repository.repo_id}: holds another student ({_called(remote)}); give another --repo_id, or "
                "--overwrite: then it stays in the history only"
            )
        with tempfile.TemporaryDirectory(prefix="compdd_push_") as staging:
            _stage(Path(staging), student, card if same else None, results)
            others = None if same else RESULTS_PATTERN  # results of the student that lay there
            pushed = repository.upload(staging, f"Student: {_called(student.config)}", delete=others)
    return PushedStudent(**vars(pushed), task=task)


def _read(config: PushConfig) -> _Student:
    path = Path(config.student)
    if not path.is_file():
        raise InputError(f"{path}: no such file; --student takes a seedK.json of evaluate --save_students")
    result = read_student(path)
    if result.source != SET or result.tested_on != "validation":
        what = "real images" if result.source != SET else "the search of a rate"
        raise InputError(f"{path}: a student of {what}; --student takes one of the distilled set")
    file = weights_path(path)
    if not file.is_file():
        raise InputError(f"{path}: has no weights ({file.name}); evaluate with --save_students")
    subset = _subset_of(result, config)
    weights = _checked(read_weights(file, ""), file, result)
    name = str(result.config.get("distilled"))
    set_id = name if is_commit(name) else None  # as `evaluate` notes a set of the Hub in its settings
    try:
        facts = student_config(result, subset, digest_of_weights(weights))
        card = student_card(result, subset, config.repo_id, set_id)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: no result of this version of evaluate ({error}); evaluate again") from error
    return _Student(result, weights, facts, card, set_id)


def _subset_of(result: StudentResult, config: PushConfig) -> Subset:
    """Return the subset that a student is of, by the flags, by its settings, or by its name."""
    known = {name: result.config.get(name) for name in config.selection}
    for subset in (config.load_subset(), selected_subset(known | {"subsets_dir": None})):
        if subset is not None and subset.name == result.config_name:
            return subset
    return load_subset(result.config_name)


def _checked(weights: dict[str, torch.Tensor], file: Path, result: StudentResult) -> dict[str, torch.Tensor]:
    """Return the weights as the network holds them; refuse those of another network.

    A network of a user's own is not built: its file would be run, and a result can name any.
    """
    if is_user_network(result.model):
        _logger.warning(f"{file}: not checked, for {result.model} is a network of your own, whose code is not run here")
        return {name: value.contiguous() for name, value in weights.items()}
    # as strict as loading them will be for those who download them
    network = create_model(result.model, NUM_CLASSES, (result.resolution, result.resolution))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{file}: not the weights of {result.model} at {result.resolution} px with {NUM_CLASSES} classes "
            f"({reason}); evaluate with --save_students --overwrite"
        ) from error
    return {name: value.contiguous() for name, value in network.state_dict().items()}


def _results(config: PushConfig, student: _Student, task: str) -> dict[str, str]:
    """Return the file for the leaderboard of the benchmark, and its content."""
    revision = _revision_of(config.benchmark, task)
    text = results_yaml(student.result, config.benchmark, revision, config.repo_id, student.set_id)
    return {results_name(student.result): text}


def _revision_of(benchmark: str, task: str) -> str | None:
    """Return the commit of the benchmark's repository; None where it cannot be asked.

    Raises:
        InputError: It can be asked, and does not list the task.
    """
    from huggingface_hub import HfApi, errors, hf_hub_download

    with hub_errors_in_one_line(benchmark):
        try:
            commit = HfApi().dataset_info(benchmark).sha
        except errors.RepositoryNotFoundError:
            _logger.warning(f"{benchmark}: not there or no access to it, so the result names no revision of it")
            return None
        try:
            path = hf_hub_download(benchmark, EVAL_NAME, repo_type="dataset", revision=commit)
        except errors.GatedRepoError:  # its page is seen without access, its files are not
            return commit
        except errors.RemoteEntryNotFoundError as error:
            raise InputError(
                f"{benchmark}: has no {EVAL_NAME}, so it is no benchmark; push it again, or leave --benchmark out"
            ) from error
    if task not in listed_tasks(Path(path).read_text(encoding="utf-8", errors="replace"), f"{benchmark}: {EVAL_NAME}"):
        raise InputError(f"{benchmark}: its {EVAL_NAME} lists no task {task}; export and push that subset, too")
    return commit


def _look(repository: Repository) -> tuple[dict[str, object] | None, str | None]:
    """Return the `config.json` and the card of the student that the repository holds, if any."""
    others = repository.names - _EMPTY
    if not others:
        return None, None
    texts = repository.texts(CONFIG_NAME, CARD_NAME)
    try:
        config = json.loads(texts.get(CONFIG_NAME, "null"))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict) or config.get("library_name") != LIBRARY:
        some = ", ".join(sorted(others)[:3])
        raise InputError(f"{repository.repo_id}: holds {some} and no student of ours; give another --repo_id")
    return config, texts.get(CARD_NAME)


def _identity(config: dict[str, object]) -> list[object]:
    return [config.get(name) for name in ("model", "image_size", "config_name", "seed", "digests", "weights_sha256")]


def _called(config: dict[str, object]) -> str:
    parts = [str(config.get(name))[:60] for name in ("model", "config_name", "seed")]
    return "{} on {}, seed {}".format(*parts)


def _stage(staging: Path, student: _Student, card: str | None, results: dict[str, str]) -> None:
    """Write all files; of a card that is there, what others have edited is kept."""
    save_file(student.weights, staging / WEIGHTS_NAME, {"format": "pt"})
    write_json(staging / CONFIG_NAME, student.config)
    write_text(staging / CARD_NAME, student.card if card is None else with_edits_of(student.card, card))
    for name, text in results.items():
        write_text(staging / name, text)
