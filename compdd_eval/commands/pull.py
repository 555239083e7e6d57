"""Download a distilled set from the Hugging Face Hub."""

from pathlib import Path

from compdd_eval.config.pull import PullConfig
from compdd_eval.distilled.pull import Pulled, pull_distilled


def run(config: PullConfig) -> None:
    """Pull and print where it lies."""
    print_pulled(pull(config))


def pull(config: PullConfig) -> Pulled:
    """Download a set of ours."""
    return pull_distilled(config.repo, Path(config.folder), config.overwrite)


def print_pulled(pulled: Pulled) -> None:
    """Say what was done."""
    done = "pulled" if pulled.changed else "already up to date:"
    print(f"{done} {pulled.repo_id} (revision {pulled.commit}) -> {pulled.folder}")
