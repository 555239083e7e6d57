"""The competition layout: `ILSVRC/Data/CLS-LOC/{train/<wnid>,val}`, validation images unsorted, labels beside it."""

from collections.abc import Iterable
from pathlib import Path

from compdd_eval.data.imagenet.image_folder import (
    COMPETITION,
    ReaderImageFolder,
    class_folders,
    entries_of,
    file_row,
    is_image_name,
    split_folders,
    unsorted_image,
)
from compdd_eval.data.imagenet.rows import ImageRow
from compdd_eval.data.imagenet.validation_labels import find_labels
from compdd_eval.utils.errors import InputError

_LEVELS = (
    ".",
    COMPETITION,
    f"Data/{COMPETITION}",
    f"ILSVRC/Data/{COMPETITION}",
)  # where the tree lies below what was given
_UPWARDS = 3  # levels above the tree at which the labels may lie


class ReaderClsLoc(ReaderImageFolder):
    """Read the tree of the competition (as Kaggle has it) at any of its levels.

    Where the validation images have been sorted into class folders, no labels are needed.
    """

    layout = "cls-loc"
    expected = "ILSVRC/Data/CLS-LOC/train/<WordNet id>/*.JPEG and ILSVRC/Data/CLS-LOC/val/*.JPEG"

    def __init__(self, root: Path) -> None:
        tree = _tree(root)
        if tree is None:
            raise InputError(f"{root}: no competition layout here; expected {self.expected}")
        super().__init__(tree)
        self._unsorted = {}
        image = unsorted_image(self._folders["validation"]) if "validation" in self._folders else None
        if image is not None:
            self._unsorted = self._label_unsorted(tree, self._folders["validation"], image)

    @classmethod
    def find(cls, root: Path) -> list[str]:
        """Return what of this layout lies there, in words."""
        tree = _tree(root)
        if tree is None:
            return []
        validation = split_folders(tree).get("validation")
        # train/ and val/ right here, under another name: the competition's only if val/ is not sorted by class
        if tree == root and root.name != COMPETITION and (validation is None or not unsorted_image(validation)):
            return []  # class folders or shards
        return [f"{tree.relative_to(root) / folder.name}/" for folder in split_folders(tree).values()]

    def class_count(self, split: str, wnids: Iterable[str]) -> int:
        """Return how many of these classes have images in the split."""
        if split == "validation" and self._unsorted:
            return sum(wnid in self._unsorted for wnid in wnids)
        return super().class_count(split, wnids)

    def _list(self, split: str, wnid: str) -> list[ImageRow]:
        if split == "validation" and self._unsorted:
            folder = self._folders[split]
            return [file_row(str(folder / name), wnid) for name in self._unsorted.get(wnid, [])]
        return super()._list(split, wnid)

    @staticmethod
    def _label_unsorted(tree: Path, folder: Path, image: str) -> dict[str, list[str]]:
        """Return WordNet id -> file names; raise InputError for a mixture or without labels."""
        sorted_ones = class_folders(folder)
        if sorted_ones:
            raise InputError(
                f"{folder}: a mixture of {len(sorted_ones)} class folders ({sorted_ones[0]}, ...) and unsorted images "
                f"({image}, ...); expected one or the other: finish sorting, or extract ILSVRC2012_img_val.tar anew"
            )
        real = tree.resolve()  # where the tree was reached by a link, the labels lie above what it leads to
        above = [*tree.parents[:_UPWARDS]] if tree.name == COMPETITION else []
        above += real.parents[:_UPWARDS] if real.name == COMPETITION else ()
        labels = find_labels([tree, *above], f"{folder}: holds unsorted images ({image}, ...)")
        names = {}
        for entry in entries_of(folder):
            if is_image_name(entry.name):
                names.setdefault(labels.wnid(entry.name, entry.path), []).append(entry.name)
        return names


def _tree(root: Path) -> Path | None:
    """Return the folder of `train/` and `val/`, at or below what was given."""
    trees = [root / level for level in _LEVELS if split_folders(root / level)]
    if len(trees) > 1:
        places = " and ".join(str(folder) for tree in trees for folder in split_folders(tree).values())
        raise InputError(f"{root}: a mixture: {places}; give the one tree that is whole, or bring them together")
    return trees[0] if trees else None
