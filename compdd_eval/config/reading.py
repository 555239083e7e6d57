"""How a distilled set is read: settings that several commands share."""

import math
from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.checks import MOST_FACTOR
from compdd_eval.config.subset import SubsetConfig
from compdd_eval.data.choices import LABEL_KINDS, PIXEL_RANGES
from compdd_eval.utils.errors import InputError, require


@dataclass(frozen=True)
class ReadConfig(SubsetConfig):
    """How a distilled set is read: what its files may leave unsaid, for what they say is taken from them.

    Args:
        label_dir: The labels, where they lie elsewhere: a file, or a folder with labels.pt (or labels_best.pt).
        lr_dir: The learned rate, where it lies elsewhere: a file, or a folder with lr.pt (or lr_best.pt). "none"
            ignores the rate.
        label_kind: What the labels are: classes ("hard"), "logits" or "probabilities"; "auto" looks at them.
        label_order: What label 0, 1, ... means: "subset", as in the subset; "sorted", its classes sorted by WordNet id;
            "imagenet", ImageNet's indices 0-999; or ten WordNet ids, ImageNet indices or class names joined by commas.
            "auto" looks at the labels. With --label_dir beside image folders, "sorted" means the folders sorted by
            name.
        pixel_range: Range of the stored pixels: "normalised" by --mean and --std, [0, 1] ("0-1") or [0, 255] ("0-255");
            "auto" looks at them.
        mean: Mean by which the images are normalised: three numbers joined by commas, for RGB in [0, 1]; default:
            ImageNet's, 0.485,0.456,0.406.
        std: Standard deviation by which they are normalised; default: ImageNet's, 0.229,0.224,0.225.
        factor: Images along each side of a mosaic, as of IDC, DANCE and NCFM: each stored image is cut into factor x
            factor parts, which are resized to the whole size. 1: they are no mosaics.
        run: Which of the runs that DC, DSA and DM save in one file, counted from 0; default: the first.
    """

    label_dir: str | None = None
    lr_dir: str | None = None
    label_kind: Literal["auto", *LABEL_KINDS] = "auto"
    label_order: str = "auto"
    pixel_range: Literal["auto", *PIXEL_RANGES] = "auto"
    mean: str | None = None
    std: str | None = None
    factor: int | None = None
    run: int | None = None

    def __post_init__(self) -> None:
        SubsetConfig.__post_init__(self)
        self.statistics()
        self._check("factor", lambda value: 1 <= value <= MOST_FACTOR, f"a whole number from 1 to {MOST_FACTOR}")
        self._check("run", lambda value: value >= 0, "the number of a run, from 0")

    @property
    def sorted_by_name(self) -> bool:
        """Whether image files are read as torchvision's `ImageFolder` sorts them: 10.png before 2.png."""
        return self.label_dir is not None

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return mean and standard deviation where they are given."""
        if self.mean is None and self.std is None:
            return None
        if self.mean is None or self.std is None:
            given, missing = ("mean", "std") if self.std is None else ("std", "mean")
            raise InputError(f"--{given} is given without --{missing}; give both")
        # images in [0, 1] or [0, 255] are not normalised, so these numbers would mean nothing
        require("--mean with --pixel_range", self.pixel_range, self.pixel_range in ("auto", "normalised"), "normalised")
        mean, std = _three_numbers("--mean", self.mean), _three_numbers("--std", self.std)
        require("--std", self.std, min(std) > 0, "numbers above 0")
        return mean, std


def _three_numbers(flag: str, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    valid = len(numbers) == 3 and all(map(math.isfinite, numbers))
    require(flag, text, valid, "three numbers joined by commas, for example 0.5,0.5,0.5")
    return numbers
