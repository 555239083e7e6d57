"""The record of an evaluation, `summary.json`: its fields, in the order of the file. All accuracies are in [0, 1].

`evaluate` makes it of its students' records and writes it; what reads it are `compdd_eval.reports`, `push --results`
and `reproduce`, which all take it as a file that anybody may have written.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from compdd_eval.results.statistics import PairedDifference, Ratio
from compdd_eval.results.student_result import SCHEMA_VERSION, SUMMARY_NAME
from compdd_eval.utils.files import write_json


@dataclass(frozen=True)
class Students:
    """Students of one network that were trained alike, one for each seed.

    Attributes:
        model: Name of the network.
        seeds: Seed of each student.
        n: Number of students.
        accuracies: Accuracy of each on the validation images.
        accuracy_mean: Mean of the accuracies.
        accuracy_std: Sample standard deviation; None for one student.
        accuracy_interval: 95 % interval of the mean over students, as of `statistics.accuracy_interval`; None for one.
        bootstrap_interval: 95 % interval of the mean over redrawn validation images, students held fixed.
        per_class_accuracy: Mean accuracy of each of the ten labels; None for a label without validation images.
        confusion: Counts summed over students, ten rows (true label) of ten (predicted label).
        lr: Learning rate of the first pass.
        lr_source: Where the rate came from.
        images_seen: Training images times passes, of one student.
        teacher: What gave soft labels (`name`, `file`, `digest`, `accuracy`, `recipe`), or None.
        diverged_seeds: Students whose loss was not finite in some pass; they count like any other.
    """

    model: str
    seeds: list[int]
    n: int
    accuracies: list[float]
    accuracy_mean: float
    accuracy_std: float | None
    accuracy_interval: list[float] | None
    bootstrap_interval: list[float]
    per_class_accuracy: list[float | None]
    confusion: list[list[int]]
    lr: float
    lr_source: str
    images_seen: int
    teacher: dict[str, object] | None
    diverged_seeds: list[int]


@dataclass(frozen=True)
class Improvement(PairedDifference):
    """What the set gains over random images: the paired difference of the accuracies, and two fields more.

    Attributes:
        bootstrap_interval: 95 % interval over redrawn validation images, the same for both.
        verdict: What `interval` means, in words.
    """

    bootstrap_interval: list[float]
    verdict: str


@dataclass(frozen=True)
class Compared(Students):
    """Students of the set under one regime of labels, and what they are compared with.

    Attributes:
        random: Students of as many random real images; None without that baseline.
        improvement: What the set gains over them, or None.
        full: Students of all training images; None without that baseline.
        recovery_ratio: Accuracy of the set by that of all images, or None.
        random_recovery_ratio: The same of the random images, or None.
    """

    random: Students | None
    improvement: Improvement | None
    full: Students | None
    recovery_ratio: Ratio | None
    random_recovery_ratio: Ratio | None


@dataclass(frozen=True)
class Quarter:
    """Students on a quarter of the validation images, by complexity.

    Attributes:
        quartile: 1 (the least complex) to 4.
        low: Least complexity of its images, in [0, 1]; None without images.
        high: Largest complexity.
        images: Number of images.
        accuracy: Mean accuracy over students; None without images.
        accuracies: Accuracy of each student.
    """

    quartile: int
    low: float | None
    high: float | None
    images: int
    accuracy: float | None
    accuracies: list[float]


@dataclass(frozen=True)
class SummaryEntry(Compared):
    """The result of one network.

    Attributes:
        diagnosis: Why the students may guess, a line each; empty where they do not.
        accuracy_by_complexity: Four quarters of the validation images; None without `--complexity`.
    """

    diagnosis: list[str]
    accuracy_by_complexity: list[Quarter] | None


@dataclass(frozen=True)
class Regime:
    """The same set with labels of another kind, `--regimes`.

    Attributes:
        labels: `hard`, `soft` or `soft+kd`.
        results: One entry for each network.
        lines: What each network gains over random images, a sentence each.
    """

    labels: str
    results: list[Compared]
    lines: list[str]


@dataclass(frozen=True)
class Scores:
    """Scores of DD-Ranking for one network, `--scores`; in the file stand those that were asked for.

    Attributes:
        model: Name of the network.
        lrs: Label-robust score, in [0, 1].
        hlr: Hard-label recovery, of which it is made.
        ior: Improvement over random, likewise.
        ars: Augmentation-robust score, in [0, 1].
        ars_accuracies: The four accuracies that it is made of: `syn_aug`, `random_aug`, `syn_noaug`, `random_noaug`.
    """

    model: str
    lrs: float | None = None
    hlr: float | None = None
    ior: float | None = None
    ars: float | None = None
    ars_accuracies: dict[str, float] | None = None


@dataclass(frozen=True)
class RateSearch:
    """Rates that `--lr_net auto` tried for one network, on held-out training images.

    Attributes:
        source: `distilled` or `random`.
        condition: Regime of the labels, and whether images were augmented.
        model: Name of the network.
        seed: Seed of its one student.
        images: Held-out images that it was tested on.
        accuracies: Rate -> accuracy.
    """

    source: str
    condition: str
    model: str
    seed: int
    images: int
    accuracies: dict[str, float]


@dataclass(frozen=True)
class Evaluated:
    """The set and the subset that are evaluated: what is known before a student is trained.

    Attributes:
        category: Category of the subset; None for a list of classes.
        subset: `easy` or `hard`; None for a list of classes.
        config_name: Configuration, such as `bird-easy`.
        set: Folder of the set's students beside the summary.
        ipc: Images per class of the set.
        decoded_ipc: Images per class after mosaics are cut; else the same.
        resolution: Side of the images in pixels.
        images: Images of the set.
        label_kind: `hard`, `logits` or `probabilities`.
        class_names: Names of labels 0-9.
        validation_images: Validation images that were tested.
        validation_images_expected: Validation images that a whole copy of ImageNet has.
    """

    category: str | None
    subset: str | None
    config_name: str
    set: str
    ipc: int | float
    decoded_ipc: int | float
    resolution: int
    images: int
    label_kind: str
    class_names: list[str]
    validation_images: int
    validation_images_expected: int


@dataclass(frozen=True)
class Summary(Evaluated):
    """What an evaluation found; the file begins with `schema_version`.

    Attributes:
        lr: Learning rate of the first network.
        lr_source: Where that rate came from.
        protocol: Fields of `compdd_eval.config.protocol.Protocol`.
        protocol_changes: Those in which the protocol differs from its preset.
        teacher: The teacher of `--teacher`, as in the entries, or None.
        full_recipe: How students of all images, or a teacher, were trained: `passes`, `changes`, protocol.
        results: One entry for each network, labels as `--labels` says.
        regimes: Results under other labels, one for each of `--regimes`.
        scores: One for each network; empty without `--scores`.
        rate_search: What a search of the rate tried; empty without one.
        digests: SHA-256 of the set (`distilled`) and the validation images, twelve digits of all that decides numbers.
        distilled: What is known of the set: its metadata, the files or the repository that it came from, and what its
            labels of views are.
        config: All settings of the command.
        students: Result files of all students.
        environments: Where students were made, each distinct machine once: device, precision, versions, `students`.
    """

    lr: float
    lr_source: str
    protocol: dict[str, object]
    protocol_changes: dict[str, object]
    teacher: dict[str, object] | None
    full_recipe: dict[str, object] | None
    results: list[SummaryEntry]
    regimes: list[Regime]
    scores: list[Scores]
    rate_search: list[RateSearch]
    digests: dict[str, str]
    distilled: dict[str, object]
    config: dict[str, object]
    students: list[str]
    environments: list[dict[str, object]]

    def content(self) -> dict[str, object]:
        """Return what stands in the file."""
        fields = asdict(self)
        # a score that was not asked for is left out; everywhere else None says that there is none
        fields["scores"] = [{k: v for k, v in entry.items() if v is not None} for entry in fields["scores"]]
        return {"schema_version": SCHEMA_VERSION, **fields}

    def write(self, folder: Path) -> None:
        """Write `summary.json` into a folder, whole or not at all."""
        write_json(folder / SUMMARY_NAME, self.content())
