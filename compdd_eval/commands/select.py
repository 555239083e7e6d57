"""Choose subsets by the complexity of their classes, or compare that choice with the published lists."""

from dataclasses import asdict

from compdd_eval.complexity.published_lists import MENDED, check
from compdd_eval.complexity.select import SELECTION_NAME, Selection, select
from compdd_eval.config.select import SelectConfig
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.utils.console import print_json, print_table


def run(config: SelectConfig) -> None:
    """Select and write, or check; print tables, or JSON."""
    if config.check:
        print_check(check(config), config.json)
        return
    print_selection(select(config), config.json)


def print_selection(selection: Selection, as_json: bool = False) -> None:
    """Print the subsets as a table, or all as JSON."""
    if as_json:
        print_json(_as_json(selection))
        return
    rows = [
        (subset.name, f"{subset.complexity_percent:.1f} %", ", ".join(score.name for score in subset.classes))
        for subset in selection.subsets
    ]
    print_table("Selected", ["subset", "complexity>", "classes, most extreme first"], rows)
    if len(selection.files) == 1:
        print(f"written to {selection.folder}: {SELECTION_NAME} alone (subset files: {NUM_CLASSES} ImageNet classes)")
        return
    print(f"written to {selection.folder}: {len(selection.files) - 1} subset files and {SELECTION_NAME}")
    first = selection.subsets[0]
    flags = f"--subsets_dir {selection.folder} --category {first.category} --subset {first.difficulty}"
    print(f"use them: accelerate launch -m compdd_eval {flags} --distilled SET --data_path IMAGENET")


def _as_json(selection: Selection) -> dict[str, object]:
    names = ("name", "category", "difficulty", "complexity_percent")
    subsets = [
        {name: getattr(subset, name) for name in names} | {"classes": [asdict(score) for score in subset.classes]}
        for subset in selection.subsets
    ]
    return {"output_dir": selection.folder, "files": selection.files, "subsets": subsets}


def print_check(found: dict[str, object], as_json: bool = False) -> None:
    """Print the comparison as tables, or as JSON."""
    if as_json:
        print_json(found)
        return
    rows = []
    for entry in found["subsets"]:
        overlap = "-" if entry["overlap"] is None else f"{entry['overlap']} of {NUM_CLASSES}"
        measured = _text(entry["measured_percent"], "{:.1f} %")
        scored = f"{entry['scored']} of {entry['published_classes']}"
        rows.append((entry["name"], overlap, scored, measured, f"{entry['published_percent']} %"))
    columns = ["subset", "selected and published>", "published scored>", "their complexity>", "as published>"]
    print_table("Selection against the published lists", columns, rows)
    rows = []
    for entry in found["categories"]:
        scored, correlation = f"{entry['scored']} of {entry['candidates']}", _text(entry["rank_correlation"], "{:.3f}")
        rows.append((entry["category"], scored, correlation, entry["classes"]))
    columns = ["category", "candidates scored>", "rank correlation>", "published classes>"]
    print_table("Complexity of published classes against their membership (hard 1, easy 0; Spearman)", columns, rows)
    value, number = _text(found["rank_correlation"], "{:.3f}"), found["rank_correlation_subsets"]
    print(f"Measured against published complexity over {number} subsets: rank correlation {value}")
    if found["tenth"]:
        print(_tenth_in_words(found["tenth"]))


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _tenth_in_words(tenth: dict[str, object]) -> str:
    start, contenders = f"Tenth class of {MENDED}, of which nine are published", tenth["contenders"]
    if not contenders:
        return f"{start}: unknown, no candidate that is in neither published list is scored"
    first, number = contenders[0], len(contenders)
    if tenth["rank"] == 1:
        ours = f"{tenth['ours']} ({100 * first['mean']:.1f} %)"
        return f"{start}: {ours}, as in our list, number 1 of {number} candidates scored"
    words = f"{start}: {first['name']} ({100 * first['mean']:.1f} %), the most complex of the other candidates scored"
    if tenth["rank"] is None:
        return f"{words}; {tenth['ours']}, which we take, is not scored"
    mean = 100 * contenders[tenth["rank"] - 1]["mean"]
    return f"{words}; {tenth['ours']}, which we take, is number {tenth['rank']} of {number} ({mean:.1f} %)"
