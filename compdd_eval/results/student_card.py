"""The Hub card and `config.json` of a trained student: how to load it, what it is, how it was trained."""

import re

import yaml

from compdd_eval.config.network_names import is_user_network, recorded_network, without_folders
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.imagenet.hub_files import parse_address
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.results.command import evaluate_command, without_places
from compdd_eval.results.hub_eval_results import training_of
from compdd_eval.results.student_result import StudentResult

CARD_NAME, CONFIG_NAME, WEIGHTS_NAME = "README.md", "config.json", "model.safetensors"
LIBRARY = "compdd_eval"
_OWN_NETWORK = (
    "`{}` is a network of its author's own, whose code is not in this repository: eight digits of its SHA-256 tell it "
    "from others of that name."
)
_GENERATED = re.compile(r"<!-- compdd_eval: student -->\n.*?<!-- end -->", re.DOTALL)


def student_config(result: StudentResult, subset: Subset, digest: str) -> dict[str, object]:
    """Return the content of `config.json`.

    Args:
        result: The student's record.
        subset: Its subset.
        digest: SHA-256 of its weights, as of `compdd_eval.training.weights.digest_of_weights`.

    Returns:
        `library_name`, `model`, `num_classes`, `image_size`, `classes` (label, name, wnid, imagenet_index), how images
        are prepared (`normalisation` with mean and std of RGB in [0, 1], `resize`, `antialias`, `zca`), and what tells
        this student from others (`config_name`, `seed`, `digests`, `weights_sha256`).
    """
    names = ("label", "name", "wnid", "imagenet_index")
    return {
        "library_name": LIBRARY,
        "model": result.model,
        "num_classes": NUM_CLASSES,
        "image_size": result.resolution,
        "classes": [{name: getattr(entry, name) for name in names} for entry in subset.classes],
        "normalisation": {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)},
        **{name: result.protocol[name] for name in ("resize", "antialias", "zca")},
        "config_name": result.config_name,
        "seed": result.seed,
        "digests": result.digests,
        "weights_sha256": digest,
    }


def student_card(result: StudentResult, subset: Subset, repo_id: str, set_id: str | None) -> str:
    """Return the card; all but its YAML is between marks, so that it can be made anew in a card that was edited.

    Args:
        result: The student's record.
        subset: Its subset.
        repo_id: Where it will lie, USER/NAME.
        set_id: USER/NAME@COMMIT of the distilled set, if that came from the Hub.
    """
    lines = [
        _yaml(result, set_id),
        "<!-- compdd_eval: student -->",
        f"# {result.model}, trained on {result.images} distilled images of {result.config_name}",
        "",
        "A student of Comp-DD, the benchmark for dataset distillation in complex scenes: it is right on "
        f"{100 * result.accuracy:.2f} % of {len(result.truth)} real validation images (the whole of ImageNet has "
        f"{subset.splits['validation']}).",
        "",
        *_facts(result, set_id),
        "",
        "## Load",
        "",
        *_how_to(result, repo_id),
        "",
        "## Train again",
        "",
        "```bash",
        _command(result, subset, set_id),
        "```",
        "",
        *_classes(subset),
        "",
        "The licence of the distilled set counts for what was trained on it; the set was made from ImageNet's images, "
        "whose terms of access apply.",
        "<!-- end -->",
        "",
    ]
    return "\n".join(lines)


def with_edits_of(text: str, other: str) -> str:
    """Return a card with the YAML, and what stands outside the marks, of one that somebody may have edited."""
    part = _GENERATED.search(text)
    return _GENERATED.sub(lambda _: part[0], other, count=1) if _GENERATED.search(other) else text


def _yaml(result: StudentResult, set_id: str | None) -> str:
    tags = ["dataset-distillation", "dataset-condensation", "comp-dd", "imagenet", result.config_name]
    metadata = {"license": "unknown", "library_name": LIBRARY, "pipeline_tag": "image-classification", "tags": tags}
    if set_id is not None:
        metadata["datasets"] = [parse_address(set_id).repo_id]
    return f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=110)}---"


def _facts(result: StudentResult, set_id: str | None) -> list[str]:
    protocol, rate, labels, teacher = training_of(result)
    source = f"[{set_id}]({parse_address(set_id).page}), " if set_id else ""
    rows = [
        ("network", f"`{result.model}`, {NUM_CLASSES} logits"),
        ("images", f"{result.resolution} x {result.resolution} pixels"),
        ("subset", f"`{result.config_name}`"),
        ("distilled set", f"{source}{result.images} images, IPC {result.ipc:g}"),
        ("sha256 of its images and labels, as trained on", f"`{result.digests['distilled']}`"),
        ("training", f"{protocol}; {rate}; {labels}; {teacher}"),
        ("seed", result.seed),
        ("accuracy", f"{100 * result.accuracy:.2f} % of {len(result.truth)} validation images"),
        ("validation images", f"digest `{result.digests['validation']}`"),
        ("made with", ", ".join(f"{name} {version}" for name, version in result.environment["versions"].items())),
    ]
    return ["| | |", "| --- | --- |", *[f"| {name} | {_cell(value)} |" for name, value in rows]]


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _network(result: StudentResult) -> str:
    """Return the network as `create_model` takes it; a file without its folder."""
    return without_folders(recorded_network(str(result.config.get("model")), result.model))


def _how_to(result: StudentResult, repo_id: str) -> list[str]:
    how = "resized" if result.protocol["resize"] == "squash" else "resized and cropped at the centre"
    whitened = ", then whitened by ZCA of the subset's training images" if result.protocol["zca"] else ""
    mean, std, network = tuple(IMAGENET_MEAN), tuple(IMAGENET_STD), _network(result)
    return [
        *([_OWN_NETWORK.format(network), ""] if is_user_network(result.model) else []),
        "```python",
        "from huggingface_hub import hf_hub_download",
        "from safetensors.torch import load_file",
        "",
        "from compdd_eval import create_model",
        "",
        f'student = create_model("{network}", {NUM_CLASSES}, ({result.resolution}, {result.resolution})).eval()',
        f'student.load_state_dict(load_file(hf_hub_download("{repo_id}", "{WEIGHTS_NAME}")))',
        "```",
        "",
        f"It takes float `[N, 3, {result.resolution}, {result.resolution}]`: RGB in [0, 1], {how}, normalised with "
        f"mean {mean} and std {std}{whitened}; logit k is the class with label k below.",
    ]


def _command(result: StudentResult, subset: Subset, set_id: str | None) -> str:
    flags = {"distilled": set_id or "my_set", **subset.selection}
    flags |= {"model": _network(result), "res": result.resolution, "seed": result.seed, "num_eval": 1}
    flags |= Protocol(**result.protocol).flags()
    if result.config.get("lr_dir") == "none":
        flags["lr_dir"] = "none"
    if result.teacher:
        flags["teacher"] = without_places("teacher", result.config["teacher"])
    if result.environment["precision"] != "float32":
        flags["precision"] = result.environment["precision"]
    return evaluate_command(flags)


def _classes(subset: Subset) -> list[str]:
    lines = ["## Classes", "", "| label | class | WordNet id | ImageNet index |", "| ---: | --- | --- | ---: |"]
    return lines + [f"| {c.label} | {_cell(c.name)} | {c.wnid} | {c.imagenet_index} |" for c in subset.classes]
