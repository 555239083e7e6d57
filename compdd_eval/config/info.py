"""Settings of `info`."""

from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.checks import MOST_CORES
from compdd_eval.config.settings import Settings
from compdd_eval.data.choices import LAYOUTS
from compdd_eval.data.subset_files import Subset
from compdd_eval.data.subsets import load_classes, load_subset, subset_names


@dataclass(frozen=True)
class InfoConfig(Settings):
    """Show the sixteen subsets, one of them, or what a copy of ImageNet can serve.

    Args:
        name: One subset, such as bird-hard or music-hard-published, a related list, such as nette, or ten classes
            joined by commas; default: all sixteen.
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
        self._check_choices()
        self._check_number_of("num_proc", "processes", most=MOST_CORES)
        self.subsets()

    def subsets(self) -> list[Subset]:
        """Return the subsets that are asked for."""
        if self.name is None:
            return [load_subset(name) for name in subset_names()]
        return [load_classes(self.name) if "," in self.name else load_subset(self.name.lower())]


CONFIG = InfoConfig
POSITIONAL = ("name",)
