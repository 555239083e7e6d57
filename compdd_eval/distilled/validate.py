"""Checks of a distilled set, as a whole: without training."""

import contextlib
import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from compdd_eval.config.arguments import named_as_given, settings_from
from compdd_eval.config.checks import no_subset
from compdd_eval.config.validate import ValidateConfig
from compdd_eval.data.splits import images_at_hand, open_split
from compdd_eval.data.subset_files import Subset
from compdd_eval.distilled.checks import (
    FAILED,
    PASSED,
    SKIPPED,
    WARNING,
    Check,
    RealSample,
    check_of,
    class_balance,
    duplicates,
    guesses,
    ipc,
    label_order,
    normalisation,
    resolution,
    soft_labels,
    storage,
    value_range,
    whitening,
)
from compdd_eval.distilled.describe import content_of
from compdd_eval.distilled.interpret import check_digest, interpret, rate_of, view_labels_of
from compdd_eval.distilled.metadata import RECORD_NAME, SetRecord
from compdd_eval.distilled.raw_set import Interpreted, RawSet
from compdd_eval.distilled.read import read_raw_set
from compdd_eval.distilled.set import DistilledSet, assemble
from compdd_eval.distilled.tensors import SetTensors, checked_images, checked_kind, checked_labels, checked_rate
from compdd_eval.distilled.view_labels import PART_NAME, ViewLabels
from compdd_eval.utils.errors import InputError, require

_logger = logging.getLogger(__name__)


