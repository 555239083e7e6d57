"""What a report found, in words: before any number is looked up."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compdd_eval.reports.html import mean_and_std, percent, points, span
from compdd_eval.reports.paired import BETTER, NO_PAIRS, UNCLEAR, WORSE
from compdd_eval.reports.report.panels import FIXED_RANDOM, RANDOM, ShownBlock, ShownPanel, ShownRow
from compdd_eval.utils.console import counted

AGAINST = {
    BETTER: "better than {}",
    UNCLEAR: "cannot be told from {}",
    WORSE: "worse than {}",
    NO_PAIRS: "no seed in common with {}",
}
_MOST_INTERVALS = 3  # in words; those of more rows are in the table alone
_MOST_PLACES = 12  # in words; of more, each method's are counted


@dataclass(frozen=True)
class Verdict:
    """One finding.

    Attributes:
        lead: What was found.
        of: What it is true of, with numbers.
    """

    lead: str
    of: str


def against(row: ShownRow) -> str:
    """Return in words how a row compares with random images; empty where there are none."""
    return "" if row.pairing is None else AGAINST[row.pairing.verdict].format(row.reference)


def verdicts_of(panels: Sequence[ShownPanel]) -> list[Verdict]:
    """Return what was found: against random images, which method is best, and of a single row its accuracy."""
    places = [(panel, block, row) for panel in panels for block in panel.blocks for row in block.methods]
    several = len({row.name for _, _, row in places}) > 1
    intervals = len(places) <= _MOST_INTERVALS
    compared = Counter(row.name for _, _, row in places if row.pairing is not None)
    found: dict[str, list[tuple[str, str]]] = {
        verdict.format(reference): [] for reference in (RANDOM, FIXED_RANDOM) for verdict in AGAINST.values()
    }
    for panel, block, row in places:
        if row.pairing is not None:
            place = ", ".join([row.name] * several + _place(panel, block))
            gain = _gain(row, intervals)
            found[against(row)].append((row.name, f"{place} ({gain})" if place and gain else place or gain))
    told = [Verdict(_capital(lead), _listed(rows, compared)) for lead, rows in found.items() if rows]
    if len(places) == 1:
        told.append(_accuracy(*places[0]))
    if not told or all(row.pairing is None for _, _, row in places):
        advice = (
            "evaluate random images, too: by --baseline random, or as a set that `distill random` made (and `relabel` "
            "labelled by the same teacher, where labels are those of views)"
        )
        told.append(Verdict("Nothing to compare with", advice))
    return told + list(_best(panels))


def _listed(rows: list[tuple[str, str]], of: Counter[str]) -> str:
    """Return what a verdict is true of, of each the method and words; of many, how many of each method."""
    if max(of.values()) <= _MOST_PLACES:
        return "; ".join(words for _, words in rows)
    counts = Counter(name for name, _ in rows)
    return ", ".join(f"{name} {counts[name]} of {number}" for name, number in of.items() if counts[name])


def _gain(row: ShownRow, interval: bool) -> str:
    difference = row.pairing.difference
    if difference is None:
        return ""
    sure = f", 95 % interval {span(difference.interval, True)}" if interval and difference.interval else ""
    seeds = f", {counted(difference.n, 'seed')}" if interval else ""
    return f"{points(difference.mean)} points{sure}{seeds}"


def _accuracy(panel: ShownPanel, block: ShownBlock, row: ShownRow) -> Verdict:
    parts = [f"95 % interval {span(row.group.interval)}" if row.group.interval else "one student, so no interval"]
    if row.recovery is not None:
        parts.append(f"{percent(row.recovery.ratio)} % of what all training images give")
    return Verdict(f"{mean_and_std(row.group)} % accuracy", "; ".join([*parts, f"chance is {percent(panel.chance)} %"]))


def _best(panels: Sequence[ShownPanel]) -> Iterator[Verdict]:
    """Yield which methods are better than every other one, random images included, and where none is."""
    clear, unclear = [], []
    several = [(_place(panel, block), block.rivals) for panel in panels for block in panel.blocks if block.rivals]
    for place, methods in several:
        highest = max(methods, key=lambda row: row.group.mean)
        if highest.best:
            clear.append((highest.name, ", ".join([highest.name, *place])))
        else:
            unclear.append((f"{highest.name} highest in", ", ".join([*place, f"highest: {highest.name}"])))
    of = Counter({name: len(several) for name, _ in clear + unclear})
    if clear:
        yield Verdict("Better than every other method here", _listed(clear, of))
    if unclear:
        yield Verdict("No method is better than every other", _listed(unclear, of))


def _place(panel: ShownPanel, block: ShownBlock) -> list[str]:
    return [name for name in (panel.name, block.title) if name]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
