"""Charts as SVG in a page: in the colours of the page, light or dark, with their texts as text."""

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compdd_eval.utils.console import cut

_TEXT, _LINE = "#010101", "#020202"  # stand for colours of the style sheet, which knows light and dark
_SERIES = ("#0b62b0", "#b34700", "#187a47", "#8a2f9c", "#8b6a00", "#5a6570")
_VARIABLES = {_TEXT: "var(--text)", _LINE: "var(--line)"} | {c: f"var(--c{n})" for n, c in enumerate(_SERIES, 1)}
_MARKERS = "osD^vPX*"
_DASHES = ("-", "--", ":", "-.")
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with two dollar signs is a name
    "font.family": "sans-serif",
    "font.size": 9,
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
    "legend.fontsize": 8,
}
_WIDTH = 4.9  # inches: a phone shows it without making its texts smaller
_LEAST_PLACES = 4  # for which a chart of bars has room
_LONGEST = 22  # characters of a name on an axis


@dataclass(frozen=True)
class Series:
    """One line or one group of marks.

    Attributes:
        name: For the legend.
        values: One for each place on the axis; None where there is none. Accuracies in percent, or losses.
        low: Lower ends of error bars or of a band, or None.
        high: Upper ends.
    """

    name: str
    values: Sequence[float | None]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None


def bars(places: Sequence[str], series: Sequence[Series], chance: float, label: str, alt: str) -> object:
    """Draw a group of bars for each place, the first series as bars and the others as marks over them.

    Args:
        places: Names under the groups.
        series: The first with error bars; others are marks.
        chance: Accuracy of guessing in percent: a dashed line.
        label: Of the axis of values.
        alt: What the chart shows, in words.
    """

    def draw(axes: object) -> None:
        main, *others = series
        axes.bar(range(len(places)), main.values, 0.6, color=_SERIES[0], alpha=0.85, label=main.name)
        _error_bars(axes, range(len(places)), main, _TEXT)
        for number, other in enumerate(others, start=1):
            points = [(place, value) for place, value in enumerate(other.values) if value is not None]
            _plot(axes, points, number, other.name, linestyle="none", markersize=6, markeredgecolor=_TEXT)
        axes.axhline(chance, color=_TEXT, linestyle=":", linewidth=1, label="chance")
        _name_places(axes, places)
        spare = max(0.5, (_LEAST_PLACES - len(places)) / 2)  # a single bar is no wall
        axes.set_xlim(-spare, len(places) - 1 + spare)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)

    return _svg(draw, 3.4, alt)


def lines(places: Sequence[str], series: Sequence[Series], label: str, alt: str) -> object:
    """Draw a line for each series over images per class, with error bars."""

    def draw(axes: object) -> None:
        for number, one in enumerate(series):
            shift = (number - (len(series) - 1) / 2) * 0.04
            points = [(place + shift, value) for place, value in enumerate(one.values) if value is not None]
            _plot(axes, points, number, one.name, linestyle=_nth(_DASHES, number), markersize=5)
            _error_bars(axes, [place + shift for place in range(len(places))], one, _nth(_SERIES, number))
        _name_places(axes, places)
        axes.set_ylabel(label)
        axes.set_xlabel("images per class (IPC)")
        axes.set_ylim(bottom=0)

    return _svg(draw, 3.6 + 0.17 * ((len(series) + 1) // 2), alt, columns=2)


def curves(series: Sequence[tuple[Sequence[float], Series]], label: str, alt: str, log: bool = False) -> object:
    """Draw a curve with its band for each series, each over x values of its own (passes)."""

    def draw(axes: object) -> None:
        for number, (passes, one) in enumerate(series):
            look = {"linestyle": _nth(_DASHES, number), "markersize": 4}
            look |= {} if len(passes) < 15 else {"marker": ""}
            _plot(axes, list(zip(passes, one.values, strict=True)), number, one.name, **look)
            if one.low is not None:
                axes.fill_between(passes, one.low, one.high, color=_nth(_SERIES, number), alpha=0.2, linewidth=0)
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(lambda value, place: f"{value:g}" if f"{value:e}"[0] in "25" else "")
        axes.set_xlabel("passes over the distilled images")
        axes.set_ylabel(label)

    return _svg(draw, 3.2, alt)


def dots(places: Sequence[str], series: Sequence[Series], chance: float, label: str, alt: str) -> object:
    """Draw values as marks in a row for each place, such as the accuracy of each class."""

    def draw(axes: object) -> None:
        for number, one in enumerate(series):
            points = [(value, place) for place, value in enumerate(one.values) if value is not None]
            _plot(axes, points, number, one.name, linestyle="none", markersize=6)
        axes.axvline(chance, color=_TEXT, linestyle=":", linewidth=1, label="chance")
        axes.set_yticks(range(len(places)), [cut(place, _LONGEST) for place in places])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel(label)

    return _svg(draw, 1.2 + 0.24 * len(places), alt)


def _plot(axes: object, points: Sequence[tuple[float, float]], number: int, name: str, **look: object) -> None:
    """Draw the points of a series, if there are any, in its colour and with its marker."""
    if points:
        look = {"color": _nth(_SERIES, number), "marker": _nth(_MARKERS, number)} | look
        axes.plot(*zip(*points, strict=True), label=name, **look)


def _nth(looks: Sequence[str], number: int) -> str:
    """Return what tells a series from others; where there are more series, it begins again."""
    return looks[number % len(looks)]


def _error_bars(axes: object, places: Sequence[float], series: Series, color: str) -> None:
    if series.low is None:
        return
    for place, value, low, high in zip(places, series.values, series.low, series.high, strict=True):
        if value is not None and low is not None:
            axes.errorbar([place], [value], [[value - low], [high - value]], color=color, capsize=3, linewidth=1)


def _name_places(axes: object, places: Sequence[str]) -> None:
    slanted = sum(map(len, places)) > 45
    names = [cut(place, _LONGEST) for place in places]
    axes.set_xticks(range(len(places)), names, rotation=35 if slanted else 0, ha="right" if slanted else "center")


def _svg(draw: Callable[[object], None], height: float, alt: str, columns: int = 3) -> object:
    """Return an `<svg>` element that carries its description; `columns` are those of the legend."""
    import matplotlib
    from markupsafe import Markup, escape
    from matplotlib.figure import Figure

    salt = hashlib.sha256(alt.encode(errors="replace")).hexdigest()[:16]  # ids of the charts of a page must differ
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": salt}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        figure.legend(loc="outside lower center", ncols=columns)
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
