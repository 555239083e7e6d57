"""Send a distilled set to the Hugging Face Hub: our files, a Parquet copy to look at, card, results; one commit."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.distilled import card
from compdd_eval.distilled.card import CARD_NAME, DATA_FILES
from compdd_eval.distilled.formats.comp_dd import FILES, TENSORS_NAME, save_folder, short_title
from compdd_eval.distilled.formats.parquet import write_parquet
from compdd_eval.distilled.metadata import RECORD_NAME, SetRecord, parse_record, read_record
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.distilled.view_labels import VIEW_LABELS_NAME
from compdd_eval.results.public_summary import RESULTS_FOLDER, public_summary, results_file
from compdd_eval.results.result_files import read_results, read_summary
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import write_json, write_text
from compdd_eval.utils.hub_push import Pushed, Repository, open_for_push

_EMPTY = {".gitattributes", CARD_NAME}  # what a repository may hold that has no data yet


@dataclass(frozen=True)
class _Local:
    """What is to be sent.

    Attributes:
        distilled: The set.
        record: What its `distilled.json` says.
        edited: Its card, if somebody has edited it.
        summaries: Name of the file in the repository -> content of a `summary.json`, without places on this machine.
    """

    distilled: SetTensors
    record: SetRecord
    edited: str | None
    summaries: dict[str, dict]


@dataclass(frozen=True)
class _Remote:
    """What the repository holds: names of its files, the record and the card of a set where it has them."""

    names: set[str]
    record: SetRecord | None = None
    card: str | None = None

    @property
    def sha256(self) -> str | None:
        """Digest of the set that lies there."""
        return self.record.sha256 if self.record else None


def push_distilled(
    distilled: SetTensors,
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
        distilled: The set; it has to be known which subset it is for.
        repo_id: `USER/NAME`; it is made where there is none.
        private: Make it private; one that is public is refused.
        revision: Branch, which is made where there is none; None: `main`.
        results: What `evaluate` wrote, as in `read_results`: a table of the results of this set goes into the card, and
            they themselves, without places on this machine, into `results/`, beside those that are there.
        overwrite: Replace another set that lies there.
        folder: Folder of our format that the set was read from: its record and its card are sent as they are.

    Raises:
        InputError: The subset is not known; results of other sets; a repository that holds other things; no access.
    """
    if distilled.definition is None:
        raise InputError("it is not known which subset the set is for; give --category and --subset, or --classes")
    given = [results] if isinstance(results, str | os.PathLike) else results or []
    summaries = [public_summary(summary) for summary in summaries_of(given, distilled)] if given else []
    local = _local(distilled, folder, summaries)
    with open_for_push(repo_id, private=private, revision=revision) as repository:
        remote = _look(repository)
        another = RECORD_NAME in remote.names and remote.sha256 != distilled.sha256
        labels_go = remote.record and remote.record.view_labels and not local.record.view_labels
        if labels_go and not (another or overwrite or repository.new_branch):
            raise InputError(
                f"{repository.repo_id}: has this set with labels of views, which would go; pull it, or give --overwrite"
            )
        if another and not (overwrite or repository.new_branch):
            raise InputError(
                f"{repository.repo_id}: holds {_in_words(remote)}; give another --repo_id or --revision, or "
                "--overwrite: then it stays in the history only"
            )
        with tempfile.TemporaryDirectory(prefix="compdd_push_") as staging:
            if not _stage(Path(staging), local, remote, repository.repo_id):
                return repository.at(repository.info.sha)
            return repository.upload(
                staging,
                f"Distilled set: {short_title(local.record)}",
                allow=[*FILES, DATA_FILES, f"{RESULTS_FOLDER}/*"],
                # results are of the set beside them
                delete=["data/*", VIEW_LABELS_NAME, *([f"{RESULTS_FOLDER}/*"] if another else [])],
            )


