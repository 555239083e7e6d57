"""The record of one student, `seedK.json`: what it holds, where it lies, how it is read and written."""

import json
import math
from dataclasses import Field, asdict, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin

from compdd_eval.config.protocol import LATER_FIELDS
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import write_json

SCHEMA_VERSION = 3  # part of every digest of a configuration: another version never finds these results
SUMMARY_NAME = "summary.json"


@dataclass(frozen=True)
class StudentResult:
    """One trained and tested student, with all that is needed to train it again.

    Attributes:
        schema_version: Version of this record.
        config_name: Configuration, such as `bird-easy`.
        source: What it was trained on: `distilled`, `random` (real images, drawn by the seed) or `full`.
        labels: Regime: `given`, `hard`, `soft`, `soft+kd` or `views`.
        augmented: Whether its training images were augmented.
        teacher: What gave it soft labels (`name`, `file`, `digest`, `accuracy`, `recipe`), or None.
        model: Name of the student network.
        seed: Seed of its weights, order of images and augmentation.
        tested_on: `validation`, or `held-out training images` where a rate was searched.
        accuracy: Fraction of the tested images that are right after the last pass, in [0, 1].
        correct: Right images of each label, ten ints.
        total: Tested images of each label, ten ints.
        confusion: Ten rows of ten counts: row is the true label, column the predicted one.
        predictions: Predicted label of each tested image, a digit each, in row order.
        truth: True labels, likewise.
        losses: Mean loss of each pass; None where it was not finite.
        curve: [passes, accuracy] pairs, where they were asked for.
        lr: Learning rate of the first pass.
        lr_source: Where the rate came from.
        label_kind: `hard`, `logits` or `probabilities`.
        images: Training images.
        images_seen: Training images times passes.
        images_at_a_time: Images that went through the network at once; fewer than a batch where memory ran out.
        students_at_a_time: Students that were trained together on one device.
        compiled: Whether the steps were compiled.
        ipc: Images per class of the distilled set.
        resolution: Side of the images in pixels.
        files: Official names of the random images, or None.
        protocol: Fields of `compdd_eval.config.protocol.Protocol`.
        digests: `distilled` (its training images and labels), `validation` (tested images), `config` (what decides the
            numbers), and `view_labels` where it trained on them.
        config: All settings of the command.
        environment: Device, precision, threads, processes, versions of packages, commit.
        seconds: Duration of training and testing.
        created: UTC time at the end, ISO 8601.
    """

    schema_version: int
    config_name: str
    source: str
    labels: str
    augmented: bool
    teacher: dict[str, object] | None
    model: str
    seed: int
    tested_on: str
    accuracy: float
    correct: list[int]
    total: list[int]
    confusion: list[list[int]]
    predictions: str
    truth: str
    losses: list[float | None]
    curve: list[list[float]]
    lr: float
    lr_source: str
    label_kind: str
    images: int
    images_seen: int
    images_at_a_time: int
    students_at_a_time: int
    compiled: bool
    ipc: int | float
    resolution: int
    files: list[str] | None
    protocol: dict[str, object]
    digests: dict[str, str]
    config: dict[str, object]
    environment: dict[str, object]
    seconds: float
    created: str

    @property
    def right(self) -> list[bool]:
        """Whether each tested image is right, in row order."""
        return [guess == label for guess, label in zip(self.predictions, self.truth, strict=True)]


def student_path(root: Path, set_name: str, config_name: str, model: str, digest: str, seed: int) -> Path:
    """Return the file of one student: `SET/CONFIG/MODEL/DIGEST/seedK.json` under the output folder."""
    return root / set_name / config_name / model / digest / f"seed{seed}.json"


def weights_path(path: Path) -> Path:
    """Return the file of a student's weights, beside its result file; `evaluate --save_students` writes it."""
    return path.with_suffix(".safetensors")


def write_student(path: Path, result: StudentResult) -> None:
    """Write the record of one student."""
    write_json(path, asdict(result))


def read_student(path: Path) -> StudentResult:
    """Read the record of one student.

    Raises:
        InputError: The file is no such record, or one of another schema version.
    """
    refusal = f"{path}: not a result file of schema version {SCHEMA_VERSION}; move it away and run again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for name in ("protocol", "config"):
            content[name] = {**LATER_FIELDS, **content[name]}
        result = StudentResult(**content)  # refuses other names of fields
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(refusal) from error
    if result.schema_version != SCHEMA_VERSION or not all(_fits(result, field) for field in fields(StudentResult)):
        raise InputError(refusal)
    return result


def _fits(result: StudentResult, field: Field) -> bool:
    """Return whether the value of a field is of its type, at its outside: `list[int]` is any list."""
    options = get_args(field.type) if isinstance(field.type, UnionType) else (field.type,)
    kinds = tuple(get_origin(option) or option for option in options)
    value = getattr(result, field.name)
    if isinstance(value, bool):  # which Python takes for an int
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))


def finite_or_none(values: list[float]) -> list[float | None]:
    """Replace what JSON cannot hold."""
    return [value if math.isfinite(value) else None for value in values]


SET, RANDOM, FULL = "distilled", "random", "full"  # where a student's training images come from
