"""One run of a report: the question, the numbers, charts, confusion, and the distilled images."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.data.imagenet.hub_files import parse_address
from compdd_eval.distilled.result_pictures import Picture, read_pictures
from compdd_eval.reports.charts import Series, bars, curves, dots
from compdd_eval.reports.html import as_link, percent, points, short, span
from compdd_eval.reports.learning_curves import accuracy_curve, loss_curve, read_students
from compdd_eval.reports.paired import NO_PAIRS, UNCLEAR, pair
from compdd_eval.reports.report.overview import chance_of, with_spread
from compdd_eval.reports.summaries import Entry, Group, Run
from compdd_eval.utils.errors import InputError

_EXACT_SIDE = 64  # pixels; larger pictures are embedded with losses that nobody sees
_QUALITY = 90
_PACKAGES = ("compdd_eval", "torch", "torchvision")
_SHOWN_LABELS = 5  # of a soft label


@dataclass(frozen=True)
class Shown:
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
class Row:
    """The numbers of one student network, as texts."""

    model: str
    accuracy: str
    interval: str
    number: int
    each: str
    random: str
    improvement: str
    improvement_interval: str
    verdict: str
    full: str
    recovery: str
    recovery_interval: str
    answer: str


@dataclass(frozen=True)
class Section:
    """What a report shows of one run.

    Attributes:
        anchor: Its id in the page.
        run: The run.
        title: What was evaluated, in a line.
        question: What was asked.
        facts: Names and values.
        rows: Numbers of each student network.
        charts: Title and chart.
        confusions: Network, and rows of (count, share of the true class in [0, 1]).
        pictures: Name of each class, and its distilled images.
        pictures_note: What of them is shown, or why nothing is.
        side: Pixels of a side.
        missing: What could not be shown, in words.
    """

    anchor: str
    run: Run
    title: str
    question: str
    facts: list[tuple[str, str, str | None]]
    rows: list[Row]
    charts: list[tuple[str, object]]
    confusions: list[tuple[str, list[list[tuple[int, float]]]]]
    pictures: list[tuple[str, list[Shown]]]
    pictures_note: str
    side: int
    missing: list[str]

    @property
    def has_random(self) -> bool:
        """Whether random real images were evaluated, too."""
        return _any(self.run, "random")

    @property
    def has_full(self) -> bool:
        """Whether all training images were evaluated, too."""
        return _any(self.run, "full")


def section_of(run: Run, anchor: str, most_pictures: int) -> Section:
    """Put together what a report shows of one run, with at most so many pictures."""
    pictures, note = _pictures(run, most_pictures)
    drawn, missing = _charts(run)
    return Section(
        anchor=anchor,
        run=run,
        title=f"{short(run.method)}: {run.config_name}, IPC {run.ipc:g}, {run.resolution} px",
        question=_question(run),
        facts=_facts(run),
        rows=[_row(entry) for entry in run.entries],
        charts=drawn,
        confusions=[(entry.model, _shares(entry)) for entry in run.entries],
        pictures=pictures,
        pictures_note=note,
        side=run.resolution,
        missing=missing,
    )


def _question(run: Run) -> str:
    beside = " How do they compare with students of as many random real images" if _any(run, "random") else ""
    full = " and of all training images" if _any(run, "full") else ""
    beside += f"{full}?" if beside else (" How much of the accuracy of all training images is that?" if full else "")
    return (
        f"How well do networks recognise the ten classes of {run.config_name} in real validation images after training "
        f"on these {run.images} distilled images alone?{beside}"
    )


def _any(run: Run, name: str) -> bool:
    return any(getattr(entry, name) is not None for entry in run.entries)


def _facts(run: Run) -> list[tuple[str, str, str | None]]:
    """Return name, value and address of what the numbers were made from."""
    passes = run.protocol.get("epoch_eval_train")
    seeds = sorted({seed for entry in run.entries for seed in entry.students.seeds})
    whole = "" if run.whole else ": not the whole validation set, no number of the benchmark"
    teacher = next((entry.teacher for entry in run.entries if entry.teacher), None)
    facts = [
        ("subset", f"{run.config_name}: {', '.join(run.class_names)}", None),
        ("distilled set", f"{run.images} images, IPC {run.ipc:g}, labels {run.label_kind}", None),
        ("set from", short(_source(run), 120), _address(run)),
        ("sha256 of the set", run.digests["distilled"], None),
        ("protocol", f"{run.protocol_name}" + (f" ({passes + 1} passes)" if isinstance(passes, int) else ""), None),
        ("labels", run.labels + (f", teacher {teacher}" if teacher else ", no teacher"), None),
        ("seeds", ", ".join(map(str, seeds)), None),
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
    versions = entry.get("versions")
    versions = versions if isinstance(versions, dict) else {}
    packages = ", ".join(
        f"{name} {versions[name]}" for name in ("compdd_eval", "torch", "torchvision") if name in versions
    )
    parts = [entry.get("device"), entry.get("precision"), f"{entry.get('threads')} threads", packages]
    commit = entry.get("commit")
    return short(", ".join(str(part) for part in [*parts, f"commit {commit}" if commit else None] if part), 200)


def _row(entry: Entry) -> Row:
    difference, verdict = _improvement(entry)
    recovery = entry.recovery
    return Row(
        model=entry.model,
        accuracy=_spread(entry.students),
        interval=span(entry.students.interval),
        number=len(entry.students.seeds),
        each=" ".join(percent(value) for value in entry.students.accuracies[:20]),
        random="–" if entry.random is None else _spread(entry.random),
        improvement="–" if difference is None else points(difference["mean"]),
        improvement_interval="" if difference is None else span(difference["interval"], True),
        verdict=verdict,
        full="–" if entry.full is None else _spread(entry.full),
        recovery="–" if recovery is None else f"{percent(recovery['ratio'])} %",
        recovery_interval="" if recovery is None else span(recovery["interval"]),
        answer=_answer(entry, verdict, difference),
    )


def _spread(group: Group) -> str:
    return percent(group.mean, 2) + ("" if group.std is None else f" ± {percent(group.std, 2)}")


def _improvement(entry: Entry) -> tuple[dict[str, object] | None, str]:
    """Return the paired difference to random images, and the verdict on it."""
    if entry.random is None:
        return None, ""
    found = pair(entry.students, entry.random)
    seeds = "1 seed" if len(found["seeds"]) == 1 else f"{len(found['seeds'])} seeds"
    words = {
        NO_PAIRS: "no seed in common with the random baseline",
        UNCLEAR: f"cannot tell from random with {seeds}",
    }
    return found["difference"], words.get(found["verdict"], f"{found['verdict']} than random")


def _answer(entry: Entry, verdict: str, difference: dict[str, object] | None) -> str:
    number = len(entry.students.seeds)
    sure = f"95 % interval {span(entry.students.interval)}" if entry.students.interval else "no interval"
    text = f"{entry.model}: {_spread(entry.students)} % ({sure}, {number} {'seed' if number == 1 else 'seeds'})"
    if difference is not None:
        text += f", {verdict}: {points(difference['mean'])} points"
    if entry.recovery is not None:
        text += f"; {percent(entry.recovery['ratio'])} % of what all training images give"
    return f"{text}. Chance is {percent(chance_of(entry))} %."


def _charts(run: Run) -> tuple[list[tuple[str, object]], list[str]]:
    """Return all charts, and what is missing."""
    found, missing = [_by_student(run), _by_class(run)], []
    students = read_students(run)
    losses = {model: loss_curve(members) for model, members in students.items()}
    tested = {model: accuracy_curve(members) for model, members in students.items()}
    where = f"{run.config_name}, IPC {run.ipc:g}, {run.method}, {run.digests['distilled'][:12]}"
    for title, table, factor, label, log in (
        ("Loss of training", losses, 1, "loss (mean of a pass)", True),
        ("Accuracy on the validation images while training", tested, 100, "accuracy in %", False),
    ):
        known = {model: curve for model, curve in table.items() if curve is not None}
        if not known:
            continue
        series = [
            (
                curve.passes,
                Series(model, *[[factor * v for v in part] for part in (curve.mean, curve.low, curve.high)]),
            )
            for model, curve in known.items()
        ]
        ends = ", ".join(f"{model} {factor * c.mean[0]:.3g} to {factor * c.mean[-1]:.3g}" for model, c in known.items())
        alt = f"{title} over the passes, mean over seeds, with the range of the seeds as a band: {ends}. {where}"
        found.append((title, curves(series, label, alt, log and _positive(known))))
    if not any(losses.values()):
        missing.append("Learning curves: the files of the students do not lie beside the summary.")
    return found, missing


def _positive(known: dict) -> bool:
    return min(min(curve.low) for curve in known.values()) > 0


def _by_student(run: Run) -> tuple[str, object]:
    spreads = [with_spread(entry.students) for entry in run.entries]
    series = [Series(f"{run.images} distilled images", *map(list, zip(*spreads, strict=True)))]
    for name, title in (("random", "random real images"), ("full", "all training images")):
        values = [with_spread(getattr(entry, name))[0] for entry in run.entries]
        series += [Series(title, values)] if any(value is not None for value in values) else []
    words = "; ".join(f"{entry.model} {_spread(entry.students)}" for entry in run.entries)
    alt = f"Accuracy in % by student, {run.config_name}, IPC {run.ipc:g}, {run.digests['distilled'][:12]}: {words}"
    names, chance = [entry.model for entry in run.entries], 100 * chance_of(run.entries[0])
    return "Accuracy by student", bars(names, series, chance, "accuracy in % (mean ± std)", alt)


def _by_class(run: Run) -> tuple[str, object]:
    series = [
        Series(entry.model, [None if value is None else 100 * value for value in entry.per_class])
        for entry in run.entries
    ]
    where = f"{run.config_name}, IPC {run.ipc:g}, {run.digests['distilled'][:12]}"
    alt = f"Accuracy of each class in %, mean over students, {where}; the numbers are in the table of classes."
    chance = 100 * chance_of(run.entries[0])
    return "Accuracy of each class", dots(run.class_names, series, chance, "accuracy in %, mean over seeds", alt)


def _shares(entry: Entry) -> list[list[tuple[int, float]]]:
    return [[(count, count / max(1, sum(row))) for count in row] for row in entry.confusion]


def _pictures(run: Run, most: int) -> tuple[list[tuple[str, list[Shown]]], str]:
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
    shown: dict[int, list[Shown]] = {}
    for number, picture in enumerate(pictures, start=1):
        shown.setdefault(picture.label, []).append(_shown(number, picture, run))
    part = "All" if len(pictures) >= run.images else f"The first {len(pictures)} of"
    note = f"{part} {run.images} images, class by class, denormalised; values beyond black and white are cut."
    return [(run.class_names[label], members) for label, members in shown.items()], note


def _shown(number: int, picture: Picture, run: Run) -> Shown:
    exact = run.resolution <= _EXACT_SIDE
    written = io.BytesIO()
    picture.image.save(written, "WEBP", lossless=exact, quality=100 if exact else _QUALITY)
    name = run.class_names[picture.label]
    ranked = sorted(enumerate(picture.soft_label or []), key=lambda entry: -entry[1])[:_SHOWN_LABELS]
    soft = [(run.class_names[label], value) for label, value in ranked]
    words = ", ".join(f"{label} {value:.2f}" for label, value in soft)
    alt = f"distilled image {number}, {name}" + (f"; soft label {words}" if soft else "")
    return Shown("data:image/webp;base64," + base64.b64encode(written.getvalue()).decode(), alt, soft)
