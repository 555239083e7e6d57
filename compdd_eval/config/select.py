"""Settings of `select`."""

from dataclasses import dataclass

from compdd_eval.config.settings import Settings
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.utils.errors import InputError


@dataclass(frozen=True)
class SelectConfig(Settings):
    """Choose the most and the least complex classes of each category, by scores that `complexity` wrote.

    Args:
        scores: Folder that `complexity` wrote, with classes.csv.
        categories: JSON or YAML file with the candidate classes of each category, {name: [classes]}: WordNet ids,
            ImageNet indices 0-999 (of other data, its labels) or names of classes; default: the eight categories.
        n: Classes of each subset; subset files hold ten, and for other numbers only selection.csv is written.
        output_dir: Folder for the subset files, which --subsets_dir takes, and for selection.csv.
        check: Compare with the published lists, and write nothing.
        overwrite: Replace a selection that the folder holds.
        json: Print JSON, for programs.
    """

    scores: str | None = None
    categories: str | None = None
    n: int = NUM_CLASSES
    output_dir: str = "subsets_selected"
    check: bool = False
    overwrite: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        if not self.scores:
            raise InputError("SCORES is missing; give what `complexity` wrote, as in: compdd_eval select complexity")
        self._check_number_of("n", "classes")
        if self.check and self.n != NUM_CLASSES:
            raise InputError(f"--check: the published lists have {NUM_CLASSES} classes; leave --n out")
        self._expand_home("scores", "categories", "output_dir")


CONFIG = SelectConfig
POSITIONAL = ("scores",)
