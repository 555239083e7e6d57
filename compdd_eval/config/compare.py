"""Settings of `compare`."""

import os
from dataclasses import dataclass, field
from typing import Literal

from compdd_eval.config.checks import comma_parts
from compdd_eval.config.settings import Settings
from compdd_eval.utils.errors import require

TABLE_FORMATS = ("text", "markdown", "latex", "csv")
_ENDINGS = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".txt": "text"}


@dataclass(frozen=True)
class CompareConfig(Settings):
    """Compare methods seed by seed, and write their numbers as papers print them.

    Args:
        results: Folders with results of `evaluate`, or files summary.json, one for each method; the first is compared
            with the others.
        names: Names of the methods, joined by commas, in the order of RESULTS; default: as the sets say.
        regimes: Compare each method with random images under each kind of labels of `evaluate --regimes`, in a table of
            methods x regimes.
        format: Format of the table: text, markdown, latex or csv; "auto" goes by the name of --output, else it is text.
        output: File for the table; default: it is printed.
        json: Print JSON, for programs.
    """

    results: list[str] = field(default_factory=list)
    names: str | None = None
    regimes: bool = False
    format: Literal["auto", *TABLE_FORMATS] = "auto"
    output: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_list("results", 1 if self.regimes else 2, "compare results_a results_b")
        self._expand_home("results", "output")
        if isinstance(self.names, list):
            self._set("names", ",".join(self.names))
        if self.names is not None:
            valid = len(self.listed_names) == len(self.results) == len(set(self.listed_names))
            require("--names", self.names, valid, f"{len(self.results)} different names joined by commas")
        if self.format == "auto":
            ending = os.path.splitext(self.output or "table.txt")[1].lower()
            require("--output", self.output, ending in _ENDINGS, f"a name that ends with {', '.join(_ENDINGS)}")
            self._set("format", _ENDINGS[ending])

    @property
    def listed_names(self) -> list[str]:
        """The names that were given, in the order of the results."""
        return comma_parts(self.names or "")


CONFIG = CompareConfig
POSITIONAL = ("results...",)
