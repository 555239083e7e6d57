"""One HTML file on the results of one run or many: nothing in it is loaded from elsewhere."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm.auto import tqdm

from compdd_eval.config.arguments import named_as_given, settings_from
from compdd_eval.config.report import ReportConfig
from compdd_eval.reports.benchmark_file import Benchmark
from compdd_eval.reports.html import asset, policy, render_page
from compdd_eval.reports.report.benchmark_section import benchmark_of, benchmark_sections
from compdd_eval.reports.report.panels import ShownRun, named, panels_of
from compdd_eval.reports.report.run_section import LEVELS, Section, largest_share, section_of
from compdd_eval.reports.report.verdicts import verdicts_of
from compdd_eval.reports.summaries import Run, read_runs
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable, write_text

_MOST_PICTURES = 2000  # distilled images in one report; some 10 KB each
_NAMED = 4  # methods or subsets in the title
_MANY = 20  # runs; fewer need no progress bar


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: The file.
        runs: Runs in it.
        size: Bytes.
    """

    path: Path
    runs: int
    size: int


def report(results: ReportConfig | Sequence[str | os.PathLike], **settings: object) -> Written:
    """Read all runs and write one HTML file on them, which needs no network and no other file.

        written = report(["results_edf", "results_datm"], output="report.html")
        print(written.path)

    Args:
        results: Folders that `evaluate` wrote (or folders of such), or files summary.json; or all settings.
        settings: Those of `ReportConfig`, by name.

    Raises:
        InputError: Nothing to read, or the file cannot be written.
    """
    with named_as_given(ReportConfig, results):
        return _written(settings_from(ReportConfig, "results", results, settings))


def _written(config: ReportConfig) -> Written:
    benchmarks = {place: benchmark_of(place) for place in config.results}
    shown = _read(benchmarks)
    path = Path(config.output)
    check_writable(path.parent, "--output")
    text = report_of(shown, config.title, list(filter(None, benchmarks.values())))
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give another --output") from error
    return Written(path, len(shown), len(text.encode()))


def _read(places: Mapping[str, Benchmark | None]) -> list[ShownRun]:
    """Return each file once, in the order of the places; those of one place by configuration and size.

    A benchmark says what its method is called.
    """
    unique: dict[str, tuple[Run, str]] = {}
    for place, benchmark in places.items():
        folder = place if benchmark is None else str(benchmark.root)
        runs = sorted(read_runs(folder), key=lambda run: (run.config_name, run.resolution, run.protocol_name, run.ipc))
        for run in runs:
            unique.setdefault(os.path.realpath(run.file), (_as_method(run, benchmark), place))
    return named(*zip(*unique.values(), strict=True))


def _as_method(run: Run, benchmark: Benchmark | None) -> Run:
    """Return a run of a benchmark as one of its method; a draw of random images stays one."""
    if benchmark is None or run.is_one_draw:
        return run
    return replace(run, origin=run.origin | {"method": benchmark.method})


def report_of(shown: list[ShownRun], title: str | None = None, benchmarks: Sequence[Benchmark] = ()) -> str:
    """Return the page on these runs; without a title it says what they are. What is of benchmarks opens it."""
    left, largest = _MOST_PICTURES, largest_share([one.run for one in shown])
    sections: list[Section] = []
    for one in tqdm(shown, desc="drawing", unit="run", disable=len(shown) < _MANY):
        section = section_of(one, left, largest)
        left -= sum(len(members) for _, members in section.pictures)
        sections.append(section)
    panels = panels_of(shown)
    return render_page(
        "report.html",
        title=title or _title(shown),
        policy=policy([]),
        style=asset("base.css") + asset("report.css"),
        verdicts=verdicts_of(panels),
        benchmarks=benchmark_sections(benchmarks, shown),
        panels=panels,
        sections=sections,
        scale=[largest * (level / LEVELS) ** 2 for level in range(LEVELS + 1)],
    )


def _title(shown: list[ShownRun]) -> str:
    """Return what was evaluated on what, as short as it can be said."""
    names = list(dict.fromkeys(one.name for one in shown))
    subsets = list(dict.fromkeys(one.run.config_name for one in shown))
    ipcs = sorted({one.run.ipc for one in shown})
    methods = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} methods"
    where = ", ".join(subsets) if len(subsets) <= _NAMED else f"{len(subsets)} subsets"
    return f"{methods} on {where}, IPC {', '.join(f'{ipc:g}' for ipc in ipcs)}"