@dataclass(repr=False)
class Report:
    """The outcome of `validate`.

    Attributes:
        name: The set: its files, or its repository and commit.
        checks: All checks, in the order in which they were made.
        facts: What the set is, as far as it can be read.
    """

    name: str
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)

    def __repr__(self) -> str:
        warned = sum(check.result == WARNING for check in self.checks)
        found = ", ".join(self.failed) or "none"
        return f"Report({self.name!r}: {len(self.checks)} checks, failed: {found}, warnings: {warned})"

    def to_dict(self) -> dict[str, object]:
        """Return what `validate --json` prints: `set`, `passed`, `checks` and the facts."""
        return {"set": self.name, "passed": self.passed, "checks": list(map(asdict, self.checks)), **self.facts}

    @property
    def passed(self) -> bool:
        """Whether no check failed; there may be warnings."""
        return not self.failed

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed."""
        return [check.name for check in self.checks if check.result == FAILED]

    def raise_failures(self) -> None:
        """Raise InputError if a check failed."""
        if self.failed:
            number = f"{len(self.failed)} of {len(self.checks)} checks failed"
            first = next(check.detail for check in self.checks if check.result == FAILED)
            raise InputError(f"{self.name}: {number}: {', '.join(self.failed)}. The first: {first}")


def validate(
    distilled: ValidateConfig | DistilledSet | tuple[torch.Tensor, torch.Tensor] | str | os.PathLike, **settings: object
) -> Report:
    """Check a distilled set without training.

        report = validate((images, labels), category="bird-easy")  # or a DistilledSet, a path, USER/NAME
        print(report.passed, [check.detail for check in report.checks if check.result == "failed"])

    Args:
        distilled: The set, its `(images, labels)`, where it lies, or all settings of the command.
        settings: Those of `ValidateConfig`, by name.

    Raises:
        InputError: A real image, or the copy of ImageNet, is not what it should be, or a setting; what is wrong with
            the set is in the report.
    """
    raw = _in_memory(distilled)
    with named_as_given(ValidateConfig, distilled):
        config = settings_from(ValidateConfig, "path", distilled if raw is None else raw.name, settings)
        return _checked(raw, config) if raw is not None else _read_and_checked(config)


def _read_and_checked(config: ValidateConfig) -> Report:
    report = Report(config.path)
    check, raw = check_of("readable", lambda: read_raw_set(config.path, config, config.res), "")
    if raw is None:
        report.checks.append(check)
        return report
    return _checked(raw, config)


def _in_memory(distilled: object) -> RawSet | None:
    """Return the parts of a set that no file holds; None where it is a path or settings."""
    if isinstance(distilled, SetTensors):
        record, labels = SetRecord.of(distilled, exact=False), distilled.view_labels
        file = labels and labels.file
        return RawSet(distilled.images, distilled.labels, distilled.lr, record=record, view_labels=file)
    if isinstance(distilled, tuple | list):
        tensors = len(distilled) == 2 and all(isinstance(part, torch.Tensor) for part in distilled)
        require("distilled", f"of {len(distilled)} parts", tensors, "two tensors, (images, labels)")
        return RawSet(*(part.detach().cpu() for part in distilled))
    expected = "a set, its (images, labels), or where it lies"
    require("distilled", str(distilled)[:60], isinstance(distilled, str | os.PathLike | ValidateConfig), expected)
    return None


def _checked(raw: RawSet, config: ValidateConfig) -> Report:
    """Make all checks of a set that could be read."""
    report = Report(raw.name)
    report.checks.append(Check("readable", PASSED, _parts(raw)))
    distilled, interpreted = _check_parts(report, raw, config)
    if distilled is not None:
        _check_whole(report, distilled, interpreted, raw, config)
    return report


def _parts(raw: RawSet) -> str:
    tensors = {"images": raw.images, "labels": raw.labels}
    parts = [f"{name} {list(part.shape)} {part.dtype}".replace("torch.", "") for name, part in tensors.items()]
    return ", ".join(parts + ([] if raw.lr is None else [f"rate {raw.lr:g}"]))


def _check_parts(report: Report, raw: RawSet, config: ValidateConfig) -> tuple[DistilledSet | None, Interpreted | None]:
    """Check each part by itself; return the set if all are good."""
    if raw.record.sha256 is None:
        report.checks.append(Check("hash", SKIPPED, "the files state no digest"))
    else:
        detail = f"sha256 {raw.record.sha256[:16]}..., as stated"
        report.checks.append(check_of("hash", lambda: check_digest(raw), detail)[0])
    check, interpreted = check_of("meaning", lambda: interpret(raw, config), _remarks_in_words)
    report.checks.append(check)
    if interpreted is None:
        return None, None
    report.checks.append(guesses(interpreted))
    report.checks += [Check("as stated", WARNING, doubt) for doubt in interpreted.doubts]
    number = len(interpreted.images) if interpreted.images.ndim else 0
    checks = [
        check_of("images", lambda: checked_images(interpreted.images), "finite, square, three channels"),
        check_of("labels", lambda: checked_labels(interpreted.labels, number), "fit the images"),
        check_of("label kind", lambda: checked_kind(interpreted.label_kind, interpreted.labels), str),
        check_of("learned rate", lambda: checked_rate(rate_of(raw, config)), _rate_in_words),
    ]

    def in_words(labels: ViewLabels | None) -> str:
        if labels is None:
            return f"left out, for {RECORD_NAME} does not name them"
        labels.check_images(interpreted.images)
        return labels.check()

    if raw.view_labels is not None or raw.record.view_labels is not None:
        checks.append(check_of("labels of views", lambda: view_labels_of(raw), in_words))
    report.checks += [check for check, _ in checks]
    images = raw.origin.get("files", {}).get("images")
    if images and Path(images).with_name(PART_NAME).is_file():
        detail = f"{PART_NAME}: they are begun and not all made; the same `relabel` goes on"
        report.checks.append(Check("labels of views", WARNING, detail))
    if any(check.result == FAILED for check, _ in checks):
        return None, interpreted
    return assemble(raw, interpreted, config), interpreted


def _remarks_in_words(interpreted: Interpreted) -> str:
    return "; ".join(interpreted.remarks) or "classes and pixels are understood"


def _rate_in_words(lr: float | None) -> str:
    return "none; students take --lr_net" if lr is None else f"{lr:g}"


def _check_whole(
    report: Report, distilled: DistilledSet, interpreted: Interpreted, raw: RawSet, config: ValidateConfig
) -> None:
    """Check the set as a whole, against its subset and real images."""
    subset = interpreted.subset
    if subset is None:
        raise no_subset(raw.name)
    report.facts = content_of(distilled) | {"config_name": subset.name}
    report.checks += [
        resolution(distilled, config.res),
        value_range(distilled),
        class_balance(distilled, subset),
        ipc(distilled, raw.record.ipc),
        soft_labels(distilled),
        duplicates(distilled),
    ]
    real = _real_images(config, subset, distilled.resolution)
    report.checks += [
        normalisation(distilled, real),
        whitening(distilled, zca=False),
        label_order(distilled, subset, real),
        storage(distilled, subset, real),
    ]


def _real_images(config: ValidateConfig, subset: Subset, res: int) -> RealSample | None:
    """Decode the real validation images that are given or at hand; of those that nobody named, warn if it fails."""
    try:
        return _decoded(config, subset, res) if images_at_hand(subset, config.data_path) else None
    except InputError as error:
        if config.data_path is not None:
            raise
        _logger.warning(f"not compared with real images: {error}")
        return None


def _decoded(config: ValidateConfig, subset: Subset, res: int) -> RealSample:
    split = open_split(subset, "validation", config.data_path, (res, res), layout=config.layout)
    images, labels = split.tensors(progress=True)
    train_bytes = None
    with contextlib.suppress(InputError):  # a copy with validation images alone
        train_bytes = open_split(subset, "train", config.data_path, (res, res), layout=config.layout).stored_bytes
    return RealSample(images, labels, train_bytes)
