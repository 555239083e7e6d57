"""Send a distilled set to the Hugging Face Hub: our files, a Parquet copy to look at, card, results; one commit."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.distilled.card import (
    CARD_NAME,
    DATA_FILES,
    card_text,
    is_ours,
    results_table,
    updated_card,
    with_data,
    with_results_of,
    without_data,
)
from compdd_eval.distilled.formats.comp_dd import FILES, TENSORS_NAME, save_folder, title_of
from compdd_eval.distilled.formats.parquet import write_parquet
from compdd_eval.distilled.metadata import FACTS_NAME, facts_of, parse_facts, read_facts
from compdd_eval.results.public_summary import RESULTS_FOLDER, public_summary, results_file
from compdd_eval.results.result_files import read_results, read_summary
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import write_json, write_text
from compdd_eval.utils.hub_errors import clear_hub_error

_EMPTY = {".gitattributes", "README.md"}  # what a repository may hold that has no data yet


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        repo_id: The repository, with its owner.
        commit: Hash of the commit that has the set.
        changed: Whether that is a new one.
        revision: The branch, where it is not `main`.
        private: Whether the repository is private.
    """

    repo_id: str
    commit: str
    changed: bool
    private: bool
    revision: str | None


@dataclass(frozen=True)
class _Remote:
    """What the repository holds: names of its files, facts and card where it has them."""

    names: set[str]
    facts: dict[str, object] | None
    card: str | None


def push_distilled(
    distilled,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    results: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    overwrite: bool = False,
    folder: Path | None = None,
) -> Pushed:
    """Send a set to a dataset repository; the same content again makes no commit.

    Args:
        distilled: The `DistilledSet`; it has to be known which subset it is for.
        repo_id: `USER/NAME`; it is made where there is none.
        private: Make it private; one that is public is refused.
        revision: Branch, which is made where there is none; None: `main`.
        results: What `evaluate` wrote, as in `read_results`: a table of the results of this set goes into the card, and
            they themselves, without places on this machine, into `results/`, beside those that are there.
        overwrite: Replace another set that lies there.
        folder: Folder of our format that the set was read from: its facts and its card are sent as they are.

    Raises:
        InputError: The subset is not known; results of other sets; a repository that holds other things; no access.
    """
    if distilled.definition is None:
        raise InputError("it is not known which subset the set is for; give --category and --subset, or --classes")
    places = [results] if isinstance(results, str | os.PathLike) else results or []
    found = summaries_of(places, distilled.sha256) if places else []
    summaries = {results_file(summary): summary for summary in map(public_summary, found)}
    try:
        return _push(distilled, repo_id, private, revision, summaries, overwrite, folder)
    except InputError:
        raise
    except Exception as error:
        raise clear_hub_error(error, repo_id if revision is None else f"{repo_id}@{revision}") from error


def summaries_of(places: Sequence[str | os.PathLike], sha256: str) -> list[dict]:
    """Return the summaries of `evaluate` under some places that are of this set.

    Raises:
        InputError: As `read_results`; there is none of this set.
    """
    summaries = read_results(places, _read_summary)
    found = [summary for summary in summaries if summary["digests"]["distilled"] == sha256]
    if not found:
        named = ", ".join(map(str, places))
        raise InputError(
            f"{named}: holds no results of this set ({len(summaries)} of other sets); evaluate it, or leave --results "
            "out"
        )
    return found


def _read_summary(path: Path) -> dict[str, object]:
    """Read one summary that has all that the card's table needs."""
    summary = read_summary(path)
    try:
        results_table([summary])
        summary["digests"]["distilled"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: no summary of evaluate ({error!r}); evaluate again, or leave it out") from error
    return summary


def _push(
    distilled,
    repo_id: str,
    private: bool,
    revision: str | None,
    summaries: dict[str, dict],
    overwrite: bool,
    folder: Path | None,
) -> Pushed:
    from huggingface_hub import HfApi

    api = HfApi()
    repo_id = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True).repo_id
    info = api.dataset_info(repo_id)
    if private and not info.private:
        raise InputError(f"{repo_id}: is public; make it private in its settings, or leave --private out")
    if revision is not None:
        new_branch = _make_branch(api, repo_id, revision)
        overwrite = overwrite or new_branch
        info = api.dataset_info(repo_id, revision=revision)
    remote = _look(repo_id, info)
    other = None if remote.facts is None else remote.facts.get("sha256")
    if other not in (None, distilled.sha256) and not overwrite:
        raise InputError(
            f"{repo_id}: holds another set (sha256 {other[:12]}..., {remote.facts['config_name']}); give another "
            "--repo_id or --revision, or --overwrite: then it stays in the history only"
        )
    with tempfile.TemporaryDirectory(prefix="compdd_push_") as staging:
        if not _stage(Path(staging), distilled, repo_id, summaries, folder, remote):
            return Pushed(repo_id, info.sha, False, bool(info.private), revision)
        commit = api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=staging,
            revision=revision,
            allow_patterns=[*FILES, DATA_FILES, f"{RESULTS_FOLDER}/*"],
            delete_patterns=["data/*", *([f"{RESULTS_FOLDER}/*"] if other not in (None, distilled.sha256) else [])],
            commit_message=f"Distilled set: {title_of(distilled)}",
        )
    changed = commit.oid != info.sha
    return Pushed(repo_id, commit.oid, changed, bool(info.private), revision)


