"""Image files as a distilled set: one folder for each class, whatever the folders are called."""

import io
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import torch
from PIL import Image

from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.data.transforms import decode_rgb, resize
from compdd_eval.distilled.formats.part_files import part_files
from compdd_eval.distilled.formats.published import read_labels
from compdd_eval.distilled.limits import check_size
from compdd_eval.distilled.metadata import SetRecord, read_record, write_record
from compdd_eval.distilled.pixel_range import to_8_bits
from compdd_eval.distilled.raw_set import RawSet
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.utils.errors import InputError

Choose = Callable[[list[str]], dict[str, str | None]]  # of many classes, those that are wanted
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_MAX_FILE = 64 * 2**20  # bytes of one image file
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # PIL opens others, too, with other programs or readers of little use
_MAX_SIDE = 4096  # pixels; nothing that is decoded is larger
_ADVICE = "get or save it again"
_TRANSPARENT = ("RGBA", "LA", "PA")
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_SPLITS = {"train", "val", "valid", "validation", "test"}  # folders between the root and the classes


def read_image_folder(
    root: Path,
    res: int | None,
    resize_all: bool,
    choose: Choose,
    label_dir: str | os.PathLike | None,
    by_name: bool,
) -> RawSet:
    """Read images in one folder for each class.

    Args:
        root: The folder of class folders, or of `train/` beside other splits only, or of `data/` alone.
        res: Resolution for images that are not all squares of one size.
        resize_all: Bring all images to `res`.
        choose: Called with the names of the folders where they are more than a subset has classes; returns those to
            read, each with what to call its class in place of the folder's name, or None.
        label_dir: File or folder of labels for the images in the order of torchvision's `ImageFolder`: folders, and
            then files, sorted by name.
        by_name: Sort the images so, too; else 2.png comes before 10.png.

    Raises:
        InputError: Images outside class folders, a file that is no image, or sizes that do not fit together.
    """
    top = _class_root(root)
    files = _class_files(top, attrgetter("name") if by_name else _natural)
    if not any(files.values()):
        raise InputError(f"{root}: no image in its folders; expected .png, .jpg or .webp in a folder for each class")
    names, remarks = dict.fromkeys(folder.name for folder in files), []
    if sum(map(bool, files.values())) > NUM_CLASSES:
        number = len(files)
        names = choose([folder.name for folder, paths in files.items() if paths])
        files = {folder: paths for folder, paths in files.items() if folder.name in names}
        if len(files) < number:
            some = ", ".join(sorted(folder.name for folder in files)[:3])
            remarks.append(f"only the folders of the subset are read, {len(files)} of {number}: {some}, ...")
    _check_filled(root, top, files)
    contents = ((_read(path), str(path)) for paths in files.values() for path in paths)
    images, changes = decode_images(contents, res, resize_all, str(top))
    others = sorted(entry.name for folder in files for entry in folder.iterdir() if not _is_image(entry))
    if others := [name for name in others if not name.startswith(".")]:
        changes.append(f"left out, since they are no images: {', '.join(others[:5])}")
    record = read_record(root) or read_record(top) or SetRecord()
    content = RawSet(
        images=images,
        labels=torch.tensor([number for number, paths in enumerate(files.values()) for _ in paths]),
        lr=record.lr,
        names=[names[folder.name] or folder.name for folder in files],
        pixel_range="0-1",
        record=record,
        origin={"files": {"images": str(top)}},
        remarks=remarks + changes,
        doubts=[] if label_dir is not None else _unused_labels(root, top),
    )
    return content if label_dir is None else _with_labels(content, label_dir)


def _class_files(top: Path, order: Callable[[Path], object]) -> dict[Path, list[Path]]:
    """Return the images of each class folder; refuse images that lie in none."""
    if stray := _images_in(top, order):
        raise InputError(f"{stray[0]}: lies in no class folder; expected one folder for each class, called 0 to 9")
    return {folder: _images_in(folder, order) for folder in sorted(filter(_is_class, top.iterdir()), key=order)}


def _check_filled(root: Path, top: Path, files: dict[Path, list[Path]]) -> None:
    """Raise InputError where a class folder holds no image."""
    empty = [folder.name for folder, paths in files.items() if not paths]
    if 2 * len(empty) > len(files):
        raise InputError(
            f"{root}: no distilled set here (no images.pt, images.npy, distilled.safetensors or class folders of "
            "images); name the folder of one set"
        )
    if empty:
        where = f"{top}: no image in folder {', '.join(empty[:5])}"
        raise InputError(f"{where}; expected .png, .jpg or .webp there, or move it away")


def _unused_labels(*folders: Path) -> list[str]:
    """Say it where labels lie beside the class folders: nothing says that they are meant."""
    files = [file for folder in dict.fromkeys(folders) for file in part_files(folder, "labels")]
    return [f"{file} lies beside the class folders and is not read; --label_dir {file} takes it" for file in files]


