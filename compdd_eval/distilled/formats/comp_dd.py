"""Our format: a folder with `distilled.safetensors`, `distilled.json`, `preview.png` and the card, `README.md`.

A set with labels of views has `view_labels.safetensors`, too.
"""

import os
from pathlib import Path

from compdd_eval.distilled.card import CARD_NAME, set_card, title_of
from compdd_eval.distilled.raw_set import RawSet
from compdd_eval.distilled.formats.arrays import load_safetensors
from compdd_eval.distilled.formats.parts import NOTE
from compdd_eval.distilled.metadata import RECORD_NAME, SetRecord, read_record
from compdd_eval.distilled.preview import save_preview
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.distilled.view_labels import VIEW_LABELS_NAME
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import atomic_write, check_writable, write_json, write_text

TENSORS_NAME = "distilled.safetensors"
PREVIEW_NAME = "preview.png"
_TITLE = 60  # letters of a method's name that a title has
FILES = (TENSORS_NAME, RECORD_NAME, PREVIEW_NAME, CARD_NAME, VIEW_LABELS_NAME)


def save_folder(distilled: SetTensors, folder: str | os.PathLike) -> None:
    """Write a set as our files, each whole or not at all.

    Raises:
        InputError: The folder cannot be written, or holds a card that is none of ours.
    """
    folder = Path(os.path.expanduser(folder))
    check_writable(folder, "folder")
    check_card(folder)
    record = SetRecord.of(distilled)
    # the record after the tensors: where this is cut off in between, its digest does not fit, and reading says so
    with atomic_write(folder / TENSORS_NAME) as path:
        write_tensors(distilled, path)
    if distilled.view_labels is not None:
        distilled.view_labels.copy_to(folder)
    write_json(folder / RECORD_NAME, record.as_json())
    if distilled.view_labels is None:
        (folder / VIEW_LABELS_NAME).unlink(missing_ok=True)
    with atomic_write(folder / PREVIEW_NAME) as path:
        save_preview(distilled, distilled.label_names, path, short_title(record))
    write_text(folder / CARD_NAME, set_card(record))


def read_folder(folder: Path) -> RawSet:
    """Read our format.

    Raises:
        InputError: A file is missing, damaged or no such file.
    """
    path = folder / TENSORS_NAME
    if not path.is_file():
        raise InputError(f"{folder}: {RECORD_NAME} is here, {TENSORS_NAME} is missing; get the set again")
    tensors, record = load_safetensors(path), read_record(folder)
    if not {"images", "labels"} <= tensors.keys():
        found = ", ".join(tensors) or "nothing"
        raise InputError(f"{path}: holds {found}, expected images and labels; get or save it again")
    return RawSet(
        images=tensors["images"],
        labels=tensors["labels"],
        lr=record.lr if record else None,
        record=record or SetRecord(),
        origin={"files": {"images": str(path)}},
        view_labels=folder / VIEW_LABELS_NAME if (folder / VIEW_LABELS_NAME).is_file() else None,
        remarks=[] if record else [f"{folder}: without {RECORD_NAME}, so its rate, classes and source are lost"],
    )


def check_card(folder: Path) -> None:
    """Raise InputError where the folder has a card that was not written for a distilled set."""
    path = folder / CARD_NAME
    if path.is_file() and not (folder / RECORD_NAME).is_file():
        raise InputError(f"{path}: is there already, and no {RECORD_NAME} beside it; give a new or empty folder")


def write_tensors(distilled: SetTensors, path: Path, note: str | None = None) -> None:
    """Write images and labels, exactly, as `.safetensors`; with a note (the record as JSON), the learned rate, too."""
    from safetensors.torch import save_file

    # in our folder `distilled.json` has the rate; a single file has to carry it itself
    tensors = {name: tensor.contiguous() for name, tensor in distilled.stored.items() if note or name != "lr"}
    save_file(tensors, str(path), {"format": "pt"} | ({NOTE: note} if note else {}))


def short_title(record: SetRecord) -> str:
    """Return what the preview says above the images, and the Hub of the commit."""
    return title_of(record, unknown_method="", letters=_TITLE)
