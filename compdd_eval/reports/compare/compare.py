"""`compare`: methods side by side, with paired differences over the same seeds and a sentence on each."""

import itertools
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.config.arguments import named_as_given, settings_from
from compdd_eval.config.compare import CompareConfig
from compdd_eval.reports.checked_fields import clean
from compdd_eval.reports.compare.measured import MeasuredMethod, Setting, read_methods
from compdd_eval.reports.compare.paper_tables import Table, build_tables, order_of, table_json
from compdd_eval.reports.compare.regimes import regime_tables, under_regimes
from compdd_eval.reports.paired import BETTER, NO_PAIRS, UNCLEAR, WORSE, Pairing, pair
from compdd_eval.reports.summaries import Group
from compdd_eval.results.statistics import PairedDifference
from compdd_eval.utils.console import counted
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable

_logger = logging.getLogger(__name__)
RANDOM_IMAGES = "random images"
_MOST_SEEDS = 8  # that are listed in a line


@dataclass(frozen=True)
class Difference(Pairing):
    """Two methods under one setting.

    Attributes:
        first: Name of the first method.
        other: Name of the other one.
        setting: What both were evaluated under.
        sentence: All of it in words, in points.
    """

    first: str
    other: str
    setting: Setting
    sentence: str


@dataclass(frozen=True, repr=False)
class Comparison:
    """Methods, their numbers as tables, and the first one against each other one, or each against random images.

    Attributes:
        methods: In the order that they were given in.
        tables: One for each network, protocol and resolution; with `regimes`, one for each subset, too.
        differences: For each other method, each setting that it has in common with the first; with `regimes`, for each
            method each setting and regime that it has.
    """

    methods: list[MeasuredMethod]
    tables: list[Table]
    differences: list[Difference]

    def __repr__(self) -> str:
        names = ", ".join(method.name for method in self.methods)
        return (
            f"Comparison({names}: {counted(len(self.tables), 'table')}, {counted(len(self.differences), 'difference')})"
        )

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def to_dict(self) -> dict[str, object]:
        """Return what `compare --json` prints; accuracies, differences and ratios are fractions."""
        methods, comparisons = [], []
        for method in self.methods:
            files = [clean(path) for path in dict.fromkeys(cell.run.place for cell in method.cells.values())]
            methods.append({"name": method.name, "source": clean(method.source), "files": files})
        for entry in self.differences:
            sides = {"first": entry.first, "other": entry.other, **vars(entry.setting), "seeds": entry.seeds}
            difference = entry.difference and vars(entry.difference)
            comparisons.append(sides | {"difference": difference, "verdict": entry.verdict, "sentence": entry.sentence})
        tables = [table_json(table) for table in self.tables]
        return {"methods": methods, "tables": tables, "comparisons": comparisons, "totals": self.totals()}

    def totals(self) -> list[dict[str, object]]:
        """Return for each two that are compared how often the first is better, worse, or cannot be told from it."""
        found = []
        for first, other in dict.fromkeys((entry.first, entry.other) for entry in self.differences):
            pairs = [entry for entry in self.differences if (entry.first, entry.other) == (first, other)]
            verdicts = Counter(entry.verdict for entry in pairs)
            counts = {name: verdicts[verdict] for name, verdict in _COUNTED.items()}
            words = [f"{counts[name]} {verdict}" for name, verdict in _COUNTED.items() if name != "not_compared"]
            words += [f"{counts['not_compared']} without a seed in common"] if counts["not_compared"] else []
            total = verdicts.total()
            sentence = f"{first} against {other}: {', '.join(words)}, of {counted(total, 'setting')}"
            if total > 1:
                sentence += "; each is a test of its own, and one in twenty is clear by chance"
            found.append({"first": first, "other": other, **counts, "sentence": sentence})
        return found

    @property
    def sentences(self) -> list[str]:
        """What was found, a line each."""
        return [entry.sentence for entry in self.differences] + [entry["sentence"] for entry in self.totals()]


_COUNTED = {"better": BETTER, "worse": WORSE, "cannot_tell": UNCLEAR, "not_compared": NO_PAIRS}


def compare(results: CompareConfig | Sequence[str | os.PathLike], **settings: object) -> Comparison:
    """Read methods and compare the first with the others, seed by seed; nothing is printed or written.

        comparison = compare(["results_edf", "results_datm"], names=["EDF", "DATM"])
        print(comparison)  # sentences; comparison.tables, comparison.differences, comparison.to_dict()

    Only numbers of the same subset, IPC, resolution, network, protocol, labels, teacher and validation images are
    compared. What was evaluated otherwise is warned of.

    Args:
        results: Folders with results of `evaluate`, or files summary.json, one for each method; or all settings.
        settings: Those of `CompareConfig`, by name.

    Raises:
        InputError: Results cannot be read, or hold the same twice; a method has no setting in common with the first;
            `--output` cannot be written, or is one of the results.
    """
    with named_as_given(CompareConfig, results):
        return _compared(settings_from(CompareConfig, "results", results, settings))


