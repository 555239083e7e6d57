"""Draw what `complexity` measured."""

from compdd_eval.complexity.figure import draw
from compdd_eval.config.figure import FigureConfig


def run(config: FigureConfig) -> None:
    """Draw, and print where the pictures are."""
    for path in draw(config):
        print(path)
