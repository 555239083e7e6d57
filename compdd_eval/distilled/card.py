"""The Hub card of a distilled set: its YAML, facts, how to load and evaluate it again, results."""

import re

import yaml

from compdd_eval.data.card import size_category
from compdd_eval.data.subset_files import NUM_CLASSES, PUBLISHED_SUFFIX
from compdd_eval.data.subsets import config_names
from compdd_eval.distilled.mosaics import FACTOR
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.results.aggregate import mean_and_spread
from compdd_eval.results.command import evaluate_command

CARD_NAME = "README.md"
DATA_FILES = "data/train-00000-of-00001.parquet"
_IN_A_FOLDER = "`push` makes a repository of this folder, with 8-bit images that `load_dataset` reads, too."
_ON_THE_HUB = """```python
from datasets import load_dataset

# 8-bit images, to look at
data = load_dataset("{}", split="train")
```"""
_PAPER = (
    "Emphasizing Discriminative Features for Dataset Distillation in Complex Scenarios (Wang, Li et al., CVPR 2025)"
)
_LICENCES = (  # of those that the Hub knows by these names; another one is `other` with a name
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "mpl-2.0", "unlicense"),
    *("cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-2.0"),
    *("cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    *("cdla-permissive-2.0", "cdla-sharing-1.0", "odbl", "odc-by", "pddl", "openrail", "unknown"),
)


def card_text(facts: dict[str, object], repo_id: str | None = None, results: list[dict] = ()) -> str:
    """Return the card of a set, without data for `load_dataset`: `with_data` adds what a repository has.

    Args:
        facts: The content of its `distilled.json`.
        repo_id: The repository where it will lie; None: a folder.
        results: Contents of `summary.json` files of `evaluate`.
    """
    name = facts["config_name"] or "a subset that is not stated"
    method = facts["method"] or "not stated"
    kind = {"hard": "hard labels", "logits": "soft labels (logits)", "probabilities": "soft labels (probabilities)"}
    number, side = facts["images"], facts["resolution"]
    lines = [
        _yaml(facts),
        f"# {_title(facts)}",
        "",
        f"{number} distilled images of {side} x {side} pixels, IPC {facts['ipc']:g}, with {kind[facts['label_kind']]}, "
        f"for {_of_benchmark(name)}. Method: {method}.",
        "",
        "![The images, up to ten of each class](preview.png)",
        "",
        *_facts_table(facts),
        "",
        "## Load",
        "",
        _part("load", _how_to(facts, repo_id)),
        "",
        _part("results", results_table(results)),
        "",
        *_classes(facts),
        "",
        "## Source and licence",
        "",
        *_source(facts),
        "",
    ]
    return "\n".join(lines)


def with_data(text: str, distilled) -> str:
    """Return a card that declares the Parquet copy of a repository; one that declares data already is left as it is."""
    header = _header(text)
    if header is None or re.search(r"^configs:", header, flags=re.MULTILINE):
        return text
    declared = {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": DATA_FILES}]}],
        "dataset_info": {"features": _features(distilled)},
    }
    return text.replace(header, header + _dump(declared), 1)


def without_data(text: str) -> str:
    """Return a card that declares no Parquet copy, for a folder that has none."""
    header = _header(text)
    if header is None:
        return text
    blocks = {match[1]: match[0] for match in re.finditer(r"^(\w+):.*\n(?:[ -].*\n)*", header, flags=re.MULTILINE)}
    if DATA_FILES not in blocks.get("configs", ""):
        return text
    return text.replace(header, header.replace(blocks["configs"], "").replace(blocks.get("dataset_info", ""), ""), 1)


def _header(text: str) -> str | None:
    """Return the YAML that a card begins with, without the lines around it."""
    found = re.match(r"---\r?\n(.*?\n)---\r?\n", text, flags=re.DOTALL)
    return found[1] if found else None


def updated_card(text: str, facts: dict[str, object], repo_id: str, results: list[dict]) -> str:
    """Return a card that somebody has edited with its generated parts made anew; results stay where none are given."""
    text = _replaced(text, "load", _how_to(facts, repo_id))
    return _replaced(text, "results", results_table(results)) if results else text


def with_results_of(text: str, other: str) -> str:
    """Return a card with the results of another one."""
    found = re.search(_pattern("results"), other, flags=re.DOTALL)
    return _replaced(text, "results", found[1].strip()) if found else text


def is_ours(text: str) -> bool:
    """Whether a text is a card that was made here."""
    return all(re.search(_pattern(name), text, flags=re.DOTALL) for name in ("load", "results"))


def _pattern(name: str) -> str:
    return rf"<!-- compdd_eval: {name} -->\n(.*?)<!-- end -->"


def _part(name: str, content: str) -> str:
    return f"<!-- compdd_eval: {name} -->\n{content}\n<!-- end -->"


def _replaced(text: str, name: str, content: str) -> str:
    return re.sub(_pattern(name), lambda _: _part(name, content), text, count=1, flags=re.DOTALL)


def _title(facts: dict[str, object]) -> str:
    parts = [facts["method"] or "Distilled set", facts["config_name"], f"IPC {facts['ipc']:g}"]
    return ", ".join(part for part in [*parts, f"{facts['resolution']} px"] if part)


