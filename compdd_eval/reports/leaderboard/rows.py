"""Rows of a leaderboard: one for each network of each result, its numbers computed anew, its doubts marked."""

import functools
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.config.protocol import Protocol
from compdd_eval.data.imagenet.hub_files import is_commit, parse_address
from compdd_eval.data.subsets import config_names, load_subset, related_names
from compdd_eval.reports.checked_fields import clean, is_sha256
from compdd_eval.reports.html import as_link
from compdd_eval.reports.leaderboard.command import protocol_of
from compdd_eval.reports.leaderboard.sources import Found
from compdd_eval.reports.paired import pair
from compdd_eval.reports.summaries import Entry, Run
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import read_small

_logger = logging.getLogger(__name__)
UNKNOWN = "one seed"
OTHER_IMAGES = "other validation images"
OTHER_SET = "not the set of its repository"
_BESIDE = "; other classes than Comp-DD's"
BY_FILE, BY_MOST, BY_NONE = "given", "most results", "unclear"
_MOST_CANONICAL = 2**20  # bytes of the file


@dataclass(frozen=True)
class Canonical:
    """Which validation images are the right ones for a configuration.

    Attributes:
        digest: Their SHA-256, or None where it is not known.
        rule: `given` in a file, those of `most results`, or `unclear`.
    """

    digest: str | None
    rule: str


@dataclass(frozen=True)
class Row:
    """One network on one set; accuracies are fractions in [0, 1].

    Attributes:
        protocol: Name of the protocol, and whether the classes are none of the benchmark's; rows of different ones are
            never in one table.
        method: Name of the method, as the set says.
        subset: Configuration, such as `bird-easy`.
        ipc: Images per class.
        resolution: Side of the images in pixels.
        student: The network.
        teacher: Network that gave soft labels, or None.
        mean: Mean accuracy over students.
        std: Sample standard deviation, or None for one student.
        n: Number of students.
        interval: 95 % interval of the mean, or None for one student.
        random: Mean accuracy of random real images, or None.
        over_random: Mean difference to them, seed by seed, or None.
        over_random_interval: Its 95 % interval, or None.
        verdict: `better`, `worse`, `cannot tell` or `one seed`; None without the baseline.
        recovery: Accuracy / accuracy of all training images, or None.
        marks: What is doubtful, in words; nothing where the row is canonical.
        set_digest: SHA-256 of the set.
        set_name: `USER/NAME` on the Hub, or None.
        set_link: Address of the set, or None.
        page: Page of the result in the site, `runs/<12 hex digits>.html`.
    """

    protocol: str
    method: str
    subset: str
    ipc: float
    resolution: int
    student: str
    teacher: str | None
    mean: float
    std: float | None
    n: int
    interval: list[float] | None
    random: float | None
    over_random: float | None
    over_random_interval: list[float] | None
    verdict: str | None
    recovery: float | None
    marks: list[str]
    set_digest: str
    set_name: str | None
    set_link: str | None
    page: str


@dataclass(frozen=True)
class Result:
    """A result with its rows, for a page of its own.

    Attributes:
        run: What the file says.
        repository: `USER/NAME@COMMIT` that its set lies in, or None.
        protocol: Its protocol.
        rows: One for each network; those that another result has already are left out.
        entries: What the rows are made of, in the same order.
    """

    run: Run
    repository: str | None
    protocol: Protocol
    rows: list[Row]
    entries: list[Entry]


@dataclass(frozen=True)
class Rows:
    """All rows of a leaderboard.

    Attributes:
        results: Results with their rows.
        canonical: Configuration -> its validation images.
        left_out: Results that are none of this version; each was warned of.
        twice: Rows that were there already.
    """

    results: list[Result]
    canonical: dict[str, Canonical]
    left_out: int
    twice: int

    @property
    def rows(self) -> list[Row]:
        """All rows: by protocol, subset, IPC and student, the best one first."""
        found = [row for result in self.results for row in result.rows]
        return sorted(found, key=lambda row: (row.protocol, row.subset, row.ipc, row.student, -row.mean, row.page))


def rows_of(found: Sequence[Found], given: dict[str, str] | None = None) -> Rows:
    """Make rows of results, each once.

    Args:
        found: The results.
        given: Digest of the validation images of each configuration; None: those of most results.

    Raises:
        InputError: None is a result of this version.
    """
    known = []
    # of two equal rows the first is kept, so those of the Hub come first: they say where the set is
    for one in sorted(found, key=lambda one: (one.repository is None, one.repository or "", one.run.place)):
        try:
            known.append((one, protocol_of(one.run)))
        except InputError as error:
            _logger.warning(f"left out: {error}")
    left_out = len(found) - len(known)
    if not known:
        raise InputError("no result is of this version; evaluate again, or give other folders")
    canonical = canonical_of([one.run for one, _ in known], given)
    results, seen, pages, twice = [], {}, set(), 0
    for one, protocol in known:
        kept = [entry for entry in one.run.entries if _unseen(_identity(one.run, protocol, entry), one, seen)]
        twice += len(one.run.entries) - len(kept)
        if kept:
            results.append(_result(one, protocol, kept, canonical, pages))
    return Rows(results, canonical, left_out, twice)


