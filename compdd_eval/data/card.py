"""The Hub card of the benchmark's data: its YAML, and the text of `dataset_card.md`."""

from dataclasses import dataclass
from pathlib import Path

from compdd_eval.data.features import features_of
from compdd_eval.data.subset_files import Subset
from compdd_eval.data.subsets import SPLITS, config_names
from compdd_eval.utils.markdown import front_matter, table


@dataclass(frozen=True)
class CardEntry:
    """One configuration of a card.

    Attributes:
        subset: The subset.
        images: Split -> number of images.
        sizes: Split -> bytes of the images, where they are known.
        files: Bytes of the Parquet files, where they are known.
    """

    subset: Subset
    images: dict[str, int]
    sizes: dict[str, int] | None = None
    files: int | None = None


def card_metadata(entries: list[CardEntry]) -> str:
    """Return the YAML header of a card, with its dashes: what `datasets` and the Hub read."""
    metadata = {
        "pretty_name": "Comp-DD",
        "license": "other",
        "license_name": "imagenet-terms-of-access",
        "license_link": "https://image-net.org/download.php",
        "language": ["en"],
        "task_categories": ["image-classification"],
        "task_ids": ["multi-class-image-classification"],
        "size_categories": [size_category(sum(sum(entry.images.values()) for entry in entries))],
        "source_datasets": ["extended|imagenet-1k"],
        "annotations_creators": ["found"],
        "tags": ["dataset-distillation", "dataset-condensation", "benchmark", "comp-dd", "imagenet"],
        "configs": [_files_of(entry) for entry in entries],
        "dataset_info": [_info_of(entry) for entry in entries],
    }
    return front_matter(metadata)


def benchmark_card(entries: list[CardEntry]) -> str:
    """Return the card of a copy that holds just these configurations, with what it lacks."""
    here = Path(__file__).resolve()
    candidates = (here.parent / "_dataset_card.md", here.parents[2] / "dataset_card.md")
    text = next(path for path in candidates if path.is_file()).read_text(encoding="utf-8")
    # its YAML counts a whole ImageNet, and its section on loading is about the builder: both are replaced
    body = text[text.index("\n---", 3) + 4 :]
    head, _, rest = body.partition("\n## Load\n")
    return card_metadata(entries) + head + _this_copy(entries) + rest[rest.index("\n## ") :]


def _this_copy(entries: list[CardEntry]) -> str:
    """Say what this copy holds, what a whole one has, and how to load it."""
    rows = [
        [f"`{entry.subset.name}`"]
        + [f"{entry.images.get(split, 0):,} of {entry.subset.splits[split]:,}" for split in SPLITS]
        for entry in entries
    ]
    parts = [
        "\n## This copy",
        "Images here, and in a copy made from a whole ImageNet:",
        table(["configuration", *(f"{split}>" for split in SPLITS)], rows),
    ]
    if others := [entry.subset.name for entry in entries if entry.subset.name not in config_names()]:
        parts.append(f"Ten classes of ImageNet-1K that are no subset of Comp-DD: {', '.join(others)}.")
    parts.append(f'Load one with `datasets.load_dataset("THIS FOLDER OR REPOSITORY", "{entries[0].subset.name}")`.\n')
    return "\n\n".join(parts)


def _files_of(entry: CardEntry) -> dict[str, object]:
    files = [{"split": split, "path": f"{entry.subset.name}/{split}-*"} for split in entry.images]
    return {"config_name": entry.subset.name, "data_files": files}


def _info_of(entry: CardEntry) -> dict[str, object]:
    features = features_of(entry.subset)._to_yaml_list()
    for feature in features:
        if feature["name"] == "image":
            feature["dtype"] = {"image": {"mode": "RGB"}}
    splits = []
    for split, count in entry.images.items():
        size = {} if entry.sizes is None else {"num_bytes": entry.sizes[split]}
        splits.append({"name": split, **size, "num_examples": count})
    info = {"config_name": entry.subset.name, "features": features, "splits": splits}
    if entry.files is not None:
        info |= {"download_size": entry.files, "dataset_size": sum(entry.sizes.values())}
    return info


def size_category(images: int) -> str:
    """Return the Hub's name for a number of images."""
    names = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M"}
    return next((name for limit, name in names.items() if images < limit), "1M<n<10M")
