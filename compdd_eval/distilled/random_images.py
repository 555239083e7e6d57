"""Random real images as a distilled set: what every method has to beat."""

from collections.abc import Iterable

import torch

from compdd_eval.data.splits import SubsetSplit
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.utils.errors import InputError, require


def random_images(train: SubsetSplit, ipc: int, seed: int = 0) -> DistilledSet:
    """Draw real images without replacement, as many of each class, with hard labels.

    Args:
        train: Training split, such as `load_comp_dd(...).dst_train`; only the drawn images are decoded.
        ipc: Images per class.
        seed: Seed of the draw.

    Returns:
        A set of `ipc` images of each class that the split has, ordered by label.

    Raises:
        InputError: `ipc` is below 1 or above the number of images of a class.
    """
    return images_at(train, draw_indices(train.labels, ipc, seed), seed)


def draw_indices(labels: torch.Tensor, ipc: int, seed: int, exclude: Iterable[int] = ()) -> list[int]:
    """Draw positions of real images without replacement, as many of each label, ordered by label.

    Args:
        labels: int64 `[N]`, of the training split.
        ipc: Images per class.
        seed: Seed of the draw.
        exclude: Positions that are not drawn.

    Raises:
        InputError: `ipc` is below 1 or above the number of images of a class.
    """
    generator, chosen = torch.Generator().manual_seed(seed), []
    allowed = torch.ones(len(labels), dtype=torch.bool)
    allowed[list(exclude)] = False
    check_ipc(labels[allowed], ipc, labels.unique().tolist())
    for label in labels.unique().tolist():
        members = ((labels == label) & allowed).nonzero().flatten()
        chosen += members[torch.randperm(len(members), generator=generator)[:ipc]].sort().values.tolist()
    return chosen


def check_ipc(labels: torch.Tensor, ipc: int, classes: Iterable[int]) -> None:
    """Raise InputError where `ipc` is below 1, or above the number of images of one of the classes.

    Args:
        labels: int64 `[N]`, of the images that can be taken.
        ipc: Images per class.
        classes: Labels of which as many are wanted.
    """
    require("ipc", ipc, ipc >= 1, "a number of images per class from 1")
    for label in classes:
        number = int((labels == label).sum())
        if number < ipc:
            raise InputError(f"label {label} has {number} training images, fewer than the IPC of {ipc}")


def images_at(train: SubsetSplit, indices: list[int], seed: int) -> DistilledSet:
    """Return training images as a set with hard labels; `seed` is that of their draw."""
    metadata = {
        **train.subset.selection,
        "method": "random real images",
        "seed": seed,
        "file_names": [train.file_names[index] for index in indices],
    }
    images = torch.stack([train[index][0] for index in indices])
    return DistilledSet(images, train.labels[indices], "hard", None, metadata, {"source": train.origin})
