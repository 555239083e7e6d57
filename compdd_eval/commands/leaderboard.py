"""Build a static site that ranks results."""

from compdd_eval.config import LeaderboardConfig

CONFIG = LeaderboardConfig
POSITIONAL = ("sources...",)


def run(config: LeaderboardConfig) -> None:
    """Build the site, send it to the Hub if asked for, and print where it lies."""
    from compdd_eval.reports.leaderboard import build, print_built

    print_built(config, build(config))
