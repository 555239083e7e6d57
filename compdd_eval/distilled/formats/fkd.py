"""Labels of views as the field publishes them: FKD's folders, one file a batch, read so that no code in them is run.

Source of the format: Shen and Xing, "A Fast Knowledge Distillation Framework for Visual Recognition" (ECCV 2022), as
SRe2L's `generate_soft_label.py` writes it: `epoch_E/batch_B.tar` is a list of the crops (top, left, height and width as
shares of the image's side, `[B, 4]`), flips (`[B]`), partners (a permutation `[B]`, or None), the share of the image
itself, the box that CutMix takes from the partner (first and last row and column), and the teacher's outputs
(`[B, 1000]`). Which images a batch has is not stored: it follows from a seed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import RandomSampler

from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.distilled.formats.torch_files import load_torch
from compdd_eval.distilled.limits import is_plain
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.distilled.view_labels import LabelledPass, ViewLabels, ViewLabelsWriter
from compdd_eval.distilled.view_record import NOT_STATED, ViewRecord
from compdd_eval.models.imagenet import IMAGENET_CLASSES, of_classes
from compdd_eval.training.views import Views
from compdd_eval.utils.digests import digest_of_tensors
from compdd_eval.utils.errors import InputError, require

_EXPECTED = "six parts: crops, flips, partners, share, box, outputs, as SRe2L's generate_soft_label.py saves them"


@dataclass(frozen=True)
class _Batch:
    """What one file holds; parts of a mixture are None where there is none. `box`: top, left, bottom, right."""

    crops: torch.Tensor
    flips: torch.Tensor
    partners: torch.Tensor | None
    share: float | None
    box: tuple[int, ...] | None
    outputs: torch.Tensor

    @property
    def mix(self) -> str:
        """Which mixing the batch had."""
        if self.partners is None:
            return "none"
        return "mixup" if self.box is None else "cutmix"


def convert_fkd(source: Path, distilled: DistilledSet, seed: int, order: str, target: Path) -> ViewLabels:
    """Write the labels of views of a published folder as ours.

    Args:
        source: The folder of `epoch_0`, `epoch_1`, ...
        distilled: The set, whose images are in the order of torchvision's `ImageFolder`.
        seed: Seed of the order of the images, `--fkd-seed` of the release.
        order: What the outputs of a teacher with ten are: `subset`, as its labels; else sorted by WordNet id, as
            `ImageFolder` numbers them.
        target: Folder for `view_labels.safetensors`.

    Raises:
        InputError: A file is missing, damaged, or holds something else; labels of another number of images.
    """
    passes = _passes_in(source)
    first = _batch_of(source / "epoch_0" / "batch_0.tar")
    number, batch = len(distilled.images), len(first.outputs)
    require(f"{source}: batches of", batch, batch <= number, f"at most the set's {number} images")
    record = ViewRecord(
        images=number,
        image_digest=digest_of_tensors(distilled.images),
        resolution=distilled.resolution,
        classes=NUM_CLASSES,
        passes=passes,
        every=1,
        batch=batch,
        rrc=None,
        flip=True,
        mix=first.mix,
        top_k=None,
        temperature=None,
        seed=None,
        teacher={
            "name": NOT_STATED,
            "digest": "",
            "accuracy": 0.0,
            "recipe": f"labels of views out of {source.name}, order of the images by seed {seed}",
        },
    )
    writer = ViewLabelsWriter(target, record)
    columns = _columns(first.outputs.shape[1], distilled.definition, order, source)
    generator = torch.Generator().manual_seed(seed)
    for epoch, indices in zip(range(passes), _orders(number, generator), strict=False):
        folder = source / f"epoch_{epoch}"
        labelled = _pass_of(folder, indices, record, columns, first.outputs.shape[1])
        try:
            writer.write(labelled)
        except InputError as error:
            raise InputError(f"{folder}: {error}; get the folder again") from error
    return writer.finish()


def _passes_in(source: Path) -> int:
    """Return the number of passes, which are numbered from 0 without a gap."""
    if not (source / "epoch_0" / "batch_0.tar").is_file():
        raise InputError(f"{source}: no epoch_0/batch_0.tar in it; expected labels of views as SRe2L saves them")
    numbers = {int(found[1]) for entry in source.iterdir() if (found := re.fullmatch("epoch_([0-9]+)", entry.name))}
    missing = sorted(set(range(len(numbers))) - numbers)
    if missing:
        raise InputError(f"{source}: epoch_{missing[0]} is missing, and later ones are there; get the folder again")
    return len(numbers)


def _orders(number: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Yield the order of the images in each pass, as the release's sampler draws it."""
    sampler = RandomSampler(range(number), generator=generator)
    while True:
        yield torch.tensor(list(sampler))


