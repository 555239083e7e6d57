"""Complexity of distilled images: how much of a synthetic image is active, beside real images of its class."""

from pathlib import Path

import torch
from accelerate import Accelerator

from compdd_eval.complexity.classifier import Classifier, load_classifier
from compdd_eval.complexity.maps import Mapper, mapper_of
from compdd_eval.complexity.measure import class_complexity, complexity_from_maps
from compdd_eval.complexity.score import given_to, score
from compdd_eval.config.complexity import ComplexityConfig
from compdd_eval.config.reading import ReadConfig
from compdd_eval.distilled.set import DistilledSet, read_distilled
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable, write_json
from compdd_eval.utils.processes import on_main_process, set_torch

FILE_NAME = "distilled.json"


def score_distilled(config: ComplexityConfig, accelerator: Accelerator) -> list[dict[str, object]]:
    """Measure a distilled set, and real images of its classes where --data_path names some; every process calls this.

    Returns:
        For each class with images, in label order: `label`, `name`, `mean`, `std`, `n`, `recognised` (share of the
        images that the classifier takes for the class, where it knows ImageNet's classes, else None), and of the real
        images `real_mean`, `real_n` and `difference` (mean - real mean), or None.

    Raises:
        InputError: As from `score`, and where the set cannot be read.
    """
    set_torch(config.threads, accelerator)
    distilled = on_main_process(accelerator, lambda: _opened(config))
    real = {row["imagenet_label"]: row for row in score(config, accelerator)} if config.data_path else {}
    return on_main_process(accelerator, lambda: _measure(config, distilled, real, accelerator.device))


def _opened(config: ComplexityConfig) -> DistilledSet:
    """Read the set, and refuse a folder that holds the result of one, before anything takes long."""
    check_writable(Path(config.output_dir), "--output_dir")
    path = Path(config.output_dir) / FILE_NAME
    if path.exists() and not config.overwrite:
        raise InputError(f"{path}: is there already; give another --output_dir, or --overwrite")
    classes = None if config.subset is not None else config.classes
    return read_distilled(config.distilled, ReadConfig(config.category, config.subset, classes=classes))


def _measure(
    config: ComplexityConfig, distilled: DistilledSet, real: dict[int, dict], device: torch.device
) -> list[dict[str, object]]:
    subset = distilled.definition
    classifier = load_classifier(config, device)
    if config.target == "true" and not classifier.knows_imagenet:
        raise InputError(
            f"--target true: the {classifier.outputs} outputs of {config.model} are no classes of ImageNet"
        )
    rows = []
    with mapper_of(classifier, config.method) as mapper:
        for entry in subset.classes:
            places = (distilled.classes == entry.label).nonzero().flatten()
            if not len(places):
                continue
            complexity, right = _of_class(config, classifier, mapper, distilled, places, entry.imagenet_index)
            found, beside = class_complexity(complexity), real.get(entry.imagenet_index)
            row = {"label": entry.label, "name": entry.name, "mean": found.mean, "std": found.std, "n": found.n}
            row |= {"recognised": right, "real_mean": None, "real_n": None, "difference": None}
            if beside:
                difference = found.mean - beside["mean"]
                row |= {"real_mean": beside["mean"], "real_n": beside["n"], "difference": difference}
            rows.append(row)
    content = {"settings": config.decisive(), "distilled": distilled.sha256, "weights": classifier.digest}
    write_json(Path(config.output_dir) / FILE_NAME, content | {"classes": rows})
    return rows


def _of_class(
    config: ComplexityConfig,
    classifier: Classifier,
    mapper: Mapper,
    distilled: DistilledSet,
    places: torch.Tensor,
    imagenet_index: int,
) -> tuple[list[float], float | None]:
    """Return the complexity of each image of a class, and the share that the classifier takes for that class."""
    values, right = [], 0
    for number, part in enumerate(places.split(config.batch_size)):
        images = given_to(distilled.images[part], classifier, config.image_size)
        targets = torch.full((len(part),), imagenet_index) if config.target == "true" else None
        maps, predicted, _ = mapper(images.to(classifier.device), config.seed + number, targets)
        values += complexity_from_maps(maps, config.threshold).tolist()
        right += (predicted == imagenet_index).sum().item()
    return values, right / len(places) if classifier.knows_imagenet else None
