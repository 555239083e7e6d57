"""Labels of views: for each pass over a set, how its images were cropped, flipped and mixed, and a teacher's outputs.

`view_labels.safetensors` has a tensor for each part, whose first axis is the pass, so that one pass is read at a time.
P passes are stored of N images in B batches; positions are places in the order of the pass:

| tensor | type | what it holds |
| --- | --- | --- |
| `order` | int16 `[P, N]` (int32 from 32768 images on) | index of the image at each position |
| `shuffles` | uint8 `[P, N, 2, p]` | which of p columns comes to each place, then which row; absent without |
| `crops` | int16 `[P, N, 4]` | top, left, height, width in pixels; absent without crops |
| `flips` | bool `[P, N]` | whether it is flipped; absent without flips |
| `partners` | as `order` | position in its batch of the image that it is mixed with; absent without mixing |
| `shares` | float64 `[P, B]` | share of the image itself; absent without mixing |
| `boxes` | int16 `[P, B, 4]` | top, left, bottom, right of the partner's part; CutMix alone |
| `logits` | float16 `[P, N, K]`, or `[P, N, k]` | the teacher's outputs, or the k largest |
| `classes` | uint8 `[P, N, k]` | the classes of these; absent where all outputs are kept |
| `rest` | float16 `[P, N]` | the output that all others share; likewise |

The header's metadata holds a `ViewRecord` as JSON.
"""

import hashlib
import math
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.distilled.limits import check_header
from compdd_eval.distilled.view_record import ADVICE, CODES, ViewRecord, header_of, record_of
from compdd_eval.training.views import Views
from compdd_eval.utils.digests import digest_of_tensors
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import atomic_write

VIEW_LABELS_NAME = "view_labels.safetensors"
PART_NAME = ".view_labels.part"  # of labels that are being made
LOCK_NAME = ".view_labels.lock"


@dataclass(frozen=True)
class LabelledPass:
    """One pass over the images of a set.

    Attributes:
        order: Indices of the images, int64 `[N]`.
        views: What was drawn, batch by batch.
        logits: The teacher's outputs in this order, float32 `[N, K]`.
    """

    order: torch.Tensor
    views: list[Views]
    logits: torch.Tensor


@dataclass(frozen=True)
class ViewLabels:
    """Labels of views in a file, of which one pass is read at a time.

    Attributes:
        file: Where they lie.
        record: What they are.
        sha256: Of the file.
    """

    file: Path
    record: ViewRecord
    sha256: str

    @classmethod
    def open(cls, file: Path) -> "ViewLabels":
        """Read the header of a file, and compare it with what must be there; passes are checked when they are read.

        Raises:
            InputError: The file cannot be read, is damaged, or of another version.
        """
        check_header(file)
        try:
            with safe_open(str(file), framework="pt") as opened:
                metadata = opened.metadata()
                parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
                found = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in parts.items()}
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except (OSError, SafetensorError, ValueError) as error:
            raise InputError(f"{file}: cannot be read ({error}); {ADVICE}") from error
        record = record_of(metadata, file)
        if found != {name: (CODES[dtype.str], shape) for name, (dtype, shape) in record.layout.items()}:
            raise InputError(f"{file}: its tensors are not those that its record says; {ADVICE}")
        return cls(file, record, digest)

    def read(self, number: int) -> LabelledPass:
        """Return a pass; beyond those that are stored, they come again from the first one on.

        Raises:
            InputError: The file is gone, is another now, or holds what cannot be; the message names the pass.
        """
        number %= self.record.stored
        try:
            with safe_open(str(self.file), framework="pt") as file:
                if record_of(file.metadata(), self.file) != self.record:
                    raise InputError(f"{self.file}: has been replaced by other labels of views; run again")
                parts = {name: file.get_slice(name)[number] for name in self.record.layout}
        except (OSError, SafetensorError) as error:
            raise InputError(f"{self.file}: cannot be read ({error}); every process must see it") from error
        return _checked_pass(parts, self.record, f"{self.file}: pass {number}", ADVICE)

    def check(self) -> str:
        """Read all passes; return what they are, in words. Errors as of `read`."""
        for number in range(self.record.stored):
            self.read(number)
        return self.record.in_words()

    def check_images(self, images: torch.Tensor) -> None:
        """Raise InputError where they were made for other images, or other classes."""
        record = self.record
        same = len(images) == record.images and images.shape[-1] == record.resolution
        if not same or record.classes != NUM_CLASSES or digest_of_tensors(images) != record.image_digest:
            raise InputError(f"{self.file}: made for {record.images} other images than these; {ADVICE}")

    def summary(self) -> dict[str, object]:
        """Return what `distilled.json` says of them."""
        return {"sha256": self.sha256, "in_words": self.record.in_words(), "evaluate": self.record.flags()}

    def copy_to(self, folder: Path) -> None:
        """Copy the file into a folder, whole or not at all, unless it lies there.

        Raises:
            InputError: It is another file by now.
        """
        target = folder / VIEW_LABELS_NAME
        if target.exists() and target.samefile(self.file):
            return
        with atomic_write(target) as part:
            shutil.copyfile(self.file, part)
            if ViewLabels.open(part).sha256 != self.sha256:
                raise InputError(f"{self.file}: has been replaced by other labels of views; read the set again")


