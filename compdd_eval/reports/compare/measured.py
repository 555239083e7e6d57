"""Methods as their results tell them: what was measured under which settings."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from compdd_eval.reports.checked_fields import clean
from compdd_eval.reports.summaries import ONE_DRAW, Entry, Run, read_runs
from compdd_eval.utils.console import cut
from compdd_eval.utils.errors import InputError

_MOST_NAME = 80  # characters of the name of a method
_MOST_SHOWN = 200  # characters of a protocol in a line
_WORDS = {"config_name": "subset", "ipc": "IPC", "model": "network", "validation": "validation images"}


@dataclass(frozen=True)
class Setting:
    """What has to be equal before two numbers are compared.

    Attributes:
        config_name: Configuration, such as `bird-easy`.
        ipc: Images per class.
        resolution: Side of the images in pixels.
        model: Name of the network.
        protocol: The preset and all changes, but for the learning rate, which belongs to the set.
        labels: Regime of the labels, such as `given`.
        teacher: The teacher by name, accuracy and digest, or None.
        validation: SHA-256 of the validation images.
    """

    config_name: str
    ipc: float
    resolution: int
    model: str
    protocol: str
    labels: str
    teacher: str | None
    validation: str

    @property
    def question(self) -> tuple[str, float, int, str]:
        """What was asked: subset, IPC, resolution and network; the other fields say how it was answered."""
        return self.config_name, self.ipc, self.resolution, self.model

    def value(self, name: str) -> str:
        """Return a field as it is shown."""
        value = getattr(self, name)
        return {"ipc": f"{self.ipc:g}", "resolution": f"{self.resolution} px", "validation": self.validation[:8]}.get(
            name, "none" if value is None else cut(str(value), _MOST_SHOWN)
        )

    @property
    def trained_how(self) -> list[str]:
        """Protocol, labels (unless the protocol says them, as a change of its preset) and teacher, in words."""
        protocol, labels = f"protocol {self.value('protocol')}", f"labels {self.value('labels')}"
        teacher = [f"teacher {self.teacher}"] if self.teacher else []
        return [protocol, *([] if labels in protocol else [labels]), *teacher]

    def differences(self, other: "Setting") -> list[str]:
        """Say in which fields two settings differ, such as `protocol comp-dd against mtt`."""
        names = [field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name)]
        if "protocol" in names and "labels" in names:
            names.remove("labels")  # the protocol says it
        return [f"{_WORDS.get(name, name)} {self.value(name)} against {other.value(name)}" for name in names]

    def place(self, others: Sequence["Setting"]) -> str:
        """Return `bird-easy, IPC 10, ConvNetD5`, and what else tells it from the others that this is true of."""
        alike = [other for other in others if other._named == self._named]
        names = [
            name
            for name in ("resolution", "protocol", "labels", "teacher", "validation")
            if len({getattr(other, name) for other in alike}) > 1
        ]
        if self.teacher is None and "labels" in names and "teacher" in names:
            names.remove("teacher")  # the labels say that there is none
        more = "".join(f", {_WORDS.get(name, name)} {self.value(name)}" for name in names)
        return f"{self.config_name}, IPC {self.ipc:g}, {self.model}{more}"

    @property
    def _named(self) -> tuple[str, float, str]:
        return self.config_name, self.ipc, self.model


@dataclass(frozen=True)
class MeasuredCell:
    """The students of one network on one set, and the run that they are of."""

    run: Run
    entry: Entry


@dataclass(frozen=True)
class MeasuredMethod:
    """One method.

    Attributes:
        name: Its name, printable and different from those of the others.
        source: The folder or file that it was read from.
        cells: What it has under each setting.
    """

    name: str
    source: str
    cells: dict[Setting, MeasuredCell]


def read_methods(sources: Sequence[str], names: Sequence[str] = ()) -> list[MeasuredMethod]:
    """Read one method from each folder or file.

    Args:
        sources: Folders with results of `evaluate`, or files summary.json.
        names: A name for each; without them the set says it, else the folder.

    Raises:
        InputError: Nothing can be read from one of them, or one holds two results for the same setting.
    """
    runs = [read_runs(source) for source in sources]
    names = list(names) or list(map(_name, runs, sources))
    names = [_marked(name, found) for name, found in zip(names, runs, strict=True)]
    names = _distinct([clean(name, _MOST_NAME) or "unnamed" for name in names], sources)
    return [MeasuredMethod(*parts) for parts in zip(names, sources, map(cells_of, runs), strict=True)]


def name_of_folder(source: str) -> str:
    """Return the name of the folder that results lie in."""
    path = Path(source).resolve()
    return clean(path.parent.name if path.is_file() else path.name, _MOST_NAME)


def _name(runs: list[Run], source: str) -> str:
    names = {run.method for run in runs}
    return names.pop() if len(names) == 1 else name_of_folder(source)


def _marked(name: str, runs: list[Run]) -> str:
    """Add that all of it is one draw of random images, where the name does not say so."""
    return name if ONE_DRAW in name or not all(run.is_one_draw for run in runs) else f"{name} {ONE_DRAW}"


def _distinct(names: list[str], sources: Sequence[str]) -> list[str]:
    """Add the folder, or the whole path, or a number to names that are there twice."""
    for more in (name_of_folder, clean):
        counts = Counter(names)
        names = [
            f"{name} ({more(source)})" if counts[name] > 1 else name
            for name, source in zip(names, sources, strict=True)
        ]
    found: list[str] = []
    for name in names:
        numbered = (name if number == 1 else f"{name} {number}" for number in itertools.count(1))
        found.append(next(candidate for candidate in numbered if candidate not in found))
    return found


def cells_of(runs: Iterable[Run], regimes: bool = False) -> dict[Setting, MeasuredCell]:
    """Return what one method has under each setting, or under each setting and regime of labels.

    Raises:
        InputError: Two are of the same setting.
    """
    cells: dict[Setting, MeasuredCell] = {}
    found = [
        (run, entry, setting_of(run, entry, regime))
        for run in runs
        for regime, entries in (run.regimes.items() if regimes else [(None, run.entries)])
        for entry in entries
    ]
    for run, entry, setting in found:
        if setting in cells:
            places = " and ".join(dict.fromkeys([clean(cells[setting].run.place), clean(run.place)]))
            place = setting.place([])
            raise InputError(f"{places}: the same method has {place} twice; give one of them, or two methods")
        cells[setting] = MeasuredCell(run, entry)
    return cells


def setting_of(run: Run, entry: Entry, regime: str | None = None) -> Setting:
    """Return what a number was evaluated under; under a regime of labels, those of the protocol are not used."""
    return Setting(
        config_name=run.config_name,
        ipc=run.ipc,
        resolution=run.resolution,
        model=entry.model,
        protocol=clean(run.protocol_name if regime is None else run.protocol_without_labels),
        labels=clean(regime or run.labels),
        teacher=entry.teacher,
        validation=run.digests["validation"],
    )
