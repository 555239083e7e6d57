"""Settings of `pull`."""

from dataclasses import dataclass

from compdd_eval.config.settings import Settings


@dataclass(frozen=True)
class PullConfig(Settings):
    """Download a distilled set from the Hugging Face Hub.

    Args:
        repo: The set: USER/NAME, or USER/NAME@REVISION for a branch, a tag or a commit.
        folder: Folder to write to.
        overwrite: Replace another set that the folder holds.
    """

    repo: str | None = None
    folder: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        self._check_given("repo", "pull USER/NAME my_set")
        self._check_given("folder", "pull USER/NAME my_set")
        self._expand_home("folder")


CONFIG = PullConfig
POSITIONAL = ("repo", "folder")
