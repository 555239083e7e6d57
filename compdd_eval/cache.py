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
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from compdd_eval.files import locked
from compdd_eval.subsets import load_subset, subset_names

DATASET_NAME = "comp_dd"
RECORD_NAME = "comp_dd.json"
_INFO_NAME = "dataset_info.json"  # what `datasets` reads first
_FORMAT = 1  # of the prepared data
_STAGING = ".staging"  # hidden, so that no pattern `CACHE/comp_dd/*/*/*` finds it
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """Where a prepared dataset came from.

    Attributes:
        subset_digest: Digest of the class list it was built for.
        source: Folder of the ImageNet copy.
        layout: How that copy was stored.
        rows: Split -> digest of its rows (names and sizes of the files).
        images: Split -> number of images.
        files: Name -> size of the Arrow files.
    """

    subset_digest: str
    source: str
    layout: str
    rows: dict[str, str]
    images: dict[str, int]
    files: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {split} images" for split, count in self.images.items())
        return f"{counts} from {self.source}"

    def same_rows(self, other: "Record") -> bool:
        """Whether two datasets hold the same images under the same labels, wherever they came from."""
        return (self.subset_digest, self.rows) == (other.subset_digest, other.rows)


def folder_name() -> str:
    """Return the name of every configuration's data folder: a digest of all class lists and of the format.

    It is one name for all, so that `load_dataset("comp_dd")` without a configuration asks for one. What lies in a
    folder is told by its record.
    """
    lists = [load_subset(name, published).digest for name in subset_names() for published in (False, True)]
    return hashlib.sha256(f"{_FORMAT} {lists}".encode()).hexdigest()[:16]


def config_root(cache_dir: str | os.PathLike | None, config_id: str) -> Path:
    """Return the folder under which all versions of one configuration lie; None is the cache of `datasets`."""
    if cache_dir is None:
        import datasets

        cache_dir = datasets.config.HF_DATASETS_CACHE
    return Path(cache_dir).expanduser().absolute() / DATASET_NAME / config_id


def find_prepared(root: Path) -> tuple[Path, Record] | None:
    """Return the dataset that `load_dataset` would serve, with its record; None if there is no whole one of ours."""
    folders = [f for f in root.glob("*/*") if (f / _INFO_NAME).is_file()]
    try:
        newest = max(folders, key=lambda f: f.stat().st_mtime)
        record = Record(**json.loads((newest / RECORD_NAME).read_text(encoding="utf-8")))
        if {path.name: path.stat().st_size for path in newest.glob("*.arrow")} == record.files:
            return newest, record
        _logger.warning(f"{newest}: data files are missing or changed; run `prepare` again")
    except (OSError, ValueError, TypeError):
        pass  # nothing there, replaced by another process just now, or not ours
    return None


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
    root = final.parent.parent
    for number, old in enumerate(sorted(path for path in root.glob("*/*") if path.is_dir())):
        os.rename(old, stage / f"old{number}")
    os.rename(built, final)
    for version in root.iterdir():
        if version != final.parent and version.is_dir():
            shutil.rmtree(version, ignore_errors=True)  # only lock files are left in it