class ViewLabelsWriter:
    """Writes labels of views pass by pass; what an earlier run has written of the same ones is kept.

    A context: where it ends before a pass is written, nothing is left.

    Args:
        folder: Folder of the set.
        record: What they are.
        overwrite: Begin anew where an earlier run has begun others.

    Attributes:
        done: Passes that are written.

    Raises:
        InputError: An earlier run has begun others.
    """

    def __init__(self, folder: Path, record: ViewRecord, overwrite: bool = False) -> None:
        self._part, self._target, self._record = folder / PART_NAME, folder / VIEW_LABELS_NAME, record
        head, self._starts = header_of(record)
        begun = self._part.is_file() and self._part.stat().st_size >= len(head)
        self._file = self._part.open("r+b" if begun else "w+b")
        if self._file.read(len(head)) != head:
            if begun and not overwrite:
                raise InputError(
                    f"{folder}: labels of views with other settings are begun here; run that command again to its end, "
                    "or give --overwrite"
                )
            self._begin(head)
        self.done = next((number for number in range(record.stored) if not self._has(number)), record.stored)

    def __enter__(self) -> "ViewLabelsWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        if not self.done:
            self._part.unlink(missing_ok=True)

    def _begin(self, head: bytes) -> None:
        """Write the head, and orders that are none: the order of a pass is written last, and says that all is there."""
        dtype, (passes, images) = self._record.layout["order"]
        self._file.seek(0)
        self._file.truncate()
        self._file.write(head)
        self._file.seek(self._starts["order"])
        for _ in range(passes):
            self._file.write(np.full(images, -1, dtype).tobytes())
        self._file.flush()

    def _has(self, number: int) -> bool:
        dtype, (_, images) = self._record.layout["order"]
        self._file.seek(self._starts["order"] + number * images * dtype.itemsize)
        data = self._file.read(images * dtype.itemsize)
        written = np.frombuffer(data, dtype) if len(data) == images * dtype.itemsize else []
        return np.array_equal(np.sort(written), np.arange(images))

    def write(self, labelled: LabelledPass) -> None:
        """Write the next pass.

        Raises:
            InputError: Outputs that are not finite, or too large for half precision; or draws that cannot be.
        """
        parts = _parts_of(labelled, self._record)
        _checked_pass(parts, self._record, f"labels of views, pass {self.done}", "none is written of it")
        for name in sorted(parts, key=lambda name: name == "order"):
            if name == "order":  # what it vouches for is on the disk
                self._file.flush()
                os.fsync(self._file.fileno())
            data = parts[name].numpy().tobytes()
            self._file.seek(self._starts[name] + self.done * len(data))
            self._file.write(data)
        self._file.flush()
        self.done += 1

    def finish(self) -> ViewLabels:
        """Give the file its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        labels = ViewLabels.open(self._part)
        os.replace(self._part, self._target)
        return replace(labels, file=self._target)


def _parts_of(labelled: LabelledPass, record: ViewRecord) -> dict[str, torch.Tensor]:
    """Return the tensors of a pass as they are stored."""
    views, parts = labelled.views, {"order": labelled.order, "logits": labelled.logits}
    if record.patches > 1:
        parts["shuffles"] = torch.cat([batch.shuffles for batch in views])
    if record.rrc != 0:
        parts["crops"] = torch.cat([batch.crops for batch in views])
    if record.flip:
        parts["flips"] = torch.cat([batch.flips for batch in views])
    if record.mix != "none":
        parts["partners"] = torch.cat([batch.partners for batch in views])
        parts["shares"] = torch.tensor([batch.share for batch in views], dtype=torch.float64)
    if record.mix == "cutmix":
        parts["boxes"] = torch.tensor([batch.box for batch in views])
    if record.top_k:
        parts |= _largest(labelled.logits, record.top_k, record.temperature)
    layout = record.layout
    return {name: part.to(torch.from_numpy(np.empty(0, layout[name][0])).dtype) for name, part in parts.items()}


def _largest(logits: torch.Tensor, number: int, temperature: float) -> dict[str, torch.Tensor]:
    """Return the largest outputs, their classes, and the one that the others share.

    At the temperature all others have the mean of their probabilities: the marginal smoothing of Shen and Xing, "A Fast
    Knowledge Distillation Framework for Visual Recognition" (ECCV 2022).
    """
    logits = logits.float()
    values, classes = logits.topk(number, dim=1)
    others = logits.scatter(1, classes, -math.inf) / temperature
    rest = temperature * (others.logsumexp(1) - math.log(logits.shape[1] - number))
    return {"logits": values, "classes": classes, "rest": rest}


def _checked_pass(parts: dict[str, torch.Tensor], record: ViewRecord, where: str, advice: str) -> LabelledPass:
    """Return a pass of what is stored of it; raise InputError where a part cannot be."""
    wrong = _wrong_classes(parts, record) if record.top_k else None
    if wrong is None:
        labelled = _labelled_pass(parts, record)
        wrong = _wrong_part(labelled, record)
    if wrong is not None:
        raise InputError(f"{where}: {wrong}; {advice}")
    return labelled


def _wrong_classes(parts: dict[str, torch.Tensor], record: ViewRecord) -> str | None:
    classes = parts["classes"].long().sort(dim=1).values
    if classes.max() >= record.classes or (classes[:, 1:] == classes[:, :-1]).any():
        return f"the {record.top_k} largest outputs of a view are not of so many of {record.classes} classes"
    return None


def _labelled_pass(parts: dict[str, torch.Tensor], record: ViewRecord) -> LabelledPass:
    """Return a pass of what is stored of it."""
    logits = parts["logits"].float()
    if record.top_k:
        whole = parts["rest"].float()[:, None].repeat(1, record.classes)
        logits = whole.scatter(1, parts["classes"].long(), logits)
    views = []
    for batch, start in enumerate(range(0, record.images, record.batch)):
        own = slice(start, start + record.batch)
        mixed = record.mix != "none"
        views.append(
            Views(
                shuffles=parts["shuffles"][own].long() if record.patches > 1 else None,
                crops=parts["crops"][own].long() if record.rrc != 0 else None,
                flips=parts["flips"][own] if record.flip else None,
                partners=parts["partners"][own].long() if mixed else None,
                share=parts["shares"][batch].item() if mixed else 1.0,
                box=tuple(parts["boxes"][batch].tolist()) if record.mix == "cutmix" else None,
            )
        )
    return LabelledPass(parts["order"].long(), views, logits)


def _wrong_part(labelled: LabelledPass, record: ViewRecord) -> str | None:
    """Say what of a pass cannot be; None where nothing is wrong."""
    side = record.resolution
    if not torch.equal(labelled.order.sort().values, torch.arange(record.images)):
        return f"its order is not one of {record.images} images"
    if not labelled.logits.isfinite().all():
        return "outputs of the teacher are not finite (beyond 65504 they do not fit half precision)"
    for views in labelled.views:
        if views.shuffles is not None and (views.shuffles.sort().values != torch.arange(record.patches)).any():
            return f"shuffled parts are not those of {record.patches} columns and rows"
        if views.crops is not None:
            first, size = views.crops.split(2, dim=1)
            if (first < 0).any() or (size < 1).any() or (first + size > side).any():
                return f"crops reach beyond images of {side} px"
        if views.partners is not None and not ((views.partners >= 0) & (views.partners < len(views.partners))).all():
            return f"images are mixed with others than the {len(views.partners)} of their batch"
        if not 0 <= views.share <= 1:
            return f"the share of a mixture is {views.share:g}, expected one in [0, 1]"
        if views.box is not None:
            top, left, bottom, right = views.box
            if not (0 <= top <= bottom <= side and 0 <= left <= right <= side):
                return f"the box of a mixture reaches beyond images of {side} px"
    return None
