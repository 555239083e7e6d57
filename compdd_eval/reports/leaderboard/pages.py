"""Files of a leaderboard's site: its page, a page for each result, all rows as CSV and JSON, a card for the Hub."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import cache

from compdd_eval.data.imagenet.hub_files import is_commit
from compdd_eval.data.subsets import subset_names
from compdd_eval.reports.checked_fields import clean
from compdd_eval.reports.html import (
    as_link,
    asset,
    each_seed,
    json_for_script,
    percent,
    points,
    policy,
    render_page,
    short,
    span,
)
from compdd_eval.reports.leaderboard.command import command_of, settings_of
from compdd_eval.reports.leaderboard.methods import AVERAGES, MethodRow, method_rows
from compdd_eval.reports.leaderboard.rows import BY_FILE, Result, Row, Rows
from compdd_eval.results.command import DATA_PATH
from compdd_eval.utils.files import csv_text
from compdd_eval.utils.markdown import front_matter

FIRST = 100  # rows in the page itself, for those who run no scripts
_COLUMNS = (  # field of a row, words, whether it is a number
    ("method", "Method", False),
    ("mean", "Accuracy", True),
    ("subset", "Subset", False),
    ("ipc", "IPC", True),
    ("student", "Student", False),
    ("resolution", "px", True),
    ("n", "n", True),
    ("interval", "95 %", True),
    ("over_random", "Over random", True),
    ("recovery", "Recovery %", True),
    ("teacher", "Teacher", False),
)
_METHOD_COLUMNS = (
    ("method", "Method", False),
    ("ipc", "IPC", True),
    ("student", "Student", False),
    ("resolution", "px", True),
    ("teacher", "Teacher", False),
    *((over, f"Mean of {over}", True) for over in AVERAGES),
    *((name, name, True) for name in subset_names()),
)
_UNSHOWN = ("random", "over_random_interval")  # only in the files and on the page of a result
_ENVIRONMENTS = 4
_VERSIONS = 20
_FORMULA = ("=", "+", "-", "@")  # a text that starts with it is a formula to spreadsheets


def index_page(title: str, rows: Rows) -> str:
    """Return the page with the table."""
    found = rows.rows
    # most readers look for images alone: rows with a teacher are shown when they are asked for
    protocols = _protocols(found)
    under = [row for row in found if row.protocol == protocols[0]]
    plain = [row for row in under if row.teacher is None] or under
    of_methods = method_rows(found)
    script = asset("board.js")
    return render_page(
        "board.html",
        title=short(title, 120),
        policy=policy([str(script)]),
        style=_style(),
        script=script,
        columns=_COLUMNS,
        protocols=protocols,
        first=[(row, _texts(row)) for row in plain[:FIRST]],
        total=len(under),
        method_columns=_METHOD_COLUMNS,
        methods=[_method_texts(row) for row in of_methods if row.protocol == protocols[0]][:FIRST],
        canonical=[(clean(name, 40), one) for name, one in rows.canonical.items()],
        by_file=any(one.rule == BY_FILE for one in rows.canonical.values()),
        data=_data(found, of_methods, protocols),
    )


def run_page(title: str, result: Result) -> str:
    """Return the page of one result."""
    run, rows = result.run, result.rows
    numbers = [
        (row, entry.full and entry.full.mean, each_seed(entry.students), f"{entry.lr:g} ({clean(entry.lr_source, 60)})")
        for row, entry in zip(rows, result.entries, strict=True)
    ]
    protocol, others = settings_of(run, result.protocol)
    return render_page(
        "run.html",
        title=short(title),
        policy=policy([]),
        style=_style(),
        head=rows[0],
        numbers=numbers,
        command=command_of(run, result.protocol, result.repository),
        repository=result.repository,
        data_path=DATA_PATH,
        facts=list(_facts(result)),
        settings=[("Protocol", protocol.items()), ("Everything else", others.items())],
        environments=[list(_environment(one)) for one in run.environments[:_ENVIRONMENTS]],
    )


def site_json(title: str, rows: Rows) -> dict[str, object]:
    """Return all rows with exact numbers, as `results.json` has them."""
    canonical = {name: asdict(one) for name, one in rows.canonical.items()}
    methods = [
        {
            **{name: found for name, found in vars(row).items() if name != "cells"},
            "accuracies": {name: cell.mean for name, cell in row.cells.items()},
            "means": {over: row.average(over) for over in AVERAGES},
        }
        for row in method_rows(rows.rows)
    ]
    return {"title": title, "canonical": canonical, "rows": [asdict(row) for row in rows.rows], "methods": methods}


def as_csv(rows: Rows) -> str:
    """Return all rows as a table for spreadsheets; no text in it is a formula."""
    names = [field.name for field in fields(Row)]
    return csv_text(names, ([_cell(getattr(row, name)) for name in names] for row in rows.rows))


def readme(title: str, rows: Rows) -> str:
    """Return the card of the site, with what a static Space on the Hub reads."""
    header = {
        "title": short(title),
        "emoji": "📊",
        "colorFrom": "blue",
        "colorTo": "green",
        "sdk": "static",
        "app_file": "index.html",
        "pinned": False,
        "tags": ["leaderboard", "dataset-distillation", "comp-dd"],
    }
    return (
        f"{front_matter(header)}\n\n"
        f"{len(rows.rows):,} results of Comp-DD, dataset distillation in complex scenes, in a static site: open "
        "`index.html`.\n\nIt was built by `compdd_eval leaderboard`, which replaces all of it; all rows are in "
        "`results.csv` and `results.json`.\n"
    )


@cache
def _style() -> object:
    return asset("base.css") + asset("board.css")


def _protocols(rows: list[Row]) -> list[str]:
    """Return the names of protocols: the benchmark's own first, then those with most results."""
    counts = Counter(row.protocol for row in rows)
    return sorted(counts, key=lambda name: (name != "comp-dd", -counts[name], name))


