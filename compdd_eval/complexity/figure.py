"""Pictures of complexity: a ring of the sizes of subsets beside bars of their complexity, and a gallery of classes."""

import contextlib
import logging
import statistics
import textwrap
import typing
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.complexity.candidates import SCORES_NAME, ClassScore, read_scores
from compdd_eval.complexity.gallery import Panel, save_gallery
from compdd_eval.complexity.read_scores import Facts, read_examples, read_score_facts
from compdd_eval.config.figure import FigureConfig
from compdd_eval.data.subset_files import DIFFICULTIES, Subset
from compdd_eval.data.subsets import CATEGORIES, load_subset, own_names, subset_names
from compdd_eval.utils.console import cut
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import atomic_write, check_writable

_logger = logging.getLogger(__name__)
if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes
_HUES = ("#332288", "#D55E00", "#117733", "#AA4499", "#0072B2", "#8C6D1F", "#882255", "#2A8C82")  # of the hard subsets
_LIGHT = 0.58  # how far the easy ones are on the way to white
_MOST_CATEGORIES = 60
_DPI = 200
_LETTERS = 12  # of a category
_HALF = 0.2  # of the room of a category: from its middle to that of a bar
_BELOW = (("data", "axes fraction"), "offset points")  # places under an axis
_PICTURES = ("complexity.png", "complexity.svg")


@dataclass(frozen=True)
class Bar:
    """One subset as it is drawn.

    Attributes:
        category: Without the digits of a user's own list.
        difficulty: easy or hard.
        train_images: Of a whole ImageNet.
        mean: Complexity in percent, over the classes that are scored.
        error: Standard error of that over the classes, or None.
        share: Such as `3/10` where only some classes are scored, else empty.
    """

    category: str
    difficulty: str
    train_images: int
    mean: float
    error: float | None = None
    share: str = ""


def draw(config: FigureConfig) -> list[Path]:
    """Write the pictures, and return where they are.

    Raises:
        InputError: The scores are not what `complexity` writes, or there is nothing to draw; nothing is written then.
    """
    subsets = _subsets(config.subsets_dir)
    output = Path(config.output_dir)
    if config.published:
        bars = [_bar(name, subset, subset.published_complexity_percent) for name, subset in subsets.items()]
        check_writable(output, "--output_dir")
        return save_subsets(bars, "complexity as published (Comp-DD, CVPR 2025)", output)
    folder = Path(config.scores)
    classes, facts = read_scores(folder), read_score_facts(folder)
    bars = _measured_bars(subsets, classes)
    cells = _cells(folder, subsets, classes)
    if not bars and not cells:
        raise InputError(f"{folder / SCORES_NAME}: holds no class of the subsets, and no examples to show")
    check_writable(output, "--output_dir")
    written = save_subsets(bars, _subtitle(facts), output) if bars else []
    if not bars:
        for name in _PICTURES:
            (output / name).unlink(missing_ok=True)  # of other scores
        _logger.warning(f"{folder}: no class of the subsets is scored; only the gallery is drawn")
    if not cells:
        _logger.warning(f"{folder}: no class has an example; no gallery is drawn")
    with _drawing():
        return written + save_gallery(cells, facts.threshold, output)


def _subsets(folder: str | None) -> dict[str, Subset]:
    """Return the subsets by the names of their files: easy and hard of a category are neighbours."""
    if folder is None:
        return {name: load_subset(name) for name in subset_names()}
    names = own_names(Path(folder))
    order = {name: place for place, name in enumerate(CATEGORIES)}
    names.sort(key=lambda name: (order.get(_category(name), len(order)), name))
    if len({_category(name) for name in names}) > _MOST_CATEGORIES:
        raise InputError(f"{folder}: more than {_MOST_CATEGORIES} categories; a figure would not be legible")
    return {name: load_subset(name, subsets_dir=folder) for name in names}


def _category(name: str) -> str:
    return name.rpartition("-")[0]


def _bar(name: str, subset: Subset, mean: float, *more: object) -> Bar:
    return Bar(_category(name), subset.difficulty, subset.splits["train"], mean, *more)


def _measured_bars(subsets: dict[str, Subset], classes: list[ClassScore]) -> list[Bar]:
    """Return the subsets of which a class is scored; warn where not all are."""
    means = {entry.wnid: 100 * entry.mean for entry in classes if entry.wnid}
    bars, absent, partial = [], [], []
    for name, subset in subsets.items():
        found = [means[wnid] for wnid in subset.wnids if wnid in means]
        share = "" if len(found) == len(subset.classes) else f"{len(found)}/{len(subset.classes)}"
        if not found:
            absent.append(name)
            continue
        if share:
            partial.append(f"{name} {len(found)} of {len(subset.classes)} classes")
        error = statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else None
        bars.append(_bar(name, subset, statistics.fmean(found), error, share))
    if partial:
        _logger.warning(f"the means are over the classes that are scored: {', '.join(partial)}")
    if absent and bars:
        _logger.warning(f"left out, no class is scored: {', '.join(absent)}")
    return bars


