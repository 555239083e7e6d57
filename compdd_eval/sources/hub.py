"""Files of a dataset repository on the Hugging Face Hub, read over HTTP in parts; nothing is kept on disk."""

import re
from pathlib import Path
from typing import BinaryIO

from compdd_eval.hub_errors import clear_hub_error

PREFIX = "hf://datasets/"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_BLOCK = 4 * 2**20  # bytes of one request


def is_repository(path: str) -> bool:
    """Whether a path reads as the id of a dataset on the Hub: `USER/NAME`, `USER/NAME@REVISION`, `hf://datasets/...`."""
    return path.startswith(PREFIX) or (_REPOSITORY.fullmatch(path) is not None and not path.startswith("."))


class HubFiles:
    """The files of one revision of a dataset repository; the user's own token is used where it needs one.

    Args:
        repository: `USER/NAME`, with `@REVISION` for another one than `main`.

    Raises:
        InputError: There is no such repository or revision, access to it is not granted, or the Hub is out of reach.
    """

    def __init__(self, repository: str) -> None:
        from huggingface_hub import HfApi

        self.id, _, revision = repository.removeprefix(PREFIX).partition("@")
        try:
            info = HfApi().dataset_info(self.id, revision=revision or None, files_metadata=True)
        except Exception as error:
            raise self.clear(error) from error
        self.commit = info.sha
        self._sizes = {self._path(file.rfilename): file.size for file in info.siblings}

    def __str__(self) -> str:
        return f"{self.id}@{self.commit}"

    @property
    def base(self) -> str:
        """What the path of every file begins with."""
        return f"datasets/{self.id}@{self.commit}"

    def list(self, suffix: str) -> list[str]:
        """Return the files that end so, as paths that `open` takes."""
        return [path for path in self._sizes if path.endswith(suffix)]

    def size(self, path: str) -> int | None:
        """Return the number of bytes of a file."""
        return self._sizes[path]

    def open(self, path: str) -> BinaryIO:
        """Open one file; only the parts that are read are fetched."""
        from huggingface_hub import HfFileSystem

        try:
            return HfFileSystem().open(path, "rb", block_size=_BLOCK)
        except Exception as error:
            raise self.clear(error) from error

    def _path(self, name: str) -> str:
        return f"{self.base}/{name}"

    def clear(self, error: Exception) -> Exception:
        """Put what the client says into one line; an error of another kind is left as it is."""
        return clear_hub_error(error, self.id, f"no such folder ({Path(self.id).absolute()}), and ")
