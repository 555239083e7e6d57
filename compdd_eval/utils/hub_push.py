"""Send files to a repository of the Hugging Face Hub, whatever they are: look at what is there, then one commit."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.utils.errors import InputError
from compdd_eval.utils.hub_errors import clear_hub_error

_IS_PUBLIC = "is public; make it private in its settings, or leave --private out"


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        repo_id: The repository, with its owner.
        commit: Hash of the commit that has the files.
        changed: Whether that is a new one.
        private: Whether the repository is private.
        revision: The branch, where it is not `main`.
    """

    repo_id: str
    commit: str
    changed: bool
    private: bool
    revision: str | None = None

    @property
    def visibility(self) -> str:
        """`private` or `public`."""
        return "private" if self.private else "public"

    def done(self, what: str = "pushed to") -> str:
        """Return what was done, in words that the name of the repository follows."""
        return what if self.changed else "nothing has changed in"

    def in_words(self, what: str = "pushed to") -> str:
        """Return what was done, and to which revision of which repository."""
        return f"{self.done(what)} {self.repo_id} ({self.visibility}, revision {self.commit})"


@dataclass(frozen=True)
class Repository:
    """A repository as it is before a push.

    Attributes:
        api: The client, a `huggingface_hub.HfApi`.
        info: What the Hub says of the repository at this revision.
        kind: `dataset`, `model` or `space`.
        revision: The branch; None: `main`.
        new_branch: Whether the branch was made just now: it holds what `main` does.
    """

    api: object
    info: object
    kind: str
    revision: str | None = None
    new_branch: bool = False

    @property
    def repo_id(self) -> str:
        """Its name, with its owner."""
        return self.info.id

    @property
    def names(self) -> set[str]:
        """Names of its files."""
        return {file.rfilename for file in self.info.siblings}

    def texts(self, *names: str) -> dict[str, str]:
        """Return the contents of those of some files that are there."""
        from huggingface_hub import hf_hub_download

        texts = {}
        for name in set(names) & self.names:
            path = hf_hub_download(self.repo_id, name, repo_type=self.kind, revision=self.info.sha)
            texts[name] = Path(path).read_text(encoding="utf-8", errors="replace")
        return texts

    def upload(
        self,
        folder: str | os.PathLike,
        message: str,
        allow: list[str] | None = None,
        delete: list[str] | str | None = None,
    ) -> Pushed:
        """Send a folder in one commit; where the repository has all of it already, the Hub makes none.

        Args:
            folder: The folder.
            message: Of the commit.
            allow: Patterns of the files that are sent; None: all.
            delete: Patterns of the files of the repository that go unless they are sent.
        """
        commit = self.api.upload_folder(
            repo_id=self.repo_id,
            repo_type=self.kind,
            folder_path=str(folder),
            revision=self.revision,
            allow_patterns=allow,
            delete_patterns=delete,
            commit_message=message,
        )
        return self.at(commit.oid)

    def at(self, commit: str) -> Pushed:
        """Say that a commit has the files now; the present one: nothing was sent."""
        return Pushed(self.repo_id, commit, commit != self.info.sha, bool(self.info.private), self.revision)


@contextlib.contextmanager
def open_for_push(
    repo_id: str,
    kind: str = "dataset",
    *,
    private: bool = False,
    if_public: str | None = _IS_PUBLIC,
    revision: str | None = None,
) -> Iterator[Repository]:
    """Open a repository to look at it and to push to it; it is made where there is none.

    Args:
        repo_id: `USER/NAME`.
        kind: `dataset`, `model` or `space` (a static one).
        private: Make a new one private, and refuse one that is public.
        if_public: How the refusal goes on after the name; None: one that is public is not refused.
        revision: Branch, which is made where there is none; None: `main`.

    Raises:
        InputError: It is public and may not be; no access; no connection. Also for what the client raises in the
            body of the `with`.
    """
    from huggingface_hub import HfApi

    with hub_errors_in_one_line(repo_id if revision is None else f"{repo_id}@{revision}", kind):
        api, sdk = HfApi(), {"space_sdk": "static"} if kind == "space" else {}
        repo_id = api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True, **sdk).repo_id
        info, new_branch = api.repo_info(repo_id, repo_type=kind), False
        if private and not info.private and if_public:
            raise InputError(f"{repo_id}: {if_public}")
        if revision is not None:
            new_branch = _make_branch(api, repo_id, kind, revision)
            info = api.repo_info(repo_id, repo_type=kind, revision=revision)
        yield Repository(api, info, kind, revision, new_branch)


@contextlib.contextmanager
def hub_errors_in_one_line(repository: str, kind: str = "dataset", before: str = "") -> Iterator[None]:
    """Raise an InputError in place of what the client of the Hub raises; arguments as of `clear_hub_error`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise clear_hub_error(error, repository, before, kind=kind) from error


def _make_branch(api: object, repo_id: str, kind: str, revision: str) -> bool:
    """Make a branch; return whether it is new."""
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        api.repo_info(repo_id, repo_type=kind, revision=revision)
        return False
    except RevisionNotFoundError:
        api.create_branch(repo_id, repo_type=kind, branch=revision, exist_ok=True)
        return True
