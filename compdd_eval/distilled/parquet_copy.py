"""The copy of a distilled set that the dataset viewer of the Hub shows: 8-bit images and labels as Parquet."""

import io
from pathlib import Path

from PIL import Image

from compdd_eval.distilled.writing import to_8_bits
from compdd_eval.subsets import NUM_CLASSES

_ROWS = 100  # images in a row group


def write_parquet(distilled, path: Path) -> None:
    """Write columns `image` (PNG), `label` (with the class names) and, for soft labels, `soft_label`."""
    import datasets

    pixels, _ = to_8_bits(distilled.images)
    columns = {
        "image": [{"bytes": _png(image), "path": None} for image in pixels],
        "label": distilled.classes.tolist(),
    }
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=distilled.label_names)}
    if distilled.label_kind != "hard":
        columns["soft_label"] = distilled.labels.tolist()
        list_of = datasets.List if hasattr(datasets, "List") else datasets.Sequence  # the name before datasets 4.0
        features["soft_label"] = list_of(datasets.Value("float32"), length=NUM_CLASSES)
    data = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    path.parent.mkdir(parents=True, exist_ok=True)
    data.to_parquet(str(path), batch_size=_ROWS)


def _png(image) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return buffer.getvalue()
