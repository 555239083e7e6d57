"""Settings of `report`."""

import os
from dataclasses import dataclass, field

from compdd_eval.config.checks import check_results
from compdd_eval.utils.errors import InputError, require


@dataclass(frozen=True)
class ReportConfig:
    """Write one HTML file on results of `evaluate`, of one run or many; it needs no network and no other file.

    Args:
        results: Folders that `evaluate` wrote (or folders of such), or files summary.json.
        output: HTML file to write; default: report.html in the first folder.
        title: Title of the page.
    """

    results: list[str] = field(default_factory=list)
    output: str | None = None
    title: str = "Comp-DD: results"

    def __post_init__(self) -> None:
        check_results(self.results, 1, "report results")
        object.__setattr__(self, "results", [os.path.expanduser(path) for path in self.results])
        if self.output is None:
            first = self.results[0]
            folder = first if os.path.isdir(first) else os.path.dirname(first)
            object.__setattr__(self, "output", os.path.join(folder, "report.html"))
        object.__setattr__(self, "output", os.path.expanduser(self.output))
        page = self.output.lower().endswith((".html", ".htm"))
        require("--output", repr(self.output), page, "the name of a file that ends with .html")
        if os.path.isdir(self.output):
            raise InputError(f"{self.output}: is a folder, expected a file such as report.html; give another --output")


CONFIG = ReportConfig
POSITIONAL = ("results...",)
