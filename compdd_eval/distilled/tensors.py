"""The validated tensors of a distilled set."""

import json
import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import torch

from compdd_eval.config.checks import MOST_FACTOR
from compdd_eval.data.choices import LABEL_KINDS
from compdd_eval.data.label_kinds import PROBABILITY_TOLERANCE, infer_label_kind
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.subsets import selected_subset
from compdd_eval.distilled.limits import check_size, is_plain
from compdd_eval.distilled.mosaics import FACTOR
from compdd_eval.distilled.pixel_range import Statistics, guess_pixel_range, to_normalised
from compdd_eval.distilled.view_labels import ViewLabels
from compdd_eval.utils.digests import digest_of_tensors
from compdd_eval.utils.errors import InputError, unknown

DESCRIPTION = ("method", "source_url", "paper", "licence", "protocol")  # what only the maker of a set can say
MAX_TEXT = 2000


@dataclass(frozen=True, eq=False, repr=False)
class SetTensors:
    """Distilled images with their labels, checked; `DistilledSet` adds reading and writing.

    Attributes:
        images: float32 `[N, 3, H, H]` in ImageNet-normalised space, finite, on the CPU.
        labels: int64 `[N]` with values 0-9, or finite float32 `[N, 10]`.
        label_kind: `hard` (int64 labels), `logits` (softmax is applied) or `probabilities` (rows sum to 1);
            None takes what the labels look like.
        lr: The learned rate for students, finite and above 0, or None.
        metadata: Anything else that is known, in values that JSON can hold; it is saved with the set. `category`,
            `subset` and `published`, or `classes`, say which subset the set is for (as of `Subset.selection`),
            `method`, `source_url`, `paper`, `licence` and `protocol` where it comes from; a card is made of these.
            `factor`: the images were cut from mosaics of so many images a side.
        origin: Where this copy was read from: `files`, or `repository` and `revision`; it is not saved with the set.
        view_labels: A teacher's outputs for augmented views of the images, in a file, or None.

    Raises:
        InputError: A tensor of the wrong type, rank, size or range; the message says which and what was expected.
    """

    images: torch.Tensor
    labels: torch.Tensor
    label_kind: str | None = None
    lr: float | None = None
    metadata: dict[str, object] = field(default_factory=dict)
    origin: dict[str, object] = field(default_factory=dict)
    view_labels: ViewLabels | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the record is frozen: what is stored is what was checked
        set_field(self, "images", checked_images(self.images))
        labels = checked_labels(self.labels, len(self.images))
        set_field(self, "labels", labels)
        set_field(self, "label_kind", checked_kind(self.label_kind, labels))
        set_field(self, "lr", checked_rate(self.lr))
        _check_metadata(self.metadata, len(self.images))
        if self.view_labels is not None:
            self.view_labels.check_images(self.images)

    @classmethod
    def of(
        cls,
        given: object,
        *,
        lr: float | torch.Tensor | None = None,
        label_kind: str | None = None,
        pixel_range: str = "normalised",
        statistics: Statistics | None = None,
    ) -> Self:
        """Return what is given as a set.

        Args:
            given: A set, or `(images, labels)`: tensors as the attributes say, on any device, which may have gradients
                (their graph is left alone).
            lr: The learned rate, a number or a tensor of one; None: that of the set.
            label_kind: What the labels of a pair are; None takes what they look like.
            pixel_range: Range of the images of a pair: `normalised`, `0-1` or `0-255`.
            statistics: Mean and standard deviation by which they are normalised; None: ImageNet's.

        Raises:
            InputError: It is neither, or no set can be made of it.
        """
        if isinstance(lr, torch.Tensor) and lr.numel() == 1:
            lr = lr.item()
        if isinstance(given, SetTensors):
            return given if lr is None else replace(given, lr=lr)
        if not isinstance(given, tuple | list) or len(given) != 2:
            what = f"{len(given)} things" if isinstance(given, tuple | list) else f"a {type(given).__name__}"
            raise InputError(f"the set is {what}, expected a DistilledSet, or two tensors: images and labels")
        images, labels = (_plain(tensor, name) for tensor, name in zip(given, ("images", "labels"), strict=True))
        return cls(to_normalised(images, pixel_range, statistics), labels, label_kind, lr)

    def __repr__(self) -> str:
        shape, lr = list(self.images.shape), "no rate" if self.lr is None else f"rate {self.lr:g}"
        name = self.definition.name if self.definition else "subset not stated"
        what = f"{name}, images {shape}, {self.label_kind} labels, {lr}, sha256 {self.sha256[:12]}..."
        return f"{type(self).__name__}({what})"

    @property
    def definition(self) -> Subset | None:
        """The subset that the set is for, as `metadata` says, or None."""
        return selected_subset(self.metadata)

    @property
    def label_names(self) -> list[str]:
        """Ten names in label order."""
        subset = self.definition
        return subset.label_names if subset else [f"label {label}" for label in range(NUM_CLASSES)]

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[-1]

    @property
    def stored(self) -> dict[str, torch.Tensor]:
        """What is written exactly: `images`, `labels` and, if there is a learned rate, `lr` (float64)."""
        rate = {} if self.lr is None else {"lr": torch.tensor(self.lr, dtype=torch.float64)}
        return {"images": self.images, "labels": self.labels, **rate}

    @property
    def classes(self) -> torch.Tensor:
        """int64 `[N]`: the label of each image, for soft labels the largest entry."""
        return self.labels if self.label_kind == "hard" else self.labels.argmax(dim=1)

    @property
    def class_counts(self) -> list[int]:
        """Number of images of each of the ten labels."""
        return torch.bincount(self.classes, minlength=NUM_CLASSES).tolist()

    @property
    def factor(self) -> int:
        """Images of a side that were stored in one, before mosaics were cut; 1 where there were none."""
        return self.metadata.get(FACTOR, 1)

    @property
    def decoded_ipc(self) -> int | float:
        """Images per class that students see: of the classes present where all have as many, else the mean over ten."""
        # music-hard as published has nine classes: ten images of each are IPC 10, not 9
        counts = {count for count in self.class_counts if count}
        if len(counts) == 1:
            return counts.pop()
        return _whole(len(self.images) / NUM_CLASSES)

    @property
    def ipc(self) -> int | float:
        """Images per class as the field counts them: stored ones; of mosaics, before they were cut."""
        return _whole(self.decoded_ipc / self.factor**2)

    @property
    def ipc_in_words(self) -> str:
        """`IPC 10`, and of mosaics how many images that makes."""
        return f"IPC {self.ipc:g}" + (f" ({self.decoded_ipc:g} decoded)" if self.factor > 1 else "")

    @property
    def sha256(self) -> str:
        """Digest over type, shape and bytes of images and labels."""
        return digest_of_tensors(self.images, self.labels)

    def remarks(self, labels: Iterable[int] = range(NUM_CLASSES)) -> list[str]:
        """Return what a user should know of the set before training on it, one line each; often nothing.

        Args:
            labels: The labels that the subset uses: all ten, but for a published list with fewer classes.
        """
        counts, remarks = self.class_counts, []
        missing = [label for label in labels if not counts[label]]
        if missing:
            remarks.append(f"no image has label {', '.join(map(str, missing))}: these classes cannot be learnt")
        unused = [label for label in set(range(NUM_CLASSES)) - set(labels) if counts[label]]
        if unused:
            remarks.append(f"the subset does not use label {', '.join(map(str, unused))}, but images have it")
        present = [count for count in counts if count]
        if len(set(present)) > 1:
            remarks.append(f"uneven: {min(present)} to {max(present)} images per class")
        return [*remarks, *filter(None, [range_remark(self.images)])]


