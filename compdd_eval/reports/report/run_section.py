"""One run of a report: the question, the numbers, charts, confusion, and the distilled images."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.data.imagenet.hub_files import parse_address
from compdd_eval.distilled.result_pictures import Picture, read_pictures
from compdd_eval.reports.charts import Series, bars, curves, dots
from compdd_eval.reports.html import as_link, mean_and_std, percent, points, short, span
from compdd_eval.reports.learning_curves import Curve, accuracy_curve, loss_curve, read_students
from compdd_eval.reports.paired import NO_PAIRS, UNCLEAR, pair
from compdd_eval.reports.report.overview import chance_of, with_spread
from compdd_eval.reports.summaries import Entry, Run
from compdd_eval.results.statistics import PairedDifference
from compdd_eval.utils.console import counted
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
class StudentRow:
    """One student network beside its baselines; the template writes the numbers.

    Attributes:
        entry: Its students, and those of the baselines.
        difference: To random images, seed by seed; None without a seed in common.
        verdict: What that means, in words; empty without the baseline.
        answer: All of it in a sentence.
    """

    entry: Entry
    difference: PairedDifference | None
    verdict: str
    answer: str


@dataclass(frozen=True)
class Section:
    """What a report shows of one run.

    Attributes:
        anchor: Its id in the page.
        run: The run.
        title: What was evaluated, in a line.
        facts: Names and values.
        rows: Numbers of each student network.
        charts: Title and chart.
        pictures: Name of each class, and its distilled images.
        pictures_note: What of them is shown, or why nothing is.
        missing: What could not be shown, in words.
    """

    anchor: str
    run: Run
    title: str
    facts: list[tuple[str, str, str | None]]
    rows: list[StudentRow]
    charts: list[tuple[str, object]]
    pictures: list[tuple[str, list[Shown]]]
    pictures_note: str
    missing: list[str]

    @property
    def has_random(self) -> bool:
        """Whether random real images were evaluated, too."""
        return any(entry.random for entry in self.run.entries)

    @property
    def has_full(self) -> bool:
        """Whether all training images were evaluated, too."""
        return any(entry.full for entry in self.run.entries)


def section_of(run: Run, anchor: str, most_pictures: int) -> Section:
    """Put together what a report shows of one run, with at most so many pictures."""
    pictures, note = _pictures(run, most_pictures)
    curves_drawn, missing = _learning_curves(run)
    return Section(
        anchor=anchor,
        run=run,
        title=f"{short(run.method)}: {run.config_name}, IPC {run.ipc:g}, {run.resolution} px",
        facts=_facts(run),
        rows=[_row(entry) for entry in run.entries],
        charts=[_by_student(run), _by_class(run), *curves_drawn],
        pictures=pictures,
        pictures_note=note,
        missing=missing,
    )


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
    versions = entry.get("versions") if isinstance(entry.get("versions"), dict) else {}
    packages = [f"{name} {versions[name]}" for name in _PACKAGES if name in versions]
    commit = f"commit {entry['commit']}" if entry.get("commit") else None
    parts = [entry.get("device"), entry.get("precision"), f"{entry.get('threads')} threads", *packages, commit]
    return short(", ".join(str(part) for part in parts if part), 200)


def _row(entry: Entry) -> StudentRow:
    difference, verdict = _against_random(entry)
    group = entry.students
    seeds = counted(len(group.seeds), "seed")
    sure = f"95 % interval {span(group.interval)}" if group.interval else "no interval"
    answer = f"{entry.model}: {mean_and_std(group)} % ({sure}, {seeds})"
    if difference is not None:
        answer += f", {verdict}: {points(difference.mean)} points"
    if entry.recovery is not None:
        answer += f"; {percent(entry.recovery.ratio)} % of what all training images give"
    return StudentRow(entry, difference, verdict, f"{answer}. Chance is {percent(chance_of(entry))} %.")


def _against_random(entry: Entry) -> tuple[PairedDifference | None, str]:
    """Return the paired difference to random images, and the verdict on it in words."""
    if entry.random is None:
        return None, ""
    pairing = pair(entry.students, entry.random)
    words = {
        NO_PAIRS: "no seed in common with the random baseline",
        UNCLEAR: f"cannot tell from random with {counted(len(pairing.seeds), 'seed')}",
    }
    return pairing.difference, words.get(pairing.verdict, f"{pairing.verdict} than random")


def _learning_curves(run: Run) -> tuple[list[tuple[str, object]], list[str]]:
    """Return the charts that the files of the students give, and in words what is missing."""
    students = read_students(run)
    losses = {model: loss_curve(members) for model, members in students.items()}
    tested = {model: accuracy_curve(members) for model, members in students.items()}
    drawn = [
        _curves("Loss of training", losses, 1, "loss (mean of a pass)", run),
        _curves("Accuracy on the validation images while training", tested, 100, "accuracy in %", run),
    ]
    without = "Learning curves: the files of the students do not lie beside the summary."
    return [chart for chart in drawn if chart], [] if any(losses.values()) else [without]


def _curves(
    title: str, by_model: dict[str, Curve | None], factor: int, label: str, run: Run
) -> tuple[str, object] | None:
    known = {model: curve for model, curve in by_model.items() if curve is not None}
    if not known:
        return None
    series, ends = [], []
    for model, curve in known.items():
        parts = [[factor * value for value in part] for part in (curve.mean, curve.low, curve.high)]
        series.append((curve.passes, Series(model, *parts)))
        ends.append(f"{model} {parts[0][0]:.3g} to {parts[0][-1]:.3g}")
    where = f"{run.config_name}, IPC {run.ipc:g}, {run.method}, {run.digests['distilled'][:12]}"
    alt = f"{title} over the passes, mean over seeds, with the range of the seeds as a band: {', '.join(ends)}. {where}"
    # losses fall by powers of ten; an accuracy does not, and 0 has no logarithm
    logarithmic = factor == 1 and all(min(curve.low) > 0 for curve in known.values())
    return title, curves(series, label, alt, logarithmic)


def _by_student(run: Run) -> tuple[str, object]:
    spreads = [with_spread(entry.students) for entry in run.entries]
    series = [Series(f"{run.images} distilled images", *map(list, zip(*spreads, strict=True)))]
    for name, title in (("random", "random real images"), ("full", "all training images")):
        values = [with_spread(getattr(entry, name))[0] for entry in run.entries]
        series += [Series(title, values)] if any(value is not None for value in values) else []
    words = "; ".join(f"{entry.model} {mean_and_std(entry.students)}" for entry in run.entries)
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
