"""The prepared subsets as a source of images by class: each class out of the first subset that holds it."""

from pathlib import Path

import pyarrow.compute as pc

from compdd_eval.data.imagenet.open import IMAGENET_HELP
from compdd_eval.data.imagenet.reader import Reader
from compdd_eval.data.imagenet.rows import ImageRow
from compdd_eval.data.prepared import Record, find_prepared, open_arrow, prepared_root
from compdd_eval.data.splits import StoredImages
from compdd_eval.data.subsets import SPLITS
from compdd_eval.utils.errors import InputError


class PreparedSource(Reader):
    """Read images out of what `prepare` made; names, sizes and bytes are those of the copy that it was made from.

    Raises:
        InputError: Nothing is prepared there.
    """

    layout = "prepared"

    def __init__(self) -> None:
        root = prepared_root(None)
        found = list(filter(None, map(find_prepared, sorted(root.glob("[!.]*")))))
        if not found:
            raise InputError(f"{root}: nothing is prepared, and no images were given. {IMAGENET_HELP}")
        super().__init__(root, [split for split in SPLITS if any(split in record.images for _, record in found)])
        self._found, self._opened = found, {}

    def read(self, row: ImageRow) -> bytes:
        """Return the original bytes of one image."""
        return self._opened[row.file].read(row.start)[0]

    def _list(self, split: str, wnid: str) -> list[ImageRow]:
        for folder, record in self._found:
            place = f"{folder}: {split}"
            if split in record.images:
                images = self._open(place, folder, record, split)
                if positions := [number for number, other in enumerate(images.wnids) if other == wnid]:
                    return [ImageRow(wnid, images.file_names[n], images.size(n), place, n) for n in positions]
        return []

    def _open(self, place: str, folder: Path, record: Record, split: str) -> "_Images":
        if place not in self._opened:
            self._opened[place] = _Images(open_arrow(folder, record, split), str(folder))
        return self._opened[place]


class _Images(StoredImages):
    """The images of one split, with the class and the size of each."""

    def __init__(self, dataset: object, origin: str) -> None:
        super().__init__(dataset, origin)
        self.wnids: list[str] = dataset["wnid"][:]
        self._sizes = pc.binary_length(pc.struct_field(self._images.data.column("image"), "bytes")).to_pylist()

    def size(self, index: int) -> int:
        """Return the bytes of one image; where only its path is held, read it for that."""
        size = self._sizes[index]
        return len(self.read(index)[0]) if size is None else size
