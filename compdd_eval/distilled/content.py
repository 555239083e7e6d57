"""What a file holds before it is known what it means: tensors as stored, and what is said of them."""

from dataclasses import dataclass, field

import torch

from compdd_eval.utils.errors import InputError

MAX_BYTES = 4 * 2**30  # of a set's images in float32; all training images of a subset at 128 px are 2.6 GB
_VALUE = 4  # bytes of a float32


@dataclass
class RawSet:
    """The parts of a distilled set as a reader finds them.

    Attributes:
        images: Any tensor that the file calls images.
        labels: Any tensor that the file calls labels.
        lr: The learned rate, as stored, or None.
        names: What the values 0, 1, ... of `labels` are called in the source (folders, keys, class names), if they
            have names.
        places: Where `labels` come from elsewhere than the names: for each image the position of its name.
        pixel_range: The range of the images, where the format leaves no doubt.
        facts: What `distilled.json` says, as of `compdd_eval.distilled.metadata.read_facts`.
        origin: Where the set comes from: `files`, or `repository`, `revision` and, in a folder of it, `folder`.
        remarks: What the reader did that a user should know.
        guesses: What the reader guessed, as (what, the guess, the flag that states it).
        doubts: What may be meant otherwise, in words.
    """

    images: torch.Tensor
    labels: torch.Tensor
    lr: object = None
    names: list[str] | None = None
    places: torch.Tensor | None = None
    pixel_range: str | None = None
    facts: dict[str, object] = field(default_factory=dict)
    origin: dict[str, object] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    guesses: list[tuple[str, str, str]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What to call the set in messages."""
        return name_of(self.origin)


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


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a dense one of real numbers, with data."""
    return tensor.layout == torch.strided and not (tensor.is_complex() or tensor.is_quantized or tensor.is_meta)


def check_size(name: str, values: int) -> None:
    """Raise InputError where so many values would take more memory as float32 than a distilled set may have."""
    if values * _VALUE > MAX_BYTES:
        raise InputError(
            f"{name}: claims {values:,} values, {values * _VALUE // 10**9:,} GB as float32; a distilled set has at "
            f"most {MAX_BYTES / 10**9:.1f} GB; check the file"
        )
