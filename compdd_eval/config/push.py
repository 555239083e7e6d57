"""Settings of `push`."""

import os
import re
from dataclasses import dataclass, replace

from compdd_eval.config.checks import comma_parts
from compdd_eval.config.many_sets import place_of, refuse_one_subset
from compdd_eval.config.reading import ReadConfig
from compdd_eval.utils.errors import InputError, require


@dataclass(frozen=True)
class PushConfig(ReadConfig):
    """Send a distilled set, a student, or an export of the benchmark's images, to the Hugging Face Hub, in one commit.

    Args:
        path: The distilled set: a folder or a file, as --distilled of `evaluate` takes it.
        repo_id: Repository, USER/NAME, which is made where there is none: a dataset for a set, a model for a student.
        private: Make a new repository private; refuse one that is public.
        results: Results of `evaluate` on the set: a folder of a run or a grid, a summary.json, or several joined by
            commas. They go into a table in the card and, for `leaderboard`, into the folder results/ of the repository,
            without places on this machine.
        benchmark_results: In place of PATH and --results: a folder of `benchmark`. All its sets are sent, each with its
            results, to --repo_id with {config} and {ipc} in it, such as USER/edf-{config}-ipc{ipc}.
        revision: Branch to push to, which is made where there is none; default: main.
        overwrite: Replace another set or student that the repository holds; its commits stay in the history.
        student: In place of PATH: a student's result, seedK.json of `evaluate --save_students`, with its weights beside
            it. It becomes a model repository.
        benchmark: Repository, USER/NAME, for an export of the benchmark's images; a new one is private. With --student,
            the repository of the benchmark that it was tested on: then the result is sent along as the Hub's
            leaderboard of that benchmark reads it.
        folder: That export, as `export` wrote it.
        public: Let everybody download the benchmark's images, which breaks ImageNet's terms of access, unless
            ImageNet's team allows it: "Researcher may provide research associates and colleagues with access to the
            Database provided that they first agree to be bound by these terms and conditions", and "Researcher shall
            use the Database only for non-commercial research and educational purposes"
            (https://image-net.org/download.php).
    """

    path: str | None = None
    repo_id: str | None = None
    private: bool = False
    results: str | None = None
    benchmark_results: str | None = None
    revision: str | None = None
    overwrite: bool = False
    student: str | None = None
    benchmark: str | None = None
    folder: str = "out/comp_dd"
    public: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.student:
            self._check_student()
        if not self.repo_id and (self.student or not self.benchmark):
            raise InputError(
                "--repo_id is missing; give the repository, as in push my_set --repo_id USER/NAME (for the benchmark's "
                "images: push --benchmark USER/comp_dd)"
            )
        if self.benchmark and not self.student and (self.repo_id or self.path):
            raise InputError("--benchmark is for an export of the benchmark's images, --repo_id for a set; give one")
        if self.revision is not None:
            valid = re.fullmatch(r"[\w./-]+", self.revision) is not None
            require("--revision", repr(self.revision), valid, "the name of a branch")
        if self.repo_id is not None:
            require("--repo_id", repr(self.repo_id), "/" in self.repo_id, "USER/NAME")
        if self.results is not None:
            expected = "what evaluate wrote: a folder, a summary.json, or several joined by commas"
            require("--results", repr(self.results), bool(self.listed_results), expected)
        if self.public and (self.student or not self.benchmark):
            raise InputError("--public is for --benchmark; what else is pushed is public unless you say --private")
        if self.benchmark_results is not None:
            self._check_benchmark_results()
        elif not self.benchmark and not self.student:
            self._check_given("path", "push my_set --repo_id USER/NAME")
        self._expand_home("folder", "student", "benchmark_results")

    @property
    def listed_results(self) -> list[str]:
        """The places that --results names; a path that exists may have commas in it."""
        given = os.path.expanduser(self.results or "")
        return [given] if os.path.exists(given) else comma_parts(given)

    def _check_benchmark_results(self) -> None:
        others = {
            "PATH": self.path,
            "--results": self.results,
            "--student": self.student,
            "--benchmark": self.benchmark,
        }
        for flag, value in others.items():
            if value is not None:
                raise InputError(f"{flag} is for one thing, --benchmark_results for all sets of a benchmark; give one")
        refuse_one_subset(self, "--benchmark_results")

    def of_set(self, place: str, config_name: str, ipc: int, results: str) -> "PushConfig":
        """Return the settings that push one set of --benchmark_results."""
        repo_id = place_of(self.repo_id, config_name, ipc)
        changes = {"path": place, "repo_id": repo_id, "results": results, "subset": config_name}
        return replace(self, benchmark_results=None, **changes)

    def _check_student(self) -> None:
        for flag, value in (("PATH", self.path), ("--results", self.results), ("--revision", self.revision)):
            if value is not None:
                raise InputError(f"{flag} is for a distilled set, --student for a network; give one")
        if self.benchmark is not None:
            require("--benchmark", repr(self.benchmark), self.benchmark.count("/") == 1, "USER/NAME")


CONFIG = PushConfig
POSITIONAL = ("path",)
COMMON = {
    "A distilled set": ("repo_id", "category", "subset", "results", "private", "revision", "overwrite"),
    "All sets of a benchmark": ("benchmark_results",),
    "A student": ("student",),
    "An export of the benchmark's images": ("benchmark", "folder", "public"),
}
