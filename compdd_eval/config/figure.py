"""Settings of `figure`."""

import os
from dataclasses import dataclass

from compdd_eval.config.settings import Settings
from compdd_eval.utils.errors import InputError


@dataclass(frozen=True)
class FigureConfig(Settings):
    """Draw what `complexity` measured: the subsets' sizes and complexity, and an example of each class with its map.

    Args:
        scores: Folder that `complexity` wrote.
        output_dir: Folder for complexity.png, complexity.svg and gallery.png; default: figures in the folder of the
            scores.
        subsets_dir: Folder with subset files of your own, such as `select` writes, in place of the sixteen.
        published: Draw the published complexity of the sixteen subsets in place of scores; needs --output_dir.
    """

    scores: str | None = None
    output_dir: str | None = None
    subsets_dir: str | None = None
    published: bool = False

    def __post_init__(self) -> None:
        self._expand_home("scores", "output_dir", "subsets_dir")
        if self.published and self.scores is not None:
            raise InputError(f"{self.scores}: --published draws no scores; give one of them")
        if self.published and self.subsets_dir is not None:
            raise InputError("--published draws the sixteen subsets; leave --subsets_dir out")
        if self.published and self.output_dir is None:
            raise InputError("--output_dir is missing: --published needs a folder to write to")
        if not self.published and self.scores is None:
            raise InputError("SCORES is missing; give the folder that `complexity` wrote, or --published")
        if self.output_dir is None:
            self._set("output_dir", os.path.join(self.scores, "figures"))


CONFIG = FigureConfig
POSITIONAL = ("scores",)
