"""Settings of `pull`."""

import os
from dataclasses import dataclass

from compdd_eval.config.checks import check_given


@dataclass(frozen=True)
class PullConfig:
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
        check_given("REPO", self.repo, "pull USER/NAME my_set")
        check_given("FOLDER", self.folder, "pull USER/NAME my_set")
        object.__setattr__(self, "folder", os.path.expanduser(self.folder))


CONFIG = PullConfig
POSITIONAL = ("repo", "folder")
