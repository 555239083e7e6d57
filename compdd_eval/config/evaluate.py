"""Settings of `evaluate`."""

import os
from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.checks import LAYOUTS, check_students, require
from compdd_eval.config.protocol import Protocol
from compdd_eval.config.sets import ReadConfig
from compdd_eval.errors import InputError


@dataclass(frozen=True)
class EvaluateConfig(Protocol, ReadConfig):
    """Train students on a distilled set and test them on the real validation images of its subset.

    Args:
        data_path: A copy of ImageNet (a folder, or ILSVRC/imagenet-1k on the Hub); else the environment variable
            COMP_DD_IMAGENET, else what `prepare` made.
        layout: How that copy of ImageNet is stored; "auto" looks at it.
        distilled: The distilled set: a folder or a file in any format that `convert` reads, or USER/NAME[@REVISION] on
            the Hub.
        data_dir: In place of --distilled: a .pt file of images, or a folder with images.pt (or images_best.pt).
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
    layout: Literal["auto", *LAYOUTS] = "auto"
    distilled: str | None = None
    data_dir: str | None = None
    model: str = "ConvNetD5"
    res: int = 128
    antialias: bool = True
    num_eval: int = 5
    seed: int = 0
    output_dir: str = "results"
    threads: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        ReadConfig.__post_init__(self)
        if self.distilled is not None and self.data_dir is not None:
            raise InputError("--distilled and --data_dir are two names for the set; give one of them")
        if self.category is None and self.distilled is None:
            raise InputError("--category is missing; give one subset, for example --category bird --subset easy")
        require("--res", self.res, self.res >= 1, "a number of pixels from 1, for example 128")
        check_students(self.num_eval, self.threads)
        require("--seed", self.seed, 0 <= self.seed < 2**32, "a whole number from 0, below 2^32")
        require("--model", self.model, bool(self.models), "the name of a student network")
        object.__setattr__(self, "output_dir", os.path.expanduser(self.output_dir))

    @property
    def models(self) -> list[str]:
        """Names of the student networks, each once."""
        return list(dict.fromkeys(name.strip() for name in self.model.split(",") if name.strip()))

    @property
    def seeds(self) -> list[int]:
        """Seeds of the students of each model."""
        return list(range(self.seed, self.seed + self.num_eval))
