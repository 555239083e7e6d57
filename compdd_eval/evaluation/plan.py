"""What is evaluated: conditions, students, and the data that they train on."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from compdd_eval.config.checks import AUTO
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.evaluation.image_sets import TestSet, TrainingSet
from compdd_eval.models.cost import count_flops
from compdd_eval.models.imagenet import Statistics
from compdd_eval.models.pools import eval_pool
from compdd_eval.models.registry import own_code
from compdd_eval.results.student_result import (
    FULL,
    RANDOM,
    SCHEMA_VERSION,
    SET,
    StudentResult,
    student_path,
    weights_path,
)
from compdd_eval.utils.digests import digest_of

TEACHER_SEED = 0  # one teacher for all students, whatever their seeds
_BASELINES = "baselines"  # folder in that of the results
_SOME_SIZE = 128  # stands for a resolution that the set will say; decides depths of a pool, not their number
_APART = ("protocol", "lr_net", "labels")  # fields of a protocol that do not decide a student's numbers by themselves


@dataclass(frozen=True)
class Condition:
    """One way to train on the same images.

    Attributes:
        labels: Regime: `given`, `hard`, `soft`, `soft+kd` or `views`.
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
    asked = [Condition(config.labels), *[Condition(labels) for labels in config.listed("regimes")]]
    if "lrs" in config.listed("scores"):
        asked.append(Condition("hard"))
    if "ars" in config.listed("scores"):
        asked.append(Condition(config.labels, augmented=False))
    return list(dict.fromkeys(asked))  # those asked for twice are trained once


