"""Settings of `methods`."""

from dataclasses import dataclass

from compdd_eval.config.settings import Settings
from compdd_eval.data.subsets import subset_name
from compdd_eval.utils.errors import require


@dataclass(frozen=True)
class MethodsConfig(Settings):
    """List the distillation methods: paper, cost, what they need, their settings.

    Args:
        name: One method, with all of its settings.
        ipc: Images per class for which settings are shown.
        category: Category of the benchmark for which settings are shown.
        subset: Subset of the category: easy or hard.
        plugin: Python file of your own that registers methods; it is run.
        json: Print JSON, for programs.
    """

    name: str | None = None
    ipc: int = 1
    category: str = "bird"
    subset: str = "easy"
    plugin: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        require("--ipc", self.ipc, self.ipc >= 1, "a number of images per class from 1")
        subset_name(self.category, self.subset)  # refuses unknown ones

    @property
    def subset_name(self) -> str:
        """Name of the subset for which settings are shown."""
        return subset_name(self.category, self.subset)


CONFIG = MethodsConfig
POSITIONAL = ("name",)
