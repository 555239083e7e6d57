"""The distilled set that `evaluate` trains on: read it, find its subset, refuse what cannot be meant."""

import logging
from dataclasses import replace

from compdd_eval.config import EvaluateConfig
from compdd_eval.config.checks import no_subset
from compdd_eval.distilled import DistilledSet, read_distilled
from compdd_eval.distilled.content import name_of
from compdd_eval.errors import InputError
from compdd_eval.subsets import Subset

_logger = logging.getLogger(__name__)


def load_distilled(config: EvaluateConfig) -> DistilledSet:
    """Read the set that the flags name."""
    path = config.distilled or config.data_dir
    if path is None:
        raise InputError(
            "--distilled is missing; give the distilled set: a folder, a file, or USER/NAME on the Hub (--data_dir, "
            "--label_dir and --lr_dir name its files one by one)"
        )
    return read_distilled(path, config, res=config.res)


def settled(config: EvaluateConfig, distilled: DistilledSet) -> EvaluateConfig:
    """Take from the set its resolution and which subset it is for, where no flag says it, and which commit was read."""
    if config.res is None:
        config = replace(config, res=distilled.resolution)
    definition, origin = distilled.definition, distilled.origin
    if not config.selects:
        if definition is None:
            raise no_subset(name_of(origin))
        config = config.of_subset(definition)
    elif definition is not None and definition.name != config.load_subset().name:
        asked = config.load_subset().name
        raise InputError(f"the set was made for {definition.name}, not for {asked}: its labels mean other classes")
    if "repository" in origin and config.distilled is not None:
        config = replace(config, distilled=name_of(origin))
    return config


def check_distilled(config: EvaluateConfig, distilled: DistilledSet, subset: Subset) -> None:
    """Refuse a set of another resolution; say what is odd about it."""
    if distilled.resolution != config.res:
        size = distilled.resolution
        raise InputError(
            f"{name_of(distilled.origin)}: images of {size} pixels, expected --res {config.res}; give --res {size}, or "
            "leave it out"
        )
    for remark in distilled.remarks(subset.class_map_inv):
        _logger.warning(remark)