def _yaml(facts: dict[str, object]) -> str:
    licence = (facts["licence"] or "unknown").strip()
    known = licence.lower() in _LICENCES
    metadata = {"pretty_name": _title(facts), "license": licence.lower() if known else "other"}
    if not known:
        metadata["license_name"] = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")[:60] or "other"
    if licence.startswith(("http://", "https://")):
        metadata["license_link"] = licence
    tags = ["dataset-distillation", "dataset-condensation", "comp-dd", "imagenet"]
    metadata |= {
        "task_categories": ["image-classification"],
        "size_categories": [size_category(facts["images"])],
        "source_datasets": ["extended|imagenet-1k"],
        "tags": [*tags, facts["config_name"]] if facts["config_name"] else tags,
    }
    return f"---\n{_dump(metadata)}---"


def _dump(content: dict[str, object]) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _features(distilled: SetTensors) -> list[dict[str, object]]:
    names = {str(label): name for label, name in enumerate(distilled.label_names)}
    features = [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
    ]
    if distilled.label_kind != "hard":
        features.append({"name": "soft_label", "list": "float32", "length": NUM_CLASSES})
    return features


def _facts_table(facts: dict[str, object]) -> list[str]:
    mean, std = facts["normalisation"]["mean"], facts["normalisation"]["std"]
    factor = (facts["metadata"] or {}).get(FACTOR)
    rows = [
        ("subset", facts["config_name"]),
        ("images", f"{facts['images']}, IPC {facts['ipc']:g}, {facts['resolution']} x {facts['resolution']} pixels"),
        *([("cut from", f"mosaics of {factor} x {factor} images")] if factor else []),
        ("labels", facts["label_kind"]),
        ("learned rate for students", facts["lr"]),
        ("values", f"float32, normalised with mean {tuple(mean)} and std {tuple(std)} of RGB in [0, 1]"),
        ("method", facts["method"]),
        ("made for protocol", facts["protocol"]),
        ("sha256 of the tensors", f"`{facts['sha256']}`"),
    ]
    return ["| | |", "| --- | --- |", *[f"| {name} | {_cell(value)} |" for name, value in rows]]


def _cell(value: object) -> str:
    return "not stated" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def _how_to(facts: dict[str, object], repo_id: str | None) -> str:
    call = 'load("FOLDER")' if repo_id is None else f'from_hub("{repo_id}")'
    return f"""```python
from compdd_eval import DistilledSet

# the exact tensors, with label_kind and lr
distilled = DistilledSet.{call}
```

{_IN_A_FOLDER if repo_id is None else _ON_THE_HUB.format(repo_id)}

## Evaluate again

```bash
{evaluate_command({"distilled": repo_id or "FOLDER"} | _subset_flags(facts))}
```"""


def _of_benchmark(name: str) -> str:
    if name in config_names() or " " in name:
        return f"`{name}` of Comp-DD, the benchmark for dataset distillation in complex scenes"
    return f"`{name}`, ten classes of ImageNet-1K that are no subset of the benchmark Comp-DD"


def _subset_flags(facts: dict[str, object]) -> dict[str, object]:
    name = facts["config_name"]
    if name is None:
        return {"category": "CATEGORY", "subset": "SUBSET"}
    if name not in config_names():
        return {}  # the set states its classes
    published = {"published": True} if name.endswith(PUBLISHED_SUFFIX) else {}
    return {"category": facts["category"], "subset": facts["subset"], **published}


def results_table(summaries: list[dict]) -> str:
    """Return a Markdown table of results, or nothing."""
    rows = []
    for summary in summaries:
        changed = ", ".join(f"{name} {summary['protocol'][name]}" for name in summary["protocol_changes"])
        name = summary["protocol"]["protocol"]
        protocol = f"{name}, but {changed}" if changed else name
        protocol += f"; teacher {summary['teacher']['name']}" if summary["results"][0]["teacher"] else ""
        images = f"{summary['validation_images']} of {summary['validation_images_expected']}"
        for entry in summary["results"]:
            row = [entry["model"], mean_and_spread(entry), len(entry["accuracies"]), protocol, images]
            rows.append(f"| {' | '.join(map(str, row))} |")
    if not rows:
        return ""
    head = ["## Results", "", "Accuracy in % on real validation images after the last pass, mean ± sample standard "]
    head[-1] += "deviation over students with different seeds, as `compdd_eval` measured it."
    columns = ["| student | accuracy | students | protocol | validation images |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, "", *columns, *rows])


def _classes(facts: dict[str, object]) -> list[str]:
    if facts["classes"] is None:
        return ["The classes are not stated."]
    lines = ["## Classes", "", "| label | class | WordNet id | ImageNet index |", "| ---: | --- | --- | ---: |"]
    rows = [[entry[name] for name in ("label", "name", "wnid", "imagenet_index")] for entry in facts["classes"]]
    return lines + [f"| {' | '.join(map(str, row))} |" for row in rows]


def _source(facts: dict[str, object]) -> list[str]:
    rows = [("Source", facts["source_url"]), ("Paper", facts["paper"]), ("Licence", facts["licence"])]
    lines = [f"- {name}: {value or 'not stated'}" for name, value in rows]
    lines += [f"- Benchmark: {_PAPER}"]
    return [*lines, "", "The images were made from ImageNet's, whose terms of access apply to those."]
