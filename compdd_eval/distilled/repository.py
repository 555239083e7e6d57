"""Distilled sets on the Hugging Face Hub, read: download what is needed and no more, or take the cached copy."""

import glob
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from compdd_eval.distilled.content import MAX_BYTES, Content
from compdd_eval.distilled.facts import FACTS_NAME
from compdd_eval.distilled.folder import FILES, TENSORS_NAME
from compdd_eval.distilled.image_files import IMAGE_SUFFIXES, Choose, decode_images
from compdd_eval.distilled.part_files import SUFFIXES, is_part_file
from compdd_eval.errors import InputError
from compdd_eval.hub_errors import clear_hub_error, no_connection
from compdd_eval.sources.hub import Address
from compdd_eval.subsets import NUM_CLASSES

_LABELS = ("label", "labels", "target", "class")
_SPLIT = "train"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copy:
    """What was downloaded.

    Attributes:
        repo_id: `USER/NAME`.
        commit: Hash of the commit.
        place: Where the set lies: a folder, or a file that the address names.
    """

    repo_id: str
    commit: str
    place: Path

    @property
    def is_ours(self) -> bool:
        """Whether it is of our format."""
        return (self.place / TENSORS_NAME).exists()

    @property
    def parquet(self) -> list[Path]:
        """Its Parquet files."""
        return sorted([path for path in (self.place, *self.place.rglob("*")) if path.suffix == ".parquet"])

    @property
    def has_parquet(self) -> bool:
        """Whether it has some."""
        return bool(self.parquet)


def download(address: Address, before: str = "") -> Copy:
    """Bring a distilled set to the cache of `huggingface_hub`; without a connection, take what the cache has.

    A download that was cut is taken up where it ended.

    Args:
        address: Where it lies.
        before: What was looked for first, for messages, as in "no such folder, and ".

    Raises:
        InputError: No such repository or revision, no access, no connection and nothing cached, too large, or nothing
            in it that could be a distilled set.
    """
    from huggingface_hub import snapshot_download

    repo_id, revision = address.repo_id, address.revision
    try:
        files, commit = _files_of(repo_id, revision)
        wanted = _wanted(files, address)
        # by its name, not by its commit: the cache keeps what a branch is, too
        patterns = [glob.escape(name) for name in wanted]
        folder = snapshot_download(repo_id, repo_type="dataset", revision=revision, allow_patterns=patterns)
    except InputError:
        raise
    except Exception as error:
        copy = _cached(address) if no_connection(error) else None
        if copy is None:
            raise clear_hub_error(error, str(address), before, cached=False) from error
        _logger.warning(f"{repo_id}: the Hub is out of reach; the cached copy of {copy.commit} is used")
        return copy
    copy = Copy(repo_id, Path(folder).name, Path(folder) / address.folder)
    if copy.commit != commit:
        return download(address, before)  # somebody has pushed in between
    if missing := [name for name in wanted if not (Path(folder) / name).is_file()]:
        raise InputError(f"{address}: {missing[0]} did not arrive; run again")
    return copy


def _cached(address: Address) -> Copy | None:
    """Return what the cache has of a set, or None if that is not all that is needed."""
    from huggingface_hub import errors, snapshot_download

    kinds = [list(FILES), ["*.parquet"], [f"*{suffix}" for suffix in IMAGE_SUFFIXES], [f"*{end}" for end in SUFFIXES]]
    for wanted in kinds:
        try:
            folder = snapshot_download(
                address.repo_id,
                repo_type="dataset",
                revision=address.revision,
                allow_patterns=wanted,
                local_files_only=True,
            )
        except (errors.LocalEntryNotFoundError, OSError, ValueError):
            continue
        copy = Copy(address.repo_id, Path(folder).name, Path(folder) / address.folder)
        stated = (copy.place / FACTS_NAME).exists()
        if not copy.place.exists() or stated != copy.is_ours:
            continue  # what a download that was cut has left of a set of ours: its preview is no image of it
        suffixes = {path.suffix for path in [copy.place, *copy.place.rglob("*")]}
        complete = copy.is_ours and stated
        if complete or (not copy.is_ours and suffixes & {pattern[1:] for pattern in wanted}):
            return copy
    return None


def _files_of(repo_id: str, revision: str | None) -> tuple[dict[str, int], str]:
    """Return name -> size of the files of a revision, and its commit."""
    from huggingface_hub import HfApi

    info = HfApi().dataset_info(repo_id, revision=revision, files_metadata=True)
    return {file.rfilename: file.size or 0 for file in info.siblings}, info.sha


