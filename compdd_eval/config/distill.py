"""Settings of `distill`."""

import os
from dataclasses import dataclass, fields
from typing import Any, Literal

from compdd_eval.config.checks import AUTO
from compdd_eval.config.many_sets import (
    CONFIG_NAME,
    SET_NAME,
    place_of,
    read_config_names,
    read_ipcs,
    refuse_one_subset,
)
from compdd_eval.config.network_names import plain_model, plain_teacher, split_teacher
from compdd_eval.config.protocol import parse_strategy
from compdd_eval.config.settings import Settings
from compdd_eval.config.training_data import TrainingDataConfig
from compdd_eval.utils.errors import InputError, require

DISTILL_PRESETS = ("published", "smoke")
INITS = ("real", "noise")
MOST_STEPS = 10_000_000
# for methods that learn, step by step; those that choose real images have no steps
WITH_STEPS = ("save_every", "eval_every", "num_eval", "epoch_eval_train", "keep")
CROP_PAD = 0.125  # of DSA in DC, DM, MTT, DATM; the benchmark's evaluator has 0.25


@dataclass(frozen=True)
class MatchingConfig(Settings):
    """Settings of the methods; each takes some of them, and what is left out is taken from its preset.

    Args:
        features: For k-center and herding: "trained" (--model, trained on the subset's training images), "pixels", or a
            classifier as --model of `complexity` takes it: torchvision:NAME, efficientnet-lite0, FILE.py.
        feature_epochs: Passes over the training images that the network of --features trained makes.
        steps: Updates of the synthetic images.
        init: What the images start from: "real" photographs, drawn by the seed, or "noise".
        lr_img: Learning rate of the images' pixels (in normalised space).
        momentum_img: Momentum of these updates.
        ema_img: Decay of a moving average of the images over the steps, which is the set in their place (ftd).
        batch_real: Real images of each class in a step (dm, dc).
        dsa: Augment real and synthetic images by DSA; without it, `dc` is DC, with it DSA.
        dsa_strategy: Operations of DSA, joined by "_"; one of them is drawn for each step.
        crop_pad: Padding of DSA's crop as a share of the image size.
        outer_loop: Updates of the images for each random network (dc).
        inner_loop: Passes over the synthetic images that train this network after each update (dc).
        lr_net: Learning rate of this network (dc).
        batch_train: Synthetic images in a batch of its training (dc).
        experts: Folder that `experts` wrote, or a folder or file of the published kind (replay_buffer_*.pt).
        syn_steps: Steps that a student makes on the synthetic images before its parameters are compared with the
            expert's.
        expert_epochs: Epochs that the expert makes meanwhile.
        batch_syn: Synthetic images in each of the student's steps; in a pass through the teacher (sre2l).
        min_start_epoch: First epoch of an expert from which a student may start.
        max_start_epoch: End of the window of start epochs, which is not drawn itself.
        first_max_start_epoch: End of that window at the first step; it grows to max_start_epoch (datm, edf).
        window_steps: Steps in which the window grows (datm, edf).
        lr_student: Initial learning rate of the students; it is learned.
        lr_lr: Learning rate of the students' rate.
        momentum_lr: Momentum of the updates of the students' rate.
        lr_label: Learning rate of the soft labels (datm, edf).
        momentum_label: Momentum of the updates of the soft labels (datm, edf).
        match_threshold: Images are updated only where the matching loss is at most this (datm, edf).
        loss_threshold: Common pattern dropout: share of the parameters, those that match best, that is left out of the
            loss (edf).
        interval: Discriminative area enhancement: steps between two looks at the class-activation maps (edf).
        beta: Where a map reaches its threshold, the gradient of a pixel is multiplied by beta + map (edf).
        map_threshold: Activation from which that is done; default: the mean of each map (edf).
        map_model: Classifier whose maps are taken, as --model of `complexity` takes it, at the images' own size; or
            "expert" (edf).
        teacher: Folder that `teacher` made, or NAME=FILE with the weights of a network, as --teacher of `evaluate`
            takes both (rded, sre2l).
        factor: Crops along each side of an image (rded).
        mipc: Images of each class that are looked at, drawn by the seed (rded).
        num_crop: Random crops of each of these, of which the best one is taken (rded).
        r_bn: Weight of the distance of batch statistics to those that the teacher's batch norms have kept (sre2l).
        first_bn_multiplier: Weight of the first batch norm in it, that of the others being 1 (sre2l).
        tv_l2: Weight of the total variation (sre2l).
        l2_scale: Weight of the norm of an image (sre2l).
        recompute: Compute each step of a student again in the backward pass: the memory of one step, not of all, for
            the same gradients (mtt, ftd, datm, edf).
    """

    features: str | None = None
    feature_epochs: int | None = None
    steps: int | None = None
    init: Literal[*INITS] | None = None
    lr_img: float | None = None
    momentum_img: float | None = None
    ema_img: float | None = None
    batch_real: int | None = None
    dsa: bool | None = None
    dsa_strategy: str | None = None
    crop_pad: float | None = None
    outer_loop: int | None = None
    inner_loop: int | None = None
    lr_net: float | None = None
    batch_train: int | None = None
    experts: str | None = None
    syn_steps: int | None = None
    expert_epochs: int | None = None
    batch_syn: int | None = None
    min_start_epoch: int | None = None
    max_start_epoch: int | None = None
    first_max_start_epoch: int | None = None
    window_steps: int | None = None
    lr_student: float | None = None
    lr_lr: float | None = None
    momentum_lr: float | None = None
    lr_label: float | None = None
    momentum_label: float | None = None
    match_threshold: float | None = None
    loss_threshold: float | None = None
    interval: int | None = None
    beta: float | None = None
    map_threshold: float | None = None
    map_model: str | None = None
    teacher: str | None = None
    factor: int | None = None
    mipc: int | None = None
    num_crop: int | None = None
    r_bn: float | None = None
    first_bn_multiplier: float | None = None
    tv_l2: float | None = None
    l2_scale: float | None = None
    recompute: bool | None = None

    def check_values(self) -> None:
        """Raise InputError for a value that no method can use."""
        for name in _COUNTS:
            self._check(name, lambda value: 1 <= value <= MOST_STEPS, f"a whole number from 1 to {MOST_STEPS}")
        self._check_above_zero("lr_img", "lr_net", "lr_student", "lr_lr", "lr_label", "match_threshold")
        self._check_momentum("momentum_img", "momentum_lr", "momentum_label", "ema_img")
        self._check("min_start_epoch", lambda value: value >= 0, "an epoch from 0")
        self._check("loss_threshold", lambda value: 0 <= value < 1, "a share in [0, 1)")
        self._check_share("crop_pad")
        self._check_from_zero("beta", "r_bn", "first_bn_multiplier", "tv_l2", "l2_scale")
        self._check("map_threshold", lambda value: 0 <= value <= 1, "an activation in [0, 1]")
        if self.dsa_strategy is not None:
            parse_strategy(self.dsa_strategy)

    def given(self) -> dict[str, object]:
        """Return the settings of methods that are set, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(MatchingConfig)}
        return {name: value for name, value in values.items() if value is not None}


_COUNTS = ("feature_epochs", "steps", "batch_real", "outer_loop", "inner_loop", "batch_train", "syn_steps")
_COUNTS += ("expert_epochs", "batch_syn", "max_start_epoch", "first_max_start_epoch", "window_steps", "interval")
_COUNTS += ("factor", "mipc", "num_crop")


@dataclass(frozen=True)
class DistillConfig(MatchingConfig, TrainingDataConfig):
    """Distil a subset into a few images, by a method that `methods` lists.

    Args:
        method: random, k-center, herding, rded, sre2l, dm, dc, mtt, ftd, datm, edf, or one of a --plugin.
        ipc: Images per class.
        model: Network that is matched, or that gives features, as --model of `evaluate` takes it.
        preset: Where the method's settings come from: "published" for this IPC and subset (of a method of your own: its
            defaults), or "smoke" for minutes on a CPU.
        seed: Seed of everything that is drawn.
        output_dir: Folder for the distilled set, in our format, and for `progress`.
        save_every: Steps between two checkpoints, each with a preview.
        eval_every: Steps between two evaluations with few students; 0 for none.
        num_eval: Students of each of these evaluations.
        epoch_eval_train: Epochs of these students.
        keep: Which set is kept: the "last", or the "best" of these evaluations. They test on the validation images, so
            "best" chooses on the benchmark's test data; this is recorded with the set.
        overwrite: Begin anew where the folder holds a distillation with other settings.
        plugin: Python file of your own that registers methods; it is run.
        options: Settings of a plugin's method, by name, for example {"temperature": 2}.
        compile: Compile the steps of dm, dc, mtt, ftd, datm and edf: "auto" where it pays, "always" or "never".
        precision: "float32", "tf32" (matrix products and convolutions of NVIDIA GPUs) or "bfloat16" (autocast of the
            passes through networks that are matched; of dm, dc, mtt, ftd, datm and edf).
        threads: CPU threads of each process; 0 shares the processor's cores among the processes.
        dry_run: Make a few steps, print the time and memory that all of them take, and stop; nothing is written.
        json: Print JSON, for programs.
    """

    method: str | None = None
    ipc: int = 1
    model: str = "ConvNetD5"
    preset: Literal[*DISTILL_PRESETS] = "published"
    seed: int = 0
    output_dir: str = "distilled"
    save_every: int = 100
    eval_every: int = 0
    num_eval: int = 2
    epoch_eval_train: int = 1000
    keep: Literal["last", "best"] = "last"
    overwrite: bool = False
    plugin: str | None = None
    options: dict[str, Any] | None = None
    compile: Literal["auto", "always", "never"] = AUTO
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    threads: int = 0
    dry_run: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        if self.method is None:
            raise InputError("METHOD is missing; `python -m compdd_eval methods` lists them")
        TrainingDataConfig.__post_init__(self)
        self._set("model", plain_model(self.model))
        self.check_values()
        self._check("ipc", lambda value: 1 <= value <= MOST_STEPS, "a number of images per class from 1")
        if self.factor is not None and self.mipc is not None:
            self._check("factor", lambda value: self.res % value == 0, f"a divisor of --res, {self.res}")
            needed = self.ipc * self.factor**2
            self._check("mipc", lambda value: value >= needed, f"{needed} images or more, --ipc times --factor squared")
        self._check_seed()
        self._check("save_every", lambda value: 1 <= value <= MOST_STEPS, "a number of steps from 1")
        self._check("eval_every", lambda value: 0 <= value <= MOST_STEPS, "a number of steps, or 0 for none")
        self._check_students()
        self._check_threads()
        self._check_whole("epoch_eval_train")
        for name, value in (self.options or {}).items():
            plain = isinstance(value, int | float | str | bool)
            require(f"--options: {name}", value, plain, "a number, a text, or true or false")
        if self.keep == "best" and not self.eval_every:
            raise InputError("--keep best chooses among evaluations; give --eval_every, for example 500")
        self._expand_home("output_dir", "plugin", "experts")
        if self.teacher is not None:
            self._set("teacher", plain_teacher(self.teacher))
        self._make_code_absolute("features", "map_model")


_OF_A_SUBSET = ("experts", "teacher")  # places whose files are of one subset


@dataclass(frozen=True)
class DistillSetsConfig(DistillConfig):
    """Distil a subset into a few images by a method that `methods` lists; with --all, the sets of the whole benchmark.

    Args:
        ipc: Images per class; with --all joined by commas, as in 1,10,50.
        all: Make a set for each subset and IPC, in OUTPUT_DIR/bird-easy-ipc1, ...: where
            `benchmark --sets "OUTPUT_DIR/{config}-ipc{ipc}"` looks for them. Whoever of the processes is idle makes the
            next. --experts and --teacher have {config} in the place of the subset (a network of torchvision or timm
            with ImageNet's outputs needs none); left out, they are trained first, once a subset, in OUTPUT_DIR/experts
            and OUTPUT_DIR/teacher.
        configs: With --all: subsets, joined by commas; default: all sixteen.
    """

    ipc: int | str = 1
    all: bool = False
    configs: str | None = None

    def __post_init__(self) -> None:
        ipc, patterns = self.ipc, {}
        if self.all:
            refuse_one_subset(self, "--all")
            for name in _OF_A_SUBSET:
                place = getattr(self, name)
                tells = place is None or CONFIG_NAME in place or len(self.config_names) == 1
                # one network with ImageNet's outputs is cut to those of each subset
                tells = tells or (name == "teacher" and ":" in split_teacher(place)[0])
                require(f"--{name}", place, tells, f"a name with {CONFIG_NAME}, which tells the subsets apart")
                patterns[name] = place
                self._set(name, None)
            self._set("subset", self.config_names[0])  # what stands in for all, for the checks
        elif self.configs is not None or len(read_ipcs(ipc)) > 1:
            flag = "--ipc" if self.configs is None else "--configs"
            raise InputError(f"{flag} {self.configs or ipc}: several sets are made with --all")
        self._set("ipc", read_ipcs(ipc)[0])
        super().__post_init__()
        no_subset = dict.fromkeys(self.selection) | {"published": False} if self.all else {}
        for name, value in {"ipc": ipc, **patterns, **no_subset}.items():
            self._set(name, value)

    @property
    def config_names(self) -> list[str]:
        """The subsets of --all, in the order of the benchmark."""
        return read_config_names(self.configs)

    def of_one(self) -> DistillConfig:
        """Return the settings of the one set that is made without --all."""
        return self._of_set(ipc=int(self.ipc))

    def of_sets(self) -> dict[str, DistillConfig]:
        """Return the settings of each set of --all, by its name: IPC by IPC, subset by subset."""
        found = {}
        for ipc in read_ipcs(self.ipc):
            for config_name in self.config_names:
                name = place_of(SET_NAME, config_name, ipc)
                changes = {"ipc": ipc, "output_dir": os.path.join(self.output_dir, name), "json": False}
                for each in _OF_A_SUBSET:
                    if getattr(self, each) is not None:
                        changes[each] = place_of(getattr(self, each), config_name)
                found[name] = self._of_set(category=None, subset=config_name, **changes)
        return found

    def _of_set(self, **changes: object) -> DistillConfig:
        return DistillConfig(**{field.name: getattr(self, field.name) for field in fields(DistillConfig)} | changes)


CONFIG = DistillSetsConfig
POSITIONAL = ("method",)
COMMON = {
    "Data": ("category", "subset", "data_path", "res"),
    "Distillation": ("ipc", "model", "preset", "seed", "plugin"),
    "The whole benchmark": ("all", "configs"),
    "Evaluation in between": ("eval_every", "keep"),
    "Output": ("output_dir", "overwrite", "dry_run", "json"),
}
