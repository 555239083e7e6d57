"""Columns and features of the rows of a subset."""

from collections.abc import Sequence

import datasets

from compdd_eval.data.imagenet.rows import ImageRow
from compdd_eval.data.subset_files import Subset


def columns_of(subset: Subset, rows: Sequence[ImageRow]) -> dict[str, list]:
    """Return what is known of images, as a list for each column but the images'."""
    classes = {c.wnid: c for c in subset.classes}
    return {
        "label": [classes[row.wnid].label for row in rows],
        "imagenet_label": [classes[row.wnid].imagenet_index for row in rows],
        "wnid": [row.wnid for row in rows],
        "file_name": [row.file_name for row in rows],
    }


def features_of(subset: Subset) -> datasets.Features:
    """Return the features of a subset."""
    texts = {name: datasets.Value("string") for name in ("wnid", "file_name")}
    labels = {"label": datasets.ClassLabel(names=subset.label_names), "imagenet_label": datasets.Value("int32")}
    return datasets.Features({"image": datasets.Image(mode="RGB"), **labels, **texts})
