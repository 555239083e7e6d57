"""Settings of `evaluate`."""

import os
from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.checks import LABEL_KINDS, LAYOUTS, PIXEL_RANGES, check_published, check_students, require
from compdd_eval.config.protocol import Protocol
from compdd_eval.errors import InputError
from compdd_eval.subsets import load_subset, subset_name


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
        check_students(self.num_eval, self.threads)
        require("--seed", self.seed, 0 <= self.seed < 2**32, "a whole number from 0, below 2^32")
        require("--model", self.model, bool(self.models), "the name of a student network")
        name = subset_name(self.category, self.subset)
        check_published(self.published, [name])
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
