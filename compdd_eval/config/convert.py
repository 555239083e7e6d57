"""Settings of `convert`."""

from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.reading import ReadConfig
from compdd_eval.utils.errors import InputError

FORMATS = ("comp-dd", "published", "png", "npy", "pt", "npz", "safetensors")


@dataclass(frozen=True)
class ConvertConfig(ReadConfig):
    """Read a distilled set in any format and write it in another.

    Args:
        source: The set, as --distilled of `evaluate` takes it: a folder, a file, or USER/NAME[@REVISION] on the Hub.
        target: Where to write: a folder, or a file that ends with .pt, .npz or .safetensors.
        format: What to write; "auto" goes by the name of the target. "comp-dd": a folder with distilled.safetensors,
            distilled.json, preview.png, README.md; "published": images.pt, labels.pt, lr.pt; "png": a folder of images
            for each class (8 bits, hard labels); "npy": images.npy, labels.npy, lr.npy; "pt", "npz", "safetensors": one
            file.
        overwrite: Replace what is at the target.
        res: Resize image files to this resolution in pixels, as real images are; default: they keep theirs.
        method: Method that made the set, to be kept with it.
        source_url: Where the set, or its code, comes from.
        paper: The paper, as a URL or a citation.
        licence: Licence of the set, as the Hub spells it, for example mit or cc-by-4.0.
        protocol: Protocol that the set was made for, for example comp-dd.
        view_labels: Labels of views of the images, as SRe2L saves them: a folder with epoch_0/batch_0.tar, ...
        view_seed: Seed by which the order of the images was drawn there (--fkd-seed of the releases).
        json: Print JSON, for programs.
    """

    source: str | None = None
    target: str | None = None
    format: Literal["auto", *FORMATS] = "auto"
    overwrite: bool = False
    res: int | None = None
    method: str | None = None
    source_url: str | None = None
    paper: str | None = None
    licence: str | None = None
    protocol: str | None = None
    view_labels: str | None = None
    view_seed: int = 42
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        example = "convert my_set my_set_comp_dd --category bird --subset easy"
        self._check_given("source", example)
        self._check_given("target", example)
        self._check("res", lambda value: 1 <= value <= 4096, "a number of pixels from 1 to 4096, for example 128")
        if self.view_labels is not None and self.res is not None:
            raise InputError("--res: labels of views are of images of another size then; leave it out")
        self._check("view_seed", lambda value: 0 <= value < 2**63, "a whole number from 0")
        self._expand_home("target", "view_labels")

    @property
    def sorted_by_name(self) -> bool:
        """Labels of views count the images so, too."""
        return super().sorted_by_name or self.view_labels is not None

    def facts(self) -> dict[str, str]:
        """Return what is said of the set on the command line."""
        names = ("method", "source_url", "paper", "licence", "protocol")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


CONFIG = ConvertConfig
POSITIONAL = ("source", "target")
COMMON = {
    "Subset": ("category", "subset"),
    "How the set is read": ("label_dir", "label_kind", "pixel_range"),
    "Output": ("format", "overwrite", "method", "licence", "json"),
}
