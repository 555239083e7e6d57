"""Show what of an evaluation or a grid is done."""

import contextlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from compdd_eval.config.status import StatusConfig
from compdd_eval.results.result_files import read_results
from compdd_eval.results.run_folder import INDEX_NAME, LOCK_NAME, RUN_NAME, RunFile
from compdd_eval.utils.console import print_json, print_table
from compdd_eval.utils.errors import InputError

_FOLDER = re.compile(r"(?!\.{1,2}$)[\w.@+-]+")  # as grids call their cells
_GO_ON = "run the same command to go on"


def run(config: StatusConfig) -> None:
    """Print a table, or JSON."""
    states = status(config.results)
    if config.json:
        print_json([asdict(state) for state in states])
        return
    rows = [
        [state.name, state.state, f"{state.done} of {state.students}", state.error or state.note or ""]
        for state in states
    ]
    print_table("Evaluations", ["", "state", "students>", ""], rows)


@dataclass(frozen=True)
class State:
    """Where one evaluation stands.

    Attributes:
        name: Its folder.
        state: `done`, `running`, `failed`, `waiting` (in a grid that runs) or `unfinished` (it, or its grid, was killed
            or interrupted).
        done: Students with a result.
        students: Students that are known of so far; of a cell that has not begun, those of the plan.
        error: The line that it failed with, or None.
        note: What it waits for, or how to go on, or None.
    """

    name: str
    state: str
    done: int
    students: int
    error: str | None = None
    note: str | None = None


def status(places: Sequence[str | os.PathLike]) -> list[State]:
    """Return the state of each run, and of each cell of a grid, under some places.

    Raises:
        InputError: As `read_results`: there is no such place, or it holds no run.
    """
    found: dict[Path, State] = {}
    for states in read_results(places, _states_of, (INDEX_NAME, RUN_NAME)):
        found |= states
    path = Path(os.path.expanduser(places[0]))
    root = None if len(places) > 1 else path if path.is_dir() else path.parent
    return [replace(state, name=_name(folder, root)) for folder, state in found.items()]


def _name(folder: Path, root: Path | None) -> str:
    """Return what a folder is called beside the others: from the only place that was given on, else in full."""
    if root is None:
        return str(folder)
    return folder.resolve().name if folder == root else str(folder.relative_to(root))


def _states_of(path: Path) -> dict[Path, State]:
    """Return the states that an `index.json` of a grid or a `run.json` tells, by folder."""
    folder = path.parent
    if path.name == INDEX_NAME:
        cells = _cells(path)
        held = _held(folder)
        return {folder / cell["name"]: _of_cell(folder, cell, cells, held) for cell in cells}
    with contextlib.suppress(InputError, OSError):  # it may be no cell of a grid
        root = folder.resolve().parent
        cells = _cells(root / INDEX_NAME)
        mine = [cell for cell in cells if cell["name"] == folder.resolve().name]
        return {folder: _of_cell(root, mine[0], cells, _held(root))} if mine else {folder: _of_run(folder)}
    return {folder: _of_run(folder)}


def _cells(path: Path) -> list[dict]:
    """Read the index of a grid."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        if all(_FOLDER.fullmatch(cell["name"]) for cell in cells):  # a name that leads elsewhere is none
            return cells
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{path}: not the index of a grid; run the grid again")


def _of_run(folder: Path) -> State:
    run = RunFile.read(folder)
    if run is None:
        raise InputError(f"{folder / RUN_NAME}: not the file of a run; evaluate again")
    done, number = run.done, len(run.students)
    if _held(folder):
        return State(folder.name, "running", done, number)
    if run.finished:
        return State(folder.name, "done", done, number)
    if run.error:
        return State(folder.name, "failed", done, number, run.error)
    return State(folder.name, "unfinished", done, number, note=f"it was interrupted; {_GO_ON}")


def _of_cell(root: Path, cell: dict, cells: list[dict], held: bool) -> State:
    """Return the state of a cell: what its folder says, or else its grid, which may still run (`held`)."""
    folder, stands = root / cell["name"], cell.get("state") if held else None
    try:
        state = _of_run(folder)
    except InputError:  # it has not begun
        state = State(folder.name, "running" if _held(folder) else "unfinished", 0, cell.get("students", 0))
    if cell.get("state") == "failed" and (held or state.state != "running"):  # an older run of it may have ended well
        return replace(state, state="failed", error=cell.get("error"), note=None)
    if state.state == "done":
        return state
    if stands == "running":
        return replace(state, state="running", error=None, note=None)
    if stands == "waiting":  # while it is planned, its folder is held
        running = [other["name"] for other in cells if other.get("state") == "running"]
        note = f"waits for {running[0]}, which runs now" if running else "waits for its turn"
        return replace(state, state="waiting", error=None, note=note)
    return replace(state, note=f"the grid was interrupted; {_GO_ON}") if state.state == "unfinished" else state


def _held(folder: Path) -> bool:
    """Whether a process holds the lock of a folder."""
    path = folder / LOCK_NAME
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
