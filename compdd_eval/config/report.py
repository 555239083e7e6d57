"""Settings of `report`."""

import os
from dataclasses import dataclass, field

from compdd_eval.config.settings import Settings
from compdd_eval.utils.errors import InputError, require


@dataclass(frozen=True)
class ReportConfig(Settings):
    """Write one HTML file on results of `evaluate`, of one run or many; it needs no network and no other file.

    Args:
        results: Folders that `evaluate` wrote (or folders of such), or files summary.json.
        output: HTML file to write; default: report.html in the first folder.
        title: Title of the page; default: the methods, subsets and IPCs.
    """

    results: list[str] = field(default_factory=list)
    output: str | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        self._check_list("results", 1, "report results")
        self._expand_home("results", "output")
        if self.output is None:  # beside the results: whoever moves the folder takes the page along
            first = self.results[0]
            folder = first if os.path.isdir(first) else os.path.dirname(first)
            self._set("output", os.path.join(folder, "report.html"))
        page = self.output.lower().endswith((".html", ".htm"))
        require("--output", repr(self.output), page, "the name of a file that ends with .html")
        if os.path.isdir(self.output):
            raise InputError(f"{self.output}: is a folder, expected a file such as report.html; give another --output")


CONFIG = ReportConfig
POSITIONAL = ("results...",)
