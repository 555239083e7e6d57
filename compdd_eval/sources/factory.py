"""Find the user's ImageNet and choose its reader. Only this module knows which readers there are."""

import os
from pathlib import Path

from compdd_eval.errors import InputError
from compdd_eval.sources.image_folder import ReaderImageFolder
from compdd_eval.sources.rows import Source

IMAGENET_VARIABLE = "COMP_DD_IMAGENET"
IMAGENET_HELP = (
    "ImageNet may not be redistributed: get it at https://image-net.org/download (ILSVRC2012, free for research) "
    f"and give its folder, with train/<WordNet id>/ and val/<WordNet id>/, as --data_path (in Python: data_dir= or "
    f"data_path=) or in the environment variable {IMAGENET_VARIABLE}"
)


def find_imagenet(data_path: str | os.PathLike | None) -> Path | None:
    """Return the given folder, else that of the environment variable COMP_DD_IMAGENET, else None.

    Raises:
        InputError: The folder does not exist; the message says where the path came from.
    """
    origin = "data_path" if data_path else IMAGENET_VARIABLE
    data_path = data_path or os.environ.get(IMAGENET_VARIABLE)
    if not data_path:
        return None
    path = Path(data_path).expanduser().absolute()
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror} (from {origin})") from error
    if not is_folder:
        problem = "is a file, expected a folder" if path.exists() else "no such folder"
        raise InputError(f"{path}: {problem} (from {origin}); expected a copy of ImageNet with train/ and val/")
    return path


def open_source(data_path: str | os.PathLike | None) -> Source:
    """Open a copy of ImageNet.

    Args:
        data_path: Its folder; None takes the environment variable COMP_DD_IMAGENET.

    Raises:
        InputError: No folder was given, it does not exist, or it has no layout that we read.
    """
    path = find_imagenet(data_path)
    if path is None:
        raise InputError(f"no ImageNet given. {IMAGENET_HELP}")
    return ReaderImageFolder(path)