@dataclass(frozen=True)
class Teacher:
    """A network whose outputs are soft labels.

    Attributes:
        name: Its architecture.
        file: The file that its weights come from.
        weights: Its parameters and buffers.
        digest: SHA-256 of the weights, and of all else that decides what it gives.
        accuracy: Its accuracy on the validation images; 0 where nobody has tested it.
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
        digest: That of the set.
        validation: Validation images.
        held_out: Training images that are held out for the search of the rate, or None.
        complexity: Complexity of each validation image, in [0, 1], where it is asked for.
        doubts: What can be known to be wrong with the set before a student is trained, one line each; None where
            nobody has looked.
    """

    config: EvaluateConfig
    subset: Subset
    set_name: str
    distilled: DistilledSet
    digest: str
    validation: TestSet
    held_out: TestSet | None = None
    complexity: list[float] | None = None
    doubts: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Task:
    """One student to train and test.

    Attributes:
        source: `distilled`, `random` or `full`.
        condition: How its images are labelled and augmented.
        training_set: What it trains on.
        test_set: What it is tested on: validation images, or held-out ones where it is there to choose a rate.
        teacher: What gave, or gives, it soft labels, or None.
        model: Student network.
        seed: Seed of its weights, order and augmentation.
        protocol: How it is trained.
        lr: Learning rate of the first pass.
        lr_source: Where the rate came from, in words.
        searching: Whether it is there to choose a rate.
        digests: `distilled` (its training images), `validation` (what it is tested on), `config`; `view_labels` where
            it trains on them.
        path: Its result file.
        in_file: Whether that is written; otherwise the path only says which student it is.
        weights: Where its weights are kept, or None.
    """

    source: str
    condition: Condition
    training_set: TrainingSet = field(repr=False)
    test_set: TestSet = field(repr=False)
    teacher: Teacher | None
    model: str
    seed: int
    protocol: Protocol
    lr: float
    lr_source: str
    searching: bool
    digests: dict[str, str]
    path: Path
    in_file: bool
    weights: Path | None

    @property
    def flops(self) -> int:
        """Floating-point operations of all forward passes of its training."""
        images = self.training_set.images
        return count_flops(self.model, NUM_CLASSES, tuple(images.shape[-2:])) * self.protocol.passes * len(images)

    @property
    def taught_by(self) -> dict[str, object] | None:
        """What results say of the teacher, as of `Teacher.record`; None where there is none."""
        views = self.training_set.views
        if views is not None:
            return {**views.record.teacher, "file": str(views.file)}
        return self.teacher.record() if self.teacher else None

    @property
    def steps(self) -> int:
        """Batches of its training."""
        return -(-len(self.training_set.images) // self.protocol.batch_train) * self.protocol.passes


def training_set_key(source: str, condition: Condition, seed: int) -> str:
    """Return the key of training images; random ones are drawn anew for each seed."""
    if source == FULL:
        return FULL
    return f"{source}/{condition.labels}" + (f"/{seed}" if source == RANDOM else "")


@dataclass(frozen=True)
class Planner:
    """Puts together the students of a run.

    Attributes:
        inputs: The run.
        training_sets: What students train on, by `training_set_key`.
        teacher: What gives soft labels, or None.
    """

    inputs: EvaluationInputs
    training_sets: dict[str, TrainingSet]
    teacher: Teacher | None = None

    def task(
        self,
        source: str,
        condition: Condition,
        model: str,
        seed: int,
        lr: float,
        lr_source: str,
        searching: bool = False,
    ) -> Task:
        """Put together one student; whether its weights are kept decides neither its digest nor its path."""
        config = self.inputs.config
        protocol = config.full_protocol if source == FULL else condition.protocol(config)
        training_set = self.training_sets[training_set_key(source, condition, seed)]
        test_set = self.inputs.held_out if searching else self.inputs.validation
        digests = {"distilled": training_set.digest, "validation": test_set.digest}
        digests["config"] = digest_of([self._decisive(protocol, training_set, model, lr), digests, SCHEMA_VERSION])
        if training_set.views is not None:
            digests["view_labels"] = training_set.views.sha256
        path = _path(self.inputs, source, model, digests["config"], seed, searching)
        kept = config.save_students and source == SET and not searching
        taught = protocol.labels == "soft+kd" or "teacher" in training_set.remark
        return Task(
            source=source,
            condition=condition,
            training_set=training_set,
            test_set=test_set,
            teacher=self.teacher if taught else None,
            model=model,
            seed=seed,
            protocol=protocol,
            lr=lr,
            lr_source=lr_source,
            searching=searching,
            digests=digests,
            path=path,
            in_file=(config.output_dir if source == SET else baseline_dir(config)) is not None,
            weights=weights_path(path) if kept else None,
        )

    def _decisive(self, protocol: Protocol, training_set: TrainingSet, model: str, lr: float) -> dict[str, object]:
        """Return all but the images that decides a student's numbers.

        A setting that came later is in it only where it is not the default, so that older results keep their place.
        """
        config = self.inputs.config
        decisive = {name: value for name, value in protocol.identity().items() if name not in _APART}
        decisive |= {
            "lr": lr,
            "label_kind": training_set.label_kind,
            "res": config.res,
            "eval_every": config.eval_every,
        }
        later = {"precision": "float32", "fused_norm": False}
        decisive |= {name: getattr(config, name) for name in later if getattr(config, name) != later[name]}
        if protocol.labels == "soft+kd":  # otherwise the labels themselves are in the digest
            decisive |= {"teacher": self.teacher.digest}
        if training_set.views is not None:
            decisive |= {"view_labels": training_set.views.sha256}
        if (code := own_code(model)) is not None:
            decisive |= {"network": code}
        return decisive

    def search(self) -> list[Task]:
        """Return the students that choose the rates: one for each candidate, of each condition, source and model."""
        config = self.inputs.config
        if config.lr_net != AUTO:
            return []
        return [
            self.task(source, condition, model, config.seed, rate, "candidate", searching=True)
            for condition in conditions(config)
            for source in sources(config)
            for model in config.models
            for rate in config.candidates
        ]

    def students(self, searched_rates: dict[tuple, float]) -> list[Task]:
        """Return all students that are reported: of the set, of random images, of all images."""
        config = self.inputs.config
        tasks = [
            self.task(source, condition, model, seed, *self._rate(source, condition, model, searched_rates))
            for condition in conditions(config)
            for source in sources(config)
            for model in config.models
            for seed in config.seeds
        ]
        if FULL in config.baselines:
            rate = config.full_protocol.lr_net
            tasks += [
                self.task(FULL, Condition("hard"), model, seed, rate, "recipe of --baseline full")
                for model in config.models
                for seed in config.seeds
            ]
        return tasks

    def _rate(
        self, source: str, condition: Condition, model: str, searched_rates: dict[tuple, float]
    ) -> tuple[float, str]:
        """Return the learning rate and where it came from: a search wins over the set's own, that over --lr_net."""
        config = self.inputs.config
        if config.lr_net == AUTO:
            held_out = len(self.inputs.held_out.labels)
            return searched_rates[source, condition, model], f"searched on {held_out} held-out training images"
        if source == SET and self.inputs.distilled.lr is not None:
            return self.inputs.distilled.lr, "learned with the set"
        return config.rate, "--lr_net"


def best_rates(tasks: list[Task], students: list[StudentResult]) -> dict[tuple, float]:
    """Return the rate with the best accuracy on the held-out images; the lower one where two are equal.

    Its keys are (source, condition, model).
    """
    best: dict[tuple, tuple] = {}
    for task, student in zip(tasks, students, strict=True):
        key, score = (task.source, task.condition, task.model), (student.accuracy, -task.lr)
        best[key] = max(best.get(key, score), score)
    return {key: -negative_rate for key, (_, negative_rate) in best.items()}


def _path(inputs: EvaluationInputs, source: str, model: str, digest: str, seed: int, searching: bool) -> Path:
    """Return the result file: of a baseline in its own folder, of a search apart from the results."""
    config = inputs.config
    root = Path(config.output_dir or "") if source == SET else baseline_dir(config) or Path(_BASELINES)
    # baselines lie apart, without the set's name: those of one subset serve every set
    names = {SET: inputs.set_name, RANDOM: f"random-ipc{inputs.distilled.ipc:g}", FULL: FULL}
    if searching:
        root = root / "search"
    return student_path(root, names[source], inputs.subset.name, model, digest, seed)


def baseline_dir(config: EvaluateConfig) -> Path | None:
    """Return the folder of the baselines' students, images and teachers; None where there is none for results."""
    if config.baseline_dir is None and config.output_dir is None:
        return None
    return Path(config.baseline_dir or Path(config.output_dir) / _BASELINES)


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
    number = len(student_names(config)) * students_of_a_network(config)
    return number + (config.teacher is not None and config.teacher_file is None)


def students_of_a_network(config: EvaluateConfig) -> int:
    """Return how many students of each network a run trains: of the set, of baselines, and to choose the rate."""
    alike, searched = len(conditions(config)) * len(sources(config)), len(config.candidates)
    number = alike * (config.num_eval + (searched if config.lr_net == AUTO else 0))
    return number + config.num_eval * (FULL in config.baselines)
