"""One HTML file on the results of one run or many: nothing in it is loaded from elsewhere."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from compdd_eval.config.arguments import named_as_given, settings_from
from compdd_eval.config.report import ReportConfig
from compdd_eval.reports.html import asset, policy, render_page
from compdd_eval.reports.report.overview import overview_of
from compdd_eval.reports.report.run_section import Section, section_of
from compdd_eval.reports.summaries import Run, read_runs
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable, write_text

_MOST_PICTURES = 2000  # distilled images in one report; some 10 KB each
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
    runs = _ordered([run for place in config.results for run in read_runs(place)])
    path = Path(config.output)
    check_writable(path.parent, "--output")
    text = report_of(runs, config.title)
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give another --output") from error
    return Written(path, len(runs), len(text.encode()))


def report_of(runs: list[Run], title: str) -> str:
    """Return the page on these runs."""
    left = _MOST_PICTURES
    sections: list[Section] = []
    for number, run in enumerate(tqdm(runs, desc="drawing", unit="run", disable=len(runs) < _MANY), start=1):
        section = section_of(run, f"run{number}", left)
        left -= sum(len(members) for _, members in section.pictures)
        sections.append(section)
    return render_page(
        "report.html",
        title=title,
        policy=policy([]),
        style=asset("base.css") + asset("report.css"),
        sections=sections,
        overview=overview_of(runs),
    )


def _ordered(runs: list[Run]) -> list[Run]:
    """Return each file once, by configuration, size and method."""
    unique = {os.path.realpath(run.file): run for run in runs}
    return sorted(
        unique.values(),
        key=lambda run: (run.config_name, run.resolution, run.protocol_name, run.ipc, run.method, run.place),
    )
