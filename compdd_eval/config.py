"""Every default in one place: frozen dataclasses, from which flags, help texts and YAML files follow."""

import hashlib
import json
import math
import os
from dataclasses import dataclass, fields
from typing import Literal

from compdd_eval.errors import InputError, unknown
from compdd_eval.subsets import CATEGORIES, DIFFICULTIES, load_subset, subset_name, subset_names

DSA_OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
DSA_STRATEGY = "color_crop_cutout_flip_scale_rotate"
LABEL_KINDS = ("hard", "logits", "probabilities")
LAYOUTS = ("imagefolder", "cls-loc", "archives", "parquet", "webdataset")
PIXEL_RANGES = ("normalised", "0-1", "0-255")
_MANY = 10_000  # students; more is a slip of the finger
_THREADS = max(64, os.cpu_count() or 1)
_PROCESSES = max(64, os.cpu_count() or 1)


def parse_strategy(strategy: str) -> list[str]:
    """Split a DSA strategy such as `color_crop_flip` into its operations; `none` has none.

    Raises:
        InputError: An unknown operation; the message names the nearest valid one.
    """
    if strategy.lower() == "none":
        return []
    operations = strategy.lower().split("_")
    for operation in operations:
        if operation not in DSA_OPERATIONS:
            raise unknown("operation of the augmentation strategy", operation, DSA_OPERATIONS)
    return operations


