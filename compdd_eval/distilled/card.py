"""The Hub card of a distilled set: its YAML, how to load and evaluate it again, results; the text is `card.md`."""

import re

from compdd_eval.data.card import size_category
from compdd_eval.data.subset_files import NUM_CLASSES, PUBLISHED_SUFFIX
from compdd_eval.data.subsets import config_names
from compdd_eval.distilled.metadata import SetRecord
from compdd_eval.distilled.mosaics import FACTOR
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.results.aggregate import mean_and_spread
from compdd_eval.results.command import evaluate_command
from compdd_eval.utils.markdown import fill, front_matter, generated_part, table, to_yaml, with_part

CARD_NAME = "README.md"
DATA_FILES = "data/train-00000-of-00001.parquet"
_IN_A_FOLDER = "`push` makes a repository of this folder, with 8-bit images that `load_dataset` reads, too."
_ON_THE_HUB = """```python
from datasets import load_dataset

# 8-bit images, to look at
data = load_dataset("{}", split="train")
```"""
_LABELS = {"hard": "hard labels", "logits": "soft labels (logits)", "probabilities": "soft labels (probabilities)"}
_LICENCES = (  # of those that the Hub knows by these names; another one is `other` with a name
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "mpl-2.0", "unlicense"),
    *("cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-2.0"),
    *("cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    *("cdla-permissive-2.0", "cdla-sharing-1.0", "odbl", "odc-by", "pddl", "openrail", "unknown"),
)


def set_card(record: SetRecord, repo_id: str | None = None, results: list[dict] = ()) -> str:
    """Return the card of a set, without data for `load_dataset`: `with_data` adds what a repository has.

    Args:
        record: The set's `distilled.json`.
        repo_id: The repository where it will lie; None: a folder.
        results: Contents of `summary.json` files of `evaluate`.
    """
    rows = [(each.label, each.name, each.wnid, each.imagenet_index) for each in record.classes or ()]
    return fill(
        "compdd_eval.distilled",
        "card.md",
        record=record,
        front_matter=front_matter(_metadata(record)),
        title=title_of(record),
        ipc=f"{record.ipc:g}",
        labels=_LABELS[record.label_kind],
        benchmark=_of_benchmark(record.config_name or "a subset that is not stated"),
        factor=record.settings.get(FACTOR),
        how_to=_how_to(record, repo_id),
        results=results_table(results),
        classes=rows and table(["label>", "class", "WordNet id", "ImageNet index>"], rows),
    )


def with_data(text: str, distilled: SetTensors) -> str:
    """Return a card that declares the Parquet copy of a repository; one that declares data already is left as it is."""
    header = _header(text)
    if not header or re.search(r"^configs:", header, flags=re.MULTILINE):
        return text
    declared = {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": DATA_FILES}]}],
        "dataset_info": {"features": _features(distilled)},
    }
    return text.replace(header, header + to_yaml(declared), 1)


def without_data(text: str) -> str:
    """Return a card that declares no Parquet copy, for a folder that has none."""
    header = _header(text)
    # cut out, not parsed and written again: what people have edited around them stays letter for letter
    blocks = {match[1]: match[0] for match in re.finditer(r"^(\w+):.*\n(?:[ -].*\n)*", header, flags=re.MULTILINE)}
    if DATA_FILES not in blocks.get("configs", ""):
        return text
    return text.replace(header, header.replace(blocks["configs"], "").replace(blocks.get("dataset_info", ""), ""), 1)


def _header(text: str) -> str:
    """Return the YAML that a card begins with, without the lines around it; empty where there is none."""
    header = re.match(r"---\r?\n(.*?\n)---\r?\n", text, flags=re.DOTALL)
    return header[1] if header else ""


def updated_card(text: str, record: SetRecord, repo_id: str, results: list[dict]) -> str:
    """Return a card that somebody has edited with its generated parts made anew; results stay where none are given."""
    text = with_part(text, "load", _how_to(record, repo_id))
    return with_part(text, "results", results_table(results)) if results else text


def with_results_of(text: str, other: str) -> str:
    """Return a card with the results of another one."""
    results = generated_part(other, "results")
    return text if results is None else with_part(text, "results", results)


def is_ours(text: str) -> bool:
    """Whether a text is a card that was made here."""
    return all(generated_part(text, name) is not None for name in ("load", "results"))


def title_of(record: SetRecord, unknown_method: str = "Distilled set", letters: int | None = None) -> str:
    """Return what a set is called: method, subset and size; of method and subset only so many letters."""
    parts = [record.method or unknown_method, record.config_name, f"IPC {record.ipc:g}", f"{record.resolution} px"]
    return ", ".join(part[:letters] for part in parts if part)


def _metadata(record: SetRecord) -> dict[str, object]:
    """Return the YAML of the card; a licence that the Hub does not know by its name is `other`, with a name."""
    licence = (record.licence or "unknown").strip()
    known = licence.lower() in _LICENCES  # the Hub refuses a card with a licence that it does not know
    metadata = {"pretty_name": title_of(record), "license": licence.lower() if known else "other"}
    if not known:
        metadata["license_name"] = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")[:60] or "other"
    if licence.startswith(("http://", "https://")):
        metadata["license_link"] = licence
    tags = ["dataset-distillation", "dataset-condensation", "comp-dd", "imagenet"]
    return metadata | {
        "task_categories": ["image-classification"],
        "size_categories": [size_category(record.images)],
        "source_datasets": ["extended|imagenet-1k"],
        "tags": [*tags, record.config_name] if record.config_name else tags,
    }


def _features(distilled: SetTensors) -> list[dict[str, object]]:
    names = {str(label): name for label, name in enumerate(distilled.label_names)}
    soft = {"name": "soft_label", "list": "float32", "length": NUM_CLASSES}
    return [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
        *([] if distilled.label_kind == "hard" else [soft]),
    ]


def _how_to(record: SetRecord, repo_id: str | None) -> str:
    call = 'load("FOLDER")' if repo_id is None else f'from_hub("{repo_id}")'
    labels = f"Labels of views: {record.view_labels['in_words']}.\n\n" if record.view_labels else ""
    flags = {"distilled": repo_id or "FOLDER"} | _subset_flags(record)
    if record.view_labels:
        flags |= record.view_labels["evaluate"]
    return f"""```python
from compdd_eval import DistilledSet

# the exact tensors, with label_kind and lr
distilled = DistilledSet.{call}
```

{_IN_A_FOLDER if repo_id is None else _ON_THE_HUB.format(repo_id)}

{labels}## Evaluate again

```bash
{evaluate_command(flags)}
```"""


def _of_benchmark(name: str) -> str:
    if name in config_names() or " " in name:
        return f"`{name}` of Comp-DD, the benchmark for dataset distillation in complex scenes"
    return f"`{name}`, ten classes of ImageNet-1K that are no subset of the benchmark Comp-DD"


def _subset_flags(record: SetRecord) -> dict[str, object]:
    if record.config_name is None:
        return {"category": "CATEGORY", "subset": "SUBSET"}
    if record.config_name not in config_names():
        return {}  # the set states its classes
    published = {"published": True} if record.config_name.endswith(PUBLISHED_SUFFIX) else {}
    return {"category": record.category, "subset": record.subset, **published}


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
            rows.append([entry["model"], mean_and_spread(entry), len(entry["accuracies"]), protocol, images])
    if not rows:
        return ""
    return (
        "## Results\n\nAccuracy in % on real validation images after the last pass, mean ± sample standard deviation "
        "over students with different seeds, as `compdd_eval` measured it.\n\n"
    ) + table(["student", "accuracy", "students", "protocol", "validation images"], rows)
