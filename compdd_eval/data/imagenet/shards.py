"""Which images lie in the shards of a split: a compact table, since ImageNet has 1.3 million of them."""

import logging
import re
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from tqdm.auto import tqdm

from compdd_eval.data.imagenet.reader import Reader
from compdd_eval.data.imagenet.rows import ImageRow, check_class, official_name
from compdd_eval.data.synsets import synset_of, synsets
from compdd_eval.utils.errors import InputError

_logger = logging.getLogger(__name__)
SHARD_SCHEMA = pa.schema(
    {"label": pa.int16(), "name": pa.string(), "size": pa.int64(), "start": pa.int64()}
)  # of the images in one shard: ImageNet index, name as stored, bytes (or null), where it begins
_SPLIT = re.compile(r"(?:^|[-_.\d])(train|validation|valid|val|test)(?:$|[-_.\d])")
_FOLDERS = ("train", "val", "valid", "validation", "test")
_NAMES = r"^(n\d{8}_\d+|ILSVRC2012_val_\d{8})(_n\d{8})?\.\w+$"  # ImageNet's, as copies store them
_OF = re.compile(r"-(\d+)-of-(\d+)$")


class ShardReader(Reader):
    """Base of the readers whose images of all classes lie mixed in shards; a split is listed once, when asked for.

    Args:
        root: Folder or repository.
        base: What the paths of all its shards begin with.
        files: All its shards.
        num_proc: Shards that are listed at a time.
    """

    expected = ""
    _executor: Callable[[int], AbstractContextManager[Executor]]  # lends what lists so many shards at a time

    def __init__(self, root: object, base: str, files: list[str], num_proc: int = 1) -> None:
        shards = by_split(files, base)
        if not shards:
            raise InputError(f"{root}: no shards called train or validation here; expected {self.expected}")
        super().__init__(str(root), shards)
        unnamed = [file for file in files if _split_of(file, base) is None]
        if unnamed:
            _logger.warning(f"{unnamed[0]}: called neither train nor validation, left out ({len(unnamed)} such shards)")
        self._shards, self._num_proc, self._tables = shards, num_proc, {}
        for split, files in shards.items():
            if missing := missing_shards(files):
                found = f"{len(files)} of {len(files) + len(missing)} {split} shards"
                _logger.warning(f"{root}: {found} are there; missing: {missing[0]}{', ...' * (len(missing) > 1)}")

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_tables": {}}  # a worker lists what it needs: a table of all ImageNet is tens of MB

    @classmethod
    def find(cls, root: Path) -> list[str]:
        """Return what of this layout lies there, in words."""
        shards = by_split(cls._files(root), str(root))
        return [f"{Path(files[0]).relative_to(root)}, ..." for files in shards.values()]

    @staticmethod
    def _files(root: Path) -> list[str]:
        """Return all shards in a folder."""
        raise NotImplementedError

    def class_count(self, split: str, wnids: Iterable[str]) -> int:
        """Return how many of these classes have images in the split."""
        present = set(pc.unique(self._table(split)["label"]).to_pylist())
        return sum(synset_of(wnid).index in present for wnid in wnids)

    def _list(self, split: str, wnid: str) -> list[ImageRow]:
        table = self._table(split)
        found = table.filter(pc.equal(table["label"], synset_of(wnid).index)).to_pylist()
        return [self._row(self._shards[split][f["shard"]], wnid, f["name"], f["size"], f["start"]) for f in found]

    def _row(self, shard: str, wnid: str, stored: str, size: int | None, start: int) -> ImageRow:
        name = official_name(stored, wnid)
        check_class(name, wnid, f"{shard}: {stored}")
        return ImageRow(wnid, name, size, shard, start, self._stamp(shard) if size is None else "")

    def _stamp(self, shard: str) -> str:
        raise NotImplementedError

    def _table(self, split: str) -> pa.Table:
        """Return the table of a split: `SHARD_SCHEMA` and `shard`, the number of the shard."""
        if split not in self._tables:
            with self._executor(self._num_proc) as executor:
                shards = self._shards[split]
                list_all = executor.map if self._num_proc > 1 else map  # workers are worth their start for several only
                parts = list_all(self._list_shard(), shards)
                bar = tqdm(parts, f"listing {split}", len(shards), unit="shard", leave=False, disable=len(shards) < 8)
                numbered = [
                    part.append_column("shard", pa.array([number] * len(part), pa.int32()))
                    for number, part in enumerate(bar)
                ]
            self._tables[split] = pa.concat_tables(numbered)
            self._check_names(split)
        return self._tables[split]

    def _check_names(self, split: str) -> None:
        """Warn where images do not have the names that ImageNet gave them."""
        names = self._tables[split]["name"]
        others = names.filter(pc.invert(pc.match_substring_regex(names, _NAMES)))
        if len(others):
            _logger.warning(
                f"{self.root}: {len(others)} {split} images are not named as ImageNet names them ({others[0]}, ...); "
                "the order of the rows will not be that of other copies"
            )

    def _list_shard(self) -> Callable[[str], pa.Table]:
        """Return a function that can be pickled: shard -> table of `SHARD_SCHEMA`."""
        raise NotImplementedError


def check_label(label: int, place: str) -> int:
    """Return an ImageNet index; raise InputError if it is none."""
    if not 0 <= label < len(synsets()):
        raise InputError(f"{place}: label {label}, expected an ImageNet index 0-999")
    return label


def files_below(root: Path, suffix: str) -> list[str]:
    """Return the files of a suffix in a folder and in the folders below it that copies of the Hub have."""
    found = []
    for above in (root, root / "data", root / "default"):
        for folder in (above, *[above / name for name in _FOLDERS]):
            found += [str(path) for path in folder.glob(f"*{suffix}") if not path.name.startswith(".")]
    return found


def by_split(shards: Iterable[str], base: str) -> dict[str, list[str]]:
    """Sort shards into `train` and `validation` by their names, or else by the folders below `base` they lie in.

    Those of a test split and those whose name says nothing are left out.
    """
    splits = {shard: _split_of(shard, base) for shard in sorted(shards)}
    found = {wanted: [s for s, split in splits.items() if split == wanted] for wanted in ("train", "validation")}
    return {split: shards for split, shards in found.items() if shards}


def _split_of(shard: str, base: str) -> str | None:
    path = Path(shard).relative_to(base)
    for part in (path.stem, *[parent.name for parent in path.parents]):
        if match := _SPLIT.search(part):
            return "validation" if match[1].startswith("val") else match[1]
    return None


def missing_shards(shards: Iterable[str]) -> list[str]:
    """Return the names of shards that the others count (`-00003-of-00014`) and that are not there."""
    stems = {Path(shard).stem: shard for shard in shards}
    missing = []
    for stem, shard in stems.items():
        if match := _OF.search(stem):
            digits, total = len(match[1]), int(match[2])
            names = [f"{stem[: match.start()]}-{n:0{digits}}-of-{match[2]}" for n in range(total)]
            missing += [f"{name}{Path(shard).suffix}" for name in names if name not in stems]
    return sorted(set(missing))
