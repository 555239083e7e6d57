"""Result files: one JSON for each student, one summary for each run; written whole or not at all."""

import json
import math
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from compdd_eval.errors import InputError
from compdd_eval.files import write_json
from compdd_eval.statistics import bootstrap_interval, mean_interval

SCHEMA_VERSION = 3
SUMMARY_NAME = "summary.json"
_PACKAGES = ("torch", "torchvision", "datasets", "accelerate", "huggingface-hub", "numpy", "pillow")


@dataclass(frozen=True)
class StudentResult:
    """One trained and tested student, with all that is needed to train it again.

    Attributes:
        schema_version: Version of this record.
        config_name: Configuration, such as `bird-easy`.
        source: What it was trained on: `distilled`, `random` (real images, drawn by the seed) or `full`.
        labels: Regime: `given`, `hard`, `soft` or `soft+kd`.
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
        protocol: Fields of `compdd_eval.config.Protocol`.
        digests: `distilled` (its training images and labels), `validation` (tested images), `config` (what decides the
            numbers).
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
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if set(content) == {field.name for field in fields(StudentResult)}:
            result = StudentResult(**content)
            if result.schema_version == SCHEMA_VERSION:
                return result
    except (ValueError, TypeError):
        pass
    raise InputError(f"{path}: not a result file of schema version {SCHEMA_VERSION}; move it away and run again")


def finite_or_none(values: list[float]) -> list[float | None]:
    """Replace what JSON cannot hold."""
    return [value if math.isfinite(value) else None for value in values]


def join_labels(labels: torch.Tensor) -> str:
    """Write labels 0-9 as one digit each."""
    return "".join(map(str, labels.tolist()))


def aggregate(results: list[StudentResult]) -> list[dict[str, object]]:
    """Return one entry for each model, in the order of the results.

    Each has `model`, `seeds`, `n`, `accuracies`, `accuracy_mean`, `accuracy_std` (sample standard deviation; None for a
    single student), `accuracy_interval` (95 % interval of the mean over students, Student's t; None for one),
    `bootstrap_interval` (95 % percentile interval over validation images, students held fixed), `per_class_accuracy`
    (mean over students for each of the ten labels; None for a label without validation images), `confusion` (summed
    over students; row: true label), `lr`, `lr_source`, `images_seen`, `teacher` and `diverged_seeds` (students whose
    loss was not finite in some pass; they count like any other). All accuracies are fractions in [0, 1].
    """
    entries = []
    for model in dict.fromkeys(result.model for result in results):
        runs = [result for result in results if result.model == model]
        accuracies = [run.accuracy for run in runs]
        entry = {
            "model": model,
            "seeds": [run.seed for run in runs],
            "n": len(runs),
            "accuracies": accuracies,
            "accuracy_mean": statistics.fmean(accuracies),
            "accuracy_std": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            "accuracy_interval": mean_interval(accuracies),
            "bootstrap_interval": bootstrap_interval([run.right for run in runs]),
            "per_class_accuracy": _per_class(runs),
            "confusion": np.sum([run.confusion for run in runs], axis=0).tolist(),
            "lr": runs[0].lr,
            "lr_source": runs[0].lr_source,
            "images_seen": runs[0].images_seen,
            "teacher": runs[0].teacher,
            "diverged_seeds": [run.seed for run in runs if None in run.losses],
        }
        entries.append(entry)
    return entries


def _per_class(runs: list[StudentResult]) -> list[float | None]:
    """Mean over students of each label's accuracy."""
    total = runs[0].total
    correct = [statistics.fmean(run.correct[label] for run in runs) for label in range(len(total))]
    return [right / count if count else None for right, count in zip(correct, total, strict=True)]


def environment(accelerator: Accelerator, threads: int, precision: str) -> dict[str, object]:
    """Describe where the numbers are made."""
    device = accelerator.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": precision,
        "threads": threads,
        "processes": accelerator.num_processes,
        "versions": versions(),
        "commit": commit(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, this package and the packages that decide its numbers."""
    from compdd_eval import __version__

    found = {"python": platform.python_version(), "compdd_eval": __version__}
    return found | {package: metadata.version(package) for package in _PACKAGES}


def commit() -> str | None:
    """Return the commit of the checkout that this package runs from (`+` where it was changed), or None."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    git = ["git", "-C", str(root)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed.strip() else "")


def chance(entry: dict[str, object]) -> float:
    """Return the accuracy of guessing, in [0, 1]: one over the number of labels that have validation images."""
    return 1 / sum(accuracy is not None for accuracy in entry["per_class_accuracy"])


def mean_and_spread(entry: dict[str, object], digits: int = 2) -> str:
    """Return `mean ± std` of an entry of `aggregate` in percent; the mean alone for a single student."""
    mean = f"{100 * entry['accuracy_mean']:.{digits}f}"
    return mean if entry["accuracy_std"] is None else f"{mean} ± {100 * entry['accuracy_std']:.{digits}f}"


def environments(results: list[StudentResult]) -> list[dict[str, object]]:
    """Return the distinct environments of the results, each with its `students` as [model, seed]."""
    found = []
    for result in results:
        same = [entry for entry in found if {k: v for k, v in entry.items() if k != "students"} == result.environment]
        if not same:
            found.append({**result.environment, "students": []})
        (same or found[-1:])[0]["students"].append([result.model, result.seed])
    return found
