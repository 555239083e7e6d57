"""Draw the README's picture from what the demo left: python -m tests.support.gallery demo_results"""

import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure, SubFigure

from compdd_eval.distilled.result_pictures import read_pictures
from compdd_eval.reports.charts import STYLE, draw_rows
from compdd_eval.reports.report.panels import Shown, lines_of, named, panels_of
from compdd_eval.reports.summaries import read_runs

PICTURE = Path(__file__).resolve().parents[2] / ".gallery/demo.png"
_COLUMNS = 5  # of the images of a set


def make(results: Path, picture: Path = PICTURE) -> None:
    """Draw the distilled images with one image a class, and all accuracies with their intervals as the report does."""
    runs = sorted(read_runs(str(results)), key=lambda run: (run.config_name, run.ipc))
    shown = named(runs, [str(results)] * len(runs))
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "white"}):
        figure = Figure(figsize=(8.4, 3.6), dpi=120, layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
        small = [one for one in shown if one.run.ipc == 1]
        for part, one in zip(left.subfigures(len(small), 1), small, strict=True):
            _draw_images(part, one)
        axes = right.add_subplot()
        blocks = [
            replace(block, title=f"{panel.name}, {block.title}") for panel in panels_of(shown) for block in panel.blocks
        ]
        draw_rows(axes, lines_of(blocks), 10)
        picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture)


def _draw_images(part: SubFigure, one: Shown) -> None:
    pictures = read_pictures(one.run.file.parent / one.run.set_name)
    part.suptitle(f"{one.name}, {one.run.config_name}, IPC {one.run.ipc:g}", fontsize=10)
    for axes, found in zip(part.subplots(-(-len(pictures) // _COLUMNS), _COLUMNS).flat, pictures, strict=True):
        axes.imshow(np.asarray(found.image))
        axes.set_axis_off()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
