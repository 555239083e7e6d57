"""Settings of `report`, `compare` and `leaderboard`."""

import os
from dataclasses import dataclass, field
from typing import Literal

from compdd_eval.config.checks import check_results, require
from compdd_eval.errors import InputError

TABLE_FORMATS = ("text", "markdown", "latex", "csv")
_ENDINGS = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".txt": "text"}


@dataclass(frozen=True)
class ReportConfig:
    """Write one HTML file on results of `evaluate`, of one run or many; it needs no network and no other file.

    Args:
        results: Folders that `evaluate` wrote (or folders of such), or files summary.json.
        output: The HTML file; default: report.html in the first folder.
        title: Its title.
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


@dataclass(frozen=True)
class CompareConfig:
    """Compare methods seed by seed, and write their numbers as papers print them.

    Args:
        results: Folders with results of `evaluate`, or files summary.json: a method each, the first one is compared
            with the others.
        names: Names of the methods, joined by commas, in the order of RESULTS; default: what the sets say.
        format: How the table is printed; "auto" goes by the name of --output, else it is text.
        output: File for the table; default: it is printed.
        json: Print JSON, for programs.
    """

    results: list[str] = field(default_factory=list)
    names: str | None = None
    format: Literal["auto", *TABLE_FORMATS] = "auto"
    output: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        check_results(self.results, 2, "compare results_a results_b")
        object.__setattr__(self, "results", [os.path.expanduser(path) for path in self.results])
        if self.names is not None:
            valid = len(self.listed_names) == len(self.results) == len(set(self.listed_names))
            require("--names", self.names, valid, f"{len(self.results)} different names joined by commas")
        if self.output is not None:
            object.__setattr__(self, "output", os.path.expanduser(self.output))
        if self.format == "auto":
            ending = os.path.splitext(self.output or "table.txt")[1].lower()
            require("--output", self.output, ending in _ENDINGS, f"a name that ends with {', '.join(_ENDINGS)}")
            object.__setattr__(self, "format", _ENDINGS[ending])

    @property
    def listed_names(self) -> list[str]:
        """The names that were given, in the order of the results."""
        return [name.strip() for name in self.names.split(",") if name.strip()] if self.names else []


@dataclass(frozen=True)
class LeaderboardConfig:
    """Build a static site that ranks results of `evaluate`, from folders and from repositories of distilled sets.

    Args:
        sources: Folders with results, files summary.json, and repositories USER/NAME[@REVISION] on the Hub that were
            pushed with `push --results`.
        output: Folder for the site.
        title: Its title.
        canonical: JSON file with the digest of the validation images of each configuration, such as {"bird-easy":
            "9f..."}: results on other images are marked. Without it, those are marked that differ from most results
            of the same configuration, and those of copies that are not whole.
        push: Send the site to a static Space on the Hub, USER/NAME; it is made where there is none.
        private: Make a new Space private.
        json: Print the rows as JSON, for programs.
    """

    sources: list[str] = field(default_factory=list)
    output: str = "site"
    title: str = "Comp-DD leaderboard"
    canonical: str | None = None
    push: str | None = None
    private: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        check_results(self.sources, 1, "leaderboard results USER/NAME --output site", "SOURCES")
        require("--output", repr(self.output), bool(self.output.strip()), "the name of a folder, such as site")
        object.__setattr__(self, "sources", [os.path.expanduser(source) for source in self.sources])
        for name in ("output", "canonical"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, os.path.expanduser(getattr(self, name)))
        if self.push is not None:
            require("--push", repr(self.push), self.push.count("/") == 1, "the name of a Space, USER/NAME")
        if self.private and self.push is None:
            raise InputError("--private is for the Space of --push; leave it out, or give --push USER/NAME")
