"""Read summaries of `evaluate` that anybody may have written: nothing in a file is believed before it is checked."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compdd_eval.config.protocol import LATER_FIELDS, PRESETS, protocol_in_words
from compdd_eval.data.imagenet.hub_files import Address
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.reports.checked_fields import (
    Wrong,
    clean,
    list_of,
    number_of,
    plain_of,
    sha256_of,
    table_of,
    text_of,
    whole_of,
)
from compdd_eval.results.result_files import read_results, read_summary
from compdd_eval.results.statistics import Ratio, accuracy_interval, ratio_interval
from compdd_eval.results.student_result import SCHEMA_VERSION
from compdd_eval.utils.console import counted
from compdd_eval.utils.errors import InputError

_MOST_NAME = 80
_IPC = re.compile(r"[-_]?ipc[-_]?\d+", re.IGNORECASE)  # in the name of a folder: the same method at another size
# as `distill random` and `random_images` name their sets, or people their folders
_RANDOM = re.compile(r"random([ _-]+(real|images|set))*", re.IGNORECASE)
ONE_DRAW = "(one draw)"
ONE_DRAW_NOTE = (
    "random (one draw) is one set of random images, the same for every seed: its interval leaves out the spread "
    "between draws, and what is better than it may not be better than another draw"
)
_FOLDER = re.compile(r"\w[\w.-]{0,200}")
# SET/CONFIG/MODEL/DIGEST/seedK.json: no other file of the machine is ever opened for a report
_STUDENT = re.compile(r"([\w.-]+)/([\w.-]+)/([\w.:@+-]+)/([0-9a-f]{12})/seed\d{1,20}\.json")
_NAMED = 4  # teachers in a note
_MOST_SEEDS = 10_000  # of one network, far more than anybody trains


@dataclass(frozen=True)
class Group:
    """Students of one network that were trained alike.

    Attributes:
        seeds: Their seeds, distinct.
        accuracies: Accuracy of each on the validation images, in [0, 1].
    """

    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]

    @property
    def by_seed(self) -> dict[int, float]:
        """Seed -> accuracy."""
        return dict(zip(self.seeds, self.accuracies, strict=True))

    @property
    def mean(self) -> float:
        """Mean accuracy, in [0, 1]."""
        return math.fsum(self.accuracies) / len(self.accuracies)

    @property
    def std(self) -> float | None:
        """Sample standard deviation of the accuracies; None for one student."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None

    @property
    def interval(self) -> list[float] | None:
        """95 % interval of the mean over students, in [0, 1], as of `accuracy_interval`; None for one."""
        return accuracy_interval(self.accuracies)


@dataclass(frozen=True)
class Entry:
    """The students of one network on one set, and what they are compared with.

    Attributes:
        model: Name of the network.
        students: Those that were trained on the set.
        random: Those of random images, or None.
        full: Those of all training images, or None.
        per_class: Mean accuracy of each label in [0, 1]; None for a label without validation images.
        confusion: Counts `[10, 10]` summed over students; row: true label.
        lr: Learning rate.
        lr_source: Where it came from.
        teacher: The teacher that gave soft labels, by name, accuracy and digest, or None.
    """

    model: str
    students: Group
    random: Group | None
    full: Group | None
    per_class: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    lr: float
    lr_source: str
    teacher: str | None

    @property
    def recovery(self) -> Ratio | None:
        """Recovery ratio: accuracy / accuracy of all images, with its interval, as of `ratio_interval`."""
        if self.full is None or not self.full.mean:
            return None
        return ratio_interval(self.students.accuracies, self.full.accuracies)


