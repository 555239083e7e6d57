"""Files of a dataset repository on the Hugging Face Hub, read over HTTP in parts; nothing is kept on disk."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from compdd_eval.utils.hub_errors import clear_hub_error

PREFIX = "hf://datasets/"
_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)((?:/[^/@]+)*)(?:@([\w./-]+))?")
_PAGE = re.compile(r"/datasets/([\w.-]+/[\w.-]+)(?:/(?:tree|blob|resolve)/(refs/[\w-]+/[\w.-]+|[^/]+)(/.*)?)?")
_COMMIT = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}(?:/(?!\.{1,2}[/@])[\w.,=+ -]{1,200}){0,20}@[0-9a-f]{40}", re.ASCII)
_HOSTS = ("huggingface.co", "hf.co")
_BLOCK = 4 * 2**20  # bytes of one request


@dataclass(frozen=True)
class Address:
    """Where a dataset lies on the Hub.

    Attributes:
        repo_id: `USER/NAME`.
        revision: Branch, tag or commit; None: `main`.
        folder: A folder in it, or a file, as `ipc10/edf`; empty for all of it.
    """

    repo_id: str
    revision: str | None = None
    folder: str = ""

    def __str__(self) -> str:
        inside = f"/{self.folder}" if self.folder else ""
        return f"{self.repo_id}{inside}" + (f"@{self.revision}" if self.revision else "")

    @property
    def page(self) -> str:
        """The address of its page."""
        page = f"https://huggingface.co/datasets/{self.repo_id}"
        if not self.revision and not self.folder:
            return page
        inside = f"/{quote(self.folder)}" if self.folder else ""
        return f"{page}/tree/{quote(self.revision or 'main', safe='')}{inside}"


def parse_address(path: str) -> Address | None:
    """Read an address of a dataset on the Hub; None where a path is none.

    Args:
        path: `USER/NAME`, `USER/NAME@REVISION`, `USER/NAME/FOLDER@REVISION`, the same after `hf://datasets/`, or the
            address of a page of the Hub, `https://huggingface.co/datasets/USER/NAME/tree/REVISION/FOLDER`.
    """
    if path.startswith(("http://", "https://")):
        page = _PAGE.fullmatch(_path_on_hub(path))
        return Address(page[1], page[2], (page[3] or "").strip("/")) if page else None
    found = _REPOSITORY.fullmatch(path.removeprefix(PREFIX).rstrip("/"))
    if found is None or path.startswith("."):
        return None
    return Address(found[1], found[3], found[2].strip("/"))


def _path_on_hub(page: str) -> str:
    """Return the path of a page of the Hub, or of the one that `HF_ENDPOINT` names; empty for other hosts."""
    from huggingface_hub import constants

    try:
        parts, own = urlsplit(page), urlsplit(constants.ENDPOINT)
    except ValueError:  # no address at all, such as https://[
        return ""
    path = unquote(parts.path).rstrip("/")
    if parts.netloc.lower() == own.netloc.lower():
        return path.removeprefix(own.path.rstrip("/"))
    return path if parts.netloc.lower() in _HOSTS else ""


def is_commit(repository: object) -> bool:
    """Whether a text is `USER/NAME[/FOLDER]@COMMIT`, safe to be put into an address or a command."""
    return isinstance(repository, str) and _COMMIT.fullmatch(repository) is not None


class HubFiles:
    """The files of one revision of a dataset repository; the user's own token is used where it needs one.

    Args:
        repository: Its address, as of `parse_address`.

    Raises:
        InputError: There is no such repository or revision, access to it is not granted, or the Hub is out of reach.
    """

    def __init__(self, repository: str) -> None:
        from huggingface_hub import HfApi

        self._given, self._address = repository, parse_address(repository)
        try:
            info = HfApi().dataset_info(self.id, revision=self._address.revision, files_metadata=True)
        except Exception as error:
            raise self.clear(error) from error
        self.commit = info.sha
        self._sizes = {f"datasets/{self}/{file.rfilename}": file.size for file in info.siblings}

    @property
    def id(self) -> str:
        """`USER/NAME`."""
        return self._address.repo_id

    def __str__(self) -> str:
        return f"{self.id}@{self.commit}"

    @property
    def base(self) -> str:
        """What the path of every file begins with."""
        return f"datasets/{self}" + (f"/{self._address.folder}" if self._address.folder else "")

    def list(self, suffix: str) -> list[str]:
        """Return the files that end so, as paths that `open` takes."""
        return [path for path in self._sizes if path.endswith(suffix) and path.startswith(f"{self.base}/")]

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

    def clear(self, error: Exception) -> Exception:
        """Put what the client says into one line; an error of another kind is left as it is."""
        on_hub = self._given.startswith((PREFIX, "http"))
        before = "" if on_hub else f"no such folder ({Path(self._given).absolute()}), and "
        return clear_hub_error(error, str(self._address), before)