def read_canonical(path: str) -> dict[str, str]:
    """Read the digest of the validation images of each configuration.

    Raises:
        InputError: The file is no such table; the message names what is wrong.
    """
    expected = 'expected JSON such as {"bird-easy": "9f..."} with the SHA-256 of validation images, as in summary.json'
    try:
        raw = read_small(Path(path), _MOST_CANONICAL)
        content = None if raw is None else json.loads(raw.decode("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the --canonical file cannot be read ({error.strerror}); {expected}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON ({clean(error, 80)}); {expected}") from error
    if raw is None:
        raise InputError(f"{path}: is no regular file of at most 1 MB; {expected}")
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: holds no configuration by name; {expected}")
    for name, digest in content.items():
        if not is_sha256(digest):
            raise InputError(f"{path}: {clean(name, 40)}: {clean(digest, 40)} is no SHA-256; {expected}")
    return content


def canonical_of(runs: Iterable[Run], given: dict[str, str] | None) -> dict[str, Canonical]:
    """Return which validation images are the right ones: those given, else those of more than half the results.

    Only results on all validation images count.
    """
    runs = list(runs)
    names = sorted({run.config_name for run in runs})
    if given is not None:
        return {name: Canonical(given.get(name), BY_FILE if name in given else BY_NONE) for name in names}
    found = {}
    for name in names:
        whole = [run for run in runs if run.config_name == name and _is_whole(run)]
        counts = Counter(run.digests["validation"] for run in whole).most_common(1)
        # a majority, not the largest group: otherwise the first to publish odd images would mark all others
        clear = counts and 2 * counts[0][1] > len(whole)
        found[name] = Canonical(counts[0][0], BY_MOST) if clear else Canonical(None, BY_NONE)
    return found


@functools.cache
def _expected(config_name: str) -> int | None:
    """Return how many validation images a subset has; None for a list of a user's own."""
    known = config_name in [*config_names(), *related_names()]
    return load_subset(config_name).splits["validation"] if known else None


def _is_whole(run: Run) -> bool:
    return run.validation_images == (_expected(run.config_name) or run.validation_expected)


def _unseen(identity: str, one: Found, seen: dict[str, set[str | None]]) -> bool:
    """Whether a row is new; nobody hides a row of another repository by copying its numbers."""
    owner = one.repository and one.repository.partition("@")[0]
    before = seen.setdefault(identity, set())
    if owner in before or (owner is None and before):
        return False
    before.add(owner)
    return True


def _identity(run: Run, protocol: Protocol, entry: Entry) -> str:
    """Return what makes two rows the same: name, images, labels, protocol, network, seeds and accuracies."""
    what = (
        run.method,
        run.config_name,
        run.validation_images,
        run.digests,
        run.ipc,
        run.resolution,
        protocol.settings(),  # not what the file calls changes: that is not believed
        entry.model,
        entry.teacher,
    )
    groups = [(group.seeds, group.accuracies) if group else None for group in (entry.students, entry.random)]
    return json.dumps([*what, entry.lr, *groups], sort_keys=True)


def _result(
    one: Found, protocol: Protocol, entries: list[Entry], canonical: dict[str, Canonical], pages: set[str]
) -> Result:
    run = one.run
    page = _page([_identity(run, protocol, entry) for entry in entries], pages)
    repository = one.repository or (run.repository if is_commit(run.repository) else None)
    of_run = functools.partial(
        Row,
        protocol=protocol.in_words() + ("" if run.config_name in config_names() else _BESIDE),
        method=clean(run.method, 60) or "?",
        subset=clean(run.config_name, 40),
        ipc=run.ipc,
        resolution=run.resolution,
        marks=_marks(one, canonical[run.config_name]),
        set_digest=run.digests["distilled"],
        set_name=repository and repository.partition("@")[0],
        set_link=parse_address(repository).page if repository else as_link(run.origin.get("source_url")),
        page=page,
    )
    return Result(run, repository, protocol, [_row(entry, of_run) for entry in entries], entries)


def _page(identities: list[str], taken: set[str]) -> str:
    """Return a name for a page: short, and never one that another result has."""
    digest = hashlib.sha256("\n".join(identities).encode()).hexdigest()
    name = digest[:12] if digest[:12] not in taken else digest
    taken.add(name)
    return f"runs/{name}.html"


def _marks(one: Found, canonical: Canonical) -> list[str]:
    run, marks = one.run, []
    expected = _expected(run.config_name) or run.validation_expected
    if run.validation_images != expected:
        marks.append(f"{run.validation_images:,} of {expected:,} validation images")
    elif canonical.digest not in (None, run.digests["validation"]):
        marks.append(OTHER_IMAGES)
    moved = one.repository is not None and one.set_digest not in (None, run.digests["distilled"])
    if moved and run.labels == "given":  # under other regimes the digest is that of the set with other labels
        marks.append(OTHER_SET)
    return marks


def _row(entry: Entry, of_run: Callable[..., Row]) -> Row:
    group, recovery = entry.students, entry.recovery
    pairing = pair(group, entry.random) if entry.random else None
    difference = pairing and pairing.difference
    return of_run(
        student=clean(entry.model, 60),
        teacher=None if entry.teacher is None else clean(entry.teacher, 60),
        mean=group.mean,
        std=group.std,
        n=len(group.accuracies),
        interval=group.interval,
        random=entry.random.mean if entry.random else None,
        over_random=difference and difference.mean,
        over_random_interval=difference and difference.interval,
        verdict=difference and (pairing.verdict if difference.interval else UNKNOWN),
        recovery=recovery.ratio if recovery else None,
    )
