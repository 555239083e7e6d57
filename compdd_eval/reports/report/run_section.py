"""One run of a report: the distilled images, classes, confusion, curves, and what the numbers were made from."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.data.imagenet.hub_files import parse_address
from compdd_eval.distilled.result_pictures import Picture, read_pictures
from compdd_eval.reports.charts import Curve, Line, Mark, curves_chart, rows_chart
from compdd_eval.reports.html import as_link, each_seed, mean_and_std, percent, short
from compdd_eval.reports.learning_curves import SeedCurve, accuracy_curve, loss_curve, read_students
from compdd_eval.reports.report.panels import ShownRun
from compdd_eval.reports.summaries import Entry, Run
from compdd_eval.results.statistics import chance, share_interval
from compdd_eval.utils.errors import InputError

LEVELS = 9  # tints of a confusion matrix, without the one of zero
_EXACT_SIDE = 64  # pixels; larger pictures are embedded with losses that nobody sees
_QUALITY = 90
_PACKAGES = ("compdd_eval", "torch", "torchvision")
_SHOWN_LABELS = 5  # of a soft label


@dataclass(frozen=True)
class Tile:
    """A distilled image in the page.

    Attributes:
        address: `data:` address of the picture.
        alt: The image in words, with its soft label.
        soft: Names and probabilities of the largest entries of a soft label.
    """

    address: str
    alt: str
    soft: list[tuple[str, float]]


@dataclass(frozen=True)
class Share:
    """A share of images.

    Attributes:
        value: In [0, 1]; None where there are no images.
        interval: Its 95 % interval, as of `share_interval`, or None.
        level: Its tint, from 0 to `LEVELS`.
    """

    value: float | None
    interval: list[float] | None = None
    level: int = 0


@dataclass(frozen=True)
class Section:
    """What a report shows of one run.

    Attributes:
        shown: The run, its name and colour.
        title: What was evaluated, in a line.
        numbers: The accuracy of each student network, in words.
        pictures: Name of each class, and its distilled images.
        pictures_note: What of them is shown, or why nothing is.
        classes: Shares of right images as a chart.
        shares: The same in numbers: for each class one of each student network.
        confusion: For each student network rows of shares: true class, predicted class.
        curves: Title and chart.
        missing: What could not be shown, in words.
        facts: Names, values and addresses.
    """

    shown: ShownRun
    title: str
    numbers: str
    pictures: list[tuple[str, list[Tile]]]
    pictures_note: str
    classes: object
    shares: list[list[Share]]
    confusion: list[tuple[str, list[list[Share]]]]
    curves: list[tuple[str, object]]
    missing: list[str]
    facts: list[tuple[str, str, str | None]]

    @property
    def most_of_a_class(self) -> int:
        """Most pictures that a class has here."""
        return max((len(members) for _, members in self.pictures), default=0)


def largest_share(runs: Sequence[Run]) -> float:
    """Return the largest share of a true class in the confusion matrices of these runs: the end of their scale."""
    rows = [row for run in runs for entry in run.entries for row in entry.confusion]
    return max((max(row) / sum(row) for row in rows if any(row)), default=0) or 1


def section_of(shown: ShownRun, most_pictures: int, largest: float = 1) -> Section:
    """Put together what a report shows of one run.

    Args:
        shown: The run.
        most_pictures: With more, none are shown.
        largest: Share that has the darkest tint in confusion matrices.
    """
    run = shown.run
    pictures, note = _pictures(run, most_pictures)
    curves, missing = _learning_curves(shown)
    shares = [[_class_share(entry, label) for entry in run.entries] for label in range(len(run.class_names))]
    numbers = [f"{entry.model} {mean_and_std(entry.students)}" for entry in run.entries]
    return Section(
        shown=shown,
        title=f"{short(shown.name)}, {run.config_name}, IPC {run.ipc:g}, {run.resolution} px",
        numbers=f"{', '.join(numbers)} %",
        pictures=pictures,
        pictures_note=note,
        classes=_classes_chart(shown, shares),
        shares=shares,
        confusion=[(entry.model, [_confused(row, largest) for row in entry.confusion]) for entry in run.entries],
        curves=curves,
        missing=missing,
        facts=_facts(run),
    )


def _class_share(entry: Entry, label: int) -> Share:
    """Return the share of right images of a class, with an interval over other images of it."""
    share = entry.per_class[label]
    # students saw the same images: each counts once
    images = round(sum(entry.confusion[label]) / len(entry.students.seeds))
    return Share(share, share_interval(share, images) if share is not None and images else None)


def _classes_chart(shown: ShownRun, shares: list[list[Share]]) -> object:
    run, lines = shown.run, []
    for name, of_class in zip(run.class_names, shares, strict=True):
        marks = [
            Mark(
                None if share.value is None else 100 * share.value,
                share.interval and [100 * end for end in share.interval],
                color=shown.color,
                marker=number,
            )
            for number, share in enumerate(of_class)
        ]
        lines.append(Line(name, marks, percent(of_class[0].value) if len(of_class) == 1 else ""))
    alt = f"Accuracy of each class in % with 95 % interval, {_where(shown)}; the numbers are in a table below."
    models = [entry.model for entry in run.entries]
    return rows_chart(lines, 100 * chance(run.entries[0].per_class), alt, models)


def _confused(counts: tuple[int, ...], largest: float) -> list[Share]:
    total = max(1, sum(counts))
    # by the root: of a good student most mistakes are a few percent
    return [Share(count / total, level=round(LEVELS * math.sqrt(count / total / largest))) for count in counts]


def _where(shown: ShownRun) -> str:
    return f"{shown.name}, {shown.run.config_name}, IPC {shown.run.ipc:g} ({shown.anchor})"


def _learning_curves(shown: ShownRun) -> tuple[list[tuple[str, object]], list[str]]:
    """Return the charts that the files of the students give, and in words what is missing."""
    students = read_students(shown.run)
    losses = {model: loss_curve(members) for model, members in students.items()}
    tested = {model: accuracy_curve(members) for model, members in students.items()}
    drawn = [
        _curves("Loss of training", losses, 1, "loss (mean of a pass)", shown),
        _curves("Accuracy on the validation images while training", tested, 100, "accuracy in %", shown),
    ]
    without = "No learning curves: the files of the students do not lie beside the summary."
    return [chart for chart in drawn if chart], [] if any(losses.values()) else [without]


def _curves(
    title: str, by_model: dict[str, SeedCurve | None], factor: int, label: str, shown: ShownRun
) -> tuple[str, object] | None:
    known = {model: curve for model, curve in by_model.items() if curve is not None}
    if not known:
        return None
    drawn, ends = [], []
    for model, curve in known.items():
        parts = [[factor * value for value in part] for part in (curve.mean, curve.low, curve.high)]
        drawn.append(Curve(model, curve.passes, *parts))
        ends.append(f"{model} {parts[0][0]:.3g} to {parts[0][-1]:.3g}")
    alt = f"{title} over the passes, mean over seeds, with the range of the seeds as a band: {', '.join(ends)}. "
    # losses fall by powers of ten; an accuracy does not, and 0 has no logarithm
    logarithmic = factor == 1 and all(min(curve.low) > 0 for curve in known.values())
    return title, curves_chart(drawn, shown.color, label, alt + _where(shown), logarithmic)


def _pictures(run: Run, most: int) -> tuple[list[tuple[str, list[Tile]]], str]:
    if run.set_name is None:
        return [], "The results have no pictures of the set."
    try:
        pictures = read_pictures(run.file.parent / run.set_name)
    except InputError as error:
        return [], f"The pictures cannot be read: {short(error, 200)}"
    if not pictures:
        return [], "The pictures of the set do not lie beside the summary."
    if len(pictures) > most:
        return [], "The report has many pictures already; make one of this run alone to see them."
    shown: dict[int, list[Tile]] = {}
    for number, picture in enumerate(pictures, start=1):
        shown.setdefault(picture.label, []).append(_tile(number, picture, run))
    part = "All" if len(pictures) >= run.images else f"The first {len(pictures)} of"
    note = f"{part} {run.images} images, class by class, denormalised; values beyond black and white are cut."
    return [(run.class_names[label], members) for label, members in shown.items()], note


def _tile(number: int, picture: Picture, run: Run) -> Tile:
    exact = run.resolution <= _EXACT_SIDE
    written = io.BytesIO()
    picture.image.save(written, "WEBP", lossless=exact, quality=100 if exact else _QUALITY)
    name = run.class_names[picture.label]
    ranked = sorted(enumerate(picture.soft_label or []), key=lambda entry: -entry[1])[:_SHOWN_LABELS]
    soft = [(run.class_names[label], value) for label, value in ranked]
    words = ", ".join(f"{label} {value:.2f}" for label, value in soft)
    alt = f"distilled image {number}, {name}" + (f"; soft label {words}" if soft else "")
    return Tile("data:image/webp;base64," + base64.b64encode(written.getvalue()).decode(), alt, soft)


def _facts(run: Run) -> list[tuple[str, str, str | None]]:
    """Return name, value and address of what the numbers were made from."""
    passes = run.protocol.get("epoch_eval_train")
    whole = "" if run.whole else ": not the whole validation set, no number of the benchmark"
    teacher = next((entry.teacher for entry in run.entries if entry.teacher), None)
    facts = [
        ("subset", f"{run.config_name}: {', '.join(run.class_names)}", None),
        ("distilled set", f"{run.images} images, IPC {run.ipc:g}, labels {run.label_kind}", None),
        ("set from", short(_source(run), 120), _address(run)),
        ("sha256 of the set", run.digests["distilled"], None),
        ("protocol", f"{run.protocol_name}" + (f" ({passes + 1} passes)" if isinstance(passes, int) else ""), None),
        ("labels", run.labels + (f", teacher {teacher}" if teacher else ", no teacher"), None),
        *([("labels of views", short(views, 300), None)] if (views := run.origin.get("view_labels")) else []),
        *[(f"each seed, {entry.model}", each_seed(entry.students), None) for entry in run.entries],
        ("learning rate", _rates(run), None),
        ("validation images", f"{run.validation_images} of {run.validation_expected}{whole}", None),
        ("their digest", run.digests["validation"], None),
        *[("made on", _environment(entry), None) for entry in run.environments[:3]],
    ]
    for name in ("paper", "source_url", "licence"):
        if run.origin.get(name):
            facts.append((name.replace("_", " "), short(run.origin[name], 120), as_link(run.origin[name])))
    return facts


def _rates(run: Run) -> str:
    """Return the rate of each network, once where all are the same."""
    rates = {entry.model: f"{entry.lr:g} ({entry.lr_source})" for entry in run.entries}
    if len(set(rates.values())) == 1:
        return next(iter(rates.values()))
    return ", ".join(f"{model} {rate}" for model, rate in rates.items())


def _source(run: Run) -> str:
    """Return the repository or the files of the set, in words."""
    files = run.origin.get("files")
    if run.repository or not isinstance(files, dict):
        return run.repository or "memory: the set was given in Python"
    return ", ".join(Path(str(name)).name for name in files.values())


def _address(run: Run) -> str | None:
    address = parse_address(run.repository or "")
    return None if address is None else as_link(address.page)


def _environment(entry: dict[str, object]) -> str:
    versions = entry.get("versions") if isinstance(entry.get("versions"), dict) else {}
    packages = [f"{name} {versions[name]}" for name in _PACKAGES if name in versions]
    commit = f"commit {entry['commit']}" if entry.get("commit") else None
    parts = [entry.get("device"), entry.get("precision"), f"{entry.get('threads')} threads", *packages, commit]
    return short(", ".join(str(part) for part in parts if part), 200)
