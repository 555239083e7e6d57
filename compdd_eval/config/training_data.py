"""The real images that a method learns from: settings that `distill` and `experts` share."""

from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.checks import no_subset
from compdd_eval.config.subset import SubsetConfig
from compdd_eval.data.choices import LAYOUTS
from compdd_eval.utils.errors import require


@dataclass(frozen=True)
class TrainingDataConfig(SubsetConfig):
    """The real training images.

    Args:
        data_path: A copy of ImageNet, or "prepared" for what `prepare` made; default: the environment variable
            COMP_DD_IMAGENET, else "prepared". The copy is a folder, or ILSVRC/imagenet-1k on the Hub.
        layout: How that copy of ImageNet is stored; "auto" looks at it.
        res: Resolution in pixels.
        antialias: Resize real images with antialiasing.
        resize: "squash" real images to the resolution, or "crop": 8/7 of it for the shorter side, then the centre.
    """

    data_path: str | None = None
    layout: Literal["auto", *LAYOUTS] = "auto"
    res: int = 128
    antialias: bool = True
    resize: Literal["squash", "crop"] = "squash"

    def __post_init__(self) -> None:
        SubsetConfig.__post_init__(self)
        if not self.selects:
            raise no_subset()
        self._check_res()
        require("--output_dir", repr(self.output_dir), bool(self.output_dir.strip()), "the name of a folder")
