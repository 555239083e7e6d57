"""Score all images of all classes: classes are shared out over the processes, finished ones are kept."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from compdd_eval.complexity.classifier import Classifier, Pretrained, load_classifier
from compdd_eval.complexity.images import ClassImages, LabelledImages, open_images
from compdd_eval.complexity.maps import NOISE, SAMPLES, Mapper, mapper_of
from compdd_eval.complexity.measure import complexity_from_maps
from compdd_eval.complexity.scores_folder import ClassScores, ScoresFolder, png_of_image, png_of_map
from compdd_eval.config.complexity import ComplexityConfig
from compdd_eval.data.synsets import synsets
from compdd_eval.data.transforms import decode_rgb, denormalise, resize
from compdd_eval.utils.devices import send
from compdd_eval.utils.digests import digest_of
from compdd_eval.utils.environment import versions
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable
from compdd_eval.utils.processes import make_accelerator, on_main_process, set_torch

_ADVICE = "mend or remove it and run again"
_AHEAD = 2  # batches that are decoded while one is mapped


def score(config: ComplexityConfig, accelerator: Accelerator | None = None) -> list[dict[str, object]]:
    """Measure the complexity of every image; every process must call this.

    Returns:
        The rows of `classes.csv` (mean, std and interval as fractions), in the order of the labels.

    Raises:
        InputError: Anything in the settings, the images or the weights that the user can mend.
    """
    accelerator = accelerator or make_accelerator()
    set_torch(config.threads, accelerator)
    labelled = open_images(config)
    with accelerator.main_process_first():  # which may download the weights
        classifier = load_classifier(config, accelerator.device)
    names = class_names(labelled, classifier)
    _check_target(config, labelled, classifier)
    digest = _digest(config, classifier, labelled)
    if len(set(gather_object([digest]))) > 1:
        raise InputError(f"--model {config.model}: its weights differ from process to process; give --weights")
    folder = ScoresFolder(Path(config.output_dir), digest)
    pending = on_main_process(accelerator, lambda: _pending(config, folder, labelled))
    mine = [labelled.classes[place] for place in pending[accelerator.process_index :: accelerator.num_processes]]
    scored = []
    total = sum(len(entry.drawn(config.images_per_class, config.seed)) for entry in mine)
    hidden = not accelerator.is_main_process or not total
    with mapper_of(classifier, config.method) as mapper, tqdm(total=total, unit="image", disable=hidden) as bar:
        for entry in mine:
            bar.set_description(entry.name)
            found = score_class(config, classifier, mapper, entry, names, bar)
            folder.write(found)
            scored.append(found)
    if accelerator.num_processes > 1:
        scored = gather_object(scored)
    return on_main_process(accelerator, lambda: _finish(config, folder, labelled, classifier, scored))


def score_class(
    config: ComplexityConfig,
    classifier: Classifier,
    mapper: Mapper,
    entry: ClassImages,
    names: list[str],
    bar: tqdm | None = None,
) -> ClassScores:
    """Score the images of one class; the noise of a batch depends on the seed, the class and its place alone."""
    positions = entry.drawn(config.images_per_class, config.seed)
    complexity, predicted, confidence, kept = [], [], [], []
    for number, images in enumerate(_batches(config, classifier, entry, positions)):
        targets = torch.full((len(images),), entry.label) if config.target == "true" else None
        maps, classes, sure = mapper(images, int(digest_of([config.seed, entry.label, number]), 16), targets)
        complexity += complexity_from_maps(maps, config.threshold).tolist()
        predicted += classes.tolist()
        confidence += sure.tolist()
        kept += maps
        if bar is not None:
            bar.update(len(images))
    keys, shown = [entry.keys[place] for place in positions], _nearest_the_mean(complexity)
    ((_, data),) = entry.read([positions[shown]])
    image = _in_unit_range(config, data, f"{entry.name}: {keys[shown]}")
    return ClassScores(
        label=entry.label,
        wnid=entry.wnid,
        name=entry.name,
        source=entry.digest,
        keys=keys,
        complexity=complexity,
        predicted=predicted,
        confidence=confidence,
        example={"key": keys[shown], "complexity": complexity[shown], "predicted": names[predicted[shown]]},
        pictures={"image": png_of_image(image), "map": png_of_map(kept[shown], config.image_size)},
    )


def _nearest_the_mean(values: list[float]) -> int:
    mean = sum(values) / len(values)
    return min(range(len(values)), key=lambda place: abs(values[place] - mean))


def _batches(
    config: ComplexityConfig, classifier: Classifier, entry: ClassImages, positions: list[int]
) -> Iterator[torch.Tensor]:
    """Yield batches of normalised images, in the order of the positions; the next ones are decoded meanwhile."""
    parts = [positions[start : start + config.batch_size] for start in range(0, len(positions), config.batch_size)]
    with ThreadPoolExecutor(1) as pool:
        decoding = (pool.submit(_decoded, config, classifier, entry, part) for part in parts)
        waiting = list(itertools.islice(decoding, _AHEAD))
        while waiting:
            images = waiting.pop(0).result()
            waiting += itertools.islice(decoding, 1)
            yield send(images, classifier.device)


def _decoded(
    config: ComplexityConfig, classifier: Classifier, entry: ClassImages, positions: list[int]
) -> torch.Tensor:
    images = torch.empty(len(positions), 3, config.image_size, config.image_size)
    slots = {position: slot for slot, position in enumerate(positions)}
    for position, data in entry.read(positions):
        images[slots[position]] = _in_unit_range(config, data, f"{entry.name}: {entry.keys[position]}")
    return normalise_for(images, classifier)


def _in_unit_range(config: ComplexityConfig, data: bytes, name: str) -> torch.Tensor:
    return resize(decode_rgb(data, name, _ADVICE), (config.image_size, config.image_size))


def normalise_for(images: torch.Tensor, classifier: Pretrained) -> torch.Tensor:
    """Normalise images float `[N, 3, H, W]` or `[3, H, W]` in [0, 1] as the classifier wants them."""
    mean, std = torch.tensor([classifier.mean, classifier.std], device=images.device).view(2, 3, 1, 1)
    return (images - mean) / std


def given_to(images: torch.Tensor, classifier: Pretrained, size: int) -> torch.Tensor:
    """Return images as a classifier of photographs takes them.

    Args:
        images: Float `[N, 3, H, W]`, ImageNet-normalised; values outside [0, 1] after denormalising are clipped.
        classifier: Its mean and standard deviation are taken.
        size: Side in pixels that they are resized to, bilinear with antialiasing.
    """
    images = denormalise(images).clamp(0, 1)
    images = torch.nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True).clamp(0, 1)
    return normalise_for(images, classifier)


def class_names(labelled: LabelledImages, classifier: Classifier) -> list[str]:
    """Return the name of each output of the classifier."""
    if classifier.knows_imagenet:
        return [synset.name for synset in synsets()]
    known = {entry.label: entry.name for entry in labelled.classes}
    return [known.get(place, f"output {place}") for place in range(classifier.outputs)]


def _check_target(config: ComplexityConfig, labelled: LabelledImages, classifier: Classifier) -> None:
    """Refuse `--target true` where the outputs of the classifier are not the classes of the images."""
    most = max(entry.label for entry in labelled.classes)
    same = classifier.knows_imagenet == labelled.imagenet and most < classifier.outputs
    if config.target == "true" and not same:
        raise InputError(
            f"--target true: the {classifier.outputs} outputs of {config.model} are not the classes of these images; "
            "give --target predicted, or a classifier of these classes"
        )


def _digest(config: ComplexityConfig, classifier: Classifier, labelled: LabelledImages) -> str:
    network = [classifier.digest, classifier.layer, classifier.mean, classifier.std]
    return digest_of([config.decisive(), network, labelled.identity])


def _pending(config: ComplexityConfig, folder: ScoresFolder, labelled: LabelledImages) -> list[int]:
    """Return the places of the classes that are not finished."""
    check_writable(folder.folder, "--output_dir")
    if folder.foreign():
        if not config.overwrite:
            advice = "give another --output_dir, or --overwrite"
            raise InputError(f"{folder.folder}: holds scores of other settings or data; {advice}")
        folder.clear()
    if not config.overwrite and (stale := [e.name for e in labelled.classes if folder.stale(e.label, e.digest)]):
        found = f"scores of {stale[0]} from other images ({len(stale)} such classes)"
        raise InputError(
            f"{folder.folder}: holds {found}; give another --output_dir, or --overwrite to score them again"
        )
    return [place for place, entry in enumerate(labelled.classes) if not folder.has(entry.label, entry.digest)]


def _finish(
    config: ComplexityConfig,
    folder: ScoresFolder,
    labelled: LabelledImages,
    classifier: Classifier,
    scored: list[ClassScores],
) -> list[dict[str, object]]:
    for found in scored:
        if not folder.has(found.label, found.source):  # made on the disk of another machine
            folder.write(found)
    settings = config.decisive() | {
        "layer": classifier.layer,
        "weights": classifier.weights,
        "weights_digest": classifier.digest,
        "outputs": classifier.outputs,
        "noise": {"samples": SAMPLES, "std": NOISE} if config.method == "smoothgradcampp" else None,
        "source": labelled.origin,
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return folder.finish(settings, labelled.imagenet and classifier.knows_imagenet)
