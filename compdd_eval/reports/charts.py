"""Charts as SVG in a page: in the colours of the page, light or dark, with their texts as text."""

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compdd_eval.utils.console import cut

_TEXT, _LINE = "#1b1f23", "#c9d0d6"  # as in base.css, which has others where the page is dark
COLORS = ("#0b62b0", "#b34700", "#187a47", "#8a2f9c", "#8b6a00", "#5a6570")
GREY = len(COLORS) - 1  # that of random images; methods have the others
_VARIABLES = {_TEXT: "var(--text)", _LINE: "var(--line)"} | {c: f"var(--c{n})" for n, c in enumerate(COLORS, 1)}
_MARKERS = "osD^vP"
_DASHES = ("-", "--", ":", "-.")
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with two dollar signs is a name
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
_WIDTH = 4.9  # inches: a phone shows it without making its texts smaller
_ROW = 0.25  # inches
_LONGEST = 22  # characters of a name on an axis
_DECADES = 1000  # ratio of the ends of a logarithmic axis up to which 2 and 5 are written, too
_MOST_SEEDS = 50  # that are drawn in a row


@dataclass(frozen=True)
class Mark:
    """A value with its interval in a row of a chart.

    Attributes:
        value: In percent; None where there is none.
        interval: Its lower and upper end, or None.
        each: What it is the mean of.
        color: Place in `COLORS`; None is the colour of texts.
        marker: Number of the marker.
    """

    value: float | None
    interval: Sequence[float] | None = None
    each: Sequence[float] = ()
    color: int | None = 0
    marker: int = 0


@dataclass(frozen=True)
class Line:
    """A row of a chart: a name and its marks, one above the other; without marks it is a heading.

    Attributes:
        name: At its left.
        marks: What is drawn.
        text: At its right.
    """

    name: str
    marks: Sequence[Mark] = ()
    text: str = ""


@dataclass(frozen=True)
class Curve:
    """Values over the passes with a band.

    Attributes:
        name: For the legend.
        passes: Of each value.
        values: Accuracies in percent, or losses.
        low: Lower edge of the band.
        high: Upper edge.
    """

    name: str
    passes: Sequence[float]
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def rows_chart(lines: Sequence[Line], chance: float, alt: str, legend: Sequence[str] = ()) -> object:
    """Draw rows of values with their intervals, all over one axis of percents; return an `<svg>`.

    Args:
        lines: From top to bottom.
        chance: Accuracy of guessing in percent: a dotted line.
        alt: What the chart shows, in words.
        legend: What the first marker, the second, ... stand for.
    """
    most = max(len(line.marks) for line in lines)
    height = 0.75 + _ROW * len(lines) * max(1, 0.65 * most) + (0.3 if len(legend) > 1 else 0)
    return _svg(lambda axes: draw_rows(axes, lines, chance, legend), height, alt)


def draw_rows(axes: object, lines: Sequence[Line], chance: float, legend: Sequence[str] = ()) -> None:
    """Draw what `rows_chart` does into axes of Matplotlib."""
    for place, line in enumerate(lines):
        for number, mark in enumerate(line.marks):
            shift = 0.7 * ((number + 0.5) / len(line.marks) - 0.5)
            _draw_mark(axes, place + shift, mark, legend[number] if place == 0 and legend else None)
        axes.text(1.02, place, line.text, transform=axes.get_yaxis_transform(), va="center")
    axes.axvline(chance, color=_TEXT, linestyle=":", linewidth=1)
    axes.text(chance, 1.01, "chance", transform=axes.get_xaxis_transform(), ha="center", fontsize=9)
    axes.set_yticks(range(len(lines)), [cut(line.name, _LONGEST) for line in lines])
    for label, line in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("normal" if line.marks else "bold")
    axes.set_ylim(len(lines) - 0.4, -0.6)
    low, high = axes.get_xlim()
    axes.set_xlim(max(0, min(low, chance - 0.05 * (high - low))), min(100, high))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("accuracy in %")


def _draw_mark(axes: object, place: float, mark: Mark, name: str | None) -> None:
    if mark.value is None:
        return
    color = _TEXT if mark.color is None else _nth(COLORS, mark.color)
    look = {"color": color, "clip_on": False}
    for value in mark.each[:_MOST_SEEDS]:
        axes.plot([value], [place], "|", markersize=6, alpha=0.5, **look)
    if mark.interval is not None:
        axes.plot(mark.interval, [place, place], linewidth=1.8, solid_capstyle="butt", **look)
    axes.plot([mark.value], [place], _nth(_MARKERS, mark.marker), markersize=6.5, label=name, linestyle="none", **look)


def curves_chart(curves: Sequence[Curve], color: int, label: str, alt: str, log: bool = False) -> object:
    """Draw curves with their bands over the passes, all in one colour; return an `<svg>`.

    Args:
        curves: One for each student network.
        color: Place in `COLORS`.
        label: Of the axis of values.
        alt: What the chart shows, in words.
        log: Whether the values are drawn by their logarithm.
    """

    def draw(axes: object) -> None:
        for number, one in enumerate(curves):
            look = {"color": _nth(COLORS, color), "linestyle": _nth(_DASHES, number)}
            axes.plot(one.passes, one.values, label=one.name, **look)
            axes.fill_between(one.passes, one.low, one.high, color=look["color"], alpha=0.2, linewidth=0)
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            low, high = axes.get_ylim()
            between = "25" if high < _DECADES * low else ""  # over more of them these would stand on each other
            axes.yaxis.set_minor_formatter(lambda value, place: f"{value:g}" if f"{value:e}"[0] in between else "")
        axes.set_xlabel("passes over the distilled images")
        axes.set_ylabel(label)

    return _svg(draw, 2.8, alt)


def _nth(looks: Sequence[str], number: int) -> str:
    """Return what tells one from others; where there are more of them, it begins again."""
    return looks[number % len(looks)]


def _svg(draw: Callable[[object], None], height: float, alt: str) -> object:
    """Return an `<svg>` element that carries its description."""
    import matplotlib
    from markupsafe import Markup, escape
    from matplotlib.figure import Figure

    salt = hashlib.sha256(alt.encode(errors="replace")).hexdigest()[:16]  # ids of the charts of a page must differ
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": salt}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        if len(axes.get_legend_handles_labels()[0]) > 1:
            figure.legend(loc="outside lower center", ncols=3)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<style type=.*?</style>", "", text, flags=re.DOTALL)  # it would hold for the whole page
    text = re.sub(r'id="([\w.-]+)"', rf'id="{salt[:6]}\1"', text)
    text = re.sub(r'href="#([\w.-]+)"', rf'href="#{salt[:6]}\1"', text)
    text = re.sub(r"url\(#([\w.-]+)\)", rf"url(#{salt[:6]}\1)", text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, variable)
    head = f'<svg class="chart" role="img" aria-label="{escape(alt)}" '
    return Markup(text.replace("<svg ", head, 1))
