"""Find the user's ImageNet and choose its reader. Only this module knows which readers there are."""

import itertools
import os
from pathlib import Path

from compdd_eval.data.choices import LAYOUTS
from compdd_eval.data.imagenet.archives import ARCHIVES, ReaderArchives
from compdd_eval.data.imagenet.cls_loc import ReaderClsLoc
from compdd_eval.data.imagenet.hub_files import HubFiles, parse_address
from compdd_eval.data.imagenet.image_folder import CLASS_FOLDER, SPLIT_FOLDERS, ReaderImageFolder, split_folders
from compdd_eval.data.imagenet.parquet import ReaderParquet
from compdd_eval.data.imagenet.reader import Reader
from compdd_eval.data.imagenet.validation_labels import DEVKIT, TABLE
from compdd_eval.data.imagenet.webdataset import ReaderWebDataset
from compdd_eval.utils.errors import InputError, unknown

_READERS = (ReaderImageFolder, ReaderClsLoc, ReaderArchives, ReaderParquet, ReaderWebDataset)
_SHARDED = (ReaderParquet, ReaderWebDataset)
IMAGENET_VARIABLE = "COMP_DD_IMAGENET"
PREPARED = "prepared"  # as data_path: what `prepare` made, whatever the environment says
IMAGENET_HELP = (
    "ImageNet may not be redistributed: get it at https://image-net.org/download (ILSVRC2012, free for research) or "
    "https://huggingface.co/datasets/ILSVRC/imagenet-1k, and give its folder or ILSVRC/imagenet-1k as --data_path (in "
    f"Python: data_dir= or data_path=) or in the environment variable {IMAGENET_VARIABLE}"
)


def find_imagenet(data_path: str | os.PathLike | None) -> Path | str | None:
    """Return the given folder or Hub repository, else that of the environment variable COMP_DD_IMAGENET, else None.

    None means what `prepare` made. The text "prepared" asks for that, too; a folder of this name is "./prepared", or a
    `Path`.

    Raises:
        InputError: It is neither a folder nor the id of a repository; the message says where the path came from.
    """
    if data_path == PREPARED:
        return None
    origin = "data_path" if data_path else IMAGENET_VARIABLE
    data_path = data_path or os.environ.get(IMAGENET_VARIABLE)
    if not data_path:
        return None
    path = Path(data_path).expanduser().absolute()
    try:
        if path.is_dir():
            return path
        exists = path.exists()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror} (from {origin})") from error
    if not exists and parse_address(str(data_path)) is not None:
        return str(data_path)
    if not exists:
        raise InputError(f"{path}: no such folder (from {origin}); expected a copy of ImageNet with train/ and val/")
    if path.name in ARCHIVES.values() or path.suffix in (".tar", ".parquet"):
        raise InputError(f"{path}: is a file, expected the folder that holds it; give {path.parent} (from {origin})")
    raise InputError(f"{path}: is a file, expected a folder (from {origin}): a copy of ImageNet")


def open_source(data_path: str | os.PathLike | None, layout: str = "auto", num_proc: int = 1) -> Reader:
    """Open a copy of ImageNet.

    Args:
        data_path: As in `find_imagenet`; what is prepared is no copy of ImageNet, and is refused.
        layout: How it is stored, one of `LAYOUTS`; "auto" looks at it.
        num_proc: Shards that are listed at a time.

    Raises:
        InputError: Nothing was given, or "prepared"; it does not exist, it has no layout that we read, or it is not
            whole in a way that no subset survives (validation images without labels, half-extracted archives).
    """
    if layout not in ("auto", *LAYOUTS):
        raise unknown("layout", layout, ("auto", *LAYOUTS))
    path = find_imagenet(data_path)
    if data_path == PREPARED:
        raise InputError(
            f"data_path {PREPARED}: stands for what `prepare` made, and here a copy of ImageNet is read; give its "
            f"folder (./{PREPARED} where it is called so)"
        )
    if path is None:
        raise InputError(f"no ImageNet given. {IMAGENET_HELP}")
    if isinstance(path, str):
        if layout not in ("auto", ReaderParquet.layout):
            raise InputError(f"{path}: no such folder; of the Hub, only layout {ReaderParquet.layout} is read")
        return ReaderParquet(HubFiles(path), num_proc)
    try:
        reader = _choose(path) if layout == "auto" else next(r for r in _READERS if r.layout == layout)
        return reader(path, num_proc) if reader in _SHARDED else reader(path)
    except OSError as error:
        raise InputError(f"{error.filename or path}: {error.strerror or error}; mend it and run again") from error


def _choose(path: Path) -> type:
    """Return the reader of the one layout that lies there."""
    found = {reader: reader.find(path) for reader in _READERS}
    found = {reader: what for reader, what in found.items() if what}
    if not found:
        raise InputError(f"{path}: no ImageNet here{_instead(path)}")
    if len(found) > 1:
        layouts = " and ".join(f"{reader.layout} ({', '.join(what)})" for reader, what in found.items())
        choices = " or ".join(f"--layout {reader.layout}" for reader in found)
        raise InputError(f"{path}: a mixture of layouts: {layouts}; say which one is whole: {choices}")
    return next(iter(found))


def _instead(path: Path) -> str:
    """Say what lies there instead, and where the right folder seems to be."""
    if path.name in ("data", *itertools.chain(*SPLIT_FOLDERS.values())):
        return f"; give the folder above it, {path.parent}"
    if CLASS_FOLDER.fullmatch(path.name) and split_folders(path.parent.parent):
        return f"; give the folder above the split, {path.parent.parent}"
    names = sorted(os.listdir(path))
    for name in names:
        if (path / name).is_dir() and any(reader.find(path / name) for reader in _READERS):
            return f"; did you mean {path / name}?"
    labels = [name for name in names if name.startswith(DEVKIT) or name == TABLE]
    if labels:
        missing = " and ".join(ARCHIVES.values())
        return f", only labels ({labels[0]}); the images are missing: {missing}, from https://image-net.org/download"
    found = ", ".join(names[:4]) or "nothing"
    layouts = "; ".join(f"{reader.layout}: {reader.expected}" for reader in _READERS)
    return f" (found: {found}); expected one of these layouts: {layouts}"