@dataclass(frozen=True)
class Run:
    """One evaluation, as its `summary.json` tells it.

    Attributes:
        place: The file, or `USER/NAME: FILE` on the Hub.
        file: The file on this machine.
        config_name: Configuration, such as `bird-easy`.
        ipc: Images per class of the set.
        resolution: Side of the images in pixels.
        images: Images of the set.
        label_kind: `hard`, `logits` or `probabilities`.
        class_names: Names of labels 0-9.
        validation_images: Images that were tested.
        validation_expected: Images that a whole copy of ImageNet has.
        protocol: Fields of `compdd_eval.config.protocol.Protocol`.
        changes: Those in which it differs from its preset.
        entries: One for each network.
        digests: SHA-256 of the set (`distilled`) and of the validation images (`validation`).
        origin: What is known of the set: method, paper, files or repository, ...
        config: All settings of the command.
        environments: Where the students were made.
        set_name: Folder of the set's results beside the summary.
        students: Result files of the students of the set, relative to the folder of the summary.
        regimes: Kind of labels of `--regimes` -> one entry for each network.
        lines: What other regimes gave, and scores of DD-Ranking, a line each.
    """

    place: str
    file: Path
    config_name: str
    ipc: float
    resolution: int
    images: int
    label_kind: str
    class_names: tuple[str, ...]
    validation_images: int
    validation_expected: int
    protocol: dict[str, object]
    changes: dict[str, object]
    entries: tuple[Entry, ...]
    digests: dict[str, str]
    origin: dict[str, object]
    config: dict[str, object]
    environments: tuple[dict[str, object], ...]
    set_name: str | None
    students: tuple[str, ...]
    regimes: dict[str, tuple[Entry, ...]]
    lines: tuple[str, ...]

    @property
    def protocol_name(self) -> str:
        """The preset and what differs from it, in words: rows of different names are not compared."""
        return protocol_in_words(self.protocol["protocol"], self._differences)

    @property
    def protocol_without_labels(self) -> str:
        """The same of all but the labels, which `--regimes` gives."""
        differences = {name: value for name, value in self._differences.items() if name != "labels"}
        return protocol_in_words(self.protocol["protocol"], differences)

    @property
    def _differences(self) -> dict[str, object]:
        # a file may call itself `comp-dd` without changes and yet have other settings
        preset = PRESETS.get(self.protocol["protocol"], {})
        return {name: value for name, value in self.protocol.items() if value != preset.get(name)} | self.changes

    @property
    def is_one_draw(self) -> bool:
        """Whether the set is a draw of random images, as its method or its name says: not drawn anew by each seed."""
        return _RANDOM.fullmatch(self._method) is not None

    @property
    def method(self) -> str:
        """Name of the method: what the set says, or the name of its files without the IPC, or its digest."""
        return f"random {ONE_DRAW}" if self.is_one_draw else self._method

    @property
    def _method(self) -> str:
        if said := clean(self.origin.get("method") or "", _MOST_NAME):
            return said
        if self.repository:
            return self.repository.partition("@")[0]
        for name in ("distilled", "data_dir"):
            if found := Path(str(self.config.get(name) or "")).name:
                return clean(_IPC.sub("", found) or found, _MOST_NAME)
        return f"set {self.digests['distilled'][:8]}"

    @property
    def repository(self) -> str | None:
        """`USER/NAME[/FOLDER]@COMMIT` of the set on the Hub, if it came from there."""
        if "repository" not in self.origin:
            return None
        return str(Address(*[str(self.origin.get(name) or "") for name in ("repository", "revision", "folder")]))

    @property
    def whole(self) -> bool:
        """Whether the copy of ImageNet had all validation images."""
        return self.validation_images == self.validation_expected

    @property
    def labels(self) -> str:
        """The regime of the labels, such as `given`."""
        return str(self.protocol.get("labels", "given"))


def read_runs(place: str) -> list[Run]:
    """Read every summary under a folder, or one file; errors as of `read_results`."""
    return read_results([place], read_run)


def read_run(path: Path, place: str | None = None) -> Run:
    """Read one summary; `place` is what it is called in errors.

    Raises:
        InputError: It is no summary of this version, is too large, or says what cannot be.
    """
    return parse_run(read_summary(path, place), place or str(path), path)


def parse_run(content: object, place: str, file: Path) -> Run:
    """Check the content of a summary.

    Raises:
        InputError: As `read_run`.
    """
    try:
        return _parse(content, place, file)
    except (Wrong, RecursionError) as error:
        reason = str(error)[:200]
        raise InputError(f"{place}: no summary of evaluate: {reason}; evaluate again, or leave it out") from error


def _parse(content: object, place: str, file: Path) -> Run:
    # only what is used is looked at; numbers such as means are computed anew from accuracies, not believed
    table_of("the content", content)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise Wrong(f"schema version {str(version)[:20]}, expected {SCHEMA_VERSION}")
    names = list_of("class_names", content.get("class_names"), NUM_CLASSES, NUM_CLASSES)
    entries = list_of("results", content.get("results"), 1, 1000)
    digests = table_of("digests", content.get("digests"))
    environments = list_of("environments", content.get("environments", []), 0, 1000)
    protocol = {**LATER_FIELDS, **plain_of("protocol", content.get("protocol"))}
    text_of("protocol", protocol.get("protocol"))
    return Run(
        place=place,
        file=file,
        config_name=text_of("config_name", content.get("config_name")),
        ipc=number_of("ipc", content.get("ipc"), 0, 1e6),
        resolution=whole_of("resolution", content.get("resolution"), 1, 2**14),
        images=whole_of("images", content.get("images"), 1, 10**8),
        label_kind=text_of("label_kind", content.get("label_kind")),
        class_names=tuple(text_of("class_names", name) for name in names),
        validation_images=whole_of("validation_images", content.get("validation_images"), 1, 10**7),
        validation_expected=whole_of("validation_images_expected", content.get("validation_images_expected"), 1, 10**7),
        protocol=protocol,
        changes=plain_of("protocol_changes", content.get("protocol_changes")),
        entries=tuple(_entry(entry) for entry in entries),
        digests={name: sha256_of(name, digests.get(name)) for name in ("distilled", "validation")},
        origin=plain_of("distilled", content.get("distilled", {})),
        config=plain_of("config", content.get("config", {})),
        environments=tuple(plain_of("environments", entry) for entry in environments),
        set_name=name if isinstance(name := content.get("set"), str) and _FOLDER.fullmatch(name) else None,
        students=_students(list_of("students", content.get("students", []), 0, 10**5), content.get("set")),
        regimes=dict(_regimes(content)),
        lines=tuple(_lines(content)),
    )


