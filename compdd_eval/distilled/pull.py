"""Download a distilled set of ours from the Hub into a folder."""

from dataclasses import dataclass
from pathlib import Path

from compdd_eval.data.imagenet.hub_files import parse_address
from compdd_eval.distilled.card import CARD_NAME, without_data
from compdd_eval.distilled.download import download
from compdd_eval.distilled.formats.comp_dd import FILES, read_folder
from compdd_eval.distilled.interpret import check_digest, view_labels_of
from compdd_eval.distilled.write import check_target, real_path, staged
from compdd_eval.utils.errors import InputError


@dataclass(frozen=True)
class Pulled:
    """What a pull did.

    Attributes:
        repo_id: The repository.
        commit: Hash of the commit.
        folder: Where the set lies now.
        changed: Whether something was written.
    """

    repo_id: str
    commit: str
    folder: Path
    changed: bool


def pull_distilled(repo: str, folder: Path, overwrite: bool = False) -> Pulled:
    """Bring a set from the Hub into a folder; whole or not at all, and only after its digest was checked.

    Args:
        repo: Its address, as of `compdd_eval.data.imagenet.hub_files.parse_address`.
        folder: Where to.
        overwrite: Replace a set, or another version of this one, that lies there.

    Raises:
        InputError: As `compdd_eval.distilled.download.download`; the repository has no set of our format; the folder
            holds something else.
    """
    folder = real_path(folder)
    address = parse_address(repo)
    if address is None:
        raise InputError(f"{repo}: no name of a dataset on the Hub, which is USER/NAME")
    copy = download(address)
    if not copy.is_ours:
        raise InputError(f"{address}: is no set of our format; `convert {repo} DIR` makes one of it")
    raw = read_folder(copy.place)
    check_digest(raw)
    view_labels_of(raw)
    contents = {name: _content(copy.place / name) for name in FILES if (copy.place / name).exists()}
    present = [folder / name for name in FILES if (folder / name).is_file()]
    if {file.name: file.read_bytes() for file in present} == contents:
        return Pulled(copy.repo_id, copy.commit, folder, False)
    check_target(folder, overwrite)
    with staged(folder) as new:
        for name, content in contents.items():
            (new / name).write_bytes(content)
    return Pulled(copy.repo_id, copy.commit, folder, True)


def _content(path: Path) -> bytes:
    """Return what is written of a file: of the card, without the Parquet copy, which stays on the Hub."""
    data = path.read_bytes()
    if path.name != CARD_NAME:
        return data
    return without_data(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")
