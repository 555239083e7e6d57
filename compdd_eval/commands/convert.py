"""Read a distilled set in any format and write it in another."""

from compdd_eval.config import ConvertConfig

CONFIG = ConvertConfig
POSITIONAL = ("source", "target")


def run(config: ConvertConfig) -> None:
    """Convert and print what was written."""
    from compdd_eval.exchange import convert

    convert(config)
