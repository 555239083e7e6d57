"""Labels of views: for each pass over a set, how its images were cropped, flipped and mixed, and a teacher's outputs.

`view_labels.safetensors` has a tensor for each part, whose first axis is the pass, so that one pass is read at a time.
P passes are stored of N images in B batches; positions are places in the order of the pass:

| tensor | type | what it holds |
| --- | --- | --- |
| `order` | int16 `[P, N]` (int32 from 32768 images on) | index of the image at each position |
| `crops` | int16 `[P, N, 4]` | top, left, height, width in pixels; absent without crops |
| `flips` | bool `[P, N]` | whether it is flipped; absent without flips |
| `partners` | as `order` | position in its batch of the image that it is mixed with; absent without mixing |
| `shares` | float64 `[P, B]` | share of the image itself; absent without mixing |
| `boxes` | int16 `[P, B, 4]` | top, left, bottom, right of the partner's part; CutMix alone |
| `logits` | float16 `[P, N, K]`, or `[P, N, k]` | the teacher's outputs, or the k largest |
| `classes` | uint8 `[P, N, k]` | the classes of these; absent where all outputs are kept |
| `rest` | float16 `[P, N]` | logarithm of the mean exponential of the other outputs; likewise |

The header's metadata holds a `ViewRecord` as JSON.
"""

import hashlib
import json
import math
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from compdd_eval.distilled.view_record import ADVICE, ViewRecord, header_of, read_header, record_of
from compdd_eval.training.views import Views
from compdd_eval.utils.digests import digest_of_tensors
from compdd_eval.utils.errors import InputError

VIEW_LABELS_NAME = "view_labels.safetensors"
PART_NAME = ".view_labels.part"  # of labels that are being made
LOCK_NAME = ".view_labels.lock"
_CHUNK = 2**22  # bytes that are read at a time


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
        header, start = read_header(file)
        record = record_of(header.pop("__metadata__", None), file)
        expected, end = header_of(record)
        found = {name: entry for name, entry in header.items() if isinstance(entry, dict)}
        if found != {name: entry for name, entry in expected.items() if name != "__metadata__"}:
            raise InputError(f"{file}: its tensors are not those that its record says; {ADVICE}")
        if file.stat().st_size != start + end:
            raise InputError(f"{file}: has {file.stat().st_size:,} bytes, expected {start + end:,}; {ADVICE}")
        return cls(file, record, _digest_of(file))

    def read(self, number: int) -> LabelledPass:
        """Return a pass; beyond those that are stored, they come again from the first one on.

        Raises:
            InputError: The file is gone, or holds what cannot be; the message names the pass.
        """
        from safetensors import SafetensorError, safe_open

        number %= self.record.stored
        try:
            with safe_open(str(self.file), framework="pt") as file:
                parts = {name: file.get_slice(name)[number] for name in self.record.layout}
        except (OSError, SafetensorError) as error:
            raise InputError(f"{self.file}: cannot be read ({error}); every process must see it") from error
        labelled = _labelled_pass(parts, self.record)
        if wrong := _wrong_part(labelled, self.record):
            raise InputError(f"{self.file}: pass {number}: {wrong}; {ADVICE}")
        return labelled

    def check(self) -> str:
        """Read all passes; return what they are, in words. Errors as of `read`."""
        for number in range(self.record.stored):
            self.read(number)
        return f"{self.record.in_words()}; {self.record.storage}"

    def check_images(self, images: torch.Tensor) -> None:
        """Raise InputError where they were made for other images."""
        if len(images) != self.record.images or digest_of_tensors(images) != self.record.image_digest:
            raise InputError(f"{self.file}: made for {self.record.images} other images than these; {ADVICE}")

    def summary(self) -> dict[str, object]:
        """Return what `distilled.json` says of them."""
        return {"sha256": self.sha256, "bits": self.record.bits, **asdict(self.record)}

    def copy_to(self, folder: Path) -> "ViewLabels":
        """Copy the file into a folder, whole or not at all, unless it lies there."""
        target = folder / VIEW_LABELS_NAME
        if not (target.exists() and target.samefile(self.file)):
            part = folder / PART_NAME
            shutil.copyfile(self.file, part)
            os.replace(part, target)
        return ViewLabels(target, self.record, self.sha256)


