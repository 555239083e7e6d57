"""Settings of `leaderboard`."""

from dataclasses import dataclass, field

from compdd_eval.config.settings import Settings
from compdd_eval.utils.errors import InputError, require


@dataclass(frozen=True)
class LeaderboardConfig(Settings):
    """Build a static site that ranks results of `evaluate`, from folders and from repositories of distilled sets.

    Args:
        sources: Folders with results, files summary.json, and repositories USER/NAME[@REVISION] on the Hub that were
            pushed with `push --results`.
        output: Folder for the site.
        title: Title of the site.
        canonical: JSON file with the digest of the validation images of each configuration, such as {"bird-easy":
            "9f..."}: results on other images are marked. Without it, results are marked that differ from most of the
            same configuration, and those of copies that are not whole.
        push: Send the site to a static Space on the Hub, USER/NAME, which is made where there is none.
        private: Make a new Space private.
        json: Print the rows as JSON, for programs.
    """

    sources: list[str] = field(default_factory=list)
    output: str = "site"
    title: str = "Comp-DD leaderboard"
    canonical: str | None = None
    push: str | None = None
    private: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        self._check_list("sources", 1, "leaderboard results USER/NAME --output site")
        require("--output", repr(self.output), bool(self.output.strip()), "the name of a folder, such as site")
        self._expand_home("sources", "output", "canonical")
        if self.push is not None:
            require("--push", repr(self.push), self.push.count("/") == 1, "the name of a Space, USER/NAME")
        if self.private and self.push is None:
            raise InputError("--private is for the Space of --push; leave it out, or give --push USER/NAME")


CONFIG = LeaderboardConfig
POSITIONAL = ("sources...",)
