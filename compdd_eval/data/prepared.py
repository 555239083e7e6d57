"""The prepared datasets in the cache of `datasets`: find them, and put new ones there all at once.

`load_dataset("comp_dd", CONFIG)` serves the newest folder `CACHE/comp_dd/CONFIG/VERSION/HASH`. So a dataset is
built in a staging folder that this rule does not see, and when it is whole it takes the place of whatever lay there.
Beside the Arrow files lies `comp_dd.json`, which says from which rows they were made.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from compdd_eval.data.imagenet.open import IMAGENET_HELP
from compdd_eval.data.imagenet.rows import ImageRow, rows_digest
from compdd_eval.data.subset_files import Subset
from compdd_eval.data.subsets import load_subset, subset_names
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import locked, locked_or_refused

_logger = logging.getLogger(__name__)
DATASET_NAME = "comp_dd"
RECORD_NAME = "comp_dd.json"
_INFO_NAME = "dataset_info.json"  # what `datasets` reads first
_FORMAT = 1  # of the prepared data
_STAGING = ".staging"  # hidden, so that no pattern `CACHE/comp_dd/*/*/*` finds it


@dataclass(frozen=True)
class Record:
    """Where a prepared dataset came from.

    Attributes:
        subset_digest: Digest of the class list it was built for.
        source: Folder of the ImageNet copy.
        layout: How that copy was stored.
        rows: Split -> digest of its rows (names and sizes of the images).
        images: Split -> number of images.
        listed: Split -> digest of the rows as the source lists them; another one where it does not know the sizes.
        linked: Whether the paths of the images are held in place of their bytes.
        files: Name -> size of the Arrow files.
    """

    subset_digest: str
    source: str
    layout: str
    rows: dict[str, str]
    images: dict[str, int]
    listed: dict[str, str] = field(default_factory=dict)
    linked: bool = False
    files: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {split} images" for split, count in self.images.items())
        return f"{counts} from {self.source}"

    def holds(self, split: str, listed: str) -> bool:
        """Whether a split was made from rows with this digest."""
        return split in self.rows and listed in (self.rows[split], self.listed.get(split))

    def is_of(self, other: "Record") -> bool:
        """Whether this dataset holds what `other`, a record of listed rows, would be built from."""
        if (self.subset_digest, self.linked) != (other.subset_digest, other.linked):
            return False
        if self.linked and self.source != other.source:
            return False
        return self.rows.keys() == other.listed.keys() and all(self.holds(*item) for item in other.listed.items())


def folder_name() -> str:
    """Return the name of every configuration's data folder: a digest of all class lists and of the format.

    It is one name for all, so that `load_dataset("comp_dd")` without a configuration asks for one. What lies in a
    folder is told by its record.
    """
    # a changed list changes the folder, so that no old cache passes for the new benchmark
    lists = [load_subset(name, published).digest for name in subset_names() for published in (False, True)]
    return hashlib.sha256(f"{_FORMAT} {lists}".encode()).hexdigest()[:16]


def prepared_root(cache_dir: str | os.PathLike | None) -> Path:
    """Return the folder under which all that is prepared lies; None is the cache of `datasets`."""
    cache = Path(datasets.config.HF_DATASETS_CACHE if cache_dir is None else cache_dir)
    return cache.expanduser().absolute() / DATASET_NAME


def config_root(cache_dir: str | os.PathLike | None, config_id: str) -> Path:
    """Return the folder under which all versions of one configuration lie."""
    return prepared_root(cache_dir) / config_id


def find_prepared(root: Path) -> tuple[Path, Record] | None:
    """Return the dataset that `load_dataset` would serve, with its record; None if there is no whole one of ours."""
    folders = [f for f in root.glob("*/*") if (f / _INFO_NAME).is_file()]
    try:
        newest = max(folders, key=lambda f: f.stat().st_mtime)  # as `load_dataset` chooses
        record = Record(**json.loads((newest / RECORD_NAME).read_text(encoding="utf-8")))
        if {path.name: path.stat().st_size for path in newest.glob("*.arrow")} == record.files:
            return newest, record
        _logger.warning(f"{newest}: data files are missing or changed; run `prepare` again")
    except (OSError, ValueError, TypeError):
        pass  # nothing there, replaced by another process just now, or not ours
    return None


def not_prepared(subsets: Sequence[Subset], cache_dir: str | os.PathLike | None) -> InputError:
    """Make the error for subsets that are needed where they are not prepared and no ImageNet was given.

    Args:
        subsets: Those that are not prepared.
        cache_dir: As in `prepared_root`.
    """
    root = prepared_root(cache_dir)
    there = sorted(folder.name for folder in root.glob("[!.]*") if find_prepared(folder) is not None)
    found = f"prepared in {root.parent}: {', '.join(there)}" if there else f"nothing is prepared in {root.parent}"
    line = f"python -m compdd_eval prepare --data_path /path/to/imagenet{_flags(subsets)}"
    names = ", ".join(subset.name for subset in subsets)
    return InputError(f"{names}: not prepared, and no ImageNet given. Prepare it by: {line} ({found}). {IMAGENET_HELP}")


def _flags(subsets: Sequence[Subset]) -> str:
    """Return the flags for these subsets; none where it takes more than one call, which all of them does."""
    selections = [subset.selection for subset in subsets]
    shared = {name: value for name, value in selections[0].items() if all(s.get(name) == value for s in selections)}
    if len(subsets) > 1 and "category" not in shared:
        return ""
    return "".join(f" --{name}" if value is True else f" --{name} {value}" for name, value in shared.items())


@contextlib.contextmanager
def staging(root: Path) -> Iterator[Path]:
    """Lock one configuration and lend an empty folder on the cache's disk; it is removed in the end.

    What a killed process left there is removed first.
    """
    area = root.parent / _STAGING
    area.mkdir(parents=True, exist_ok=True)
    with locked(area / f"{root.name}.lock", f"it prepares {root.name}"):
        for left in area.glob(f"{root.name}.*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{root.name}.", dir=area))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def scan_folder(cache_dir: str | os.PathLike | None, digest: str) -> Iterator[Path]:
    """Lock and lend a folder for what one scan of a source copies; it is kept for the next run if this one is killed.

    Args:
        cache_dir: As in `prepared_root`.
        digest: Of all that is copied: the same scan gets the same folder.
    """
    area = prepared_root(cache_dir) / _STAGING
    area.mkdir(parents=True, exist_ok=True)
    name = f"scan-{digest[:16]}"
    remove_scans(cache_dir, but=name)
    with locked(area / f"{name}.lock", "it reads the same images"), contextlib.ExitStack() as in_the_end:
        in_the_end.callback(shutil.rmtree, area / name, ignore_errors=True)
        try:
            yield area / name
        except KeyboardInterrupt:  # whole shards stay for the next run; an error may be in what was copied
            in_the_end.pop_all()
            raise


def remove_scans(cache_dir: str | os.PathLike | None, but: str = "") -> None:
    """Remove what killed processes have left of scans, and nobody reads now.

    Args:
        cache_dir: As in `prepared_root`.
        but: Name of a scan that is kept.
    """
    # a lock that can be taken has no living owner: the system frees those of killed processes
    for lock in (prepared_root(cache_dir) / _STAGING).glob("scan-*.lock"):
        if lock.stem != but:
            with contextlib.suppress(InputError), locked_or_refused(lock, "in use"):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)


def open_arrow(folder: Path, record: Record, split: str) -> datasets.Dataset:
    """Open one split of a prepared dataset as it lies there, memory-mapped."""
    shards = sorted(name for name in record.files if name.startswith(f"{DATASET_NAME}-{split}"))
    return datasets.concatenate_datasets([datasets.Dataset.from_file(str(folder / name)) for name in shards])


def stored_digest(folder: Path, split: str) -> str:
    """Return the digest of the rows of a built split, as of `rows_digest`, by what is stored."""
    rows = []
    for path in sorted(folder.glob(f"{DATASET_NAME}-{split}*.arrow")):
        with pa.memory_map(str(path)) as file:
            for batch in pa.ipc.open_stream(file):
                sizes = pc.binary_length(batch.column("image").field("bytes")).to_pylist()
                names = batch.column("wnid").to_pylist(), batch.column("file_name").to_pylist()
                rows += [ImageRow(*row, "") for row in zip(*names, sizes, strict=True)]
    return rows_digest(rows)


def publish(built: Path, final: Path, record: Record, stage: Path) -> None:
    """Put a whole dataset in its place, by renaming, and take away all that was served before.

    Args:
        built: Folder that `datasets` wrote, inside `stage`.
        final: `CACHE/comp_dd/CONFIG/VERSION/HASH`.
        record: Written beside the data.
        stage: The folder lent by `staging`, to which old datasets are moved.
    """
    files = {path.name: path.stat().st_size for path in built.glob("*.arrow")}
    content = {**asdict(record), "files": files}
    (built / RECORD_NAME).write_text(json.dumps(content, indent=1), encoding="utf-8")
    final.parent.mkdir(parents=True, exist_ok=True)
    # a reader between the two renames finds nothing, and says so; it never finds half of a dataset
    root = final.parent.parent
    for number, old in enumerate(sorted(path for path in root.glob("*/*") if path.is_dir())):
        os.rename(old, stage / f"old{number}")
    os.rename(built, final)
    for version in root.iterdir():
        if version != final.parent and version.is_dir():
            shutil.rmtree(version, ignore_errors=True)  # only lock files are left in it
