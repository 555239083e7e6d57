"""`convert`, `push` and `pull`: distilled sets between formats, people and the Hub."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from compdd_eval.config import ConvertConfig, PullConfig, PushConfig
from compdd_eval.console import print_json, print_table
from compdd_eval.distilled import DistilledSet, read_distilled
from compdd_eval.distilled.content import name_of, notes_of
from compdd_eval.distilled.folder import TENSORS_NAME
from compdd_eval.distilled.pulling import Pulled, pull_distilled
from compdd_eval.distilled.pushing import Pushed, push_distilled
from compdd_eval.distilled.writing import FILE_FORMATS, check_target, format_of, real_path, write_distilled
from compdd_eval.errors import InputError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Converted:
    """What `convert` did.

    Attributes:
        distilled: The set that was read, with the facts that were added.
        target: Where it was written.
        format: How.
        lost: What the format cannot hold, in words.
    """

    distilled: DistilledSet
    target: Path
    format: str
    lost: list[str]

    def content(self) -> dict[str, object]:
        """Return all but the images and labels, as JSON can hold it."""
        facts = {"target": str(self.target), "format": self.format, "lost": list(self.lost)}
        return content_of(self.distilled) | facts


def content_of(distilled: DistilledSet) -> dict[str, object]:
    """Return all of a set but its images and labels, as JSON can hold it."""
    return {
        "config_name": distilled.definition.name if distilled.definition else None,
        "images": len(distilled.images),
        "ipc": distilled.ipc,
        "decoded_ipc": distilled.decoded_ipc,
        "resolution": distilled.resolution,
        "label_kind": distilled.label_kind,
        "lr": distilled.lr,
        "sha256": distilled.sha256,
        "metadata": distilled.metadata,
        "origin": distilled.origin,
    }


def convert(config: ConvertConfig) -> Converted:
    """Read a set and write it in another format.

    Raises:
        InputError: As of `read_distilled` and `write_distilled`; nothing is written then.
    """
    target = real_path(config.target)
    form = format_of(target, config.format)
    check_target(target, config.overwrite, file=form in FILE_FORMATS)
    if os.path.isdir(config.source) and real_path(config.source) in target.parents:
        raise InputError(
            f"{config.target}: lies in SOURCE itself, which could not be read any more; give another TARGET"
        )
    distilled = read_distilled(config.source, config, res=config.res, resize_all=config.res is not None)
    if config.res not in (None, distilled.resolution):
        found = f"the set has tensors of {distilled.resolution} px"
        raise InputError(f"--res {config.res}: only image files are resized, and {found}; leave it out")
    _warn(distilled)
    distilled = replace(distilled, metadata=distilled.metadata | config.facts())
    lost = write_distilled(distilled, target, form, config.overwrite)
    return Converted(distilled, target, form, lost)


def print_converted(converted: Converted, as_json: bool = False) -> None:
    """Print what was done and what the format cannot hold, as a table or as JSON."""
    if as_json:
        print_json(converted.content())
        return
    distilled = converted.distilled
    to = ("to", f"{converted.target} ({converted.format})")
    rows = [("from", name_of(distilled.origin)), *describe(distilled), to]
    rows += [("lost", text) for text in converted.lost] or [("lost", "nothing: all is kept exactly as it was read")]
    print_table("Converted", ["", ""], rows)


def _warn(distilled: DistilledSet) -> None:
    """Say what a user should know of the set."""
    subset = distilled.definition
    if subset is None:
        _logger.warning("the set does not say which subset it is for; --category and --subset, or --classes, state it")
    for remark in distilled.remarks(subset.class_map_inv) if subset else distilled.remarks():
        _logger.warning(remark)


def describe(distilled: DistilledSet) -> list[tuple[str, str]]:
    """Return what a set is, as rows of a table."""
    subset = distilled.definition
    size = f"{len(distilled.images)} of {distilled.resolution} px, {distilled.ipc_in_words}"
    return [
        ("subset", subset.name if subset else "not stated; --category and --subset, or --classes, state it"),
        ("images", size),
        ("labels", distilled.label_kind),
        ("learned rate", "none" if distilled.lr is None else f"{distilled.lr:g}"),
        ("sha256", distilled.sha256),
        *notes_of(distilled.origin),
    ]


def push(config: PushConfig) -> Pushed:
    """Read a set and send it to the Hub."""
    path = Path(os.path.expanduser(config.path))
    folder = path if (path / TENSORS_NAME).is_file() else None
    distilled = read_distilled(config.path, config)
    _warn(distilled)
    for name, note in notes_of(distilled.origin):
        print(f"{name}: {note}")
    return push_distilled(
        distilled,
        config.repo_id,
        private=config.private,
        revision=config.revision,
        results=config.listed_results,
        overwrite=config.overwrite,
        folder=folder,
    )


def print_pushed(pushed: Pushed) -> None:
    """Say what was done and how to use it."""
    done = "pushed to" if pushed.changed else "nothing has changed in"
    seen = "private" if pushed.private else "public"
    print(f"{done} {pushed.repo_id} ({seen}, revision {pushed.commit})")
    name = pushed.repo_id if pushed.revision is None else f"{pushed.repo_id}@{pushed.revision}"
    print(f"evaluate it: accelerate launch -m compdd_eval --distilled {name} --data_path IMAGENET")


def pull(config: PullConfig) -> Pulled:
    """Download a set of ours."""
    return pull_distilled(config.repo, Path(config.folder), config.overwrite)


def print_pulled(pulled: Pulled) -> None:
    """Say what was done."""
    done = "pulled" if pulled.changed else "already up to date:"
    print(f"{done} {pulled.repo_id} (revision {pulled.commit}) -> {pulled.folder}")