def _wanted(files: dict[str, int], address: Address) -> list[str]:
    """Return the files to download of a folder: ours, else Parquet, else images, else tensors as the field saves them.

    Of a file that the address names, its whole folder: labels and rate lie beside the images.
    """
    top = address.folder.rpartition("/")[0] if address.folder in files else address.folder
    inside = {name.removeprefix(f"{top}/"): name for name in files if not top or name.startswith(f"{top}/")}
    if not inside and top:
        some = ", ".join(sorted({name.partition("/")[0] for name in files if "/" in name})[:5]) or "no folder"
        raise InputError(f"{address}: no such folder in it; it holds {some}")
    if TENSORS_NAME in inside:
        wanted = [name for name in FILES if name in inside]
    else:
        images = [name for name in inside if "/" in name and name.lower().endswith(IMAGE_SUFFIXES)]
        tensors = [name for name in inside if "/" not in name and name.lower().endswith(SUFFIXES)]
        named = tensors if any(map(is_part_file, tensors)) else []  # as in a folder on disk
        wanted = [name for name in inside if name.endswith(".parquet")] or named or images or tensors
    if not wanted:
        raise InputError(f"{address}: {_expected(inside, Address(address.repo_id, folder=top))}")
    wanted = [inside[name] for name in wanted]
    for name in wanted:
        if ".." in name.split("/") or name.startswith("/") or "\\" in name:
            raise InputError(f"{address}: the name {name!r} leaves its folder; this repository is not to be trusted")
    total = sum(files[name] for name in wanted)
    if total > MAX_BYTES:
        most = f"a distilled set has at most {MAX_BYTES / 10**9:.1f} GB"
        raise InputError(f"{address}: {total / 10**9:,.0f} GB; {most}, and it is not downloaded")
    return wanted


def _expected(names: Iterable[str], top: Address) -> str:
    """Say what a repository, or a folder of one, holds in place of a set, and which folder of it has one."""
    below = sorted({name.rpartition("/")[0] for name in names if name.endswith((TENSORS_NAME, *SUFFIXES))})
    if below:
        return f"holds no set itself, but folders that do; give {top}/{below[0]}" + (", ..." if len(below) > 1 else "")
    found = ", ".join(sorted(name for name in names if not name.startswith("."))[:5]) or "nothing"
    return f"holds {found}, expected {TENSORS_NAME}, Parquet files, image files in class folders, or images.pt"


def read_parquet(copy: Copy, res: int | None, resize_all: bool, choose: Choose) -> Content:
    """Read any image dataset of Parquet files that has a column of labels.

    Args:
        copy: The dataset.
        res: As in `decode_images`.
        resize_all: As there.
        choose: As in `read_image_folder`, for datasets with more classes than a subset has.

    Raises:
        InputError: No such columns, several splits or configurations to choose from, or images that do not decode.
    """
    import pyarrow as pa

    paths = _one_split(copy)
    tables, schema = _read_tables(paths, copy.repo_id)
    image, label = _columns(schema, copy.repo_id)
    table = pa.concat_tables(table.select([image, label]) for table in tables)
    features = _features(schema)
    if not len(table):
        raise InputError(f"{copy.repo_id}: has no rows, expected images")
    labels, names = _labels(table[label].to_pylist(), features.get(label, {}), copy.repo_id)
    rows, notes = range(len(table)), []
    if names is not None and len(names) > NUM_CLASSES:
        chosen = choose(names)
        rows = [row for row, number in enumerate(labels.tolist()) if names[number] in chosen]
        notes = [f"only the images of the subset are read, {len(rows)} of {len(table)}"]
        labels = torch.tensor([list(chosen).index(names[number]) for number in labels[rows].tolist()])
        names = list(chosen.values())
    column = table[image]
    items = [(_bytes_of(column[row], copy.repo_id), f"{copy.repo_id}: image {row}") for row in rows]
    images, remarks = decode_images(items, len(items), res, resize_all, copy.repo_id)
    return Content(images, labels, names=names, pixel_range="0-1", remarks=notes + remarks)


def _one_split(copy: Copy) -> list[Path]:
    """Return the files of the only split, or of `train`, of the only configuration."""
    folders = {path.parent for path in copy.parquet}
    if len(folders) > 1:
        some = sorted(str(folder.relative_to(copy.place)) for folder in folders)
        found = f"holds several datasets ({', '.join(some[:5])})"
        raise InputError(f"{copy.repo_id}: {found}, expected one; give its folder, as in {copy.repo_id}/{some[-1]}")
    splits = {path.name.split("-")[0].split(".")[0] for path in copy.parquet}
    if len(splits) > 1 and _SPLIT not in splits:
        raise InputError(f"{copy.repo_id}: has the splits {', '.join(sorted(splits))}, expected train, or just one")
    split = _SPLIT if _SPLIT in splits else splits.pop()
    return [path for path in copy.parquet if path.name.split("-")[0].split(".")[0] == split]


def _read_tables(paths: list[Path], name: str) -> tuple[list, object]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        claimed = sum(_unpacked_size(pq.ParquetFile(path).metadata) for path in paths)
        if claimed > MAX_BYTES:
            raise InputError(f"{name}: would unpack to {claimed / 10**9:,.0f} GB; that is no distilled set")
        tables = [pq.read_table(path) for path in paths]
        return tables, tables[0].schema
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name}: a Parquet file cannot be read ({str(error)[:80]}); it is damaged") from error


def _unpacked_size(metadata: object) -> int:
    return sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))


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
    import json

    try:
        text = (schema.metadata or {}).get(b"huggingface", b"{}")
        return json.loads(text)["info"]["features"]
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
