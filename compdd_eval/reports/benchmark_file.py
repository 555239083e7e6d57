"""`benchmark.json`: what `benchmark` was asked for, in the folder of its results."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.config.many_sets import SET_NAME, place_of
from compdd_eval.data.subsets import subset_names
from compdd_eval.reports.benchmark import BenchmarkTable
from compdd_eval.reports.checked_fields import Wrong, list_of, table_of, text_of, whole_of
from compdd_eval.reports.summaries import Run, read_run
from compdd_eval.results.result_files import MOST_BYTES
from compdd_eval.results.student_result import SUMMARY_NAME
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import read_small, write_json

BENCHMARK_NAME = "benchmark.json"
_MOST_IPCS, _MOST_IPC = 100, 100_000


@dataclass(frozen=True)
class Benchmark:
    """A method on the whole benchmark, or on a part of it.

    Attributes:
        method: Name of the method.
        sets: Where the sets lie, with {config} and {ipc}.
        config_names: Subsets that were asked for.
        ipcs: Images per class that were asked for.
        missing: Sets that were not there.
        root: Folder of the results.
        done: Names of the evaluations that it has numbers of: others may lie in the folder, too. None in older files.
    """

    method: str
    sets: str
    config_names: list[str]
    ipcs: list[int]
    missing: list[str]
    root: Path
    done: list[str] | None = None

    @property
    def names(self) -> dict[str, tuple[str, int]]:
        """Name of each evaluation that is done, which is its folder -> subset and images per class."""
        asked = ((name, ipc) for ipc in self.ipcs for name in self.config_names)
        named = {place_of(SET_NAME, *one): one for one in asked}
        return {name: one for name, one in named.items() if self.done is None or name in self.done}

    def runs(self) -> list[Run]:
        """Read the results of the evaluations that are done."""
        return [read_run(self.root / name / SUMMARY_NAME) for name in self.done]

    def write(self, tables: Sequence[BenchmarkTable]) -> None:
        """Write it with its tables, whose numbers are for programs: `report` computes them anew."""
        content = {"method": self.method, "sets": self.sets, "config_names": self.config_names, "ipcs": self.ipcs}
        content |= {"missing_sets": self.missing, "done": self.done, "tables": [table.to_dict() for table in tables]}
        write_json(self.root / BENCHMARK_NAME, content)


def read_benchmark(folder: Path) -> Benchmark:
    """Read what a folder was asked for.

    Raises:
        InputError: The file cannot be read, or is no such file.
    """
    path = folder / BENCHMARK_NAME
    expected = "expected what `benchmark` writes; run it again, or delete the file"
    try:
        content = table_of("it", json.loads((read_small(path, MOST_BYTES) or b"").decode("utf-8")))
        names = list_of("config_names", content.get("config_names"), 1, len(subset_names()))
        if not set(names) <= set(subset_names()):
            raise Wrong("config_names has names that are no subsets")
        ipcs = list_of("ipcs", content.get("ipcs"), 1, _MOST_IPCS)
        missing = list_of("missing_sets", content.get("missing_sets"), 0, len(names) * len(ipcs))
        done = content.get("done")
        done = None if done is None else list_of("done", done, 0, len(names) * len(ipcs))
        return Benchmark(
            method=text_of("method", content.get("method")),
            sets=text_of("sets", content.get("sets")),
            config_names=names,
            ipcs=[whole_of("ipcs", ipc, 1, _MOST_IPC) for ipc in ipcs],
            missing=[text_of("missing_sets", name) for name in missing],
            root=folder,
            done=None if done is None else [text_of("done", name) for name in done],
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the --output_dir of `benchmark`") from error
    except (ValueError, RecursionError, Wrong) as error:
        raise InputError(f"{path}: {str(error)[:200]}; {expected}") from error