@dataclass(frozen=True)
class Protocol:
    """How a student is trained. The defaults are preset `comp-dd`: the evaluator of the Comp-DD release.

    Args:
        epoch_eval_train: Epochs E; passes 0 to E inclusive are made over the distilled images, so E + 1.
        batch_train: Distilled images in a batch.
        lr_net: Learning rate of the students where the distilled set has no learned rate.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD, on all parameters.
        dsa: Whether the distilled images are augmented (differentiable siamese augmentation).
        dsa_strategy: Operations of the augmentation, joined by "_"; one of them is drawn for each batch.
        crop_pad: Padding of the crop operation as a share of the image size. 0.25 in the benchmark's evaluator,
            0.125 in MTT, DATM, DC and DC-BENCH.
    """

    epoch_eval_train: int = 1000
    batch_train: int = 128
    lr_net: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dsa: bool = True
    dsa_strategy: str = DSA_STRATEGY
    crop_pad: float = 0.25

    def __post_init__(self) -> None:
        _check_epochs(self.epoch_eval_train)
        require("--batch_train", self.batch_train, self.batch_train >= 1, "a whole number from 1")
        require("--lr_net", self.lr_net, math.isfinite(self.lr_net) and self.lr_net > 0, "a finite number above 0")
        require("--momentum", self.momentum, 0 <= self.momentum < 1, "a number in [0, 1)")
        require("--weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "a finite number from 0")
        require("--crop_pad", self.crop_pad, 0 <= self.crop_pad <= 1, "a number in [0, 1]")
        parse_strategy(self.dsa_strategy)

    def protocol(self) -> dict[str, object]:
        """Return the fields of the protocol alone, for printing and for the results."""
        return {field.name: getattr(self, field.name) for field in fields(Protocol)}

    def changes(self) -> dict[str, object]:
        """Return the fields in which this differs from preset `comp-dd`."""
        return {name: value for name, value in self.protocol().items() if value != getattr(Protocol, name)}


@dataclass(frozen=True)
class EvaluateConfig(Protocol):
    """Train students on a distilled set and test them on the real validation images of its subset.

    Args:
        data_path: A copy of ImageNet (a folder, or ILSVRC/imagenet-1k on the Hub); else the environment variable
            COMP_DD_IMAGENET, else what `prepare` made.
        category: bird, car, dog, fish, snake, insect, round or music.
        subset: easy or hard.
        published: Take music-hard as published, with nine classes; the other subsets have no such list.
        layout: How that copy of ImageNet is stored; "auto" looks at it.
        data_dir: The distilled images: a .pt file, or a folder with images.pt (or images_best.pt).
        label_dir: Their labels: a .pt file, or a folder with labels.pt (or labels_best.pt); default: beside the images.
        lr_dir: Their learned rate: a .pt file, or a folder with lr.pt (or lr_best.pt); default: beside the images,
            where there is one. "none" ignores it.
        label_kind: What the labels are; "auto" looks at them and prints what it took.
        pixel_range: Range of the stored images: ImageNet-normalised, [0, 1] or [0, 255].
        model: Student network (ConvNet, ConvNetD1 to ConvNetD8), or several joined by commas.
        res: Resolution in pixels of distilled and validation images.
        antialias: Whether validation images are resized with antialiasing; False for sets made before
            torchvision 0.17.
        num_eval: Students of each model, with seeds `seed`, `seed` + 1, ...
        seed: Seed of the first student.
        output_dir: Folder for the results; one distilled set and one subset each.
        threads: CPU threads of each process; 0 shares the processor's cores among the processes.
    """

    data_path: str | None = None
    category: str | None = None
    subset: str | None = None
    published: bool = False
    layout: Literal["auto", *LAYOUTS] = "auto"
    data_dir: str | None = None
    label_dir: str | None = None
    lr_dir: str | None = None
    label_kind: Literal["auto", *LABEL_KINDS] = "auto"
    pixel_range: Literal[*PIXEL_RANGES] = "normalised"
    model: str = "ConvNetD5"
    res: int = 128
    antialias: bool = True
    num_eval: int = 5
    seed: int = 0
    output_dir: str = "results"
    threads: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for flag in ("category", "subset"):
            if getattr(self, flag) is None:
                raise InputError(f"--{flag} is missing; give one subset, for example --category bird --subset easy")
        require("--res", self.res, self.res >= 1, "a number of pixels from 1, for example 128")
        _check_students(self.num_eval, self.threads)
        require("--seed", self.seed, 0 <= self.seed < 2**32, "a whole number from 0, below 2^32")
        require("--model", self.model, bool(self.models), "the name of a student network")
        name = subset_name(self.category, self.subset)
        _check_published(self.published, [name])
        object.__setattr__(self, "category", name.split("-")[0])
        object.__setattr__(self, "subset", name.split("-")[1])
        object.__setattr__(self, "output_dir", os.path.expanduser(self.output_dir))

    @property
    def models(self) -> list[str]:
        """Names of the student networks, each once."""
        return list(dict.fromkeys(name.strip() for name in self.model.split(",") if name.strip()))

    @property
    def seeds(self) -> list[int]:
        """Seeds of the students of each model."""
        return list(range(self.seed, self.seed + self.num_eval))

    def load_subset(self):
        """Return the `compdd_eval.subsets.Subset` that is evaluated."""
        return load_subset(f"{self.category}-{self.subset}", published=self.published)


@dataclass(frozen=True)
class PrepareConfig:
    """Build Comp-DD subsets from ImageNet, so that load_dataset("comp_dd", "bird-easy") works anywhere.

    Args:
        data_path: A copy of ImageNet: its folder (class folders, the competition's tree, the official archives,
            Parquet or WebDataset shards), or ILSVRC/imagenet-1k on the Hub; else the environment variable
            COMP_DD_IMAGENET.
        category: Only this category (bird, car, dog, fish, snake, insect, round, music).
        subset: Only easy or only hard.
        published: Build music-hard as published, with nine classes, under the name music-hard-published instead.
        layout: How that copy of ImageNet is stored; "auto" looks at it.
        num_proc: Subsets that are built at a time, each in a process of its own, and shards that are read at a time;
            where it is more than the subsets, images of a subset that are read at a time.
        strict: Refuse a copy that lacks images of a class, or a class; default: warn and build.
        verify: Decode every image, list those that are bad, and build only if there are none.
        link: Keep the paths of the images in place of their bytes: tiny, but bound to this disk and to that folder.
        cache_dir: Where to; default: the cache of `datasets`, the only one that load_dataset looks into.
    """

    data_path: str | None = None
    category: str | None = None
    subset: str | None = None
    published: bool = False
    layout: Literal["auto", *LAYOUTS] = "auto"
    num_proc: int = 1
    strict: bool = False
    verify: bool = False
    link: bool = False
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        self.names()
        _check_num_proc(self.num_proc)
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", os.path.expanduser(self.cache_dir))

    def names(self) -> list[str]:
        """Return the names of the configurations that are asked for."""
        categories = CATEGORIES if self.category is None else (self.category,)
        difficulties = DIFFICULTIES if self.subset is None else (self.subset,)
        names = [subset_name(category, difficulty) for category in categories for difficulty in difficulties]
        _check_published(self.published, names)
        return [load_subset(name, published=self.published).name for name in names]


@dataclass(frozen=True)
class InfoConfig:
    """Show the sixteen subsets, one of them, or what a copy of ImageNet can serve.

    Args:
        name: One subset, such as bird-hard or music-hard-published; default: all sixteen.
        data_path: A copy of ImageNet to look into: its folder, or ILSVRC/imagenet-1k on the Hub.
        layout: How that copy is stored; "auto" looks at it.
        num_proc: Shards that are listed at a time.
        json: Print JSON, for programs.
    """

    name: str | None = None
    data_path: str | None = None
    layout: Literal["auto", *LAYOUTS] = "auto"
    num_proc: int = 1
    json: bool = False

    def __post_init__(self) -> None:
        _check_num_proc(self.num_proc)
        for subset in self.subsets():
            load_subset(subset)

    def subsets(self) -> list[str]:
        """Return the names of the subsets that are asked for."""
        return subset_names() if self.name is None else [self.name.lower()]


@dataclass(frozen=True)
class ExportConfig(PrepareConfig):
    """Write subsets as Parquet files with a card, so that load_dataset(FOLDER, "bird-easy") works anywhere.

    Without --data_path (or COMP_DD_IMAGENET), the subsets that are prepared are written; with it, they are prepared
    first. What the folder holds already is not written again.

    Args:
        output_dir: Folder for the card and one folder of Parquet files for each subset.
    """

    output_dir: str = "out/comp_dd"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "output_dir", os.path.expanduser(self.output_dir))


