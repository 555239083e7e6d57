"""A set between its files and a `DistilledSet`: as stored (`RawSet`), and as understood (`Interpreted`)."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from compdd_eval.data.subset_files import Subset
from compdd_eval.distilled.metadata import SetRecord


@dataclass
class RawSet:
    """The parts of a distilled set as a reader finds them.

    Attributes:
        images: Any tensor that the file calls images.
        labels: Any tensor that the file calls labels.
        lr: The learned rate, as stored, or None.
        names: What the values 0, 1, ... of `labels` are called in the source (folders, keys, class names), if they
            have names.
        folders: Where `labels` come from elsewhere than the names: for each image the position of its folder's name.
        pixel_range: The range of the images, where the format leaves no doubt.
        record: What `distilled.json` says; empty where there is none.
        origin: Where the set comes from: `files`, or `repository`, `revision` and, in a folder of it, `folder`.
        remarks: What the reader did that a user should know.
        guesses: What the reader guessed, as (what, the guess, the flag that states it).
        doubts: What may be meant otherwise, in words.
        view_labels: File of its labels of views, or None.
    """

    images: torch.Tensor
    labels: torch.Tensor
    lr: object = None
    names: list[str] | None = None
    folders: torch.Tensor | None = None
    pixel_range: str | None = None
    record: SetRecord = SetRecord()
    origin: dict[str, object] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    guesses: list[tuple[str, str, str]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    view_labels: Path | None = None

    @property
    def name(self) -> str:
        """What to call the set in messages."""
        return name_of(self.origin)


@dataclass
class Interpreted:
    """Tensors in the terms of a `DistilledSet`, not yet checked, and how they were understood.

    Attributes:
        images: float32, ImageNet-normalised.
        labels: In the order of the subset.
        label_kind: `hard`, `logits` or `probabilities`.
        subset: The subset that the set is for, where it is known.
        guesses: What was guessed, as (what, the guess, the flag that states it).
        remarks: What was done to the set.
        doubts: What is said of the set, and does not look so.
        factor: Images of a side of the mosaics that were cut; 1 where there were none.
    """

    images: torch.Tensor
    labels: torch.Tensor
    label_kind: str
    subset: Subset | None
    guesses: list[tuple[str, str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    factor: int = 1

    @property
    def notes(self) -> dict[str, list[str]]:
        """Guesses and remarks in words, as `DistilledSet.origin` keeps them; what is empty is left out."""
        guesses = [f"{what}: {guess} ({flag})" for what, guess, flag in self.guesses]
        return {name: notes for name, notes in (("guesses", guesses), ("remarks", self.remarks)) if notes}


def name_of(origin: dict[str, object]) -> str:
    """Return the files or the repository of an origin, in words."""
    files = origin.get("files")
    if isinstance(files, dict):
        return ", ".join(map(str, files.values()))
    if "repository" in origin:
        inside = f"/{origin['folder']}" if "folder" in origin else ""
        return f"{origin['repository']}{inside}@{origin['revision']}"
    return "the distilled set"


def notes_of(origin: dict[str, object]) -> list[tuple[str, str]]:
    """Return what was guessed and done when a set was read, as rows of a table."""
    rows = [("guessed", note) for note in origin.get("guesses", [])]
    return rows + [("done", note) for note in origin.get("remarks", [])]
