"""Settings of `methods`."""

from dataclasses import dataclass

from compdd_eval.config.settings import Settings
from compdd_eval.data.subsets import named_in_one_word, selected_subset
from compdd_eval.utils.errors import require


@dataclass(frozen=True)
class MethodsConfig(Settings):
    """List the distillation methods: paper, cost, what they need, their settings.

    Args:
        name: One method, with all of its settings.
        ipc: Images per class for which settings are shown.
        category: Category of the benchmark for which settings are shown; default: bird.
        subset: Subset of the category: easy or hard; or both in one word, such as bird-easy; default: easy.
        plugin: Python file of your own that registers methods; it is run.
        json: Print JSON, for programs.
    """

    name: str | None = None
    ipc: int = 1
    category: str | None = None
    subset: str | None = None
    plugin: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        require("--ipc", self.ipc, self.ipc >= 1, "a number of images per class from 1")
        _ = self.subset_name  # refuses unknown ones

    @property
    def subset_name(self) -> str:
        """Name of the subset for which settings are shown."""
        given = {name: getattr(self, name) for name in _SHOWN if getattr(self, name) is not None}
        return selected_subset(_SHOWN | given | named_in_one_word(given, "--"), "--").name


_SHOWN = {"category": "bird", "subset": "easy"}  # what is shown where nothing else is asked for

CONFIG = MethodsConfig
POSITIONAL = ("name",)
