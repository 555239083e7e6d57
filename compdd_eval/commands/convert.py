"""Read a distilled set in any format and write it in another."""

from compdd_eval.config import ConvertConfig

CONFIG = ConvertConfig
POSITIONAL = ("source", "target")


def run(config: ConvertConfig) -> None:
    """Convert and print what was written."""
    from compdd_eval.console import free_stdout
    from compdd_eval.exchange import convert, print_converted

    with free_stdout(config.json):
        converted = convert(config)
    print_converted(converted, config.json)
