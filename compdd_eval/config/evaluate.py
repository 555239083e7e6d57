"""Settings of `evaluate`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from compdd_eval.config.checks import AUTO, comma_parts, no_subset
from compdd_eval.config.network_names import network_name, plain_model, plain_teacher, split_teacher
from compdd_eval.config.protocol import NO_AUGMENTATION, REGIMES, VIEWS, Protocol
from compdd_eval.config.reading import ReadConfig
from compdd_eval.data.choices import LAYOUTS
from compdd_eval.utils.errors import InputError, require, unknown

BASELINES = ("random", "full")
SCORES = ("lrs", "ars")
TRACKERS = ("tensorboard", "wandb", "trackio")


@dataclass(frozen=True)
class EvaluateConfig(Protocol, ReadConfig):
    """Train students on a distilled set and test them on the real validation images of its subset.

    Args:
        data_path: A copy of ImageNet, or "prepared" for what `prepare` made; default: the environment variable
            COMP_DD_IMAGENET, else "prepared". The copy is a folder, or ILSVRC/imagenet-1k on the Hub.
        layout: How that copy of ImageNet is stored; "auto" looks at it.
        distilled: The distilled set: a folder or a file in any format that `convert` reads, or USER/NAME[@REVISION] on
            the Hub.
        data_dir: In place of --distilled: a .pt file of images, or a folder with images.pt (or images_best.pt).
        model: Student network, or several joined by commas: ConvNetD5, ResNet18, torchvision:NAME, timm:NAME, or
            FILE.py of your own. A wrong name is answered with the nearest one. FILE.py is run; it has a function
            create_model(num_classes, im_size). In Python also such a function, a class, or a list of these.
        eval_mode: Pool of students in place of --model, as published: S the model, M several architectures, W widths, D
            depths, A activations, P poolings, N norms, BN batch norms, C the model and ConvNet.
        res: Resolution in pixels of distilled and validation images; default: that of the distilled set.
        num_eval: Students of each model; their seeds are `seed`, `seed` + 1, ...
        seed: Seed of the first student.
        baseline: Compare with "random" real images (same IPC, protocol and seeds), "full" (all training images),
            "random,full" or "none".
        baseline_dir: Folder for the students, images and teachers of the baselines, which several sets can share;
            default: `baselines` in the output folder.
        full_epochs: Passes over all training images, for --baseline full and for a teacher.
        full_lr: Learning rate of that training; default: the preset's.
        teacher: Network whose outputs are soft labels: a folder that `teacher` made, NAME=FILE with its weights, or
            NAME, which is trained first. NAME is as for --model, FILE a .pt, .pth or .safetensors; of weights with
            ImageNet's 1000 outputs, those of the subset's classes are taken.
        regimes: Evaluate the same images under several kinds of labels, each beside the random baseline: hard, soft,
            soft+kd, joined by commas.
        scores: Label- and augmentation-robust scores of DD-Ranking: lrs, ars, joined by commas; rates are then searched
            as with --lr_net auto.
        eval_every: Passes between two tests on the validation images, for learning curves; 0 tests in the end only.
            Never used to choose.
        complexity: Folder that `complexity --split validation` wrote: the accuracy is shown on each quarter of the
            validation images, from the least to the most complex.
        parallel: "students" gives each process students of its own, "ddp" trains every student on all processes.
        output_dir: Folder for the results, of one distilled set and one subset.
        overwrite: Train finished students again.
        save_students: Keep the weights of every student of the set beside its result, as seedK.safetensors, for
            `push --student`; finished students without them are trained again.
        grid: YAML file of settings, some of them lists: all combinations are evaluated, each in a folder of its own.
        dry_run: Print what would be trained, and from a few measured steps the time and memory it takes, and stop.
        log_with: Trackers that get the curves of every student: tensorboard, wandb, trackio, joined by commas.
        threads: CPU threads of each process; 0 shares the processor's cores among the processes.
        precision: "float32", "tf32" (matrix products of NVIDIA GPUs) or "bfloat16" (autocast); default: what
            accelerate launch --mixed_precision says, else float32.
        compile: Compile the training steps: "auto" where a network trains long enough for it to pay, "always" or
            "never".
        fused_norm: On a GPU, train instance norm, ReLU and average pooling of a ConvNet's block as one operation; other
            networks, and tests, stay as they are. Not measured on a GPU yet.
        students_per_device: Students of one network that a device trains together, which is faster; "auto": as many as
            fill a GPU, one on a CPU. Halved where memory runs out.
        json: Print JSON, for programs.
    """

    data_path: str | None = None
    layout: Literal["auto", *LAYOUTS] = "auto"
    distilled: str | None = None
    data_dir: str | None = None
    model: str = "ConvNetD5"
    eval_mode: str | None = None
    res: int | None = None
    num_eval: int = 5
    seed: int = 0
    baseline: str = "none"
    baseline_dir: str | None = None
    full_epochs: int = 60
    full_lr: float | None = None
    teacher: str | None = None
    regimes: str | None = None
    scores: str | None = None
    eval_every: int = 0
    complexity: str | None = None
    parallel: Literal["students", "ddp"] = "students"
    output_dir: str | None = "results"
    overwrite: bool = False
    save_students: bool = False
    grid: str | None = None
    dry_run: bool = False
    log_with: str | None = None
    threads: int = 0
    precision: Literal["float32", "tf32", "bfloat16"] | None = None
    compile: Literal["auto", "always", "never"] = "auto"
    fused_norm: bool = False
    students_per_device: int | Literal["auto"] = AUTO
    json: bool = False

    def __post_init__(self) -> None:
        self._set("model", plain_model(self.model))
        if self.teacher is not None:
            self._set("teacher", plain_teacher(self.teacher))
        # a rate that suits the set alone would make it win: the scores compare it and random images at their best
        if self.scores is not None and self.lr_net is None:
            self._set("lr_net", AUTO)
        super().__post_init__()
        ReadConfig.__post_init__(self)
        if self.distilled is not None and self.data_dir is not None:
            raise InputError("--distilled and --data_dir are two names for the set; give one of them")
        if not self.selects and self.distilled is None and self.grid is None:
            raise no_subset()
        self._check_res()
        self._check_students()
        self._check_threads()
        self._check_seed(self.num_eval)
        self._check_together()
        require("--model", self.model, bool(self.models), "the name of a student network")
        self._check_comparisons()
        self._check_output()
        self._expand_home("output_dir", "baseline_dir", "complexity")

    def _check_comparisons(self) -> None:
        if VIEWS in self.listed("regimes"):
            raise InputError(
                f"--regimes {self.regimes}: labels of views are of the set's images, and each regime has random images "
                "beside them; evaluate --labels views by itself"
            )
        lists = {"baseline": BASELINES, "regimes": REGIMES, "scores": SCORES, "log_with": TRACKERS}
        for flag, choices in lists.items():
            for name in self.listed(flag):
                if name not in choices:
                    raise unknown(f"value of --{flag}", name, [*choices, *(["none"] if flag == "baseline" else [])])
        self._check("full_epochs", lambda value: value >= 2, "a number of passes from 2")
        self._check_above_zero("full_lr")
        self._check("eval_every", lambda value: value >= 0, "a number of passes, or 0 for none")
        if "soft+kd" in [self.labels, *self.listed("regimes")] and self.teacher is None:
            raise InputError(
                "soft+kd needs a teacher; give --teacher NAME (trained on all training images first, for example "
                "ResNet18), NAME=FILE, or a folder that `teacher` made"
            )
        if self.labels == VIEWS and "random" in self.baselines:
            raise InputError(
                "--labels views with random images (--baseline random, --regimes, --scores): these labels are of the "
                "set's images; `relabel` a set of `distill random` and compare both, or let --labels soft+kd label both"
            )
        if self.labels == VIEWS and self.teacher is not None:
            raise InputError("--labels views: the teacher's outputs are stored with the set; leave --teacher out")
        if self.scores is not None and self.lr_net != AUTO:
            raise InputError("--scores searches the rate of both sides alike; leave --lr_net out, or give auto")
        if "ars" in self.listed("scores") and not self.augmented:
            raise InputError("--scores ars compares with and without augmentation, and this protocol has none")

    def _check_output(self) -> None:
        """Refuse what needs a folder where there is none."""
        if self.output_dir is not None:
            return
        for name in ("grid", "save_students", "log_with"):
            if getattr(self, name):
                raise InputError(f"--{name} writes files; give --output_dir")
        if self.teacher is not None and self.teacher_file is None and self.baseline_dir is None:
            raise InputError(
                f"--teacher {self.teacher} is trained first, and kept in a folder; give --baseline_dir, or NAME=FILE"
            )

    def listed(self, name: str) -> list[str]:
        """Return the parts of a setting whose values are joined by commas, each once; `none` has none."""
        return list(dict.fromkeys(part for part in comma_parts(getattr(self, name) or "") if part != "none"))

    @property
    def models(self) -> list[str]:
        """Names of the student networks that --model gives, each once; of files that were read, those of results."""
        return list(dict.fromkeys(map(network_name, self.listed("model"))))

    @property
    def teacher_name(self) -> str | None:
        """Name of the teacher's network, as results have it."""
        return None if self.teacher is None else network_name(split_teacher(self.teacher)[0])

    @property
    def teacher_file(self) -> Path | None:
        """File of the teacher's weights; None where there is no teacher, or one that is trained first."""
        file = split_teacher(self.teacher or "")[1]
        return Path(file).expanduser() if file else None

    @property
    def seeds(self) -> list[int]:
        """Seeds of the students of each model."""
        return list(range(self.seed, self.seed + self.num_eval))

    @property
    def baselines(self) -> list[str]:
        """Baselines that are needed, for themselves or for regimes and scores."""
        random = "random" in self.listed("baseline") or self.listed("regimes") or self.listed("scores")
        full = "full" in self.listed("baseline") or "lrs" in self.listed("scores")
        return [name for name, wanted in (("random", random), ("full", full)) if wanted]

    @property
    def full_protocol(self) -> Protocol:
        """How networks are trained on all training images."""
        return self.on_all_images(self.full_epochs, self.full_lr)

    def without_augmentation(self) -> Protocol:
        """Return the protocol with the images as they are."""
        return self.alone(**NO_AUGMENTATION)

    def changed(self, **changes: object) -> "EvaluateConfig":
        """Return these settings with some replaced."""
        return replace(self, **changes)


CONFIG = EvaluateConfig
_TRAINING = ("protocol", "epoch_eval_train", "lr_net", "labels", "teacher")
COMMON = {  # what `--help` shows; the rest after `--help all`
    "Data": ("distilled", "category", "subset", "data_path"),
    "Students and their training": ("model", "num_eval", "res", *_TRAINING),
    "Comparison and output": ("baseline", "grid", "output_dir", "overwrite", "dry_run", "json"),
}
