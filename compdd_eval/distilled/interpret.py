"""Bring what a reader found to one meaning: what labels and pixels are, by what is said of them or else by a guess."""

import torch

from compdd_eval.config.reading import ReadConfig
from compdd_eval.data.label_kinds import infer_label_kind
from compdd_eval.data.subset_files import Subset
from compdd_eval.data.subsets import load_subset
from compdd_eval.distilled.formats.published import ignores_rate
from compdd_eval.distilled.interpret_labels import order_labels
from compdd_eval.distilled.limits import check_size
from compdd_eval.distilled.metadata import RECORD_NAME
from compdd_eval.distilled.mosaics import FACTOR, cut_mosaics, looks_like_mosaics
from compdd_eval.distilled.pixel_range import channels_first, doubt, guess_pixel_range, to_normalised
from compdd_eval.distilled.raw_set import Interpreted, RawSet
from compdd_eval.distilled.view_labels import VIEW_LABELS_NAME, ViewLabels
from compdd_eval.distilled.view_record import ADVICE
from compdd_eval.utils.digests import digest_of_tensors
from compdd_eval.utils.errors import InputError

_IN_WORDS = {"normalised": "normalised with ImageNet's mean and std", "0-1": "[0, 1]", "0-255": "[0, 255]"}


def check_digest(raw: RawSet) -> None:
    """Raise InputError where the tensors are not the ones that `distilled.json` was written for."""
    stated = raw.record.sha256
    if stated is None or raw.pixel_range is not None:  # of image files, it would be that of other tensors
        return
    digest = digest_of_tensors(raw.images, raw.labels)
    if digest != stated:
        raise InputError(
            f"{raw.name}: {RECORD_NAME} was written for other tensors (sha256 {stated[:12]}..., these have "
            f"{digest[:12]}...): a file was changed or damaged; get the set again, or remove {RECORD_NAME}"
        )


def view_labels_of(raw: RawSet) -> ViewLabels | None:
    """Return the labels of views that lie beside a set and that `distilled.json` names; None where it names none.

    Raises:
        InputError: They are missing, damaged, or others.
    """
    stated = raw.record.view_labels
    if stated is None:
        return None
    if raw.view_labels is None:
        raise InputError(f"{raw.name}: {VIEW_LABELS_NAME} is missing, which {RECORD_NAME} names; {ADVICE}")
    labels = ViewLabels.open(raw.view_labels)
    if labels.sha256 != stated["sha256"]:
        raise InputError(f"{labels.file}: is not the file that {RECORD_NAME} names; {ADVICE}")
    return labels


def interpret(raw: RawSet, config: ReadConfig) -> Interpreted:
    """Bring what a reader found to the terms of a `DistilledSet`.

    A part that cannot be what it should be is left as it is: the checks of the set have the better message for it.

    Raises:
        InputError: What is said contradicts itself, or labels cannot be mapped.
    """
    subset = _subset_of(raw, config)
    notes = list(raw.guesses), list(raw.remarks), list(raw.doubts)
    interpreted = Interpreted(raw.images, raw.labels, "hard", subset, *notes)
    _check_contradictions(raw, config)
    stated = raw.record.lr
    if None not in (stated, raw.lr) and stated != raw.lr and config.lr_dir is None:
        interpreted.doubts.append(f"{RECORD_NAME} says rate {stated:g}, the rate beside it is {raw.lr:g} and is taken")
    if _labels_fit(interpreted) and raw.labels.numel():
        order_labels(interpreted, raw, config)
    _take_label_kind(interpreted, raw, config)
    if interpreted.images.ndim == 4 and interpreted.images.numel():
        _normalise(interpreted, raw, config)
        _cut_mosaics(interpreted, raw, config.factor)
    return interpreted


def _labels_fit(interpreted: Interpreted) -> bool:
    images, labels = interpreted.images, interpreted.labels
    return labels.ndim in (1, 2) and images.ndim > 0 and len(labels) == len(images)


def _subset_of(raw: RawSet, config: ReadConfig) -> Subset | None:
    """Return the subset that is asked for, or that the set says it is for; raise InputError if these differ."""
    asked, stated = config.load_subset(), raw.record.config_name
    if asked is not None and stated is not None and asked.name != stated:
        raise InputError(
            f"was made for {stated}, not for {asked.name}: its labels mean other classes; give --category and --subset "
            f"(or --classes) of {stated}, or leave them out"
        )
    subset = asked or raw.record.find_subset()
    return load_subset(stated) if subset is None and stated is not None else subset  # says what is missing


