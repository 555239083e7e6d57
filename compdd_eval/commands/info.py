"""Show the subsets, and what a copy of ImageNet can serve."""

from dataclasses import asdict

from compdd_eval.config.info import InfoConfig
from compdd_eval.data.completeness import class_counts, missing_classes
from compdd_eval.data.imagenet.open import open_source
from compdd_eval.data.imagenet.reader import Reader
from compdd_eval.data.subset_files import Subset
from compdd_eval.data.subsets import SPLITS, related_names
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr
from compdd_eval.utils.errors import InputError


def run(config: InfoConfig) -> None:
    """Print a table, or JSON."""
    with stdout_to_stderr(config.json):
        description = describe_subsets(config)
    print_description(description, config.json)


def describe_subsets(config: InfoConfig) -> dict[str, object]:
    """Return what is known, as JSON can hold it.

    Returns:
        `subsets`: for each its `name`, `category`, `difficulty`, `version`, `splits` (images of a whole ImageNet),
        `published_complexity_percent`, `classes` in label order, `erratum`, `paper` and `source` (or None; category,
        difficulty and complexity, too, of a list that is no subset of the benchmark). With a `data_path` also
        `source` (`root`, `layout`, `splits`), and in each subset `found`: `status` (`whole`, `partial`, `absent` or
        `bad`), `reason`, `images` of each split and `classes`, the counts of each class.

    Raises:
        InputError: Unknown subset, no such source.
    """
    subsets = config.subsets()
    description = {"subsets": [asdict(subset) for subset in subsets]}
    if config.data_path is not None:
        source = open_source(config.data_path, config.layout, config.num_proc)
        description["source"] = {"root": source.root, "layout": source.layout, "splits": list(source.splits)}
        for entry, subset in zip(description["subsets"], subsets, strict=True):
            entry["found"] = _found(source, subset)
    return description


def _found(source: Reader, subset: Subset) -> dict[str, object]:
    """Count the images of one subset in a copy of ImageNet."""
    wnids, reason = {split: [] for split in source.splits}, missing_classes(source, subset)
    status = "absent" if reason else "whole"
    for split in source.splits:
        for wnid in subset.wnids:
            if source.class_count(split, [wnid]):
                try:
                    wnids[split] += [row.wnid for row in source.rows(split, wnid)]
                except InputError as error:
                    status, reason = "bad", str(error)
    counts = class_counts(subset, wnids)
    if status == "whole" and (set(source.splits) != set(SPLITS) or any(c.found != c.expected for c in counts)):
        status, reason = "partial", "images are missing"
    images = {split: len(ids) for split, ids in wnids.items()}
    return {"status": status, "reason": reason, "images": images, "classes": [asdict(count) for count in counts]}


def print_description(description: dict[str, object], as_json: bool = False) -> None:
    """Print what `describe_subsets` returned."""
    if as_json:
        print_json(description)
        return
    subsets, source = description["subsets"], description.get("source")
    if source:
        print(f"{source['root']}: layout {source['layout']}, splits {', '.join(source['splits'])}")
    if len(subsets) == 1:
        _print_classes(subsets[0])
    elif source:
        _print_found(subsets)
    else:
        rows = [[*_facts(s), ", ".join(c["name"] for c in s["classes"])] for s in subsets]
        columns = ["config", "train>", "validation>", "complexity>", "classes, labels 0-9"]
        print_table("The sixteen subsets of Comp-DD", columns, rows)
        print(f"lists of ten classes that the field uses beside them, for --classes: {', '.join(related_names())}")


def _facts(subset: dict[str, object]) -> list[object]:
    percent = subset["published_complexity_percent"]
    complexity = "-" if percent is None else f"{percent} %"
    return [subset["name"], *[f"{subset['splits'][split]:,}" for split in SPLITS], complexity]


def _print_found(subsets: list[dict[str, object]]) -> None:
    rows = []
    for subset in subsets:
        found = subset["found"]
        counts = [f"{found['images'].get(split, 0):,} / {subset['splits'][split]:,}" for split in SPLITS]
        rows.append([subset["name"], *counts, found["status"], found["reason"] or ""])
    columns = ["config", "train>", "validation>", "", "reason"]
    print_table("What it can serve (images found / in a whole ImageNet)", columns, rows)


def _print_classes(subset: dict[str, object]) -> None:
    found = {(c["split"], c["wnid"]): c["found"] for c in subset.get("found", {}).get("classes", ())}
    rows = []
    for entry in subset["classes"]:
        images = [f"{entry['train_images']:,}", str(subset["splits"]["validation"] // len(subset["classes"]))]
        for number, split in enumerate(SPLITS):
            if (split, entry["wnid"]) in found:
                images[number] = f"{found[split, entry['wnid']]:,} / {images[number]}"
        rows.append([entry["label"], entry["wnid"], entry["imagenet_index"], entry["name"], *images])
    name, train, validation, complexity = _facts(subset)
    title = f"{name}: {train} training and {validation} validation images"
    title += "" if complexity == "-" else f", complexity {complexity} as published"
    print_table(title, ["label>", "WordNet id", "ImageNet index>", "class", "train>", "validation>"], rows)
    if "found" in subset and subset["found"]["reason"]:
        print(f"{subset['found']['status']}: {subset['found']['reason']}")
    if subset["paper"]:
        print(f"source: {subset['paper']}; {subset['source']}")
    if subset["erratum"]:
        print(f"erratum: {subset['erratum']['reason']}")
