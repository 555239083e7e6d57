"""Parquet: read from the Hub, and the copy that its dataset viewer shows."""

import json
import re
from pathlib import Path

import torch

from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.distilled.formats.image_folders import Choose, decode_images
from compdd_eval.distilled.limits import MAX_BYTES
from compdd_eval.distilled.pixel_range import to_8_bits
from compdd_eval.distilled.raw_set import RawSet
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.utils.errors import InputError

_LABELS = ("label", "labels", "target", "class")
_SPLIT = "train"
_ROWS = 100  # images in a row group: the viewer reads one without reading many


def read_parquet(files: list[Path], root: Path, name: str, res: int | None, resize_all: bool, choose: Choose) -> RawSet:
    """Read any image dataset of Parquet files that has a column of labels.

    Args:
        files: The Parquet files.
        root: The folder that they are in, or below it.
        name: What the dataset is called in messages.
        res: As in `decode_images`.
        resize_all: As there.
        choose: As in `read_image_folder`, for datasets with more classes than a subset has.

    Raises:
        InputError: No such columns, several splits or configurations to choose from, or images that do not decode.
    """
    import pyarrow as pa

    paths = _one_split(files, root, name)
    tables = _read_tables(paths, name)
    schema = tables[0].schema
    image, label = _columns(schema, name)
    table = pa.concat_tables(table.select([image, label]) for table in tables)
    if not len(table):
        raise InputError(f"{name}: has no rows, expected images")
    labels, names = _labels(table[label].to_pylist(), _features(schema).get(label, {}), name)
    rows, notes = range(len(table)), []
    if names is not None and len(names) > NUM_CLASSES:
        chosen = choose(names)
        rows = [row for row, number in enumerate(labels.tolist()) if names[number] in chosen]
        notes = [f"only the images of the subset are read, {len(rows)} of {len(table)}"]
        labels = torch.tensor([list(chosen).index(names[number]) for number in labels[rows].tolist()])
        names = list(chosen.values())
    column = table[image]
    items = [(_bytes_of(column[row], name), f"{name}: image {row}") for row in rows]
    images, remarks = decode_images(items, res, resize_all, name)
    return RawSet(images, labels, names=names, pixel_range="0-1", remarks=notes + remarks)


def _one_split(files: list[Path], root: Path, name: str) -> list[Path]:
    """Return the files of the only split, or of `train`, of the only configuration."""
    folders = {path.parent for path in files}
    if len(folders) > 1:
        some = sorted(str(folder.relative_to(root)) for folder in folders)
        several = f"holds several datasets ({', '.join(some[:5])})"
        raise InputError(f"{name}: {several}, expected one; give its folder, as in {name}/{some[-1]}")
    splits: dict[str, list[Path]] = {}
    for path in files:
        splits.setdefault(re.split("[-.]", path.name)[0], []).append(path)
    if len(splits) > 1 and _SPLIT not in splits:
        raise InputError(f"{name}: has the splits {', '.join(sorted(splits))}, expected train, or just one")
    return splits.get(_SPLIT) or next(iter(splits.values()))


def _read_tables(paths: list[Path], name: str) -> list:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # from the footers alone: a small file can unpack to more than the memory has
        footers = [pq.ParquetFile(path).metadata for path in paths]
        claimed = sum(each.row_group(group).total_byte_size for each in footers for group in range(each.num_row_groups))
        if claimed > MAX_BYTES:
            raise InputError(f"{name}: would unpack to {claimed / 10**9:,.0f} GB; that is no distilled set")
        return [pq.read_table(path) for path in paths]
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name}: a Parquet file cannot be read ({str(error)[:80]}); it is damaged") from error


def _columns(schema: object, name: str) -> tuple[str, str]:
    """Return the names of the columns of images and labels."""
    import pyarrow as pa

    images = [
        field.name for field in schema if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    ]
    labels = [label for label in _LABELS if label in schema.names]
    if len(images) != 1 or not labels:
        found = ", ".join(schema.names[:8])
        raise InputError(f"{name}: has the columns {found}; expected one of images, and one called label")
    return images[0], labels[0]


def _features(schema: object) -> dict[str, dict]:
    """Return what `datasets` says of the columns."""
    try:
        return json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}


def _bytes_of(value: object, name: str) -> bytes:
    """Return the bytes of a stored image; a path is never followed: it could name any file of this machine."""
    data = (value.as_py() or {}).get("bytes")
    if data is None:
        raise InputError(f"{name}: an image is only a path, expected its bytes; the dataset has to be pushed with them")
    return data


def _labels(values: list, feature: dict, name: str) -> tuple[torch.Tensor, list[str] | None]:
    """Return labels, and what they are called, where the column says it or holds texts."""
    if any(value is None for value in values):
        raise InputError(f"{name}: a label is missing, expected one for each image")
    if all(isinstance(value, str) for value in values):
        names = sorted(set(values))
        return torch.tensor([names.index(value) for value in values]), names
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        raise InputError(f"{name}: labels are no whole numbers or class names, found {values[0]!r}")
    listed = feature.get("names") if isinstance(feature, dict) else None
    if not listed:
        return torch.tensor(values), None
    if min(values) < 0 or max(values) >= len(listed):
        raise InputError(f"{name}: labels {min(values)} to {max(values)}, but {len(listed)} names of classes")
    used = sorted(set(values))
    return torch.tensor([used.index(value) for value in values]), [str(listed[value]) for value in used]


def write_parquet(distilled: SetTensors, path: Path) -> None:
    """Write columns `image` (PNG), `label` (with the class names) and, for soft labels, `soft_label`."""
    import datasets

    pictures, _ = to_8_bits(distilled.images)
    columns = {"image": pictures, "label": distilled.classes.tolist()}
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=distilled.label_names)}
    if distilled.label_kind != "hard":
        columns["soft_label"] = distilled.labels.tolist()
        list_of = datasets.List if hasattr(datasets, "List") else datasets.Sequence  # the name before datasets 4.0
        features["soft_label"] = list_of(datasets.Value("float32"), length=NUM_CLASSES)
    data = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    path.parent.mkdir(parents=True, exist_ok=True)
    data.to_parquet(str(path), batch_size=_ROWS)
