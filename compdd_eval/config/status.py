"""Settings of `status`."""

from dataclasses import dataclass, field

from compdd_eval.config.checks import check_results


@dataclass(frozen=True)
class StatusConfig:
    """Show what of evaluations, or of all cells of grids, is done, running, failed or unfinished.

    Args:
        results: Folders that `evaluate` wrote (or folders of such), or files in them; default: results.
        json: Print JSON, for programs.
    """

    results: list[str] = field(default_factory=list)
    json: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "results", self.results or ["results"])
        check_results(self.results, 1, "status results")


CONFIG = StatusConfig
POSITIONAL = ("results...",)