@dataclass(frozen=True)
class PushConfig:
    """Send an export to a dataset repository on the Hugging Face Hub, in one commit.

    Args:
        benchmark: The repository, USER/NAME; it is made, private, where there is none.
        folder: What `export` wrote.
        public: Let everybody download the images. ImageNet's terms of access: "Researcher may provide research
            associates and colleagues with access to the Database provided that they first agree to be bound by these
            terms and conditions", and "Researcher shall use the Database only for non-commercial research and
            educational purposes" (https://image-net.org/download.php). A public copy breaks them, unless ImageNet's
            team allows it.
    """

    benchmark: str | None = None
    folder: str = "out/comp_dd"
    public: bool = False

    def __post_init__(self) -> None:
        if not self.benchmark:
            raise InputError("--benchmark is missing; give the repository, for example --benchmark USER/comp_dd")
        object.__setattr__(self, "folder", os.path.expanduser(self.folder))


@dataclass(frozen=True)
class BenchConfig:
    """Measure how fast this machine does the work; all figures are ratios of two timings in one run.

    Args:
        what: data: building, opening and decoding subsets, against copying files and plain PIL.
        images: Training images of each class in the source that is drawn, in each of the sixteen subsets.
        side: Pixels of a side of the drawn images; ImageNet's are about 400 x 350, 110 KB.
        repeats: Timings of each figure, of which the best counts.
        output_dir: Folder for the source and the copies; it is removed in the end. Default: a temporary one.
    """

    what: Literal["data"] = "data"
    images: int = 20
    side: int = 400
    repeats: int = 3
    output_dir: str | None = None

    def __post_init__(self) -> None:
        require("--images", self.images, 1 <= self.images <= _MANY, f"a number of images from 1 to {_MANY}")
        require("--side", self.side, 16 <= self.side <= _MANY, f"a number of pixels from 16 to {_MANY}")
        require("--repeats", self.repeats, 1 <= self.repeats <= _MANY, f"a number of timings from 1 to {_MANY}")


@dataclass(frozen=True)
class DemoConfig:
    """The whole job in minutes, without ImageNet and without a network, on images that are drawn.

    Args:
        output_dir: Folder for results, distilled images and pictures.
        num_eval: Students of each distilled set.
        epoch_eval_train: Epochs of each student.
        threads: CPU threads of each process; 0 shares the processor's cores among the processes.
    """

    output_dir: str = "demo_results"
    num_eval: int = 3
    epoch_eval_train: int = 30
    threads: int = 0

    def __post_init__(self) -> None:
        _check_epochs(self.epoch_eval_train)
        _check_students(self.num_eval, self.threads)
        object.__setattr__(self, "output_dir", os.path.expanduser(self.output_dir))


def _check_epochs(epochs: int) -> None:
    require("--epoch_eval_train", epochs, epochs >= 1, "a whole number from 1")


def _check_students(number: int, threads: int) -> None:
    require("--num_eval", number, 1 <= number <= _MANY, f"a number of students from 1 to {_MANY}")
    require("--threads", threads, 0 <= threads <= _THREADS, f"0 or a number of CPU threads up to {_THREADS}")


def _check_num_proc(number: int) -> None:
    require("--num_proc", number, 1 <= number <= _PROCESSES, f"a number of processes from 1 to {_PROCESSES}")


def _check_published(published: bool, names: list[str]) -> None:
    """Refuse `--published` where no subset has a published list of its own."""
    if published and not any(load_subset(name).erratum for name in names):
        raise InputError(f"--published: the list of {', '.join(names)} is as published; leave the flag out")


def require(name: str, value: object, valid: bool, expected: str) -> None:
    """Raise InputError naming the flag or argument, the value and what was expected, unless `valid`."""
    if not valid:
        raise InputError(f"{name} {value}: expected {expected}")


def digest_of(content: object) -> str:
    """Return twelve hex digits over anything that JSON can hold."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
