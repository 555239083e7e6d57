"""Settings of `status`."""

from dataclasses import dataclass, field

from compdd_eval.config.settings import Settings


@dataclass(frozen=True)
class StatusConfig(Settings):
    """Show what of evaluations, or of all cells of grids, is done, running, failed or unfinished.

    Args:
        results: Folders that `evaluate` wrote (or folders of such), or files in them; default: results.
        json: Print JSON, for programs.
    """

    results: list[str] = field(default_factory=list)
    json: bool = False

    def __post_init__(self) -> None:
        self._set("results", self.results or ["results"])
        self._check_list("results", 1, "status results")


CONFIG = StatusConfig
POSITIONAL = ("results...",)