def range_remark(images: torch.Tensor) -> str | None:
    """Say it where images that should be normalised look like others."""
    looks_like = guess_pixel_range(images)
    if looks_like == "normalised":
        return None
    values = f"values from {images.min().item():.3g} to {images.max().item():.3g}"
    interval = f"[{looks_like.replace('-', ', ')}]"
    return f"the images look like {interval}, not ImageNet-normalised ({values}): give --pixel_range {looks_like}"


def checked_images(images: torch.Tensor) -> torch.Tensor:
    """Return images as a `DistilledSet` holds them, or raise InputError."""
    images = _plain(images, "images")
    if images.ndim != 4 or images.shape[1] != 3:
        swapped = "; are images and labels swapped?" if images.ndim in (1, 2) else ""
        raise InputError(f"images have shape {list(images.shape)}, expected [N, 3, H, H]{swapped}")
    if not images.is_floating_point():
        raise InputError(f"images have type {images.dtype}, expected float32; 8-bit images need --pixel_range 0-255")
    if len(images) == 0:
        raise InputError("the set is empty, expected at least one image")
    if images.shape[2] != images.shape[3] or images.shape[2] == 0:
        raise InputError(f"images are {images.shape[2]} x {images.shape[3]} pixels, expected squares")
    return _finite(images.float(), "images")


