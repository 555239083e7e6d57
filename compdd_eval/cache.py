"""The prepared datasets in the cache of `datasets`: find them, and put new ones there all at once.

`load_dataset("comp_dd", CONFIG)` serves the newest folder `CACHE/comp_dd/CONFIG/VERSION/HASH`. So a dataset is
built in a staging folder that this rule does not see, renamed into place when it is whole, and whatever lay there
before is taken away. Beside the Arrow files lies `comp_dd.json`, which says from which rows they were made.
"""

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

DATASET_NAME = "comp_dd"
RECORD_NAME = "comp_dd.json"
_INFO_NAME = "dataset_info.json"  # what `datasets` reads first
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
    """

    subset_digest: str
    source: str
    layout: str
    rows: dict[str, str]
    images: dict[str, int]

    @property
    def folder_name(self) -> str:
        """Name of the dataset's folder: the same class list and the same rows give the same name."""
        return "-".join([self.subset_digest, *(f"{split[0]}{digest[:12]}" for split, digest in self.rows.items())])


def config_root(cache_dir: str | os.PathLike | None, config_id: str) -> Path:
    """Return the folder under which all versions of one configuration lie; None is the cache of `datasets`."""
    if cache_dir is None:
        import datasets

        cache_dir = datasets.config.HF_DATASETS_CACHE
    return Path(cache_dir).expanduser().absolute() / DATASET_NAME / config_id


def find_prepared(root: Path) -> tuple[Path, Record] | None:
    """Return the dataset that `load_dataset` would serve, with its record; None if there is none of ours."""
    folders = [f for f in root.glob("*/*") if (f / _INFO_NAME).is_file()]
    # another process may take a folder away between the listing and this look
    with contextlib.suppress(FileNotFoundError):
        newest = max(folders, key=lambda f: f.stat().st_mtime, default=None)
        if newest is not None and (newest / RECORD_NAME).is_file():
            return newest, Record(**json.loads((newest / RECORD_NAME).read_text(encoding="utf-8")))
    return None


@contextlib.contextmanager
def staging(root: Path) -> Iterator[Path]:
    """Lock one configuration and lend an empty folder on the cache's disk; it is removed in the end.

    What a killed process left there is removed first.
    """
    area = root.parent / _STAGING
    area.mkdir(parents=True, exist_ok=True)
    with _locked(area / f"{root.name}.lock"):
        for left in area.glob(f"{root.name}.*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{root.name}.", dir=area))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _logger.warning(f"another process is preparing {path.stem}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def publish(built: Path, final: Path, record: Record, stage: Path) -> None:
    """Put a whole dataset in its place and take away what was served before; at every moment one is served.

    Args:
        built: Folder that `datasets` wrote, inside `stage`.
        final: `CACHE/comp_dd/CONFIG/VERSION/HASH`.
        record: Written beside the data.
        stage: The folder lent by `staging`, to which old datasets are moved.
    """
    (built / RECORD_NAME).write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    final.parent.mkdir(parents=True, exist_ok=True)
    root = final.parent.parent
    if final.exists():
        os.rename(final, stage / "same")
    os.rename(built, final)
    os.utime(final)  # `datasets` serves the newest folder
    for number, other in enumerate(sorted(root.glob("*/*"))):
        if other != final and other.is_dir():
            os.rename(other, stage / f"old{number}")
    for version in root.iterdir():
        if version != final.parent and version.is_dir():
            shutil.rmtree(version, ignore_errors=True)  # only lock files are left in it
