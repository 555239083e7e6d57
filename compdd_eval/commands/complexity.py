"""Measure the complexity of images."""

import json
from pathlib import Path

from compdd_eval.complexity.distilled_images import FILE_NAME, score_distilled
from compdd_eval.complexity.score import score
from compdd_eval.config.complexity import ComplexityConfig
from compdd_eval.data.subset_files import DIFFICULTIES
from compdd_eval.data.subsets import CATEGORIES, load_subset
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr
from compdd_eval.utils.processes import make_accelerator


def run(config: ComplexityConfig) -> None:
    """Score, write the tables and print the classes."""
    measure, show = (score, print_classes) if config.distilled is None else (score_distilled, print_distilled_scores)
    with stdout_to_stderr(config.json):
        accelerator = make_accelerator()
        rows = measure(config, accelerator)
    if accelerator.is_main_process:
        show(config, rows)


_SHOWN = 40  # classes that are printed all; of more, the ends
_FILES = ("classes.csv", "images.parquet", "scores.json")


def print_classes(config: ComplexityConfig, rows: list[dict[str, object]]) -> None:
    """Print the classes by complexity, the subsets that are scored whole, and where the files are; or all as JSON."""
    folder = Path(config.output_dir)
    facts = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    subsets = _subsets({row["imagenet_label"]: row["mean"] for row in rows if row["wnid"]})
    if config.json:
        files = [str(folder / name) for name in _FILES]
        print_json({"files": files, "scores": facts, "classes": rows, "subsets": subsets})
        return
    ranked = sorted(rows, key=lambda row: -row["mean"])
    ends = ranked if len(ranked) <= _SHOWN else [*ranked[: _SHOWN // 2], None, *ranked[-_SHOWN // 2 :]]
    lines = [["...", "", "", ""] if row is None else _line(row) for row in ends]
    right = "" if facts["top1"] is None else f", top-1 {100 * facts['top1']:.1f} %"
    title = f"Complexity in %: {config.model}, {config.method} at {facts['layer']}, {facts['images']:,} images{right}"
    print_table(title, ["class", "mean ± std>", "95 %>", "images>"], lines)
    _print_subsets(subsets)
    for name in _FILES:
        print(f"{folder / name}")


def _line(row: dict[str, object]) -> list[str]:
    spread = "" if row["std"] is None else f" ± {100 * row['std']:.1f}"
    interval = "" if row["ci_low"] is None else f"{100 * row['ci_low']:.1f} to {100 * row['ci_high']:.1f}"
    return [row["name"], f"{100 * row['mean']:.1f}{spread}", interval, str(row["n"])]


def _subsets(means: dict[int, float]) -> list[dict[str, object]]:
    """Return easy beside hard for the categories all of whose published classes are scored, at least one image each."""
    rows = []
    for category in CATEGORIES:
        subsets = [load_subset(f"{category}-{difficulty}") for difficulty in DIFFICULTIES]
        if not all(index in means for subset in subsets for index in subset.class_map):
            continue
        row: dict[str, object] = {"category": category}
        for difficulty, subset in zip(DIFFICULTIES, subsets, strict=True):
            row[difficulty] = sum(means[index] for index in subset.class_map) / len(subset.classes)
            row[f"published_{difficulty}"] = subset.published_complexity_percent / 100
        rows.append(row)
    return rows


def _print_subsets(rows: list[dict[str, object]]) -> None:
    lines = []
    for row in rows:
        pairs = [(100 * row[name], 100 * row[f"published_{name}"]) for name in DIFFICULTIES]
        cells = [f"{value:.1f} ({paper:.1f})" for value, paper in pairs]
        differences = [hard - easy for easy, hard in zip(*pairs, strict=True)]
        lines.append([row["category"], *cells, "{:+.1f} ({:+.1f})".format(*differences)])
    if lines:
        print_table("Subsets, in % (as published)", ["category", "easy>", "hard>", "hard - easy>"], lines)


def print_distilled_scores(config: ComplexityConfig, rows: list[dict[str, object]]) -> None:
    """Print the classes of a distilled set beside real ones, or JSON: what the file holds, and where it is."""
    path = Path(config.output_dir) / FILE_NAME
    if config.json:
        print_json({"file": str(path), **json.loads(path.read_text(encoding="utf-8"))})
        return
    lines = []
    for row in rows:
        known = "" if row["recognised"] is None else f"{100 * row['recognised']:.0f}"
        real = "" if row["real_mean"] is None else f"{100 * row['real_mean']:.1f} ({row['real_n']})"
        difference = "" if row["difference"] is None else f"{100 * row['difference']:+.1f}"
        lines.append([row["name"], f"{100 * row['mean']:.1f}", row["n"], known, real, difference])
    header = ["class", "distilled>", "images>", "recognised>", "real (images)>", "difference>"]
    print_table(f"Complexity in % of {config.distilled}: {config.model}, {config.method}", header, lines)
    print(path)
