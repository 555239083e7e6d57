"""Open a run: read and check everything before the first student; cheap checks come first."""

import contextlib
import logging
import os
from dataclasses import replace
from pathlib import Path

import torch

from compdd_eval.config import EvaluateConfig
from compdd_eval.config.checks import AUTO
from compdd_eval.distilled import DistilledSet
from compdd_eval.errors import InputError
from compdd_eval.evaluated_set import check_distilled, load_distilled, settled
from compdd_eval.evaluation.diagnosis import doubts_before_training
from compdd_eval.evaluation.plan import Study, baseline_dir, conditions, student_names
from compdd_eval.evaluation.quartiles import complexity_of
from compdd_eval.evaluation.real import RealImages
from compdd_eval.evaluation.teachers import parse_teacher
from compdd_eval.files import check_writable
from compdd_eval.models import create_model, find_model
from compdd_eval.run_file import INDEX_NAME, claim
from compdd_eval.subsets import NUM_CLASSES
from compdd_eval.user_networks import pinned, pinned_teacher, recorded_network

_logger = logging.getLogger(__name__)


def open_study(
    config: EvaluateConfig,
    distilled: DistilledSet | None,
    cache_dir: str | os.PathLike | None,
    held: contextlib.ExitStack,
) -> tuple[Study, RealImages]:
    """Read the set and the validation images, and take the output folder; `held` keeps its lock."""
    config = with_networks(config)
    _check_networks(config)
    _check_teacher_file(config)
    distilled = distilled or load_distilled(config)
    asked, config = config, settled(config, distilled)
    if asked.res is None:
        _check_networks(config)
    config = _with_pool(config)
    subset = config.load_subset()
    check_distilled(config, distilled, subset)
    _check_soft_labels(config, distilled)
    set_name = f"ipc{distilled.ipc:g}-{distilled.sha256[:12]}"
    root = Path(config.output_dir)
    if not config.dry_run:
        claim_output_dir(root, set_name, subset.name, held)
        if config.baselines or config.teacher:
            check_writable(baseline_dir(config), "--baseline_dir")
    real = RealImages(config, subset, cache_dir)
    complexity = complexity_of(config.complexity, real.validation_names(), subset.wnids) if config.complexity else None
    held_out = real.held_out() if config.lr_net == AUTO else None
    study = Study(config, subset, set_name, distilled, real.validation(), held_out, complexity)
    study = replace(study, doubts=doubts_before_training(study))
    for doubt in study.doubts:
        _logger.warning(doubt)
    return study, real


def with_networks(config: EvaluateConfig) -> EvaluateConfig:
    """Read the files of networks and say which content they have; from here on, no other is taken."""
    teacher = None if config.teacher is None else pinned_teacher(config.teacher)
    return config.changed(model=pinned(config.model), teacher=teacher)


def _check_networks(config: EvaluateConfig) -> None:
    """Refuse unknown networks, and, once the resolution is known, those that cannot take the images."""
    if config.eval_mode is not None and len(config.models) > 1:
        raise InputError(f"--model {config.model} with --eval_mode: expected one network, or no --eval_mode")
    for model in [*student_names(config), *([parse_teacher(config.teacher)[0]] if config.teacher else [])]:
        find_model(model)
        if config.res is not None:
            with torch.device("meta"):
                create_model(model, NUM_CLASSES, (config.res, config.res))


def _with_pool(config: EvaluateConfig) -> EvaluateConfig:
    """Put the students of --eval_mode in the place of --model."""
    if config.eval_mode is None:
        return config
    pool = [recorded_network(config.model, name) for name in student_names(config)]
    return config.changed(model=",".join(pool), eval_mode=None)


def _check_teacher_file(config: EvaluateConfig) -> None:
    if config.teacher and (file := parse_teacher(config.teacher)[1]) and not file.is_file():
        raise InputError(f"{file}: no such file; --teacher takes NAME, or NAME=FILE with its weights")


def _check_soft_labels(config: EvaluateConfig, distilled: DistilledSet) -> None:
    """Refuse soft labels that nothing can give, before anything is decoded."""
    soft = [condition for condition in conditions(config) if condition.labels == "soft"]
    if not soft or config.teacher:
        return
    advice = "give --teacher NAME (trained on all training images first, for example ResNet18) or NAME=FILE"
    if distilled.label_kind == "hard":
        raise InputError(f"soft labels are asked for, but the set has hard ones; {advice}")
    if config.baselines:
        raise InputError(f"soft labels are asked for, but random images have hard ones; {advice}")


def claim_output_dir(root: Path, set_name: str, config_name: str, held: contextlib.ExitStack) -> None:
    """Take a folder for this run; refuse one of another set or subset, one in use, one that cannot be written."""
    claim(root, held)
    if (root / INDEX_NAME).exists():
        raise InputError(f"{root}: holds the results of a grid; give another --output_dir")
    for path in sorted(root.glob("*/*/*/*/seed*.json")):
        found = path.relative_to(root).parts[:2]
        if found != (set_name, config_name):
            raise InputError(
                f"{root}: holds results of set {found[0]} on {found[1]}, this is set {set_name} on {config_name}; "
                "give another --output_dir"
            )
