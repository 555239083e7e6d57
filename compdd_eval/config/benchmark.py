"""Settings of `benchmark`."""

from dataclasses import dataclass, fields
from typing import Literal

from compdd_eval.config.checks import comma_parts
from compdd_eval.config.evaluate import COMMON as OF_EVALUATE
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.data.subsets import subset_names
from compdd_eval.utils.errors import InputError, require, unknown

CONFIG_NAME, IPC = "{config}", "{ipc}"
# what names one set, or one subset
_OF_ONE_SET = ("distilled", "data_dir", "label_dir", "lr_dir", "run", "grid")
_OF_ONE_SUBSET = ("category", "subset", "subsets_dir", "published", "classes")


@dataclass(frozen=True)
class BenchmarkConfig(EvaluateConfig):
    """Evaluate a method on the whole benchmark: sixteen subsets, IPC 1, 10 and 50; it ends with the table of a paper.

    Args:
        sets: Where the sets lie: folders, files or USER/NAME on the Hub, with {config} in the place of a subset such as
            bird-easy and {ipc} in that of the images per class, as in distilled/{config}-ipc{ipc}.
        method: Name of the method in the table.
        ipc: Images per class, joined by commas.
        configs: Subsets, joined by commas; default: all sixteen.
        across: What stands in the columns of the table: "ipc" (a row for each subset) or "configs".
    """

    sets: str | None = None
    method: str = "method"
    ipc: str = "1,10,50"
    configs: str | None = None
    across: Literal["ipc", "configs"] = "ipc"

    def __post_init__(self) -> None:
        if self.sets is None:
            raise InputError("--sets is missing; give where the sets lie, as in distilled/{config}-ipc{ipc}")
        for name in _OF_ONE_SET:
            if getattr(self, name) not in (None, self.sets):
                raise InputError(f"--{name} names one set, and benchmark evaluates many; --sets says where they lie")
        for name in _OF_ONE_SUBSET:
            if getattr(self, name):
                raise InputError(
                    f"--{name}: benchmark goes over the subsets; --configs bird-easy,... takes some of them"
                )
        self._set("distilled", self.sets)  # what stands in for the set until there are several
        self._set("ipc", str(self.ipc))
        super().__post_init__()
        require("--ipc", self.ipc, bool(comma_parts(self.ipc)), "numbers joined by commas, as in 1,10,50")
        for part in comma_parts(self.ipc):
            require(
                "--ipc", self.ipc, part.isdecimal() and int(part) > 0, "whole numbers joined by commas, as in 1,10,50"
            )
        for name in comma_parts(self.configs or ""):
            if name not in subset_names():
                raise unknown("value of --configs", name, subset_names())
        several = {CONFIG_NAME: self.config_names, IPC: self.ipcs}
        for mark, found in several.items():
            here = mark in self.sets or len(found) == 1
            require("--sets", self.sets, here, f"a name with {mark}, which tells {len(found)} sets apart")
        require("--output_dir", self.output_dir, self.output_dir is not None, "a folder")

    @property
    def ipcs(self) -> list[int]:
        """Images per class, each once, ascending."""
        return sorted({int(part) for part in comma_parts(self.ipc)})

    @property
    def config_names(self) -> list[str]:
        """The subsets, in the order of the benchmark."""
        asked = comma_parts(self.configs or "")
        return [name for name in subset_names() if not asked or name in asked]

    def place(self, config_name: str, ipc: int) -> str:
        """Return where a set lies."""
        return self.sets.replace(CONFIG_NAME, config_name).replace(IPC, str(ipc))

    def of_set(self, config_name: str, place: str, **changes: object) -> EvaluateConfig:
        """Return the settings of one evaluation."""
        settings = {field.name: getattr(self, field.name) for field in fields(EvaluateConfig)}
        return EvaluateConfig(**{**settings, "subset": config_name, "distilled": place, "json": False, **changes})


CONFIG = BenchmarkConfig
COMMON = {
    "The benchmark": ("sets", "method", "ipc", "configs", "across", "data_path"),
    "Students and their training": OF_EVALUATE["Students and their training"],
    "Comparison and output": tuple(name for name in OF_EVALUATE["Comparison and output"] if name != "grid"),
}