class ViewLabelsWriter:
    """Writes labels of views pass by pass; what an earlier run has written of the same ones is kept.

    Args:
        folder: Folder of the set.
        record: What they are.

    Attributes:
        done: Passes that are written.
    """

    def __init__(self, folder: Path, record: ViewRecord) -> None:
        self._part, self._target, self._record = folder / PART_NAME, folder / VIEW_LABELS_NAME, record
        entries, end = header_of(record)
        text = json.dumps(entries).encode()
        text += b" " * (-len(text) % 8)
        head = len(text).to_bytes(8, "little") + text
        begun = self._part.is_file() and self._part.stat().st_size == len(head) + end
        if not begun or not _begins_with(self._part, head):
            with self._part.open("wb") as file:
                file.write(head)
                file.truncate(len(head) + end)
        self._arrays = {
            name: np.memmap(self._part, dtype, "r+", len(head) + entries[name]["data_offsets"][0], shape)
            for name, (dtype, shape) in record.layout.items()
        }
        everyone = np.arange(record.images)  # an order that was not written is zeros, and no permutation
        orders = self._arrays["order"]
        self.done = next(
            (at for at in range(record.stored) if not np.array_equal(np.sort(orders[at]), everyone)), record.stored
        )

    def write(self, labelled: LabelledPass) -> None:
        """Write the next pass.

        Raises:
            InputError: Outputs that are not finite, or too large for half precision.
        """
        parts = _parts_of(labelled, self._record)
        if wrong := _wrong_part(_labelled_pass(parts, self._record), self._record):
            raise InputError(f"labels of views, pass {self.done}: {wrong}")
        for name in reversed(self._arrays):  # the order last: it says that all is there
            self._arrays[name][self.done] = parts[name].numpy()
        self.done += 1

    def finish(self) -> ViewLabels:
        """Give the file its name."""
        for array in self._arrays.values():
            array.flush()
        self._arrays = {}
        os.replace(self._part, self._target)
        return ViewLabels(self._target, self._record, _digest_of(self._target))


def _parts_of(labelled: LabelledPass, record: ViewRecord) -> dict[str, torch.Tensor]:
    """Return the tensors of a pass as they are stored."""
    views, parts = labelled.views, {"order": labelled.order, "logits": labelled.logits}
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
        parts |= _largest(labelled.logits, record.top_k)
    layout = record.layout
    return {name: part.to(torch.from_numpy(np.empty(0, layout[name][0])).dtype) for name, part in parts.items()}


def _largest(logits: torch.Tensor, number: int) -> dict[str, torch.Tensor]:
    """Return the largest outputs, their classes, and the one that the others share.

    So all others have the mean of their probabilities: the marginal smoothing of Shen and Xing, "A Fast Knowledge
    Distillation Framework for Visual Recognition" (ECCV 2022).
    """
    values, classes = logits.float().topk(number, dim=1)
    others = logits.float().scatter(1, classes, -math.inf)
    return {"logits": values, "classes": classes, "rest": others.logsumexp(1) - math.log(logits.shape[1] - number)}


def _labelled_pass(parts: dict[str, torch.Tensor], record: ViewRecord) -> LabelledPass:
    """Return a pass of what is stored of it."""
    logits = parts["logits"].float()
    if record.top_k:
        whole = parts["rest"].float()[:, None].repeat(1, record.classes)
        logits = whole.scatter(1, parts["classes"].long().clamp(max=record.classes - 1), logits)
    views = []
    for batch, start in enumerate(range(0, record.images, record.batch)):
        own = slice(start, start + record.batch)
        mixed = record.mix != "none"
        views.append(
            Views(
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


def _begins_with(file: Path, head: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(head)) == head


def _digest_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()
