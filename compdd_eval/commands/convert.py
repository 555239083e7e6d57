"""Read a distilled set in any format and write it in another."""

import contextlib
import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from compdd_eval.config.convert import ConvertConfig
from compdd_eval.distilled.describe import content_of, describe
from compdd_eval.distilled.formats.fkd import convert_fkd
from compdd_eval.distilled.raw_set import name_of
from compdd_eval.distilled.set import DistilledSet, read_distilled
from compdd_eval.distilled.write import FILE_FORMATS, check_target, format_of, real_path, write_distilled
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable

_logger = logging.getLogger(__name__)


def run(config: ConvertConfig) -> None:
    """Convert and print what was written, and what the format cannot hold.

    Raises:
        InputError: As of `read_distilled` and `write_distilled`; nothing is written then.
    """
    target = real_path(config.target)
    form = format_of(target, config.format)
    if config.view_labels is not None and form != "comp-dd":
        raise InputError(f"{config.target}: {form} holds no labels of views; give a folder, and no --format")
    with stdout_to_stderr(config.json):
        distilled = _read(config, target, file=form in FILE_FORMATS)
        with contextlib.ExitStack() as places:
            if config.view_labels is not None:
                distilled = _with_view_labels(distilled, config, target.parent, places)
            lost = write_distilled(distilled, target, form, config.overwrite)
    if config.json:
        print_json(content_of(distilled) | {"target": str(target), "format": form, "lost": lost})
        return
    rows = [("from", name_of(distilled.origin)), *describe(distilled), ("to", f"{target} ({form})")]
    rows += [("lost", text) for text in lost] or [("lost", "nothing: all is kept exactly as it was read")]
    print_table("Converted", ["", ""], rows)


def _with_view_labels(
    distilled: DistilledSet, config: ConvertConfig, parent: Path, places: contextlib.ExitStack
) -> DistilledSet:
    """Return a set with the labels of views of a published folder, which lie in a folder that `places` keeps."""
    check_writable(parent, "place")
    place = Path(places.enter_context(tempfile.TemporaryDirectory(prefix=".view_labels.", dir=parent)))
    labels = convert_fkd(Path(config.view_labels), distilled, config.view_seed, config.label_order, place)
    return replace(distilled, view_labels=labels)


def _read(config: ConvertConfig, target: Path, file: bool) -> DistilledSet:
    """Return the set with the facts that are given, once it is sure that it can be written to a file or a folder."""
    check_target(target, config.overwrite, file)
    if os.path.isdir(config.source) and real_path(config.source) in target.parents:
        raise InputError(
            f"{config.target}: lies in SOURCE itself, which could not be read any more; give another TARGET"
        )
    distilled = read_distilled(config.source, config, res=config.res, resize_all=config.res is not None)
    if config.res not in (None, distilled.resolution):
        size = f"the set has tensors of {distilled.resolution} px"
        raise InputError(f"--res {config.res}: only image files are resized, and {size}; leave it out")
    warn_of_doubts(distilled)
    return replace(distilled, metadata=distilled.metadata | config.facts())


def warn_of_doubts(distilled: DistilledSet) -> None:
    """Say what a user should know of the set."""
    subset = distilled.definition
    if subset is None:
        _logger.warning("the set does not say which subset it is for; --category and --subset, or --classes, state it")
    for remark in distilled.remarks(subset.class_map_inv) if subset else distilled.remarks():
        _logger.warning(remark)
