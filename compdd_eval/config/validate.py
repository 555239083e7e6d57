"""Settings of `validate`."""

from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.reading import ReadConfig
from compdd_eval.data.choices import LAYOUTS


@dataclass(frozen=True)
class ValidateConfig(ReadConfig):
    """Check a distilled set without training: shapes, ranges, labels, normalisation, duplicates, digests.

    Args:
        path: The set, as --distilled of `evaluate` takes it: a folder, a file, or USER/NAME[@REVISION] on the Hub.
        data_path: A copy of ImageNet, or "prepared", to compare with real images; default: the environment variable
            COMP_DD_IMAGENET, else "prepared". Without any, this comparison is left out.
        layout: How that copy is stored; "auto" looks at it.
        res: Resolution in pixels that the images must have; default: the one that they have.
        json: Print JSON, for programs.
    """

    path: str | None = None
    data_path: str | None = None
    layout: Literal["auto", *LAYOUTS] = "auto"
    res: int | None = None
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_given("path", "validate my_set --category bird --subset easy")
        self._check("res", lambda value: 1 <= value <= 4096, "a number of pixels from 1 to 4096, for example 128")


CONFIG = ValidateConfig
POSITIONAL = ("path",)
COMMON = {
    "Subset": ("category", "subset", "data_path"),
    "How the set is read": ("label_dir", "label_kind", "pixel_range", "res"),
    "Output": ("json",),
}
