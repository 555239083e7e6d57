"""Settings of `methods`."""

from dataclasses import dataclass

from compdd_eval.config.settings import Settings
from compdd_eval.utils.errors import require


@dataclass(frozen=True)
class MethodsConfig(Settings):
    """List the distillation methods: paper, cost, what they need, their settings.

    Args:
        name: One method, with all of its settings.
        ipc: Images per class for which settings are shown.
        plugin: Python file of your own that registers methods; it is run.
        json: Print JSON, for programs.
    """

    name: str | None = None
    ipc: int = 1
    plugin: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        require("--ipc", self.ipc, self.ipc >= 1, "a number of images per class from 1")


CONFIG = MethodsConfig
POSITIONAL = ("name",)
