"""Pictures of a distilled set beside its results: what a report shows on a machine that has not the set."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.distilled.preview import to_picture
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import atomic_write, write_json

SHEET_NAME = "pictures.png"
LABELS_NAME = "pictures.json"
MOST_OF_A_CLASS = 10  # images that are kept of each class
_COLUMNS = 10
_MOST_SIDE = 4096  # pixels of an image, as much as is read of untrusted files
_DIGITS = 4


@dataclass(frozen=True)
class Picture:
    """One distilled image to look at.

    Attributes:
        image: RGB, 8 bits; values outside [0, 1] after denormalising were clipped.
        label: Its class, 0-9; of a soft label the largest.
        soft_label: Ten probabilities, or None for a hard label.
    """

    image: Image.Image
    label: int
    soft_label: list[float] | None


@dataclass(frozen=True)
class Sheet:
    """The pictures of a set.

    Attributes:
        picture: All images, RGB, 8 bits.
        facts: Their labels, and side in pixels, as JSON can hold it.
    """

    picture: Image.Image
    facts: dict[str, object]

    def write(self, folder: Path) -> None:
        """Write the picture as PNG and the facts as JSON; `pictures.png` and `pictures.json` are replaced."""
        with atomic_write(folder / SHEET_NAME) as temporary:
            self.picture.save(temporary)
        write_json(folder / LABELS_NAME, self.facts)


def sheet_of(distilled: SetTensors) -> Sheet:
    """Return one sheet with the first `MOST_OF_A_CLASS` images of each class."""
    indices = _shown(distilled.classes)
    side = distilled.resolution
    sheet = Image.new("RGB", _size(len(indices), side))
    for number, index in enumerate(indices):
        sheet.paste(to_picture(distilled.images[index]), _corner(number, side))
    soft = _soft_labels(distilled)
    entries = [
        {"label": int(distilled.classes[index]), "soft_label": None if soft is None else soft[index]}
        for index in indices
    ]
    return Sheet(sheet, {"side": side, "images_of_the_set": len(distilled.images), "images": entries})


def read_pictures(folder: Path) -> list[Picture]:
    """Read what a `Sheet` wrote; nothing where there are none.

    Raises:
        InputError: The files are damaged, or no such pictures.
    """
    if not (folder / LABELS_NAME).is_file():
        return []
    advice = "delete it, and evaluate again to have it written anew"
    try:
        facts = json.loads((folder / LABELS_NAME).read_text(encoding="utf-8"))
        side, entries = facts["side"], facts["images"]
        if not (0 < side <= _MOST_SIDE and len(entries) <= MOST_OF_A_CLASS * NUM_CLASSES):
            raise ValueError("it is too large")
        with Image.open(folder / SHEET_NAME) as sheet:
            if sheet.size != _size(len(entries), side):
                raise ValueError(f"{SHEET_NAME} beside it is of another size")
            sheet = sheet.convert("RGB")
        pictures = []
        for number, entry in enumerate(entries):
            left, top = _corner(number, side)
            label, soft = int(entry["label"]), entry["soft_label"]
            soft = None if soft is None else [float(value) for value in soft]
            if not 0 <= label < NUM_CLASSES or (soft is not None and len(soft) != NUM_CLASSES):
                raise ValueError("it has labels of another kind")
            pictures.append(Picture(sheet.crop((left, top, left + side, top + side)), label, soft))
        return pictures
    except (OSError, ValueError, KeyError, TypeError, RecursionError, Image.DecompressionBombError) as error:
        raise InputError(f"{folder / LABELS_NAME}: no pictures of a set ({error}); {advice}") from error


def _shown(classes: torch.Tensor) -> list[int]:
    """Return indices of images: class by class, in the order of the set."""
    return [
        index
        for label in range(NUM_CLASSES)
        for index in (classes == label).nonzero().flatten().tolist()[:MOST_OF_A_CLASS]
    ]


def _size(number: int, side: int) -> tuple[int, int]:
    return min(number, _COLUMNS) * side, -(-number // _COLUMNS) * side


def _corner(number: int, side: int) -> tuple[int, int]:
    return number % _COLUMNS * side, number // _COLUMNS * side


def _soft_labels(distilled: SetTensors) -> list[list[float]] | None:
    if distilled.label_kind == "hard":
        return None
    labels = distilled.labels.float()
    probabilities = labels.softmax(dim=1) if distilled.label_kind == "logits" else labels
    return [[round(value, _DIGITS) for value in row] for row in probabilities.tolist()]
