"""Draw what `complexity` measured."""

from compdd_eval.config import FigureConfig

CONFIG = FigureConfig
POSITIONAL = ("scores",)


def run(config: FigureConfig) -> None:
    """Draw, and print where the pictures are."""
    from compdd_eval.complexity.figure import draw

    for path in draw(config):
        print(path)
