"""The head of a report: all runs in one table, and charts over IPC."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from compdd_eval.reports.charts import Series, lines
from compdd_eval.reports.summaries import Entry, Group, Run

_MOST_LINES = 8  # in one chart


@dataclass(frozen=True)
class Overview:
    """What is shown above the runs.

    Attributes:
        charts: Title and chart of each group of runs that can be compared.
        protocols: Names of the protocols of all runs.
    """

    charts: list[tuple[str, object]]
    protocols: list[str]


def overview_of(runs: list[Run]) -> Overview:
    """Draw accuracy over IPC for runs that are alike but for IPC and method."""
    # what one line of a chart may join: all that changes an accuracy but IPC and the method itself
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        teacher = next((entry.teacher for entry in run.entries if entry.teacher), None)
        key = (run.config_name, run.resolution, run.protocol_name, run.labels, teacher, run.digests["validation"])
        groups.setdefault(key, []).append(run)
    found = []
    for (config_name, resolution, protocol, *_), members in groups.items():
        if len({run.ipc for run in members}) > 1:
            found += _charts(f"{config_name}, {resolution} px, protocol {protocol}", members)
    return Overview(found, list(dict.fromkeys(run.protocol_name for run in runs)))


def _charts(title: str, runs: list[Run]) -> list[tuple[str, object]]:
    by_method: dict[str, list[Run]] = {}
    for run, name in zip(runs, _names(runs), strict=True):
        by_method.setdefault(name, []).append(run)
    models = list(dict.fromkeys(entry.model for run in runs for entry in run.entries))
    split = len(by_method) > 1 or 2 * len(models) > _MOST_LINES  # then a chart for each student
    parts = [[model] for model in models] if split else [models]
    return [_chart(title, runs, by_method, part) for part in parts]


def _names(runs: list[Run]) -> list[str]:
    """Return a name for each run: its method, and its set where a method has several of one IPC."""
    counts = Counter((run.method, run.ipc) for run in runs)
    several = {method for (method, _), number in counts.items() if number > 1}
    return [f"{run.method} {run.digests['distilled'][:6]}" if run.method in several else run.method for run in runs]


def _chart(title: str, runs: list[Run], by_method: dict[str, list[Run]], models: list[str]) -> tuple[str, object]:
    ipcs, methods, series = sorted({run.ipc for run in runs}), list(by_method), []
    for model in models:
        random = _over_ipcs(f"random, {model}", runs, model, ipcs, lambda entry: entry.random)
        series += [random] if any(value is not None for value in random.values) else []
        shown = methods[: _MOST_LINES - len(series)] if len(models) == 1 else methods
        for method in shown:
            name = model if len(methods) == 1 else method
            series.append(_over_ipcs(name, by_method[method], model, ipcs, lambda entry: entry.students))
    title = title if len(methods) == 1 else f"{title}, student {models[0]}"
    title += f" ({len(shown)} of {len(methods)} methods)" if len(shown) < len(methods) else ""
    alt = f"Accuracy in % over images per class, {title}. " + " ".join(_in_words(one, ipcs) for one in series)
    places = [f"{ipc:g}" for ipc in ipcs]
    return title, lines(places, series, "accuracy in % (mean ± std)", alt)


def _over_ipcs(
    name: str, runs: list[Run], model: str, ipcs: list[float], of: Callable[[Entry], Group | None]
) -> Series:
    points = []
    for ipc in ipcs:
        entries = [entry for run in runs if run.ipc == ipc for entry in run.entries if entry.model == model]
        points.append(with_spread(next((of(entry) for entry in entries if of(entry) is not None), None)))
    return Series(name, *map(list, zip(*points, strict=True)))


def with_spread(group: Group | None) -> tuple[float | None, float | None, float | None]:
    """Return mean, mean - std and mean + std of a group in percent; None where there is none."""
    if group is None:
        return None, None, None
    mean = 100 * group.mean
    return (mean, None, None) if group.std is None else (mean, mean - 100 * group.std, mean + 100 * group.std)


def _in_words(series: Series, ipcs: list[float]) -> str:
    known = [(ipc, value) for ipc, value in zip(ipcs, series.values, strict=True) if value is not None]
    return f"{series.name}: " + ", ".join(f"{value:.1f} at IPC {ipc:g}" for ipc, value in known) + "."


def chance_of(entry: Entry) -> float:
    """Return the accuracy of guessing, as a fraction."""
    return 1 / max(1, sum(value is not None for value in entry.per_class))