def _pass_of(
    folder: Path, order: torch.Tensor, record: ViewRecord, columns: list[int | None], width: int
) -> LabelledPass:
    views, outputs = [], []
    for number in range(record.batches):
        file = folder / f"batch_{number}.tar"
        batch = _batch_of(file)
        wanted = min(record.batch, record.images - number * record.batch)
        if (*batch.outputs.shape, batch.mix) != (wanted, width, record.mix):
            found = f"{len(batch.outputs)} images with {batch.outputs.shape[1]} outputs, mixing {batch.mix}"
            raise InputError(
                f"{file}: {found}, expected {wanted} of {record.images} with {width}, mixing {record.mix}; are the "
                "labels of these images?"
            )
        crops = (batch.crops.double() * record.resolution).round().long()  # as PIL cuts them in the release
        share = 1.0 if batch.share is None else batch.share
        views.append(Views(None, crops, batch.flips, batch.partners, share, batch.box))
        outputs.append(of_classes(batch.outputs.float(), columns))
    if (folder / f"batch_{record.batches}.tar").exists():
        raise InputError(f"{folder}: more than {record.batches} batches; are the labels of these images?")
    return LabelledPass(order, views, torch.cat(outputs))


def _batch_of(file: Path) -> _Batch:
    """Read a file.

    Raises:
        InputError: It is missing, damaged, or holds something else.
    """
    if not file.is_file():
        raise InputError(f"{file}: is missing; get the folder again")
    content = load_torch(file)
    try:
        crops, flips, partners, share, box, outputs = content
        batch = _Batch(
            torch.as_tensor(crops),
            torch.as_tensor(flips).bool(),
            None if partners is None else torch.as_tensor(partners).long(),
            None if share is None else float(share),
            None if box is None else tuple(map(int, box)),
            outputs,
        )
        number = len(outputs)
        valid = (
            all(map(is_plain, (batch.crops, batch.flips, outputs, *(() if partners is None else (batch.partners,)))))
            and outputs.ndim == 2
            and outputs.is_floating_point()
            and number > 0
            and batch.crops.shape == (number, 4)
            and batch.crops.is_floating_point()
            and batch.flips.shape == (number,)
            and (partners is None) == (share is None)
            and (partners is None or batch.partners.shape == (number,))
            and (box is None or (len(batch.box) == 4 and partners is not None))
        )
    except (TypeError, ValueError, AttributeError, RuntimeError, OverflowError):
        valid = False
    if not valid:
        raise InputError(f"{file}: holds something else than {_EXPECTED}")
    return batch


def _columns(outputs: int, subset: Subset | None, order: str, source: Path) -> list[int | None]:
    """Return for each label the teacher's output that is its; None for a label that the subset does not use."""
    if subset is None:
        raise InputError(f"{source}: the set does not say its classes; give --category and --subset, or --classes")
    require(f"{source}: outputs", outputs, outputs in (NUM_CLASSES, IMAGENET_CLASSES), "ten, or ImageNet's 1000")
    if outputs == IMAGENET_CLASSES:
        return [subset.class_map_inv.get(label) for label in range(NUM_CLASSES)]
    if order == "subset":
        return list(range(NUM_CLASSES))
    labels = sorted(subset.classes, key=lambda entry: entry.wnid)
    places = {entry.label: place for place, entry in enumerate(labels)}
    return [places.get(label) for label in range(NUM_CLASSES)]
