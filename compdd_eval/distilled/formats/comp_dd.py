"""Our format: a folder with `distilled.safetensors`, `distilled.json`, `preview.png` and the card, `README.md`."""

from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.distilled.card import CARD_NAME
from compdd_eval.distilled.card import card_text
from compdd_eval.distilled.content import RawSet
from compdd_eval.distilled.formats.arrays import load_safetensors
from compdd_eval.distilled.formats.parts import NOTE
from compdd_eval.distilled.metadata import FACTS_NAME
from compdd_eval.distilled.metadata import facts_of
from compdd_eval.distilled.metadata import read_facts
from compdd_eval.distilled.preview import save_preview
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable
from compdd_eval.utils.files import write_json
from compdd_eval.utils.files import write_text
from compdd_eval.utils.files import atomic_write
from pathlib import Path
import os
import torch

TENSORS_NAME = "distilled.safetensors"
PREVIEW_NAME = "preview.png"
_TITLE = 60  # letters of a method's name that a title has
FILES = (TENSORS_NAME, FACTS_NAME, PREVIEW_NAME, CARD_NAME)


def save_folder(distilled: SetTensors, folder: str | os.PathLike) -> None:
    """Write a `DistilledSet` as our four files; each appears whole or not at all, the facts last of the two that count.

    Raises:
        InputError: The folder cannot be written, or holds a card that is none of ours.
    """
    folder = Path(os.path.expanduser(folder))
    check_writable(folder, "folder")
    check_card(folder)
    facts = facts_of(distilled)
    with atomic_write(folder / TENSORS_NAME) as path:
        write_tensors(distilled, path)
    write_json(folder / FACTS_NAME, facts)
    with atomic_write(folder / PREVIEW_NAME) as path:
        save_preview(distilled, distilled.label_names, path, title_of(distilled))
    write_text(folder / CARD_NAME, card_text(facts))


def read_folder(folder: Path) -> RawSet:
    """Read our format.

    Raises:
        InputError: A file is missing, damaged or no such file.
    """
    path = folder / TENSORS_NAME
    if not path.is_file():
        raise InputError(f"{folder}: {FACTS_NAME} is here, {TENSORS_NAME} is missing; get the set again")
    tensors, facts = load_safetensors(path), read_facts(folder)
    if not {"images", "labels"} <= set(tensors):
        found = ", ".join(tensors) or "nothing"
        raise InputError(f"{path}: holds {found}, expected images and labels; get or save it again")
    return RawSet(
        images=tensors["images"],
        labels=tensors["labels"],
        lr=facts.get("lr"),
        facts=facts,
        origin={"files": {"images": str(path)}},
        remarks=[] if facts else [f"{folder}: without {FACTS_NAME}, so its rate, classes and source are lost"],
    )


def check_card(folder: Path) -> None:
    """Raise InputError where the folder has a card that was not written for a distilled set."""
    path = folder / CARD_NAME
    if path.is_file() and not (folder / FACTS_NAME).is_file():
        raise InputError(f"{path}: is there already, and no {FACTS_NAME} beside it; give a new or empty folder")


def write_tensors(distilled: SetTensors, path: Path, note: str | None = None) -> None:
    """Write images and labels, exactly, as `.safetensors`; with a note (the facts as JSON), the learned rate, too."""
    from safetensors.torch import save_file

    tensors = {"images": distilled.images.contiguous(), "labels": distilled.labels.contiguous()}
    if note is not None and distilled.lr is not None:
        tensors["lr"] = torch.tensor(distilled.lr, dtype=torch.float64)
    save_file(tensors, str(path), {"format": "pt"} | ({NOTE: note} if note else {}))


def title_of(distilled: SetTensors) -> str:
    """Return what the preview says above the images."""
    subset = distilled.definition
    parts = [distilled.metadata.get("method"), subset.name if subset else None, f"IPC {distilled.ipc:g}"]
    return ", ".join(str(part)[:_TITLE] for part in [*parts, f"{distilled.resolution} px"] if part)