def _check_contradictions(raw: RawSet, config: ReadConfig) -> None:
    """Raise InputError where a flag says something else than the set: labels or pixels would be changed twice."""
    record = raw.record
    if raw.pixel_range is not None:  # of image files; what is said of tensors does not count for them
        if config.pixel_range not in ("auto", raw.pixel_range) or config.statistics() is not None:
            raise InputError("--pixel_range, --mean and --std are for tensors; image files are what they are")
        return
    contradictions = {
        "--label_order": record.classes is not None and config.label_order not in ("auto", "subset"),
        "--mean and --std": record.statistics is not None and config.statistics() not in (None, record.statistics),
        "--pixel_range": record.statistics is not None and config.pixel_range not in ("auto", "normalised"),
        "--label_kind": record.label_kind is not None and config.label_kind not in ("auto", record.label_kind),
    }
    for flag, contradicts in contradictions.items():
        if contradicts:
            raise InputError(f"{flag}: the set says it itself ({RECORD_NAME}), and otherwise; leave the flag out")


def _take_label_kind(interpreted: Interpreted, raw: RawSet, config: ReadConfig) -> None:
    labels, stated = interpreted.labels, raw.record.label_kind
    if labels.ndim == 2 and not labels.is_floating_point():
        labels = interpreted.labels = labels.float()  # one-hot rows of integers
    if config.label_kind != "auto":
        interpreted.label_kind = config.label_kind
    elif stated is not None and raw.names is None:
        interpreted.label_kind = stated
    elif labels.ndim == 2:
        kind = interpreted.label_kind = infer_label_kind(labels)
        interpreted.guesses.append(("label kind", kind, f"--label_kind {kind}"))
        if kind == "logits" and _rows_sum_to_zero(labels):
            interpreted.doubts.append(
                "the rows of the labels sum to zero, as those of centred one-hot labels (KIP, FRePo) do; they are "
                f"taken as logits, whose softmax peaks at {labels.float().softmax(1).max():.2g}; --label_kind logits "
                "states it"
            )


def _rows_sum_to_zero(labels: torch.Tensor) -> bool:
    """Whether rows that are not flat sum to zero, up to rounding."""
    rows = labels.double()
    return bool((rows.sum(1).abs() <= 1e-3 * rows.abs().sum(1)).all()) and bool(rows.any())


def _normalise(interpreted: Interpreted, raw: RawSet, config: ReadConfig) -> None:
    """Bring images to `[N, 3, H, W]`, ImageNet-normalised."""
    images, moved = channels_first(interpreted.images)
    if moved:
        interpreted.remarks.append("images have their channels last, [N, H, W, 3]: they are moved to [N, 3, H, W]")
    if images.shape[1] != 3:
        return
    # what is stated goes before what the values look like: methods leave values far outside of [0, 1]
    statistics, pixel_range = config.statistics() or raw.record.statistics, config.pixel_range
    if raw.pixel_range is not None:
        statistics, pixel_range = None, raw.pixel_range
    elif pixel_range == "auto" and statistics is not None:
        pixel_range = "normalised"
    elif pixel_range == "auto":
        pixel_range = guess_pixel_range(images)
        words, flag = _IN_WORDS[pixel_range], f"--pixel_range {pixel_range}"
        interpreted.guesses.append(("pixel range", words, flag))
        if pixel_range != "normalised" and images.is_floating_point():
            interpreted.doubts.append(f"the images look like {words} and are taken so; {flag} states it")
    elif reason := doubt(images, pixel_range):
        interpreted.doubts.append(reason)
    interpreted.images = to_normalised(images, pixel_range, statistics)
    if images.dtype == torch.float64:
        interpreted.remarks.append("images are rounded from float64 to float32")


def _cut_mosaics(interpreted: Interpreted, raw: RawSet, factor: int | None) -> None:
    """Cut mosaics of --factor x --factor images, or say it where images look like such."""
    images, labels = interpreted.images, interpreted.labels
    if images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        return
    metadata = raw.record.metadata or {}
    stated = metadata.get(FACTOR)
    known = stated is not None or "distillation" in metadata  # rded's parts are one image, and seen as one
    if factor is None and not known and (parts := looks_like_mosaics(images)):
        interpreted.doubts.append(
            f"the images look like mosaics of {parts} x {parts} images, as IDC, DANCE and NCFM store them; if so "
            f"give --factor {parts}, else --factor 1"
        )
    if factor in (None, 1):
        return
    if stated is not None:
        raise InputError(f"--factor: the set was cut already (factor {stated} in {RECORD_NAME}); leave the flag out")
    if not _labels_fit(interpreted):
        return
    check_size(f"{len(images)} mosaics cut by --factor {factor}", images.numel() * factor**2)
    interpreted.images, interpreted.labels = cut_mosaics(images, factor), labels.repeat_interleave(factor**2, dim=0)
    interpreted.factor = factor
    interpreted.remarks.append(
        f"{len(images)} mosaics of {factor} x {factor} are cut into {len(interpreted.images)} images, each part "
        f"resized to {images.shape[-1]} px"
    )


def rate_of(raw: RawSet, config: ReadConfig) -> float | None:
    """Return the learned rate: that of the files, else the one that `distilled.json` says; None if it is ignored."""
    if ignores_rate(config.lr_dir):
        return None
    return raw.record.lr if raw.lr is None else raw.lr
