"""Summaries of `evaluate` as others may see them: the same numbers, and nothing of where files lie on this machine."""

import re
from pathlib import PurePath

from compdd_eval.config.network_names import split_teacher
from compdd_eval.results.command import PATHS
from compdd_eval.utils.digests import digest_of

RESULTS_FOLDER = "results"  # in the repository of a set
_PLACES = ("data_path", "output_dir", "baseline_dir", "complexity", "grid", *PATHS)
_OF_THE_SET = ("distilled", "data_dir")  # are no places on this machine where the set came from the Hub
_STUDENT_PARTS = 5  # SET/CONFIG/MODEL/DIGEST/seedK.json, as of `results.student_path`
_ABSOLUTE = re.compile(r"(?<![\w/.])(?!//)(?:~|[A-Za-z]:\\|/)[^\s,;:'\"()\[\]=]*[/\\]([^\s,;:'\"()\[\]=/\\]+)")


def results_file(summary: dict[str, object]) -> str:
    """Return the name of the file for what `public_summary` returned: `results/` and twelve digits of its content."""
    return f"{RESULTS_FOLDER}/{digest_of(summary)}.json"


def public_summary(summary: dict[str, object]) -> dict[str, object]:
    """Return a `summary.json` without places on this machine; of files only their names are left.

    Settings that are places become null; `distilled` and `data_dir` are kept if the set came from the Hub, and
    `lr_dir` if it is "none". Paths inside other texts (remarks, the recipe of a teacher) are cut to names of files.
    Numbers, and the schema, are as they were.

    Args:
        summary: The content of a `summary.json`.
    """
    config, origin = dict(summary.get("config") or {}), dict(summary.get("distilled") or {})
    files = origin.get("files") if isinstance(origin.get("files"), dict) else {}
    teachers = [entry.get("teacher") for entry in _entries(summary)]
    known = [config.get(name) for name in _PLACES]
    known += [
        *split_teacher(str(config.get("teacher") or "")),
        *str(config.get("model") or "").split(","),
        *files.values(),
    ]
    known += [teacher.get("file") for teacher in teachers if isinstance(teacher, dict)]
    from_hub = "repository" in origin
    for name in _PLACES:
        kept = (from_hub and name in _OF_THE_SET) or config.get(name) == "none"
        if name in config and not kept:
            config[name] = None
    if origin.get("files"):
        origin["files"] = {name: _last(file) for name, file in files.items()}
    students = ["/".join(PurePath(str(path)).parts[-_STUDENT_PARTS:]) for path in summary.get("students") or []]
    public = {**summary, "config": config, "distilled": origin}
    if from_hub:  # USER/NAME@COMMIT reads as a path, and is none
        known = [place for place in known if place not in {config.get(name) for name in _OF_THE_SET}]
    # the longest first: a folder's name is part of the paths below it
    public = _without(public, sorted({str(place) for place in known if _is_path(place)}, key=len, reverse=True))
    return {**public, "students": students} if "students" in summary else public


def _entries(summary: dict[str, object]) -> list[dict]:
    """Return all that may have a teacher: the summary, its results, and those of its regimes."""
    regimes = [regime for regime in summary.get("regimes") or [] if isinstance(regime, dict)]
    groups = [summary.get("results") or [], *[regime.get("results") or [] for regime in regimes]]
    return [summary, *[entry for group in groups for entry in group if isinstance(entry, dict)]]


def _is_path(value: object) -> bool:
    text = str(value or "")
    return len(text) > 2 and ("/" in text or "\\" in text) and bool(_last(text).strip("./\\"))


def _last(path: object) -> str:
    return re.split(r"[/\\]", str(path).rstrip("/\\"))[-1]


def _without(value: object, places: list[str]) -> object:
    """Return a value of JSON with every path in its texts cut to the name of the file."""
    if isinstance(value, dict):
        return {key: _without(part, places) for key, part in value.items()}
    if isinstance(value, list):
        return [_without(part, places) for part in value]
    if not isinstance(value, str):
        return value
    for place in places:
        start = r"(?<![\w.-])" if place.startswith("/") else r"(?<![\w./-])"  # not in the middle of a longer name
        value = re.sub(rf"{start}{re.escape(place)}(?![\w-])", lambda _, place=place: _last(place), value)
    return _ABSOLUTE.sub(lambda match: match[1], value)
