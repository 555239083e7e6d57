"""What is evaluated: conditions, students, and the data that they train on."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from compdd_eval.config.checks import AUTO
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.network_names import find_user_network, is_user_network
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.models.cost import count_flops
from compdd_eval.models.imagenet import Statistics
from compdd_eval.models.pools import eval_pool
from compdd_eval.results.student_result import FULL, RANDOM, SCHEMA_VERSION, SET, student_path, weights_path
from compdd_eval.utils.digests import digest_of

TEACHER_SEED = 0
_SOME_SIZE = 128
_APART = ("protocol", "lr_net", "labels")  # fields of a protocol that do not decide a student's numbers by themselves


@dataclass(frozen=True)
class Condition:
    """One way to train on the same images.

    Attributes:
        labels: Regime: `given`, `hard`, `soft` or `soft+kd`.
        augmented: Whether the protocol's augmentation is used.
    """

    labels: str
    augmented: bool = True

    def protocol(self, config: EvaluateConfig) -> Protocol:
        """Return how students are trained under it."""
        base = config.alone() if self.augmented else config.without_augmentation()
        return base.alone(labels=self.labels)

    def __str__(self) -> str:
        return self.labels + ("" if self.augmented else ", no augmentation")


def conditions(config: EvaluateConfig) -> list[Condition]:
    """Return all conditions of a run, that of the protocol first."""
    found = [Condition(config.labels), *[Condition(labels) for labels in config.listed("regimes")]]
    if "lrs" in config.listed("scores"):
        found.append(Condition("hard"))
    if "ars" in config.listed("scores"):
        found.append(Condition(config.labels, augmented=False))
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class TrainingSet:
    """Images and labels that students train on.

    Attributes:
        images: float32 `[N, 3, H, H]`, normalised.
        labels: int64 `[N]`, or float32 `[N, 10]`.
        label_kind: `hard`, `logits` or `probabilities`.
        digest: SHA-256 over both, or over what they were made from.
        files: Official names of real images, where they are few.
        remark: Where the labels come from, if not from the set.
    """

    images: torch.Tensor
    labels: torch.Tensor
    label_kind: str
    digest: str
    files: list[str] | None = None
    remark: str = ""

    @classmethod
    def of(cls, distilled: DistilledSet, remark: str = "") -> "TrainingSet":
        """Return images and labels of a set."""
        files = distilled.metadata.get("file_names")
        return cls(distilled.images, distilled.labels, distilled.label_kind, distilled.sha256, files, remark)


@dataclass(frozen=True)
class TestSet:
    """Real images that students are tested on.

    Attributes:
        images: float32 `[M, 3, H, H]`, normalised.
        labels: int64 `[M]`.
        digest: SHA-256 over labels, names and bytes.
        origin: Where they come from, in words.
        expected: How many there would be in the whole of ImageNet.
    """

    images: torch.Tensor
    labels: torch.Tensor
    digest: str
    origin: str
    expected: int


@dataclass(frozen=True)
class Teacher:
    """A network whose outputs are soft labels.

    Attributes:
        name: Its architecture.
        file: The file that its weights come from.
        weights: Its parameters and buffers.
        digest: SHA-256 of the weights, and of all else that decides what it gives.
        accuracy: Its accuracy on the validation images.
        recipe: How it was trained, in words.
        classes: Label -> ImageNet index, of one with ImageNet's outputs; None for one with the subset's.
        statistics: Mean and standard deviation of RGB in [0, 1] by which such a one wants images to be normalised.
    """

    name: str
    file: str
    weights: dict[str, torch.Tensor] = field(repr=False)
    digest: str
    accuracy: float
    recipe: str
    classes: dict[int, int] | None = None
    statistics: Statistics | None = None

    def record(self) -> dict[str, object]:
        """Return what results say of it."""
        return {key: getattr(self, key) for key in ("name", "file", "digest", "accuracy", "recipe")}


@dataclass(frozen=True)
class EvaluationInputs:
    """All that every process knows of a run.

    Attributes:
        config: Settings of the command, with the subset that the set says.
        subset: The subset.
        set_name: Folder name of the set: its IPC and its digest.
        distilled: The set as it was given.
        validation: Validation images.
        held_out: Training images that are held out for the search of the rate, or None.
        complexity: Complexity of each validation image, in [0, 1], where it is asked for.
        doubts: What can be known to be wrong with the set before a student is trained, one line each.
    """

    config: EvaluateConfig
    subset: Subset
    set_name: str
    distilled: DistilledSet
    validation: TestSet
    held_out: TestSet | None = None
    complexity: list[float] | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """One student to train and test.

    Attributes:
        source: `distilled`, `random` or `full`.
        condition: How its images are labelled and augmented.
        material: Key of its training images.
        model: Student network.
        seed: Seed of its weights, order and augmentation.
        protocol: How it is trained.
        lr: Learning rate of the first pass.
        lr_source: Where the rate came from, in words.
        searching: Whether it is tested on the held-out images, to choose a rate.
        digests: `distilled` (its training images), `validation` (what it is tested on), `config`.
        path: Its result file.
        weights: Where its weights are kept, or None.
        cost: Floating-point operations of its training, roughly; decides which process trains it.
    """

    source: str
    condition: Condition
    training_set: str
    model: str
    seed: int
    protocol: Protocol
    lr: float
    lr_source: str
    searching: bool
    digests: dict[str, str]
    path: Path
    weights: Path | None
    cost: float


def training_set_key(source: str, condition: Condition, seed: int) -> str:
    """Return the key of training images; random ones are drawn anew for each seed."""
    if source == FULL:
        return FULL
    return f"{source}/{condition.labels}" + (f"/{seed}" if source == RANDOM else "")


def make_task(
    inputs: EvaluationInputs,
    training_sets: dict[str, TrainingSet],
    teacher: Teacher | None,
    source: str,
    condition: Condition,
    model: str,
    seed: int,
    lr: float,
    lr_source: str,
    searching: bool = False,
) -> Task:
    """Put together what one student needs; whether its weights are kept decides neither its digest nor its path."""
    config = inputs.config
    protocol = config.full_protocol if source == FULL else condition.protocol(config)
    training_set = training_set_key(source, condition, seed)
    trained_on = training_sets[training_set]
    tested = inputs.held_out if searching else inputs.validation
    digests = {"distilled": trained_on.digest, "validation": tested.digest}
    decisive = {name: value for name, value in protocol.settings().items() if name not in _APART}
    decisive |= {"lr": lr, "label_kind": trained_on.label_kind, "res": config.res, "eval_every": config.eval_every}
    if config.precision != "float32":
        decisive |= {"precision": config.precision}
    if protocol.labels == "soft+kd":  # otherwise the labels themselves are in the digest
        decisive |= {"teacher": teacher.digest}
    if is_user_network(model):
        decisive |= {"network": find_user_network(model).digest}
    digests["config"] = digest_of([decisive, digests, SCHEMA_VERSION])
    path = _path(inputs, source, model, digests["config"], seed, searching)
    kept = config.save_students and source == SET and not searching
    return Task(
        source=source,
        condition=condition,
        training_set=training_set,
        model=model,
        seed=seed,
        protocol=protocol,
        lr=lr,
        lr_source=lr_source,
        searching=searching,
        digests=digests,
        path=path,
        weights=weights_path(path) if kept else None,
        cost=count_flops(model, NUM_CLASSES, (config.res, config.res)) * protocol.passes * len(trained_on.images),
    )


def _path(inputs: EvaluationInputs, source: str, model: str, digest: str, seed: int, searching: bool) -> Path:
    """Return the result file: of a baseline in its own folder, of a search apart from the results."""
    root = Path(inputs.config.output_dir) if source == SET else baseline_dir(inputs.config)
    names = {SET: inputs.set_name, RANDOM: f"random-ipc{inputs.distilled.ipc:g}", FULL: FULL}
    if searching:
        root = root / "search"
    return student_path(root, names[source], inputs.subset.name, model, digest, seed)


def baseline_dir(config: EvaluateConfig) -> Path:
    """Return the folder of the baselines' students, images and teachers."""
    return Path(config.baseline_dir or Path(config.output_dir) / "baselines")


def sources(config: EvaluateConfig) -> list[str]:
    """Return where students of every condition get their images from."""
    return [SET, RANDOM] if RANDOM in config.baselines else [SET]


def student_names(config: EvaluateConfig) -> list[str]:
    """Return the networks of --model, or of the pool of --eval_mode.

    A ConvNet of a pool has the depth for some resolution where that of the set is not known yet.
    """
    if config.eval_mode is None:
        return config.models
    return eval_pool(config.eval_mode, config.models[0], (config.res or _SOME_SIZE,) * 2)


def expected_students(config: EvaluateConfig) -> int:
    """Return how many students a run trains if none is there already."""
    models = student_names(config)
    sides = len(conditions(config)) * len(sources(config)) * len(models)
    number = sides * config.num_eval + len(models) * config.num_eval * (FULL in config.baselines)
    number += sides * len(config.candidates) if config.lr_net == AUTO else 0
    return number + (config.teacher is not None and "=" not in config.teacher)