def _make_branch(api: object, repo_id: str, revision: str) -> bool:
    """Make a branch; return whether it is new."""
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        api.dataset_info(repo_id, revision=revision)
        return False
    except RevisionNotFoundError:
        api.create_branch(repo_id, repo_type="dataset", branch=revision, exist_ok=True)
        return True


def _look(repo_id: str, info: object) -> _Remote:
    """Return what the repository holds; raise InputError if that is no distilled set."""
    from huggingface_hub import hf_hub_download

    names = {file.rfilename for file in info.siblings}
    if FACTS_NAME not in names:
        if strange := sorted(names - _EMPTY):
            raise InputError(f"{repo_id}: holds {', '.join(strange[:3])} and no distilled set; give another --repo_id")
        return _Remote(names, None, None)
    texts = {}
    for name in (FACTS_NAME, CARD_NAME):
        if name in names:
            path = hf_hub_download(repo_id, name, repo_type="dataset", revision=info.sha)
            texts[name] = Path(path).read_text(encoding="utf-8", errors="replace")
    try:
        facts = parse_facts(texts[FACTS_NAME], f"{repo_id}: {FACTS_NAME}")
    except InputError:
        facts = None  # damaged, or of another version: it is replaced
    return _Remote(names, facts, texts.get(CARD_NAME))


def _stage(
    staging: Path, distilled, repo_id: str, summaries: dict[str, dict], folder: Path | None, remote: _Remote
) -> bool:
    """Write all files that are to be there; return whether anything differs from what is there."""
    facts, local = facts_of(distilled), read_facts(folder) if folder is not None else None
    if local and _without_versions(local) == _without_versions(facts):  # else flags have changed what was read
        facts = local
    same = remote.facts is not None and _without_versions(remote.facts) == _without_versions(facts)
    text = _card_for(distilled, facts, repo_id, list(summaries.values()), folder, remote, same)
    if same and text == remote.card and {TENSORS_NAME, DATA_FILES, *summaries} <= remote.names:
        return False
    save_folder(distilled, staging)
    write_json(staging / FACTS_NAME, remote.facts if same else facts)
    write_text(staging / CARD_NAME, text)
    write_parquet(distilled, staging / DATA_FILES)
    for name, summary in summaries.items():
        write_json(staging / name, summary)
    return True


def _without_versions(facts: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in facts.items() if name != "versions"}


def _card_for(
    distilled,
    facts: dict[str, object],
    repo_id: str,
    summaries: list[dict],
    folder: Path | None,
    remote: _Remote,
    same: bool,
) -> str:
    """Return the card: one that somebody has edited is kept but for its generated parts; results are kept, too."""
    local = None
    if folder is not None and (folder / CARD_NAME).is_file():
        local = (folder / CARD_NAME).read_text(encoding="utf-8", errors="replace")
    edited = local is not None and is_ours(local) and without_data(local) != card_text(facts)
    kept = local if edited else remote.card if same and remote.card and is_ours(remote.card) else None
    text = card_text(facts, repo_id, summaries)
    if kept is not None:
        text = updated_card(kept, facts, repo_id, summaries)
    same_tensors = remote.facts is not None and remote.facts.get("sha256") == distilled.sha256
    if not summaries and remote.card is not None and same_tensors:
        text = with_results_of(text, remote.card)
    if remote.card is not None and without_data(text) == without_data(remote.card):
        text = remote.card  # where it declares its data in another place, it stays there
    return with_data(text, distilled)
