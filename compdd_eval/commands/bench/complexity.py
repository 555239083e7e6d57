"""Measure how fast images are scored, against the bare passes through the network that the method needs."""

import io
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torchvision import models
from tqdm.auto import tqdm

from compdd_eval.commands.bench.machine import device_type, machine
from compdd_eval.complexity.classifier import Classifier
from compdd_eval.complexity.images import ClassImages
from compdd_eval.complexity.maps import SAMPLES, mapper_of
from compdd_eval.complexity.score import score_class
from compdd_eval.config.bench import BenchConfig
from compdd_eval.config.complexity import METHODS, ComplexityConfig
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.utils.console import print_table
from compdd_eval.utils.devices import repeatable
from compdd_eval.utils.process_memory import keep_memory

_LAYER = "layer4"
_RATES = ("images_per_second", "bare_images_per_second")
_COUNTS = dict.fromkeys(METHODS, (1, 1)) | {"smoothgradcampp": (1 + SAMPLES, SAMPLES)}  # forward, backward passes


def bench_complexity(config: BenchConfig) -> list[dict[str, object]]:
    """Time scoring (reading, decoding, maps, tables) and bare passes in turns, for every method; ResNet-18 at 224 px.

    Returns:
        For each method: `method`, `images_per_second`, `bare_images_per_second`, `ratio` (the first over the second).
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    keep_memory()  # as `score` does
    repeatable()
    device = torch.device(device_type())
    torch.manual_seed(0)
    network = models.resnet18(weights=None).eval().requires_grad_(False).to(device)
    classifier = Classifier(network, IMAGENET_MEAN, IMAGENET_STD, "random", "", _LAYER, device, 1000)
    entry = _drawn(config.images, config.side)
    rows = []
    with tqdm(total=len(METHODS) * (config.repeats + 1), leave=False) as bar:
        for method in METHODS:
            bar.set_description(method)
            rows.append(_timed(config, classifier, entry, method, bar))
    return rows


def _timed(
    config: BenchConfig, classifier: Classifier, entry: ClassImages, method: str, bar: tqdm
) -> dict[str, object]:
    settings = ComplexityConfig(method=method)
    size = settings.image_size
    images = torch.randn(min(settings.batch_size, config.images), 3, size, size)
    images = images.to(classifier.device)  # drawn on the CPU: the same everywhere
    names = [str(place) for place in range(classifier.outputs)]
    ours, bare = [], []
    with mapper_of(classifier, method) as mapper:
        for turn in range(config.repeats + 1):
            seconds = _seconds(lambda: score_class(settings, classifier, mapper, entry, names))
            passes = _seconds(lambda: _bare(classifier, images, *_COUNTS[method]))
            if turn:  # the first one warms up
                ours.append(len(entry.keys) / seconds)
                bare.append(len(images) / passes)
            bar.update()
    rates = sum(ours) / len(ours), sum(bare) / len(bare)
    return {"method": method, **dict(zip(_RATES, rates, strict=True)), "ratio": rates[0] / rates[1]}


def _bare(classifier: Classifier, images: torch.Tensor, forward: int, backward: int) -> None:
    """Run the passes that a method needs: forward, and backward to the layer that is mapped."""
    seen = {}
    layer = classifier.network.get_submodule(classifier.layer)
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.update(layer=output))
    for number in range(forward):
        logits = classifier.network(images)
        if number < backward:
            torch.autograd.grad(logits.max(dim=1).values.sum(), seen["layer"])
    handle.remove()
    if images.device.type == "cuda":
        torch.cuda.synchronize()


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _drawn(number: int, side: int) -> ClassImages:
    """Return a class of JPEG files in memory, of the size and with the detail of photographs."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(number):
        coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8))
        stream = io.BytesIO()
        coarse.resize((side, side * 7 // 8), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())

    def read(positions: list[int]) -> Iterator[tuple[int, bytes]]:
        return ((position, files[position]) for position in positions)

    return ClassImages(0, "", "drawn", [f"{place}.JPEG" for place in range(number)], read)


def print_rows(config: BenchConfig, rows: list[dict[str, object]]) -> None:
    """Print a table."""
    lines = [[row["method"], *(f"{row[rate]:.1f}" for rate in _RATES), f"{row['ratio']:.2f} x"] for row in rows]
    header = ["method", "images/s>", "bare passes>", "ratio>"]
    print_table(f"Complexity of {config.images} images: ResNet-18 at 224 px, {machine()}", header, lines)