def _cells(folder: Path, subsets: dict[str, Subset], classes: list[ClassScore]) -> list[Panel]:
    """Return the classes that have an example: those of each subset, then the others by label."""
    examples = read_examples(folder, classes)
    by_wnid = {entry.wnid: entry for entry in classes if entry.wnid}
    ordered = [(name, by_wnid[wnid]) for name, subset in subsets.items() for wnid in subset.wnids if wnid in by_wnid]
    used = {entry.index for _, entry in ordered}
    others = sorted((entry for entry in classes if entry.index not in used), key=lambda entry: entry.index)
    ordered += [("other classes" if used else "", entry) for entry in others]
    hues = _hues(list(dict.fromkeys(_category(name) for name in subsets)))
    colours = {name: _colour(hues[_category(name)], subset.difficulty) for name, subset in subsets.items()}
    return [
        Panel(entry.name, 100 * entry.mean, examples[entry.index], group, colours.get(group, "#777777"))
        for group, entry in ordered
        if entry.index in examples
    ]


def _subtitle(facts: Facts) -> str:
    right = "" if facts.top1 is None else f", top-1 {100 * facts.top1:.1f} %"
    images = f"{facts.images:,} image{'s' if facts.images > 1 else ''} ({facts.split})"
    return f"{facts.model}, {facts.method} at {facts.layer}, {images}{right}"


def save_subsets(bars: list[Bar], subtitle: str, folder: Path) -> list[Path]:
    """Write complexity.png and complexity.svg: a ring of training images, and bars of mean complexity in percent."""
    from matplotlib.figure import Figure

    categories = list(dict.fromkeys(bar.category for bar in bars))
    hues, width = _hues(categories), max(4.0, 1.05 * len(categories))
    with _drawing():
        figure = Figure(figsize=(5.6 + width, 5.6), layout="constrained", facecolor="white")
        clean = "".join(letter for letter in subtitle if letter.isprintable())
        lines = textwrap.wrap(textwrap.shorten(clean, 300, placeholder=" ..."), int(11 * (5.6 + width)))
        figure.suptitle("\n".join(lines), fontsize=9.5, color="#444444", parse_math=False)
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
        ring, right = figure.subplots(1, 2, width_ratios=[5.2, width])
        _draw_ring(ring, bars, hues)
        _draw_bars(right, bars, hues)
        for name in _PICTURES:
            with atomic_write(folder / name) as temporary:
                metadata = {"Date": None} if name.endswith(".svg") else None  # the same numbers give the same file
                figure.savefig(temporary, dpi=_DPI, metadata=metadata)
    return [folder / name for name in _PICTURES]


