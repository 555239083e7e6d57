"""Labels of ImageNet's 50,000 validation images where they lie unsorted: Kaggle's table or the devkit.

The devkit numbers the classes in an order of its own: line i of its ground truth is the ILSVRC2012_ID of
`ILSVRC2012_val_{i:08}`, and `meta.mat` says which WordNet id that is.
"""

import csv
import io
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.utils.errors import InputError

TABLE = "LOC_val_solution.csv"
DEVKIT = "ILSVRC2012_devkit_t12"
_IMAGES = 50000  # validation images of ILSVRC2012
_TRUTH, _META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})")
_LABELS_HELP = (
    f"expected {TABLE} (in Kaggle's imagenet-object-localization-challenge) or {DEVKIT}.tar.gz "
    "(https://image-net.org/challenges/LSVRC/2012/2012-downloads.php), extracted or not"
)


@dataclass(frozen=True)
class ValidationLabels:
    """WordNet id of each validation image.

    Attributes:
        origin: The file that they come from.
        wnids: Number of the image, from 1 -> WordNet id.
    """

    origin: str
    wnids: dict[int, str]

    def wnid(self, name: str, location: str) -> str:
        """Return the class of an image by its file name.

        Raises:
            InputError: It has no label.
        """
        number = _NUMBER.match(name)
        if number is None:
            raise InputError(f"{location}: expected a name such as ILSVRC2012_val_00000293.JPEG")
        try:
            return self.wnids[int(number[1])]
        except KeyError as error:
            raise InputError(f"{location}: {self.origin} has no label for this image; take ImageNet's own") from error


def find_labels(folders: Iterable[Path], images: str) -> ValidationLabels:
    """Read the labels from the first of these folders that has any.

    Args:
        folders: Where to look.
        images: What they are for, in words.

    Raises:
        InputError: There are none, or they cannot be read.
    """
    folders = list(dict.fromkeys(folders))
    for folder in folders:
        if (folder / TABLE).is_file():
            return _read_table(folder / TABLE)
        for place in (folder / f"{DEVKIT}.tar.gz", folder / DEVKIT):
            if place.exists():
                return _read_devkit(place)
    raise InputError(f"{images} and no labels for them; {_LABELS_HELP} in {' or '.join(map(str, folders))}")


def _read_table(path: Path) -> ValidationLabels:
    """Read Kaggle's table: `ImageId,PredictionString`, the latter `wnid x y x y` for each box."""
    wnids = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                number, wnid = int(_NUMBER.fullmatch(row["ImageId"].strip())[1]), row["PredictionString"].split()[0]
                if wnids.setdefault(number, wnid) != wnid:
                    raise InputError(
                        f"{path}: two labels for {row['ImageId']}, {wnids[number]} and {wnid}; download it again"
                    )
        if not wnids:
            raise ValueError("no row")
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (csv.Error, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            f"{path}: not Kaggle's table of validation labels (ImageId,PredictionString); take it from there"
        ) from error
    return ValidationLabels(str(path), wnids)


def _read_devkit(path: Path) -> ValidationLabels:
    """Read the ground truth through `meta.mat`, from the folder or the archive."""
    found = _devkit_folder(path) if path.is_dir() else _devkit_archive(path)
    for name in (_TRUTH, _META):
        if name not in found:
            raise InputError(f"{path}: has no data/{name}; {_LABELS_HELP}")
    classes = _classes(found[_META], path)
    try:
        ids = [int(line) for line in found[_TRUTH].split()]
        if len(ids) != _IMAGES:
            raise ValueError(f"{len(ids)} lines, expected {_IMAGES}")
        wnids = {number: classes[identifier] for number, identifier in enumerate(ids, start=1)}
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: {_TRUTH} is not one class id of {_META} a line ({error})") from error
    return ValidationLabels(str(path), wnids)


def _devkit_folder(path: Path) -> dict[str, bytes]:
    files = [path / "data" / name for name in (_TRUTH, _META)]
    return {file.name: file.read_bytes() for file in files if file.is_file()}


def _devkit_archive(path: Path) -> dict[str, bytes]:
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if member.isreg() and name in (_TRUTH, _META) and "/data/" in f"/{member.name}":
                    found[name] = archive.extractfile(member).read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(f"{path}: cannot be read ({error}); download it again") from error
    return found


def _classes(content: bytes, path: Path) -> dict[int, str]:
    """Return ILSVRC2012_ID -> WordNet id of the classes without sub-classes."""
    from scipy.io import loadmat  # takes half a second

    try:
        synsets = loadmat(io.BytesIO(content), squeeze_me=True)["synsets"]
        return {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets if int(s["num_children"]) == 0}
    except Exception as error:  # scipy raises anything on a damaged file
        raise InputError(f"{path}: {_META} cannot be read ({error}); download the devkit again") from error