def _compared(config: CompareConfig) -> Comparison:
    if config.output is not None:
        _check_output(Path(config.output))
    methods = read_methods(config.results, config.listed_names)
    _check_not_read(config.output, methods)
    if config.regimes:
        return _with_random(under_regimes(methods))
    first, *others = methods
    for other in others:
        _check_common(first, other)
    for one, other in itertools.combinations(methods, 2):
        _warn_of_unlike(one, other)
    settings = list(dict.fromkeys(setting for method in methods for setting in method.cells))
    differences = [
        _difference(
            first.name,
            first.cells[setting].entry.students,
            other.name,
            other.cells[setting].entry.students,
            setting,
            settings,
        )
        for other in others
        for setting in sorted(first.cells, key=order_of)
        if setting in other.cells
    ]
    return Comparison(methods, build_tables(methods), differences)


def _with_random(methods: list[MeasuredMethod]) -> Comparison:
    """Compare each method with random images under each regime of labels."""
    settings = list(dict.fromkeys(setting for method in methods for setting in method.cells))
    differences = [
        _difference(method.name, cell.entry.students, RANDOM_IMAGES, cell.entry.random, setting, settings)
        for method in methods
        for setting, cell in sorted(method.cells.items(), key=lambda found: order_of(found[0]))
        if cell.entry.random is not None
    ]
    return Comparison(methods, regime_tables(methods), differences)


def _check_output(output: Path) -> None:
    if output.is_dir():
        raise InputError(f"{output}: is a folder, expected a file such as table.tex; give another --output")
    check_writable(output.parent, "--output")


def _check_not_read(output: str | None, methods: list[MeasuredMethod]) -> None:
    files = {cell.run.file.resolve() for method in methods for cell in method.cells.values()}
    if output is not None and Path(output).resolve() in files:
        raise InputError(f"{output}: is one of the results; give another --output")


def _check_common(first: MeasuredMethod, other: MeasuredMethod) -> None:
    if first.cells.keys() & other.cells.keys():
        return
    pairs = (one.differences(another) for one, another in itertools.product(first.cells, other.cells))
    nearest = ", ".join(min(pairs, key=len))
    raise InputError(
        f"{clean(first.source)} and {clean(other.source)} have nothing in common: {nearest}; evaluate both alike"
    )


def _warn_of_unlike(one: MeasuredMethod, other: MeasuredMethod) -> None:
    """Warn where both answer a question, but never under the same protocol and on the same validation images."""
    common = {setting.question for setting in one.cells.keys() & other.cells.keys()}
    ours, theirs = _by_question(one), _by_question(other)
    found: dict[str, list[str]] = {}
    for question, setting in ours.items():
        if question in theirs and question not in common:
            reason = ", ".join(setting.differences(theirs[question]))
            found.setdefault(reason, []).append(setting.place([]))
    for reason, places in found.items():
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        _logger.warning(f"{one.name} and {other.name} are not compared on {places[0]}{more}: {reason}")


def _by_question(method: MeasuredMethod) -> dict[tuple, Setting]:
    found: dict[tuple, Setting] = {}
    for setting in method.cells:
        found.setdefault(setting.question, setting)
    return found


def _difference(
    first: str, ours: Group, other: str, theirs: Group, setting: Setting, settings: list[Setting]
) -> Difference:
    pairing = pair(ours, theirs)
    place = setting.place(settings)
    if pairing.difference is None:
        seeds = f"{_listed(ours.seeds)} against {_listed(theirs.seeds)}"
        sentence = f"{first} and {other} are not compared on {place}: no seed in common ({seeds})"
    else:
        sentence = _sentence(first, other, place, pairing.difference, pairing.verdict)
    return Difference(**vars(pairing), first=first, other=other, setting=setting, sentence=sentence)


def _sentence(first: str, other: str, place: str, difference: PairedDifference, verdict: str) -> str:
    """Say what an interval means, and no more than that."""
    mean, interval = f"{100 * difference.mean:+.2f} points", difference.interval
    span = f"95 % interval {100 * interval[0]:+.2f} to {100 * interval[1]:+.2f}" if interval else ""
    seeds = counted(difference.n, "seed")
    if verdict == UNCLEAR:
        return f"cannot tell {first} from {other} on {place} with {seeds}: {mean}{f' ({span})' if span else ''}"
    return f"{first} is {verdict} than {other} on {place}: {mean} ({span}, {seeds})"


def _listed(seeds: tuple[int, ...]) -> str:
    more = f", ... {len(seeds)} in all" if len(seeds) > _MOST_SEEDS else ""
    return ", ".join(map(str, seeds[:_MOST_SEEDS])) + more