def _texts(row: Row) -> list[str]:
    """Return the numbers of a row as the table shows them: mean, spread, interval, over random, recovery."""
    spread = "" if row.std is None else f"± {percent(row.std)}"
    return [percent(row.mean), spread, span(row.interval), points(row.over_random), percent(row.recovery)]


def _method_texts(row: MethodRow) -> list[object]:
    """Return what is shown in each of the columns: a text, or of a result its text, page and whether it is marked."""
    shown: list[object] = [_method_name(row), f"{row.ipc:g}", row.student, str(row.resolution), row.teacher or "–"]
    shown += [percent(row.average(over)) for over in AVERAGES]
    return shown + [_of_cell(row.cells[name])[1:] if name in row.cells else "–" for name in subset_names()]


def _method_name(row: MethodRow) -> str:
    return row.method if row.owner is None else f"{row.method} ({row.owner})"


def _of_cell(row: Row) -> tuple[float, str, str, bool]:
    spread = "" if row.std is None else f" ± {percent(row.std)}"
    return round(row.mean, 6), percent(row.mean) + spread, row.page, bool(row.marks)


def _data(rows: list[Row], methods: list[MethodRow], protocols: list[str]) -> object:
    """Return rows as short as can be, for the script of the page."""
    names = [field.name for field in fields(Row) if field.name not in _UNSHOWN]
    places = {name: place for place, name in enumerate(protocols)}

    def value(row: Row | MethodRow, name: str) -> object:
        found = getattr(row, name)
        if name == "protocol":
            return places[found]
        if name == "set_digest":
            return found[:8]
        if name == "interval":  # it is sorted by its lower end
            return found and round(found[0], 6)
        if isinstance(found, float):
            return int(found) if found.is_integer() else round(found, 6)
        return found

    def values_of(row: MethodRow) -> list[object]:
        known = [places[row.protocol], _method_name(row), value(row, "ipc"), row.student, row.resolution, row.teacher]
        means = [(mean := row.average(over)) and [round(mean, 6), percent(mean)] for over in AVERAGES]
        return known + means + [_of_cell(row.cells[name]) if name in row.cells else None for name in subset_names()]

    return json_for_script(
        {
            "method_fields": ["protocol", *(name for name, _, _ in _METHOD_COLUMNS)],
            "methods": list(map(values_of, methods)),
            "fields": [*names, "texts"],
            "protocols": protocols,
            "rows": [[*[value(row, name) for name in names], _texts(row)] for row in rows],
        }
    )


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = "; ".join(map(str, value)) if value and isinstance(value[0], str) else " to ".join(map(str, value))
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    """Whether a text is an interval of ours, which may start with a minus."""
    try:
        return all(float(part) is not None for part in text.split(" to "))
    except ValueError:
        return False


def _facts(result: Result) -> Iterator[tuple[str, str, str | None]]:
    run = result.run
    for name in ("method", "paper", "licence", "source_url"):
        if said := clean(run.origin.get(name) or "", 200):
            yield name.replace("source_url", "source"), said, as_link(run.origin[name])
    if is_commit(result.repository):
        yield "set on the Hub", result.repository, result.rows[0].set_link
    yield "SHA-256 of the set", run.digests["distilled"], None
    yield "images", f"{run.images:,}, {run.ipc:g} per class, {clean(run.label_kind, 40)} labels", None
    yield "classes", ", ".join(clean(name, 40) for name in run.class_names), None
    yield "SHA-256 of the validation images", run.digests["validation"], None
    yield "validation images", f"{run.validation_images:,} of {run.validation_expected:,}", None


def _environment(said: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Return what is known of a machine; only what `evaluate` writes."""
    for name in ("device", "precision", "threads", "processes", "commit"):
        if said.get(name) is not None:
            yield name, clean(said[name], 80)
    versions = said.get("versions")
    if isinstance(versions, dict):
        pairs = list(versions.items())[:_VERSIONS]
        yield "versions", ", ".join(f"{clean(name, 30)} {clean(version, 30)}" for name, version in pairs)
