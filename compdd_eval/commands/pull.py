"""Download a distilled set from the Hugging Face Hub."""

from compdd_eval.config import PullConfig

CONFIG = PullConfig
POSITIONAL = ("repo", "folder")


def run(config: PullConfig) -> None:
    """Pull and print where it lies."""
    from compdd_eval.exchange import print_pulled, pull

    print_pulled(pull(config))
