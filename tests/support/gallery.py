"""Draw the README's picture from what the demo left: python -m tests.support.gallery demo_results"""

import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from compdd_eval.distilled.result_pictures import read_pictures
from compdd_eval.reports.charts import STYLE, draw_rows
from compdd_eval.reports.report.panels import ShownRun, lines_of, named, panels_of
from compdd_eval.reports.summaries import read_runs

PICTURE = Path(__file__).resolve().parents[2] / ".gallery/demo.png"
_COLUMNS = 5  # of the images of a set


def make(results: Path, picture: Path = PICTURE) -> None:
    """Draw an image of each class of the largest sets, and all accuracies with their intervals as reports do."""
    runs = sorted(read_runs(str(results)), key=lambda run: (run.config_name, run.ipc))
    shown = named(runs, [str(results)] * len(runs))
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "white"}):
        figure = Figure(figsize=(8.4, 3.6), dpi=120, layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
        most = [one for one in shown if one.run.ipc == max(run.ipc for run in runs)]
        for part, one in zip(left.subfigures(len(most), 1), most, strict=True):
            _draw_images(part, one)
        axes = right.add_subplot()
        blocks = [
            replace(block, title=f"{panel.name}, {block.title}") for panel in panels_of(shown) for block in panel.blocks
        ]
        draw_rows(axes, lines_of(blocks), 10)
        picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture)
    with Image.open(picture) as drawn:  # 256 colours do, in a fraction of the bytes
        drawn.convert("RGB").quantize(256).save(picture, optimize=True)


def _draw_images(part: SubFigure, one: ShownRun) -> None:
    firsts = {picture.label: picture for picture in reversed(read_pictures(one.run.file.parent / one.run.set_name))}
    pictures = [firsts[label] for label in sorted(firsts)]
    part.suptitle(f"{one.name} on {one.run.config_name}, IPC {one.run.ipc:g}", fontsize=10)
    for axes, found in zip(part.subplots(-(-len(pictures) // _COLUMNS), _COLUMNS).flat, pictures, strict=True):
        axes.imshow(np.asarray(found.image), interpolation="nearest")
        axes.set_axis_off()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
