"""The Hub card (its text is `student_card.md`) and `config.json` of a trained student: what it is, how to load it."""

from compdd_eval.config.network_names import is_user_network, recorded_network, without_folders
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.imagenet.hub_files import parse_address
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.results.command import evaluate_command, without_places
from compdd_eval.results.hub_eval_results import training_of
from compdd_eval.results.student_result import StudentResult
from compdd_eval.utils.markdown import fill, front_matter, generated_part, table, with_part

CARD_NAME, CONFIG_NAME, WEIGHTS_NAME = "README.md", "config.json", "model.safetensors"
LIBRARY = "compdd_eval"
_PART = "student"  # name of the generated part of the card


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
    return fill(
        "compdd_eval.results",
        "student_card.md",
        result=result,
        subset=subset,
        num_classes=NUM_CLASSES,
        front_matter=front_matter(_metadata(result, set_id)),
        accuracy=f"{100 * result.accuracy:.2f}",
        ipc=f"{result.ipc:g}",
        set_id=set_id,
        set_page=parse_address(set_id).page if set_id else None,
        training="; ".join(training_of(result)),
        network=_network(result),
        own=is_user_network(result.model),
        repo_id=repo_id,
        weights_name=WEIGHTS_NAME,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        command=_command(result, subset, set_id),
        classes=table(
            ["label>", "class", "WordNet id", "ImageNet index>"],
            [(each.label, each.name, each.wnid, each.imagenet_index) for each in subset.classes],
        ),
    )


def with_edits_of(text: str, other: str) -> str:
    """Return a card with the YAML, and what stands outside the marks, of one that somebody may have edited."""
    return text if generated_part(other, _PART) is None else with_part(other, _PART, generated_part(text, _PART))


def _metadata(result: StudentResult, set_id: str | None) -> dict[str, object]:
    tags = ["dataset-distillation", "dataset-condensation", "comp-dd", "imagenet", result.config_name]
    metadata = {"license": "unknown", "library_name": LIBRARY, "pipeline_tag": "image-classification", "tags": tags}
    return metadata if set_id is None else metadata | {"datasets": [parse_address(set_id).repo_id]}


def _network(result: StudentResult) -> str:
    """Return the network as `create_model` takes it; a file without its folder."""
    return without_folders(recorded_network(str(result.config.get("model")), result.model))


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
    if result.config.get("fused_norm"):
        flags["fused_norm"] = True
    return evaluate_command(flags)
