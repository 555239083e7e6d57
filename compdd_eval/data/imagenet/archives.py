"""The official archives, not extracted: `ILSVRC2012_img_train.tar` (a tar of tars) and `ILSVRC2012_img_val.tar`."""

import functools
import re
from collections.abc import Iterable
from pathlib import Path

from compdd_eval.data.imagenet.image_folder import CLASS_ARCHIVE
from compdd_eval.data.imagenet.reader import Reader
from compdd_eval.data.imagenet.rows import ImageRow, check_class, official_name
from compdd_eval.data.imagenet.tar_index import tar_members
from compdd_eval.data.imagenet.validation_labels import find_labels
from compdd_eval.utils.errors import InputError

ARCHIVES = {"train": "ILSVRC2012_img_train.tar", "validation": "ILSVRC2012_img_val.tar"}


class ReaderArchives(Reader):
    """Read images out of the archives; of the training images, only the archives of needed classes are scanned."""

    layout = "archives"
    expected = f"{ARCHIVES['train']}, {ARCHIVES['validation']} and ILSVRC2012_devkit_t12.tar.gz"

    def __init__(self, root: Path) -> None:
        self._archives = {split: root / name for split, name in ARCHIVES.items() if (root / name).is_file()}
        if not self._archives:
            raise InputError(f"{root}: no archive of images here; expected {self.expected}")
        if "train" not in self._archives and (loose := sorted(root.glob("n????????.tar"))):
            raise InputError(
                f"{root}: half-extracted: {len(loose)} class archives ({loose[0].name}, ...); put {ARCHIVES['train']} "
                "itself there"
            )
        for name in ARCHIVES.values():
            for packed in (f"{name}.gz", f"{name}.bz2", f"{name}.xz", name.replace(".tar", ".tgz")):
                if (root / packed).exists() and not (root / name).exists():
                    raise InputError(
                        f"{root / packed}: is compressed, expected {name}; unpack it to that (or remove it)"
                    )
        super().__init__(root, self._archives)
        if "validation" in self._archives:
            self._labels = find_labels([root], f"{self._archives['validation']}: holds unsorted images")

    def __getstate__(self) -> dict[str, object]:
        listed = ("_labels", "_class_archives", "_validation_rows")  # a worker reads images only
        return {name: value for name, value in vars(self).items() if name not in listed}

    @classmethod
    def find(cls, root: Path) -> list[str]:
        """Return what of this layout lies there, in words."""
        return [name for name in ARCHIVES.values() if (root / name).is_file()]

    def class_count(self, split: str, wnids: Iterable[str]) -> int:
        """Return how many of these classes have images in the split; of `train`, only the outer archive is read."""
        listed = self._class_archives if split == "train" else self._validation_rows
        return sum(wnid in listed for wnid in wnids)

    def _list(self, split: str, wnid: str) -> list[ImageRow]:
        if split == "validation":
            return self._validation_rows.get(wnid, [])
        path, place = self._archives["train"], self._class_archives.get(wnid)
        if place is None:
            return []
        with open(path, "rb") as file:
            return [_row(member, wnid, path) for member in tar_members(path, file, *place)]

    @functools.cached_property
    def _class_archives(self) -> dict[str, tuple[int, int]]:
        """WordNet id -> byte at which the archive of the class begins, and its size; scanned once."""
        path = self._archives["train"]
        with open(path, "rb") as file:
            members = {_base(m.name): (m.offset_data, m.size) for m in tar_members(path, file)}
        found = {name.removesuffix(".tar"): place for name, place in members.items() if CLASS_ARCHIVE.fullmatch(name)}
        if not found:
            raise InputError(f"{path}: holds no class archive such as n01440764.tar; download it again")
        return found

    @functools.cached_property
    def _validation_rows(self) -> dict[str, list[ImageRow]]:
        """WordNet id -> rows; scanned once."""
        path, rows = self._archives["validation"], {}
        with open(path, "rb") as file:
            for member in tar_members(path, file):
                wnid = self._labels.wnid(_base(member.name), f"{path}: {member.name}")
                rows.setdefault(wnid, []).append(_row(member, wnid, path))
        return rows


def _base(name: str) -> str:
    return re.split(r"[\\/]", name)[-1]


def _row(member: object, wnid: str, path: Path) -> ImageRow:
    name = official_name(_base(member.name), wnid)
    check_class(name, wnid, f"{path}: {member.name}")
    return ImageRow(wnid, name, member.size, str(path), member.offset_data)
