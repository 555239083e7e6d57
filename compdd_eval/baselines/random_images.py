"""Random real images as a distilled set: what every method has to beat."""

from collections.abc import Iterable

import torch

from compdd_eval.config import require
from compdd_eval.data import SubsetSplit
from compdd_eval.distilled import DistilledSet
from compdd_eval.errors import InputError
from compdd_eval.subsets import NUM_CLASSES


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
    return images_at(train, draw_places(train.labels, ipc, seed), seed)


def draw_places(labels: torch.Tensor, ipc: int, seed: int, exclude: Iterable[int] = ()) -> list[int]:
    """Draw positions of real images without replacement, as many of each label, ordered by label.

    Args:
        labels: int64 `[N]`, of the training split.
        ipc: Images per class.
        seed: Seed of the draw.
        exclude: Positions that are not drawn.

    Raises:
        InputError: `ipc` is below 1 or above the number of images of a class.
    """
    require("ipc", ipc, ipc >= 1, "a number of images per class from 1")
    generator, chosen = torch.Generator().manual_seed(seed), []
    allowed = torch.ones(len(labels), dtype=torch.bool)
    allowed[list(exclude)] = False
    for label in labels.unique().tolist():
        members = ((labels == label) & allowed).nonzero().flatten()
        if len(members) < ipc:
            raise InputError(f"label {label} has {len(members)} training images, fewer than the IPC of {ipc}")
        chosen += members[torch.randperm(len(members), generator=generator)[:ipc]].sort().values.tolist()
    return chosen


def images_at(train: SubsetSplit, places: list[int], seed: int) -> DistilledSet:
    """Return training images as a set with hard labels; `seed` is that of their draw."""
    metadata = {
        "category": train.subset.category,
        "subset": train.subset.difficulty,
        "published": len(train.subset.classes) < NUM_CLASSES,
        "method": "random real images",
        "seed": seed,
        "file_names": [train.file_names[place] for place in places],
    }
    images = torch.stack([train[place][0] for place in places])
    return DistilledSet(images, train.labels[places], "hard", None, metadata, {"source": train.origin})