def _with_labels(content: RawSet, label_dir: str | os.PathLike) -> RawSet:
    """Take the labels of a file; the folders say what they are compared with."""
    labels, file = read_labels(label_dir, len(content.images))
    remarks = [*content.remarks, f"labels of {file.name} go with the images sorted by folder and name"]
    origin = {"files": {**content.origin["files"], "labels": str(file)}}
    record = content.record.without_labels()
    return replace(content, labels=labels, folders=content.labels, record=record, remarks=remarks, origin=origin)


def holds_class_folders(root: Path) -> bool:
    """Whether a folder has images in folders of its own."""
    return any(_is_class(folder) and any(map(_is_image, folder.iterdir())) for folder in _class_root(root).iterdir())


def decode_images(
    items: Iterable[tuple[bytes, str]], res: int | None, resize_all: bool, source: str
) -> tuple[torch.Tensor, list[str]]:
    """Decode images of any size to one resolution.

    Args:
        items: The bytes of each file, and a name for messages.
        res: Resolution for images that are not all squares of one size; they are resized as real images are.
        resize_all: Bring all images to `res`.
        source: Where they are from, for messages.

    Returns:
        float32 `[N, 3, H, H]` in [0, 1], and what was done to them, in words.

    Raises:
        InputError: A file is no image or too large; sizes differ and `res` is not given.
    """
    decoded, total, transparent = [], 0, 0
    for data, name in items:
        height, width, mode = _checked_size(data, name)
        transparent += mode in _TRANSPARENT
        total += 3 * height * width
        check_size(source, total)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; what cannot be decoded is refused
            decoded.append(decode_rgb(data, name, _ADVICE))
    sizes = {tuple(image.shape[1:]) for image in decoded}
    one_square = len(sizes) == 1 and len(set(*sizes)) == 1
    side = next(iter(sizes))[0] if one_square and not resize_all else res
    if side is None:
        some = ", ".join(f"{width} x {height}" for height, width in sorted(sizes)[:3])
        raise InputError(f"{source}: {some} pixels, no squares of one size; give --res, and they are resized")
    number = len(decoded)
    check_size(f"{number} images", number * 3 * side * side)
    # one tensor of the final size: a list of float images and their stack would take twice the memory
    images = torch.empty(number, 3, side, side)
    changed = 0
    for position, image in enumerate(decoded):
        same = image.shape[1:] == (side, side)
        changed += not same
        images[position] = image.float() / 255 if same else resize(image, (side, side))
    remarks = [f"{changed} of {number} images are resized to {side} px, as real images are"] if changed else []
    if transparent:
        remarks.append(f"{transparent} of {number} images are transparent in places; only their colours are taken")
    return images, remarks


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _MAX_FILE:
        raise InputError(f"{path}: {size:,} bytes, expected at most {_MAX_FILE:,} for one image; {_ADVICE}")
    return path.read_bytes()


def _checked_size(data: bytes, name: str) -> tuple[int, int, str]:
    """Return height, width and mode from the header alone; refuse what would decode to far more than it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused below
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
        (width, height), mode = image.size, image.mode
    except Image.DecompressionBombError:
        width = height = _MAX_SIDE + 1
        mode = ""
    except Exception as error:  # a damaged header can make PIL fail in any way
        raise InputError(f"{name}: is no image that can be opened; {_ADVICE}") from error
    if max(width, height) > _MAX_SIDE:
        raise InputError(f"{name}: claims more than {_MAX_SIDE} pixels a side, and is not decoded; {_ADVICE}")
    if mode in _DEEP_MODES or (data.startswith(b"\x89PNG") and data[24:25] == b"\x10"):
        raise InputError(f"{name}: has more than 8 bits a channel ({mode}), expected 8; save 8-bit RGB, or .npy")
    return height, width, mode


def _class_root(root: Path) -> Path:
    """Return the folder of the class folders: `root`, or `train` in it beside other splits only, or `data` alone."""
    folders = {entry.name: entry for entry in root.iterdir() if _is_class(entry)}
    if "train" in folders and set(folders) <= _SPLITS:
        return folders["train"]
    return folders["data"] if set(folders) == {"data"} else root


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _images_in(folder: Path, order: Callable[[Path], object]) -> list[Path]:
    return sorted(filter(_is_image, folder.iterdir()), key=order)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort `2.png` before `10.png`."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if number % 2 else (-1, part) for number, part in enumerate(parts)]


def write_images(distilled: SetTensors, folder: Path) -> list[str]:
    """Write `00000/00000.png`, ...: class folders that sort in label order, as `ImageFolder` numbers them."""
    pictures, clipped = to_8_bits(distilled.images)
    lost, counts = [clipped], Counter()
    for picture, label in zip(pictures, distilled.classes.tolist(), strict=True):
        path = folder / f"{label:05}" / f"{counts[label]:05}.png"
        path.parent.mkdir(exist_ok=True)
        picture.save(path)
        counts[label] += 1
    write_record(folder, replace(distilled, labels=distilled.classes, label_kind="hard"), exact=False)
    if distilled.label_kind != "hard":
        lost.append(f"the {distilled.label_kind} become hard labels: the class of the largest entry")
    if not torch.equal(distilled.classes, distilled.classes.sort(stable=True).values):
        lost.append("the order of the images: they are sorted by class")
    return lost
