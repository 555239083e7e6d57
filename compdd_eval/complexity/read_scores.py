"""Read and check what `complexity` wrote: the mean of each class, the settings, and an example with its map."""

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import read_json

_NEEDED = ("imagenet_label", "wnid", "name", "mean", "n")
_NUMBERS = ("std", "ci_low", "ci_high")  # may be empty
_MOST_PIXELS = 4096  # of a side of an example
_KEPT_PIXELS = 300  # of a side: more than a figure shows


@dataclass(frozen=True)
class ClassMean:
    """One row of `classes.csv`: complexity as a fraction, over `images` images; `wnid` is empty outside ImageNet."""

    label: int
    wnid: str
    name: str
    mean: float
    images: int


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


def read_classes(folder: Path) -> list[ClassMean]:
    """Read `classes.csv`.

    Raises:
        InputError: The folder or the file is missing, or is not what `complexity` writes; the message names the file.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that `complexity` wrote")
    path = folder / "classes.csv"
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := [name for name in _NEEDED if name not in (reader.fieldnames or ())]:
                raise InputError(f"{path}: no column {missing[0]}; expected a file that `complexity` wrote")
            classes = [_class(path, number, row) for number, row in enumerate(reader, start=1)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); `complexity` writes it") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if not classes:
        raise InputError(f"{path}: has no classes")
    wnids = [entry.wnid for entry in classes if entry.wnid]
    for name, values in (("imagenet_label", [entry.label for entry in classes]), ("wnid", wnids)):
        for place, value in enumerate(values):
            if value in values[:place]:
                raise InputError(f"{path}: {name} {value} occurs twice")
    return classes


def _class(path: Path, number: int, row: dict[str | None, object]) -> ClassMean:
    where = f"{path}: row {number}"
    if None in row or None in row.values():
        raise InputError(f"{where}: has more or fewer values than columns")
    for name in _NUMBERS:
        if row.get(name):
            _parsed(where, name, row[name])
    wnid, name = row["wnid"].strip(), " ".join(row["name"].split())
    if not name:
        raise InputError(f"{where}: the class has no name")
    mean = _fraction(where, "mean", _parsed(where, "mean", row["mean"]))
    return ClassMean(_whole(where, "imagenet_label", row, 0), wnid, name, mean, _whole(where, "n", row, 1))


def _parsed(where: str, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{where}: {name} {text[:50]!r}, expected a number") from error


def _whole(where: str, name: str, row: dict[str, str], least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", row[name].strip()) or int(row[name]) < least:
        raise InputError(f"{where}: {name} {row[name][:50]!r}, expected a whole number from {least}")
    return int(row[name])


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


def read_examples(folder: Path, classes: list[ClassMean]) -> dict[int, Example]:
    """Return the examples by label; classes that have none are left out.

    Raises:
        InputError: `examples.json` or a picture is damaged, or of a pair of pictures one is missing.
    """
    path = folder / "examples.json"
    content = _settings_of(path) if path.exists() else {}
    examples = {}
    for entry in classes:
        key = f"{entry.label:04d}"
        if key not in content:
            continue
        if not isinstance(content[key], dict):
            raise InputError(f"{path}: {key}: expected settings by name")
        complexity = _fraction(f"{path}: {key}", "complexity", content[key].get("complexity"))
        pair = [folder / "examples" / f"{key}.png", folder / "examples" / f"{key}_map.png"]
        if any(picture.exists() for picture in pair):
            examples[entry.label] = _example(*pair, complexity)
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
