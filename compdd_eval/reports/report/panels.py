"""The head of a report: what can be compared stands together, method by method, beside random and all images."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from compdd_eval.reports.charts import GREY, Line, Mark, rows_chart
from compdd_eval.reports.compare.measured import Setting, name_of_folder, setting_of
from compdd_eval.reports.html import percent, span
from compdd_eval.reports.paired import Pairing, best_of, disagree, pair
from compdd_eval.reports.summaries import ONE_DRAW_NOTE, Entry, Group, Run, seeds_in_words
from compdd_eval.results.statistics import Ratio, chance, ratio_interval

_HEAD = ("config_name", "resolution", "protocol", "labels", "teacher", "validation")
RANDOM, FULL = "random images", "all images"
FIXED_RANDOM = "one draw of random images"


@dataclass(frozen=True)
class ShownRun:
    """A run as the report names it.

    Attributes:
        run: The run.
        name: Its method; the folder, too, where several have the same one.
        color: Place of the method in `COLORS`, the same all over the page.
        anchor: Id of its part of the page.
    """

    run: Run
    name: str
    color: int
    anchor: str


@dataclass(frozen=True)
class ShownRow:
    """Students that are compared: a line of the chart and of the table.

    Attributes:
        name: The method, or which images.
        color: Place in `COLORS`; None is the colour of texts.
        group: The students.
        anchor: Id of the part of the page on this run; None for a baseline.
        pairing: Against random images, seed by seed, or None.
        reference: What the pairing is against: `RANDOM`, or `FIXED_RANDOM`.
        recovery: Of the accuracy of all images, or None.
        best: Whether it is better than every other method here, random images included.
        one_draw: Whether it is one draw of random images.
    """

    name: str
    color: int | None
    group: Group
    anchor: str | None = None
    pairing: Pairing | None = None
    reference: str = RANDOM
    recovery: Ratio | None = None
    best: bool = False
    one_draw: bool = False

    @property
    def against_one_draw(self) -> bool:
        """Whether the pairing is against a draw that is the same for every seed."""
        return self.pairing is not None and self.reference == FIXED_RANDOM


@dataclass(frozen=True)
class ShownBlock:
    """Rows of one setting.

    Attributes:
        title: What tells it from the other blocks; empty where it is alone.
        rows: The methods in the order given, then random and all images.
    """

    title: str
    rows: list[ShownRow]

    @property
    def methods(self) -> list[ShownRow]:
        """The rows that are no baselines."""
        return [row for row in self.rows if row.anchor]

    @property
    def rivals(self) -> list[ShownRow]:
        """The methods, where there are several beside draws of random images."""
        found = [row for row in self.methods if not row.one_draw]
        return found if len(found) > 1 else []


@dataclass(frozen=True)
class ShownPanel:
    """Blocks that differ in IPC and student alone: a chart and a table.

    Attributes:
        title: Subset, resolution, protocol and the like.
        name: Those of these that tell it from the other panels; empty where it is alone.
        blocks: By IPC, then by student.
        chart: All rows as `<svg>`.
        chance: Accuracy of guessing, as a fraction.
        notes: What must be known to read the numbers right.
    """

    title: str
    name: str
    blocks: list[ShownBlock]
    chart: object
    chance: float
    notes: list[str]

    @property
    def compared(self) -> bool:
        """Whether a row is compared with random images."""
        return any(row.pairing for block in self.blocks for row in block.rows)

    @property
    def recovered(self) -> bool:
        """Whether a row is compared with all images."""
        return any(row.recovery for block in self.blocks for row in block.rows)


def named(runs: Sequence[Run], places: Sequence[str]) -> list[ShownRun]:
    """Name the runs, and give each method its colour.

    Args:
        runs: In the order in which they are shown.
        places: What each was read from: the name of its folder is added where methods have the same one.
    """
    names = [run.method for run in runs]
    folders = [run.file.parent.name for run in runs]
    for more in ([name_of_folder(place) for place in places], folders, [run.place for run in runs]):
        counts = Counter(
            (name, setting_of(run, entry)) for name, run in zip(names, runs, strict=True) for entry in run.entries
        )
        twice = {name for (name, _), number in counts.items() if number > 1}
        parts = zip(names, runs, more, strict=True)
        names = [f"{run.method} ({extra})" if name in twice else name for name, run, extra in parts]
    methods = list(dict.fromkeys(names))
    colors = {name: number % GREY for number, name in enumerate(methods)}
    pairs = enumerate(zip(runs, names, strict=True), start=1)
    return [ShownRun(run, name, colors[name], f"run{number}") for number, (run, name) in pairs]


def panels_of(shown: Sequence[ShownRun]) -> list[ShownPanel]:
    """Put together what was evaluated alike."""
    found: dict[Setting, dict[Setting, list[tuple[ShownRun, Entry]]]] = {}
    for one in shown:
        for entry in one.run.entries:
            setting = setting_of(one.run, entry)
            panel = found.setdefault(replace(setting, ipc=0, model=""), {})
            panel.setdefault(setting, []).append((one, entry))
    return [_panel(head, _told_apart(head, list(found)), members) for head, members in found.items()]


def _told_apart(head: Setting, heads: list[Setting]) -> str:
    """Return what tells a panel from the others: no more fields than that takes."""
    names: list[str] = []
    for name in _HEAD:
        alike = [other for other in heads if all(getattr(other, n) == getattr(head, n) for n in names)]
        if len({getattr(other, name) for other in alike}) > 1:
            names.append(name)
    return ", ".join(head.value(name) for name in names)


def _panel(head: Setting, name: str, members: dict[Setting, list[tuple[ShownRun, Entry]]]) -> ShownPanel:
    models = list(dict.fromkeys(setting.model for setting in members))
    settings = sorted(members, key=lambda setting: (setting.ipc, models.index(setting.model)))
    sizes = {setting.ipc for setting in settings}
    blocks = []
    for setting in settings:
        parts = [f"IPC {setting.ipc:g}"] * (len(sizes) > 1) + [setting.model] * (len(models) > 1)
        blocks.append(ShownBlock(", ".join(parts), _rows(members[setting])))
    common = [f"IPC {settings[0].ipc:g}"] * (len(sizes) == 1) + [models[0]] * (len(models) == 1)
    teacher = [f"teacher {head.teacher}"] if head.teacher else []
    parts = [head.config_name, head.value("resolution"), *common, f"protocol {head.value('protocol')}", *teacher]
    title = ", ".join([*parts, seeds_in_words(row.group for block in blocks for row in block.rows)])
    guessing = chance(next(iter(members.values()))[0][1].per_class)
    alt = f"Accuracy in %, mean with 95 % interval, {title}. {'; '.join(map(_in_words, blocks))}"
    chart = rows_chart(lines_of(blocks), 100 * guessing, alt)
    return ShownPanel(title, name, blocks, chart, guessing, list(_notes(members)))


def _rows(members: list[tuple[ShownRun, Entry]]) -> list[ShownRow]:
    entries = [entry for _, entry in members]
    random = next((entry.random for entry in entries if entry.random), None)
    full = next((entry.full for entry in entries if entry.full), None)
    drawn = next((entry.students for one, entry in members if one.run.is_one_draw), None)
    best = best_of([entry.students for entry in entries] + [random] * (random is not None))
    rows = []
    for place, (one, entry) in enumerate(members):
        reference, other = RANDOM, entry.random or random
        if other is None and not one.run.is_one_draw:
            reference, other = FIXED_RANDOM, drawn
        rows.append(
            ShownRow(
                one.name,
                one.color,
                entry.students,
                anchor=one.anchor,
                pairing=pair(entry.students, other) if other else None,
                reference=reference,
                recovery=entry.recovery,
                best=place == best,
                one_draw=one.run.is_one_draw,
            )
        )
    if random:
        ratio = ratio_interval(random.accuracies, full.accuracies) if full else None
        rows.append(ShownRow(RANDOM, GREY, random, recovery=ratio))
    if full:
        rows.append(ShownRow(FULL, None, full))
    return rows


def lines_of(blocks: Sequence[ShownBlock]) -> list[Line]:
    """Return the lines of a chart of these blocks, each under its title."""
    lines = []
    for block in blocks:
        lines += [Line(block.title)] if block.title else []
        for row in block.rows:
            ends = row.group.interval and [100 * end for end in row.group.interval]
            each = [100 * accuracy for accuracy in row.group.accuracies]
            mark = Mark(100 * row.group.mean, ends, each if len(each) > 1 else (), row.color)
            lines.append(Line(row.name, [mark], percent(row.group.mean)))
    return lines


def _in_words(block: ShownBlock) -> str:
    rows = [f"{row.name} {percent(row.group.mean)} ({span(row.group.interval)})" for row in block.rows]
    return f"{block.title}: {', '.join(rows)}" if block.title else ", ".join(rows)


def _notes(members: dict[Setting, list[tuple[ShownRun, Entry]]]) -> Iterator[str]:
    runs = [one.run for found in members.values() for one, _ in found]
    for tested, expected in dict.fromkeys((run.validation_images, run.validation_expected) for run in runs):
        if tested != expected:
            yield f"Tested on {tested:,} of {expected:,} validation images: no number of the benchmark"
    if any(run.is_one_draw for run in runs):
        yield ONE_DRAW_NOTE
    for words, name in ((RANDOM, "random"), (FULL, "full")):
        found = [[getattr(entry, name) for _, entry in entries if getattr(entry, name)] for entries in members.values()]
        if any(disagree(groups) for groups in found):
            yield (
                f"With the same seeds, {words} are not the same in all results (rate, machine or version differ): the "
                "first are shown, each set is compared with its own"
            )
