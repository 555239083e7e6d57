"""Read a distilled set in any format and write it in another."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from compdd_eval.config.convert import ConvertConfig
from compdd_eval.distilled.describe import content_of, describe
from compdd_eval.distilled.raw_set import name_of
from compdd_eval.distilled.set import DistilledSet, read_distilled
from compdd_eval.distilled.write import FILE_FORMATS, check_target, format_of, real_path, write_distilled
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr
from compdd_eval.utils.errors import InputError

_logger = logging.getLogger(__name__)


def run(config: ConvertConfig) -> None:
    """Convert and print what was written."""
    with stdout_to_stderr(config.json):
        converted = convert(config)
    print_converted(converted, config.json)


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
        size = f"the set has tensors of {distilled.resolution} px"
        raise InputError(f"--res {config.res}: only image files are resized, and {size}; leave it out")
    warn_of_doubts(distilled)
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


def warn_of_doubts(distilled: DistilledSet) -> None:
    """Say what a user should know of the set."""
    subset = distilled.definition
    if subset is None:
        _logger.warning("the set does not say which subset it is for; --category and --subset, or --classes, state it")
    for remark in distilled.remarks(subset.class_map_inv) if subset else distilled.remarks():
        _logger.warning(remark)