def _students(paths: list, set_name: object) -> tuple[str, ...]:
    """Return the files of the students of the set: the last parts of their paths, wherever the folder lies now."""
    found = [_STUDENT.fullmatch("/".join(str(path).split("/")[-5:])) for path in paths]
    return tuple(match[0] for match in found if match and match[1] == set_name and ".." not in match[0])


def _regimes(content: dict) -> Iterator[tuple[str, tuple[Entry, ...]]]:
    for regime in list_of("regimes", content.get("regimes", []), 0, 100):
        labels = text_of("regimes", table_of("regimes", regime).get("labels"))
        yield labels, tuple(map(_entry, list_of("regimes", regime.get("results"), 0, 1000)))


def _lines(content: dict) -> Iterator[str]:
    for regime in list_of("regimes", content.get("regimes", []), 0, 100):
        for line in list_of("regimes", table_of("regimes", regime).get("lines"), 0, 1000):
            yield text_of("regimes", line)
    for entry in list_of("scores", content.get("scores", []), 0, 1000):
        model = text_of("scores", table_of("scores", entry).get("model"))
        known = [f"{n.upper()} {number_of('scores', entry[n], 0, 1):.3f}" for n in ("lrs", "ars") if n in entry]
        yield f"{model}: {', '.join(known)} (DD-Ranking, in [0, 1])"


def _entry(content: object) -> Entry:
    table_of("results", content)
    confusion = list_of("confusion", content.get("confusion"), NUM_CLASSES, NUM_CLASSES)
    per_class = list_of("per_class_accuracy", content.get("per_class_accuracy"), NUM_CLASSES, NUM_CLASSES)
    teacher = content.get("teacher")
    return Entry(
        model=text_of("model", content.get("model")),
        students=_group(content),
        random=_baseline("random", content),
        full=_baseline("full", content),
        per_class=tuple(None if value is None else number_of("per_class_accuracy", value, 0, 1) for value in per_class),
        confusion=tuple(map(_counts, confusion)),
        lr=number_of("lr", content.get("lr"), 0, 1e9),
        lr_source=text_of("lr_source", content.get("lr_source")),
        teacher=None if teacher is None else _teacher(table_of("teacher", teacher)),
    )


def _teacher(content: dict) -> str:
    """Return name, accuracy and digest of a teacher: under two of one architecture, numbers are not compared."""
    accuracy, digest = number_of("teacher", content.get("accuracy", 0), 0, 1), content.get("digest")
    facts = [f"{100 * accuracy:.1f} %"] if accuracy else []
    facts += [text_of("teacher", digest)[:8]] if digest else []
    return text_of("teacher", content.get("name")) + (f" ({', '.join(facts)})" if facts else "")


def network_of(teacher: str) -> str:
    """Return the network of a teacher that `Entry.teacher` tells."""
    return teacher.partition(" (")[0]


def teachers_note(teachers: Iterable[str | None]) -> list[str]:
    """Name several teachers, of the subsets of a table, in a sentence; nothing for one."""
    found = list(filter(None, dict.fromkeys(teachers)))
    more = ", ..." if len(found) > _NAMED else ""
    return [f"{len(found)} teachers: {', '.join(found[:_NAMED])}{more}"] if len(found) > 1 else []


def _baseline(name: str, content: dict) -> Group | None:
    return None if content.get(name) is None else _group(table_of(name, content[name]))


def _counts(row: object) -> tuple[int, ...]:
    counts = list_of("confusion", row, NUM_CLASSES, NUM_CLASSES)
    return tuple(whole_of("confusion", count, 0, 10**12) for count in counts)


def _group(content: dict) -> Group:
    seeds = tuple(whole_of("seeds", seed, 0, 2**63) for seed in list_of("seeds", content.get("seeds"), 1, _MOST_SEEDS))
    accuracies = tuple(
        number_of("accuracies", value, 0, 1)
        for value in list_of("accuracies", content.get("accuracies"), len(seeds), len(seeds))
    )
    if len(set(seeds)) < len(seeds):
        raise Wrong("a seed is there twice")
    return Group(seeds, accuracies)


def seeds_in_words(groups: Iterable[Group]) -> str:
    """Return how many seeds groups have, such as `3 to 5 seeds`."""
    counts = sorted({len(group.seeds) for group in groups})
    return f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else counted(counts[0], "seed")