def summaries_of(places: Sequence[str | os.PathLike], distilled: SetTensors) -> list[dict]:
    """Return the summaries of `evaluate` under some paths that are of this set, on its subset.

    Raises:
        InputError: As `read_results`; there is none of this set.
    """
    summaries = read_results(places, _read_summary)
    of_set = distilled.sha256, distilled.definition.name
    own = [one for one in summaries if (one["digests"]["distilled"], one["config_name"]) == of_set]
    if not own:
        named = ", ".join(map(str, places))
        raise InputError(
            f"{named}: holds no results of this set on {distilled.definition.name} ({len(summaries)} of other sets or "
            "subsets); evaluate it, or leave --results out"
        )
    return own


def _read_summary(path: Path) -> dict[str, object]:
    """Read one summary that has all that the card's table needs."""
    summary = read_summary(path)
    try:
        card.results_table([summary])
        _ = summary["digests"]["distilled"], summary["config_name"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: no summary of evaluate ({error!r}); evaluate again, or leave it out") from error
    return summary


def _local(distilled: SetTensors, folder: Path | None, summaries: list[dict]) -> _Local:
    """Collect what is to be sent; what the set's folder says is kept as long as it is of this set."""
    record, edited = SetRecord.of(distilled), None
    if folder is not None:
        written = read_record(folder)
        if record.same_set(written):  # else flags have changed what was read
            record = written
        if (folder / CARD_NAME).is_file():
            text = (folder / CARD_NAME).read_text(encoding="utf-8", errors="replace")
            edited = text if card.is_ours(text) and card.without_data(text) != card.set_card(record) else None
    return _Local(distilled, record, edited, {results_file(summary): summary for summary in summaries})


def _look(repository: Repository) -> _Remote:
    """Return what the repository holds; raise InputError if that is no distilled set."""
    names = repository.names
    if RECORD_NAME not in names:
        if strange := sorted(names - _EMPTY):
            some = ", ".join(strange[:3])
            raise InputError(f"{repository.repo_id}: holds {some} and no distilled set; give another --repo_id")
        return _Remote(names)
    texts = repository.texts(RECORD_NAME, CARD_NAME)
    try:
        record = parse_record(texts[RECORD_NAME], f"{repository.repo_id}: {RECORD_NAME}")
    except InputError:
        record = None  # damaged, or of another version
    return _Remote(names, record, texts.get(CARD_NAME))


def _in_words(remote: _Remote) -> str:
    if remote.sha256 is None:
        return "a set that this version cannot read"
    return f"another set (sha256 {remote.sha256[:12]}..., {remote.record.config_name})"


def _stage(staging: Path, local: _Local, remote: _Remote, repo_id: str) -> bool:
    """Write all files that are to be there; return whether anything differs from what is there."""
    same = local.record.same_set(remote.record)
    text = _card_for(local, remote, repo_id)
    needed = {TENSORS_NAME, DATA_FILES, *local.summaries, *([VIEW_LABELS_NAME] if local.record.view_labels else [])}
    if same and text == remote.card and needed <= remote.names:
        return False
    save_folder(local.distilled, staging)
    # the record of the repository where it says the same: the versions of another machine are no reason for a commit
    write_json(staging / RECORD_NAME, (remote.record if same else local.record).as_json())
    write_text(staging / CARD_NAME, text)
    write_parquet(local.distilled, staging / DATA_FILES)
    for name, summary in local.summaries.items():
        write_json(staging / name, summary)
    return True


def _card_for(local: _Local, remote: _Remote, repo_id: str) -> str:
    """Return the card: one that somebody has edited is kept but for its generated parts; results are kept, too."""
    kept, summaries = local.edited, list(local.summaries.values())
    if kept is None and local.record.same_set(remote.record) and remote.card and card.is_ours(remote.card):
        kept = remote.card
    if kept is None:
        text = card.set_card(local.record, repo_id, summaries)
    else:
        text = card.updated_card(kept, local.record, repo_id, summaries)
    if remote.card is not None:
        if not summaries and remote.sha256 == local.distilled.sha256:
            text = card.with_results_of(text, remote.card)
        if card.without_data(text) == card.without_data(remote.card):
            text = remote.card  # where it declares its data in another place, it stays there
    return card.with_data(text, local.distilled)
