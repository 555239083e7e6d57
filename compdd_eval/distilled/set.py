"""Distilled sets: `DistilledSet`, and `read_distilled`, which reads one whatever its format."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace

from compdd_eval.config.reading import ReadConfig
from compdd_eval.data.imagenet.hub_files import PREFIX, parse_address
from compdd_eval.distilled.formats.comp_dd import save_folder
from compdd_eval.distilled.interpret import check_digest, interpret, rate_of, view_labels_of
from compdd_eval.distilled.metadata import RECORD_NAME
from compdd_eval.distilled.mosaics import FACTOR
from compdd_eval.distilled.push import push_distilled
from compdd_eval.distilled.raw_set import Interpreted, RawSet
from compdd_eval.distilled.read import read_raw_set
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.utils.errors import InputError

_logger = logging.getLogger(__name__)


class DistilledSet(SetTensors):
    """A distilled set to load, save, push to the Hub and take from it; `SetTensors` says what it holds."""

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "DistilledSet":
        """Read what `save` wrote (or any other format, see `compdd_eval.read_distilled`).

        Raises:
            InputError: A file is missing, damaged, or not the one that `distilled.json` was written for.
        """
        return read_distilled(folder)

    @classmethod
    def from_hub(cls, repo_id: str, revision: str | None = None) -> "DistilledSet":
        """Download a set from the Hugging Face Hub, or take the copy in its cache; `origin` has the commit.

        Args:
            repo_id: `USER/NAME` of a dataset repository.
            revision: Branch, tag or commit; None: `main`.

        Raises:
            InputError: No such repository or revision, no access, no connection, or no set in it.
        """
        address = repo_id if revision is None else f"{repo_id}@{revision}"
        if parse_address(address) is None:
            raise InputError(f"{address}: no name of a dataset on the Hub, which is USER/NAME")
        # with the prefix it is read from the Hub, even where a folder is called so
        return read_distilled(address if address.startswith((PREFIX, "http")) else f"{PREFIX}{address}")

    def save(self, folder: str | os.PathLike) -> None:
        """Write `distilled.safetensors`, `distilled.json`, `preview.png` and `README.md`; exact.

        Raises:
            InputError: The folder cannot be written, or has a card of something else.
        """
        save_folder(self, folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        revision: str | None = None,
        results: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        overwrite: bool = False,
    ) -> str:
        """Send the set to a dataset repository on the Hugging Face Hub, in one commit; see `push` for the arguments.

        Returns:
            The commit: a new one, or the present one where the repository has the same content already.

        Raises:
            InputError: It is not known which subset the set is for; another set lies there; no access; no connection.
        """
        done = push_distilled(self, repo_id, private=private, revision=revision, results=results, overwrite=overwrite)
        return done.commit


def read_distilled(
    path: str | os.PathLike,
    config: ReadConfig | None = None,
    *,
    res: int | None = None,
    resize_all: bool = False,
    view_labels: bool = True,
) -> DistilledSet:
    """Read a distilled set; what its files do not say is taken from the configuration, or guessed.

    Args:
        path: A folder (ours; `images.pt` and `labels.pt` as MTT, DATM and EDF save them; `images.npy`; class folders
            of images), a file (`.pt`, `.npz`, `.npy`, `.safetensors`), or a dataset on the Hub: `USER/NAME`,
            `USER/NAME/FOLDER@REVISION`, or the address of its page.
        config: What the files do not say, as in `compdd_eval.ReadConfig(category="bird", subset="easy")`.
        res: Resolution for image files that are not all squares of one size.
        resize_all: Bring all image files to `res`.
        view_labels: Whether labels of views are looked at, where the set has them.

    Returns:
        The set; `origin` names the files or the commit that were read, and holds the `guesses`, and `remarks` on what
        was done, if there are any.

    Raises:
        InputError: Nothing there that is a distilled set; the message says what is wrong, and with which file.
    """
    config = config or ReadConfig()
    raw = read_raw_set(path, config, res, resize_all)
    if not view_labels:
        raw = replace(raw, view_labels=None, record=replace(raw.record, view_labels=None))
    try:
        check_digest(raw)
        interpreted = interpret(raw, config)
        distilled = assemble(raw, interpreted, config)
    except InputError as error:
        if str(error).startswith(raw.name):
            raise
        raise InputError(f"{raw.name}: {error}") from error
    for doubt in interpreted.doubts:
        _logger.warning(f"{raw.name}: {doubt}")
    return distilled


def assemble(raw: RawSet, interpreted: Interpreted, config: ReadConfig) -> DistilledSet:
    """Make the set; raise InputError where a part is not what it must be."""
    metadata = raw.record.settings
    if interpreted.subset is not None:
        metadata |= interpreted.subset.selection
    if interpreted.factor > 1:
        metadata[FACTOR] = interpreted.factor
    lr, origin = rate_of(raw, config), raw.origin | interpreted.notes
    labels = view_labels_of(raw)
    if labels is None and raw.view_labels is not None:
        interpreted.doubts.append(f"{raw.view_labels.name} is left out, for {RECORD_NAME} does not name it")
    return DistilledSet(interpreted.images, interpreted.labels, interpreted.label_kind, lr, metadata, origin, labels)
