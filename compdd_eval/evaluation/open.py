"""Open a run: read and check settings and set before anything is decoded or trained; cheap checks come first."""

import contextlib
from dataclasses import replace
from pathlib import Path

import torch

from compdd_eval.config.checks import AUTO, no_subset
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.network_names import pinned, pinned_teacher, recorded_network
from compdd_eval.config.protocol import VIEWS, flag_value
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.distilled.raw_set import name_of
from compdd_eval.distilled.set import DistilledSet, read_distilled
from compdd_eval.evaluation.plan import baseline_dir, conditions, student_names
from compdd_eval.models.registry import create_model, find_model
from compdd_eval.results.run_folder import INDEX_NAME, claim
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable


def open_set(
    config: EvaluateConfig, given: object, locks: contextlib.ExitStack | None, lr: float | torch.Tensor | None = None
) -> tuple[EvaluateConfig, Subset, DistilledSet, str]:
    """Read the set, check settings and set, and take the output folder.

    Args:
        config: All settings.
        given: A set, or its images and labels, as of `DistilledSet.of`; None reads the files that the settings name.
        locks: Keeps the lock of the folder; None takes none.
        lr: The learned rate, in place of the set's.

    Returns:
        The settings with what the set says, the subset, the set, and its digest.

    Raises:
        InputError: Set and settings do not go together, or the folder cannot be taken.
    """
    config = checked(config)
    distilled = load_distilled(config) if given is None else as_distilled(given, config, lr)
    asked, config = config, fill_subset(config, distilled)
    if asked.res is None:  # they were checked without a resolution, which the set has said by now
        _check_networks(config)
    config = _with_pool(config)
    subset = config.load_subset()
    check_distilled(config, distilled)
    _check_soft_labels(config, distilled)
    _check_views(config, distilled)
    digest = distilled.sha256
    if not config.dry_run:
        if config.output_dir is not None and locks is not None:
            claim_output_dir(Path(config.output_dir), name_of_set(distilled, digest), subset.name, locks)
        if (config.baselines or config.teacher) and baseline_dir(config) is not None:
            check_writable(baseline_dir(config), "--baseline_dir")
    return config, subset, distilled, digest


def checked(config: EvaluateConfig) -> EvaluateConfig:
    """Check what can be checked without the set; return the settings with the content of the networks' files."""
    config = with_networks(config)
    _check_networks(config)
    _check_teacher_file(config)
    return config


def as_distilled(given: object, config: EvaluateConfig, lr: float | torch.Tensor | None) -> DistilledSet:
    """Return a set that is given, as of `DistilledSet.of`; of images and labels the settings say what they are."""
    said = {name: value for name in ("label_kind", "pixel_range") if (value := getattr(config, name)) != AUTO}
    return DistilledSet.of(given, lr=lr, statistics=config.statistics(), **said)


def name_of_set(distilled: DistilledSet, digest: str) -> str:
    """Return the name of a set's folder: its IPC and its digest."""
    return f"ipc{distilled.ipc:g}-{digest[:12]}"


def with_networks(config: EvaluateConfig) -> EvaluateConfig:
    """Read the files of networks and say which content they have; from here on, no other is taken."""
    teacher = None if config.teacher is None else pinned_teacher(config.teacher)
    return config.changed(model=pinned(config.model), teacher=teacher)


def _check_networks(config: EvaluateConfig) -> None:
    """Refuse unknown networks, and, once the resolution is known, those that cannot take the images."""
    if config.eval_mode is not None and len(config.models) > 1:
        raise InputError(f"--model {config.model} with --eval_mode: expected one network, or no --eval_mode")
    for model in [*student_names(config), *([config.teacher_name] if config.teacher else [])]:
        try:
            find_model(model)
        except InputError as error:
            if model in student_names(config) or config.teacher_file:
                raise
            raise InputError(f"--teacher {model}: is no folder that `teacher` made; {error}") from error
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
    if (file := config.teacher_file) and not file.is_file():
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


def _check_views(config: EvaluateConfig, distilled: DistilledSet) -> None:
    """Refuse labels of views that are not there, or that were made under another augmentation."""
    if config.labels != VIEWS:
        return
    labels = distilled.view_labels
    if labels is None:
        name = name_of(distilled.origin)
        raise InputError(
            f"--labels views: {name} has no labels of views; make them with `python -m compdd_eval relabel`"
        )
    wrong = labels.record.differences(config)
    if not wrong:
        return
    preset = labels.record.preset()
    if preset["protocol"] != config.protocol and len(preset) <= len(wrong):
        wrong = preset
    flags = ", ".join(f"--{name} {flag_value(value)}" for name, value in wrong.items())
    raise InputError(f"--labels views: the views of the set were made otherwise than by this protocol; give {flags}")


def claim_output_dir(root: Path, set_name: str, config_name: str, locks: contextlib.ExitStack) -> None:
    """Take a folder for this run; refuse one of another set or subset, one in use, one that cannot be written."""
    claim(root, locks)
    if (root / INDEX_NAME).exists():
        raise InputError(f"{root}: holds the results of a grid; give another --output_dir")
    for path in sorted(root.glob("*/*/*/*/seed*.json")):
        there = path.relative_to(root).parts[:2]
        if there != (set_name, config_name):
            raise InputError(
                f"{root}: holds results of set {there[0]} on {there[1]}, this is set {set_name} on {config_name}; "
                "give another --output_dir"
            )


def load_distilled(config: EvaluateConfig) -> DistilledSet:
    """Read the set that the flags name."""
    path = config.distilled or config.data_dir
    if path is None:
        raise InputError(
            "--distilled is missing; give the distilled set: a folder, a file, or USER/NAME on the Hub (--data_dir, "
            "--label_dir and --lr_dir name its files one by one)"
        )
    return read_distilled(path, config, res=config.res)


def fill_subset(config: EvaluateConfig, distilled: DistilledSet) -> EvaluateConfig:
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


def check_distilled(config: EvaluateConfig, distilled: DistilledSet) -> None:
    """Refuse a set of another resolution."""
    if distilled.resolution != config.res:
        size = distilled.resolution
        raise InputError(
            f"{name_of(distilled.origin)}: images of {size} pixels, expected --res {config.res}; give --res {size}, or "
            "leave it out"
        )
