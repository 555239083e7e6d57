"""A gallery of classes: an example of each under its activation map, forty on a page."""

import itertools
import textwrap
import typing
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.complexity.read_scores import Example
from compdd_eval.utils.console import cut
from compdd_eval.utils.files import atomic_write

if typing.TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
_COLUMNS, _ROWS = 10, 4
_SIDE, _GAP, _MARGIN = 1.4, 0.12, 0.25  # inches, as all lengths here
_HEADING, _STRIP, _NUMBERS, _LINE = 0.62, 0.26, 0.19, 0.145
_FONT = 8  # points
_LINES = 3  # of a name
_MAP, _OPACITY = "inferno", 0.45
_DPI = 200


@dataclass(frozen=True)
class Panel:
    """One class: its name, mean complexity in percent, example, and the group that it is shown in."""

    name: str
    mean: float
    example: Example
    group: str
    colour: str


def save_gallery(cells: list[Panel], threshold: float, folder: Path) -> list[Path]:
    """Write gallery.png, gallery-2.png and so on, remove those of an earlier, longer gallery; return the paths."""
    paths, size = [], _COLUMNS * _ROWS
    pages = [cells[start : start + size] for start in range(0, len(cells), size)]
    for number, page in enumerate(pages, start=1):
        figure = _page(page, threshold, f", page {number} of {len(pages)}" if len(pages) > 1 else "")
        paths.append(_path(folder, number))
        with atomic_write(paths[-1]) as temporary:
            figure.savefig(temporary, dpi=_DPI)
    number = len(pages) + 1
    while _path(folder, number).is_file():
        _path(folder, number).unlink()
        number += 1
    return paths


def _path(folder: Path, number: int) -> Path:
    return folder / ("gallery.png" if number == 1 else f"gallery-{number}.png")


def _page(cells: list[Panel], threshold: float, number: str) -> "Figure":
    """Draw rows of cells, each as high as its longest name, on one canvas whose unit is an inch."""
    from matplotlib.figure import Figure

    rows = [cells[start : start + _COLUMNS] for start in range(0, len(cells), _COLUMNS)]
    names = [[_wrapped(cell.name) for cell in row] for row in rows]
    heights = [_STRIP + _SIDE + 0.06 + _LINE * max(map(len, row)) + _NUMBERS + 0.1 for row in names]
    columns = max(5, len(rows[0]))  # a heading needs the room of five
    width = 2 * _MARGIN + columns * (_SIDE + _GAP) - _GAP
    height = _MARGIN + _HEADING + sum(heights)
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    _draw_heading(axes, width, threshold, number)
    top = _MARGIN + _HEADING
    for row, lines, high in zip(rows, names, heights, strict=True):
        _draw_groups(axes, row, top)
        for column, cell in enumerate(row):
            _draw_cell(axes, cell, lines[column], threshold, _MARGIN + column * (_SIDE + _GAP), top + _STRIP)
        top += high
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    axes.set_axis_off()
    return figure


def _draw_heading(axes: "Axes", width: float, threshold: float, number: str) -> None:
    """Say what is shown, with the colours of the map."""
    import numpy as np

    axes.text(_MARGIN, _MARGIN, f"Classes and their activation maps{number}", fontsize=12, fontweight="bold", va="top")
    note = "image nearest the class mean; below: mean of the class (of this image)"
    axes.text(_MARGIN, _MARGIN + 0.25, note, fontsize=_FONT, color="#444444", va="top")
    left, right, top = width - _MARGIN - 1.5, width - _MARGIN, _MARGIN
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=_MAP, extent=(left, right, top + 0.13, top), aspect="auto")
    mark = left + threshold * (right - left)
    axes.plot([mark, mark], [top - 0.03, top + 0.16], color="black", linewidth=3)
    axes.plot([mark, mark], [top - 0.03, top + 0.16], color="white", linewidth=1.2)
    text = f"activation 0 to 1, line at {threshold:g}"
    axes.text(right, top + 0.25, text, fontsize=_FONT, color="#444444", va="top", ha="right")


def _draw_groups(axes: "Axes", row: list[Panel], top: float) -> None:
    """Draw a strip with its name over the cells of each group."""
    from matplotlib.patches import Rectangle

    start = 0
    for group, members in itertools.groupby(row, key=lambda cell: cell.group):
        number = len(list(members))
        if group:
            left, wide = _MARGIN + start * (_SIDE + _GAP), number * (_SIDE + _GAP) - _GAP
            colour = row[start].colour
            axes.add_patch(Rectangle((left, top), wide, _STRIP - 0.05, color=colour, linewidth=0))
            ink = "white" if _is_dark(colour) else "black"
            style = {"fontsize": 8.5, "fontweight": "bold", "va": "center_baseline"}
            axes.text(left + 0.07, top + (_STRIP - 0.05) / 2, cut(group, 16), color=ink, **style)
        start += number


def _is_dark(colour: str) -> bool:
    red, green, blue = bytes.fromhex(colour[1:])
    return 0.299 * red + 0.587 * green + 0.114 * blue < 140


def _draw_cell(axes: "Axes", cell: Panel, name: list[str], threshold: float, left: float, top: float) -> None:
    """Draw an image under its map, the line that the threshold draws, the name and the numbers."""
    import numpy as np

    activation = np.asarray(cell.example.map, dtype=np.float32) / 255
    high, wide = activation.shape
    inches = _SIDE / max(high, wide)  # of one pixel
    x, y = left + (_SIDE - wide * inches) / 2, top + (_SIDE - high * inches) / 2
    extent = (x, x + wide * inches, y + high * inches, y)
    axes.imshow(_overlaid(cell.example, activation), extent=extent, aspect="auto", interpolation="antialiased")
    if activation.min() < threshold < activation.max():
        places = x + (np.arange(wide) + 0.5) * inches, y + (np.arange(high) + 0.5) * inches
        axes.contour(*places, activation, [threshold], colors="black", linewidths=2)
        axes.contour(*places, activation, [threshold], colors="white", linewidths=0.9)
    middle, under = left + _SIDE / 2, top + _SIDE + 0.06
    style = {"fontsize": _FONT, "ha": "center", "va": "top", "parse_math": False}
    for number, line in enumerate(name):
        axes.text(middle, under + number * _LINE, line, **style)
    numbers = f"{cell.mean:.1f} % ({cell.example.complexity * 100:.1f} %)"
    axes.text(middle, under + len(name) * _LINE + 0.01, numbers, color="#444444", **style)


def _overlaid(example: Example, activation: "np.ndarray") -> "np.ndarray":
    import matplotlib
    import numpy as np

    colours = matplotlib.colormaps[_MAP](activation)[..., :3]
    return (1 - _OPACITY) * np.asarray(example.image, dtype=np.float32) / 255 + _OPACITY * colours


def _wrapped(name: str) -> list[str]:
    """Break a name into lines that are no wider than a cell; what three lines do not hold is cut."""
    clean = "".join(letter for letter in name if letter.isprintable())[:200]
    for letters in range(24, 1, -1):
        lines = textwrap.wrap(clean, letters, max_lines=_LINES, placeholder="\u2026") or [""]
        if all(_width_of(line) <= _SIDE + _GAP / 2 for line in lines):
            return lines
    return [clean[:1]]


def _width_of(line: str) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    points, _, _ = TextToPath().get_text_width_height_descent(line, FontProperties(size=_FONT), ismath=False)
    return points / 72