@contextlib.contextmanager
def _drawing() -> Iterator[None]:
    """Keep text as text in SVG files, and be silent about letters that the font lacks."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "compdd"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font", category=UserWarning)
        yield


def _draw_ring(axes: "Axes", bars: list[Bar], hues: dict[str, str]) -> None:
    """Draw a wedge for each subset with its number of training images, and the categories around them."""
    size = min(8.5, 8.5 * 16 / len(bars))
    colours = [_colour(hues[bar.category], bar.difficulty) for bar in bars]
    wedges, _ = axes.pie(
        [bar.train_images for bar in bars],
        colors=colours,
        startangle=90,
        counterclock=False,
        radius=1,
        wedgeprops={"width": 0.42, "edgecolor": "white", "linewidth": 1.5},
    )
    ends = {}
    for bar, wedge in zip(bars, wedges, strict=True):
        middle, ink = (wedge.theta1 + wedge.theta2) / 2, "black" if bar.difficulty == "easy" else "white"
        ends.setdefault(bar.category, []).extend([wedge.theta1, wedge.theta2])
        text = f"{bar.difficulty}\n{bar.train_images:,}"
        axes.text(*_at(0.79, middle), text, ha="center", va="center", fontsize=size, color=ink, linespacing=1.1)
    for category, angles in ends.items():
        x, y = _at(1.06, (min(angles) + max(angles)) / 2)
        side = "left" if x > 0.2 else "right" if x < -0.2 else "center"
        above = "bottom" if y > 0.9 else "top" if y < -0.9 else "center"
        style = {"ha": side, "va": above, "fontsize": 10, "fontweight": "bold", "color": hues[category]}
        axes.text(x, y, cut(category, _LETTERS), **style)
    total = sum(bar.train_images for bar in bars)
    axes.text(0, 0, f"{total:,}\ntraining images", ha="center", va="center", fontsize=11)
    axes.set(xlim=(-1.35, 1.35), ylim=(-1.2, 1.2))
    axes.set_title("Training images of each subset", fontsize=11.5, fontweight="bold")


def _at(radius: float, degrees: float) -> tuple[float, float]:
    import numpy as np

    return radius * np.cos(np.radians(degrees)), radius * np.sin(np.radians(degrees))


def _draw_bars(axes: "Axes", bars: list[Bar], hues: dict[str, str]) -> None:
    """Draw easy beside hard for each category, and the difference above them."""
    ends = [(bar.mean - (bar.error or 0), bar.mean + (bar.error or 0)) for bar in bars]
    low = max(0, int(min(low for low, _ in ends) // 5) * 5 - 5)
    high = max(low + 1, *[high for _, high in ends])
    unit = (high - low) / 100
    axes.set(xlim=(-0.6, len(hues) - 0.4), ylim=(low, high + 12 * unit))
    depth = -30 if any(bar.share for bar in bars) else -19
    for number, (category, hue) in enumerate(hues.items()):
        pair = [bar for bar in bars if bar.category == category]
        places = [number + (-_HALF if bar.difficulty == "easy" else _HALF) for bar in pair]
        for bar, place in zip(pair, places, strict=True):
            _draw_bar(axes, bar, place, _colour(hue, bar.difficulty), (low, unit))
        style = {"fontsize": 10, "fontweight": "bold", "color": hue, "ha": "center", "va": "top"}
        axes.annotate(cut(category, _LETTERS), (statistics.fmean(places), 0), (0, depth), *_BELOW, **style)
        if len(pair) == len(DIFFICULTIES):
            top = max(bar.mean + (bar.error or 0) for bar in pair)
            means = {bar.difficulty: bar.mean for bar in pair}
            _draw_difference(axes, number, top + 2.5 * unit, means["hard"] - means["easy"], unit)
    _label_axes(axes, low, _notes(bars, len(hues) > 5))


def _draw_bar(axes: "Axes", bar: Bar, place: float, colour: str, scale: tuple[float, float]) -> None:
    """Draw one bar with its error and its numbers; `scale` is where the axis begins, and a hundredth of it."""
    low, unit = scale
    axes.bar(place, bar.mean - low, 2 * _HALF - 0.02, bottom=low, color=colour)
    if bar.error is not None:
        for ink, width in (("white", 2.8), ("black", 1)):  # to be seen on dark bars, too
            style = {"capsize": 3 + width / 4, "linewidth": width, "capthick": width}
            axes.errorbar(place, bar.mean, bar.error, color=ink, **style)
    dark = bar.difficulty == "hard" and bar.mean - low > 7 * unit
    style = {"fontsize": 8.5, "color": "white" if dark else "black"}
    axes.text(place, low + 2 * unit, f"{bar.mean:.1f}", ha="center", va="bottom", **style)
    under = f"{bar.difficulty}\n{bar.share}" if bar.share else bar.difficulty
    axes.annotate(under, (place, 0), (0, -4), *_BELOW, ha="center", va="top", fontsize=8)


def _notes(bars: list[Bar], wide: bool) -> list[str]:
    """Return the lines that explain what stands over the bars."""
    notes = []
    if len({bar.category for bar in bars}) < len(bars):
        notes.append("above the bars: hard minus easy, in percentage points")
    if any(bar.error is not None for bar in bars):
        notes.append("error bars: standard error over the classes")
    return ["; ".join(notes)] if wide and notes else notes


def _draw_difference(axes: "Axes", place: float, top: float, difference: float, unit: float) -> None:
    """Draw a bracket over a pair of bars, and how much more complex the hard one is."""
    x, y = [place - _HALF, place - _HALF, place + _HALF, place + _HALF], [top, top + unit, top + unit, top]
    axes.plot(x, y, color="#222222", linewidth=0.9)
    text = f"{difference:+.1f}".replace("-", "\u2212")
    axes.text(place, top + 1.8 * unit, text, ha="center", va="bottom", fontsize=10.5, fontweight="bold")


def _label_axes(axes: "Axes", low: int, notes: list[str]) -> None:
    """Say what the axis is, where it begins and, above it, what else is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks([])
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_ylabel("mean complexity in %" + (f" (axis begins at {low})" if low else ""), fontsize=10)
    axes.set_title("Complexity of each subset", fontsize=11.5, fontweight="bold", pad=9 + 12 * len(notes))
    style = {"ha": "center", "fontsize": 8.5, "color": "#444444"}
    axes.annotate("\n".join(notes), (0.5, 1), (0, 6), "axes fraction", "offset points", **style)
    if low:  # two strokes: the axis is cut
        marks = {"marker": [(-1, -0.6), (1, 0.6)], "markersize": 8, "color": "black", "linestyle": "none"}
        axes.plot([0, 0], [0.03, 0.045], transform=axes.transAxes, clip_on=False, **marks)


def _hues(categories: list[str]) -> dict[str, str]:
    """Return a colour for each category: the benchmark's own always have the same."""
    others = [category for category in categories if category not in CATEGORIES]
    places = {name: place for place, name in enumerate([*CATEGORIES, *others])}
    return {category: _HUES[places[category] % len(_HUES)] for category in categories}


def _colour(hue: str, difficulty: str) -> str:
    if difficulty == "hard":
        return hue
    return "#" + "".join(f"{round(part + (255 - part) * _LIGHT):02X}" for part in bytes.fromhex(hue[1:]))
