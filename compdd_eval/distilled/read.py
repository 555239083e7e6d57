"""Find the reader for a distilled set, whatever its format, and let it read."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from compdd_eval.config.reading import ReadConfig
from compdd_eval.data.imagenet.hub_files import PREFIX, parse_address
from compdd_eval.distilled.class_order import choose_classes
from compdd_eval.distilled.download import Copy, download
from compdd_eval.distilled.find_sets import where_sets_are
from compdd_eval.distilled.formats.comp_dd import TENSORS_NAME, read_folder
from compdd_eval.distilled.formats.image_folders import Choose, holds_class_folders, read_image_folder
from compdd_eval.distilled.formats.parquet import read_parquet
from compdd_eval.distilled.formats.part_files import SUFFIXES, part_files
from compdd_eval.distilled.formats.published import ignores_rate, read_part_files, read_rate
from compdd_eval.distilled.metadata import RECORD_NAME
from compdd_eval.distilled.raw_set import RawSet
from compdd_eval.utils.errors import InputError


def read_raw_set(
    path: str | os.PathLike, config: ReadConfig, res: int | None = None, resize_all: bool = False
) -> RawSet:
    """Find the reader for a path and let it read; arguments and errors as in `read_distilled`."""
    text = os.fspath(path)
    local, reader = Path(os.path.expanduser(text)), _Reader(config, res, resize_all)
    if os.path.exists(local):  # a folder USER/NAME goes before the repository of that name
        return reader.read(local)
    address, on_hub = parse_address(text), text.startswith((PREFIX, "http"))
    if address is None or (local.suffix.lower() in SUFFIXES and not on_hub):
        raise InputError(f"{local}: no such file or folder; expected a folder, a file, or USER/NAME on the Hub")
    copy = download(address, "" if on_hub else f"no such folder ({local.absolute()}), and ")
    raw = reader.read_parquet(copy) if copy.parquet and not copy.is_ours else reader.read(copy.place)
    inside = {"folder": address.folder} if address.folder else {}
    return replace(raw, origin={"repository": copy.repo_id, "revision": copy.commit, **inside})


@dataclass(frozen=True)
class _Reader:
    """Reads what lies at a place of this machine.

    Args:
        config: What the files do not say.
        res: As in `read_distilled`.
        resize_all: As there.
    """

    config: ReadConfig
    res: int | None
    resize_all: bool

    def read(self, path: Path) -> RawSet:
        """Read a file or a folder."""
        if os.path.isdir(path):
            return self._read_folder(path)
        if path.name == TENSORS_NAME:
            return self._whole(read_folder(path.parent))
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: expected a folder, or a file that ends with {', '.join(SUFFIXES)}")
        return self._read_parts(path)

    def read_parquet(self, copy: Copy) -> RawSet:
        """Read Parquet files from the Hub."""
        choose = self._choose(copy.repo_id)
        return self._whole(read_parquet(copy.parquet, copy.place, copy.repo_id, self.res, self.resize_all, choose))

    def _read_folder(self, folder: Path) -> RawSet:
        ours, part = (folder / TENSORS_NAME).exists(), min(part_files(folder), default=None)
        if ours and part is not None:
            raise InputError(
                f"{folder}: holds both {TENSORS_NAME} and {part.name}; name the one that is meant, with its folder"
            )
        if ours:
            return self._whole(read_folder(folder))
        if part is not None:
            return self._read_parts(folder)
        # before class folders: a folder of sets, each with its preview, looks like a folder of classes
        if instead := where_sets_are(folder):
            raise InputError(f"{folder}: {instead}")
        if holds_class_folders(folder):
            choose, config = self._choose(str(folder)), self.config
            how = (self.res, self.resize_all, choose, config.label_dir, config.sorted_by_name)
            return self._with_rate(read_image_folder(folder, *how))
        return read_folder(folder) if (folder / RECORD_NAME).exists() else self._read_parts(folder)

    def _read_parts(self, path: Path) -> RawSet:
        return read_part_files(path, self.config.label_dir, self.config.lr_dir, self.config.run)

    def _choose(self, source: str) -> Choose:
        subset, order = self.config.load_subset(), self.config.label_order
        return lambda names: choose_classes(names, subset, order, source)

    def _whole(self, raw: RawSet) -> RawSet:
        """Refuse labels from elsewhere, where there are some already; take the rate from where `--lr_dir` says."""
        if self.config.label_dir is not None:
            raise InputError(f"{raw.name}: has labels of its own; leave --label_dir out")
        return self._with_rate(raw)

    def _with_rate(self, raw: RawSet) -> RawSet:
        if self.config.run is not None:
            raise InputError(f"{raw.name}: holds no runs to choose from; leave --run out")
        if self.config.lr_dir is None or ignores_rate(self.config.lr_dir):
            return raw
        return replace(raw, lr=read_rate(self.config.lr_dir))
