"""Read and check what `complexity` wrote beside the scores of classes: the settings, and examples with their maps."""

import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from compdd_eval.complexity.candidates import ClassScore
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import read_json

_MOST_PIXELS = 4096  # of a side of an example
_KEPT_PIXELS = 300  # of a side: more than a figure shows


@dataclass(frozen=True)
class Facts:
    """What `scores.json` says; `top1` is a fraction, or None where the classifier has other classes."""

    model: str
    method: str
    layer: str
    split: str
    images: int
    top1: float | None
    threshold: float


@dataclass(frozen=True)
class Example:
    """The image that is nearest the mean of its class: RGB, its map in grey, and its complexity as a fraction."""

    image: Image.Image
    map: Image.Image
    complexity: float


def _fraction(where: str, name: str, value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:  # NaN is not
        raise InputError(f"{where}: {name} {str(value)[:50]}, expected a number in [0, 1]")
    return float(value)


def read_score_facts(folder: Path) -> Facts:
    """Read `scores.json`; raise InputError, naming the file, where it is not what `complexity` writes."""
    path = folder / "scores.json"
    content = _settings_of(path)
    words = {name: content.get(name) for name in ("model", "method", "layer", "split")}
    for name, word in words.items():
        if not isinstance(word, str) or not word.strip():
            raise InputError(f"{path}: {name} {str(word)[:50]!r}, expected a word")
    images, top1 = content.get("images"), content.get("top1")
    if type(images) is not int or not 1 <= images <= 10**12:
        raise InputError(f"{path}: images {str(images)[:50]}, expected a whole number from 1")
    if top1 is not None:
        top1 = _fraction(str(path), "top1", top1)
    threshold = _fraction(str(path), "threshold", content.get("threshold"))
    return Facts(images=images, top1=top1, threshold=threshold, **words)


def read_examples(folder: Path, classes: list[ClassScore]) -> dict[int, Example]:
    """Return the examples by label; classes that have none are left out.

    Raises:
        InputError: `examples.json` or a picture is damaged, or of a pair of pictures one is missing.
    """
    path = folder / "examples.json"
    content = _settings_of(path) if path.exists() else {}
    examples = {}
    for entry in classes:
        key = f"{entry.index:04d}"
        if key not in content:
            continue
        if not isinstance(content[key], dict):
            raise InputError(f"{path}: {key}: expected settings by name")
        complexity = _fraction(f"{path}: {key}", "complexity", content[key].get("complexity"))
        pair = [folder / "examples" / f"{key}.png", folder / "examples" / f"{key}_map.png"]
        if any(picture.exists() for picture in pair):
            examples[entry.index] = _example(*pair, complexity)
    return examples


def _example(image: Path, activation: Path, complexity: float) -> Example:
    pictures = _picture(image, "RGB"), _picture(activation, "L")
    if pictures[0].size != pictures[1].size:
        raise InputError(f"{activation}: of another size than {image.name}")
    for picture in pictures:
        picture.thumbnail((_KEPT_PIXELS, _KEPT_PIXELS))
    return Example(*pictures, complexity)


def _picture(path: Path, mode: str) -> Image.Image:
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            if max(picture.size) > _MOST_PIXELS or min(picture.size) < 2:
                raise InputError(f"{path}: {picture.width} x {picture.height} pixels, expected 2 to {_MOST_PIXELS}")
            if picture.mode != mode:
                raise InputError(f"{path}: pixels of kind {picture.mode}, expected {mode}")
            return picture.copy()
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing; `complexity` writes an image and its map") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a whole PNG picture ({error})") from error


def _settings_of(path: Path) -> dict[str, object]:
    content = read_json(path, "cannot be read ({}); `complexity` writes it")
    values = content.values() if isinstance(content, dict) else [math.nan]
    if not all(math.isfinite(value) for value in values if isinstance(value, float)):
        raise InputError(f"{path}: expected finite values by name")
    return content
