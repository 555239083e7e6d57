"""Settings of `benchmark`."""

from dataclasses import dataclass, fields
from typing import Literal

from compdd_eval.config.evaluate import COMMON as OF_EVALUATE
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.many_sets import CONFIG_NAME, IPC, place_of, read_config_names, read_ipcs, refuse_one_subset
from compdd_eval.utils.errors import InputError, require

_STAND_IN = "ResNet18BN=of-each-subset"  # passes the checks in the place of a teacher for each
_OF_ONE_SET = ("distilled", "data_dir", "label_dir", "lr_dir", "run", "grid")


@dataclass(frozen=True)
class BenchmarkConfig(EvaluateConfig):
    """Evaluate a method on the whole benchmark: sixteen subsets, IPC 1, 10 and 50; it ends with the table of a paper.

    Args:
        sets: Where the sets lie: folders, files or USER/NAME on the Hub, with {config} in the place of a subset such as
            bird-easy and {ipc} in that of the images per class, as in distilled/{config}-ipc{ipc}.
        method: Name of the method in the table.
        ipc: Images per class, joined by commas.
        configs: Subsets, joined by commas; default: all sixteen.
        teacher: As of `evaluate`; or with {config} in the place of the subset, folders as `distill --all` makes them.
        across: What stands in the columns of the table: "ipc" (a row for each subset) or "configs".
    """

    sets: str | None = None
    method: str = "method"
    ipc: int | str = "1,10,50"
    configs: str | None = None
    across: Literal["ipc", "configs"] = "ipc"

    def __post_init__(self) -> None:
        if self.sets is None:
            raise InputError("--sets is missing; give where the sets lie, as in distilled/{config}-ipc{ipc}")
        for name in _OF_ONE_SET:
            if getattr(self, name) not in (None, self.sets):
                raise InputError(f"--{name} names one set, and benchmark evaluates many; --sets says where they lie")
        refuse_one_subset(self, "benchmark")
        self._set("distilled", self.sets)  # what stands in for the set until there are several
        pattern = self.teacher
        if isinstance(pattern, str) and CONFIG_NAME in pattern:  # a teacher of each subset
            self._set("teacher", _STAND_IN)
        super().__post_init__()
        if self.teacher == _STAND_IN:
            self._set("teacher", pattern)
        several = {CONFIG_NAME: self.config_names, IPC: self.ipcs}
        for mark, found in several.items():
            here = mark in self.sets or len(found) == 1
            require("--sets", self.sets, here, f"a name with {mark}, which tells {len(found)} sets apart")
        require("--output_dir", self.output_dir, self.output_dir is not None, "a folder")

    @property
    def ipcs(self) -> list[int]:
        """Images per class, each once, ascending."""
        return read_ipcs(self.ipc)

    @property
    def config_names(self) -> list[str]:
        """The subsets, in the order of the benchmark."""
        return read_config_names(self.configs)

    def place(self, config_name: str, ipc: int) -> str:
        """Return where a set lies."""
        return place_of(self.sets, config_name, ipc)

    def of_set(self, config_name: str, place: str, **changes: object) -> EvaluateConfig:
        """Return the settings of one evaluation."""
        settings = {field.name: getattr(self, field.name) for field in fields(EvaluateConfig)}
        if isinstance(self.teacher, str):
            settings["teacher"] = place_of(self.teacher, config_name)
        return EvaluateConfig(**{**settings, "subset": config_name, "distilled": place, "json": False, **changes})


CONFIG = BenchmarkConfig
COMMON = {
    "The benchmark": ("sets", "method", "ipc", "configs", "across", "data_path"),
    "Students and their training": OF_EVALUATE["Students and their training"],
    "Comparison and output": tuple(name for name in OF_EVALUATE["Comparison and output"] if name != "grid"),
}