def checked_labels(labels: torch.Tensor, number: int) -> torch.Tensor:
    """Return the labels of so many images as a `DistilledSet` holds them, or raise InputError."""
    labels = _plain(labels, "labels")
    if labels.ndim not in (1, 2):
        swapped = "; are images and labels swapped?" if labels.ndim == 4 else ""
        raise InputError(f"labels have shape {list(labels.shape)}, expected [N] or [N, {NUM_CLASSES}]{swapped}")
    if len(labels) != number:
        raise InputError(f"{number} images but {len(labels)} labels, expected as many of both")
    if labels.ndim == 2 and labels.shape[1] != NUM_CLASSES:
        raise InputError(f"labels have {labels.shape[1]} columns, expected one for each of the {NUM_CLASSES} classes")
    if labels.ndim == 2:
        rounded = labels.dtype == torch.bfloat16 and infer_label_kind(labels) == "probabilities"
        found = _finite(labels.float(), "labels")
        return found / found.sum(dim=1, keepdim=True) if rounded else found
    whole = labels.long()  # some save hard labels as floats
    if labels.is_floating_point() and not torch.equal(whole.to(labels.dtype), labels):
        raise InputError(f"labels [N] must be whole numbers 0-{NUM_CLASSES - 1}; soft labels have shape [N, 10]")
    if whole.min() < 0 or whole.max() >= NUM_CLASSES:
        values = f"{whole.min().item()} to {whole.max().item()}"
        raise InputError(
            f"labels must be 0-{NUM_CLASSES - 1}, found {values}; ImageNet indices become labels by "
            "--label_order imagenet (of files), or by the class_map of load_comp_dd (of tensors)"
        )
    return whole


def checked_kind(kind: str | None, labels: torch.Tensor) -> str:
    """Return the kind of labels, which must be one that they can be, or raise InputError."""
    inferred = infer_label_kind(labels)
    if kind is None:
        return inferred
    if kind not in LABEL_KINDS:
        raise unknown("label kind", kind, LABEL_KINDS)
    if (kind == "hard") != (labels.ndim == 1):
        shape = "[N] whole numbers" if kind == "hard" else f"[N, {NUM_CLASSES}]"
        raise InputError(f"label kind {kind} needs labels of shape {shape}, found {list(labels.shape)}")
    if kind == "probabilities" and inferred != "probabilities":
        expected = f"rows that are non-negative and sum to 1 within {PROBABILITY_TOLERANCE}"
        raise InputError(f"label kind probabilities needs {expected}; these look like logits")
    return kind


def checked_rate(lr: float | None) -> float | None:
    """Return a learned rate that is none or finite and above 0, or raise InputError."""
    if lr is None:
        return None
    if isinstance(lr, bool) or not isinstance(lr, numbers.Real) or not math.isfinite(lr) or lr <= 0:
        raise InputError(f"the learned rate is {lr}, expected a finite number above 0")
    return float(lr)


def _check_metadata(metadata: dict[str, object], number: int) -> None:
    try:
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"metadata of a set must be what JSON can hold ({error})") from error
    try:
        selected_subset(metadata)
    except InputError as error:
        raise InputError(f"metadata of a set: {error}") from error
    factor = metadata.get(FACTOR, 1)
    if type(factor) is not int or not 1 <= factor <= MOST_FACTOR or number % factor**2:
        expected = f"a whole number from 1 to {MOST_FACTOR} by whose square the {number} images can be divided"
        raise InputError(f"metadata: {FACTOR} is {str(factor)[:60]!r}, expected {expected}")
    for name in DESCRIPTION:
        if metadata.get(name) is not None and not is_text(metadata[name]):
            raise InputError(f"metadata: {name} is {str(metadata[name])[:60]!r}, expected a short text")


def _whole(number: float) -> int | float:
    return int(number) if number == int(number) else number


def _plain(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """Return a dense real tensor on the CPU without gradients."""
    if not isinstance(tensor, torch.Tensor):
        raise InputError(f"{name} are a {type(tensor).__name__}, expected one tensor")
    if not is_plain(tensor):
        raise InputError(f"{name} are no plain dense tensor of real numbers ({tensor.dtype}, {tensor.layout})")
    check_size(name, tensor.numel())
    return tensor.detach().cpu()


def _finite(tensor: torch.Tensor, name: str) -> torch.Tensor:
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise InputError(f"{name} hold {bad} values that are NaN or infinite, expected finite numbers")
    return tensor


def is_text(value: object) -> bool:
    """Whether a value is a text that a card can hold."""
    try:
        return isinstance(value, str) and len(value) <= MAX_TEXT and bool(value.encode())
    except UnicodeEncodeError:
        return False
