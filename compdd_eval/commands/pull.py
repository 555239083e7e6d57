"""Download a distilled set from the Hugging Face Hub."""

from pathlib import Path

from compdd_eval.config.pull import PullConfig
from compdd_eval.distilled.pull import pull_distilled


def run(config: PullConfig) -> None:
    """Pull a set of ours and print where it lies."""
    pulled = pull_distilled(config.repo, Path(config.folder), config.overwrite)
    done = "pulled" if pulled.changed else "already up to date:"
    print(f"{done} {pulled.repo_id} (revision {pulled.commit}) -> {pulled.folder}")
