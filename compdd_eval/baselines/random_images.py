"""Random real images as a distilled set: what every method has to beat."""

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
    require("ipc", ipc, ipc >= 1, "a number of images per class from 1")
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label in train.labels.unique().tolist():
        members = (train.labels == label).nonzero().flatten()
        if len(members) < ipc:
            raise InputError(f"label {label} has {len(members)} training images, fewer than the IPC of {ipc}")
        chosen += members[torch.randperm(len(members), generator=generator)[:ipc]].sort().values.tolist()
    images = torch.stack([train[index][0] for index in chosen])
    metadata = {
        "category": train.subset.category,
        "subset": train.subset.difficulty,
        "published": len(train.subset.classes) < NUM_CLASSES,
        "method": "random real images",
        "seed": seed,
        "file_names": [train.file_names[index] for index in chosen],
    }
    return DistilledSet(images, train.labels[chosen], "hard", None, metadata, {"source": train.origin})
