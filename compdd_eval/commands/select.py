"""Choose subsets by the complexity of their classes, or compare that choice with the published lists."""

from compdd_eval.config import SelectConfig

CONFIG = SelectConfig
POSITIONAL = ("scores",)


def run(config: SelectConfig) -> None:
    """Select and write, or check; print tables, or JSON."""
    if config.check:
        from compdd_eval.selection_check import check, print_check

        print_check(check(config), config.json)
        return
    from compdd_eval.selection import print_selection, select

    print_selection(select(config), config.json)
