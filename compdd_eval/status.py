"""`status`: what of a run, or of a grid, is done, running or failed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from compdd_eval.console import print_json, print_table
from compdd_eval.errors import InputError
from compdd_eval.run_file import INDEX_NAME, LOCK_NAME, RunFile


@dataclass(frozen=True)
class State:
    """Where one evaluation stands.

    Attributes:
        name: Its folder.
        state: `done`, `running`, `failed`, `stopped` (it was killed or interrupted) or `waiting`.
        done: Students with a result.
        students: Students that are known of so far.
        error: The line that it failed with, or None.
    """

    name: str
    state: str
    done: int
    students: int
    error: str | None = None


def status(folder: Path) -> list[State]:
    """Return the state of an output folder: of each cell, if it is a grid's.

    Raises:
        InputError: It holds no results.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give an --output_dir of evaluate")
    if (folder / INDEX_NAME).exists():
        return [_state(folder / name) for name in _cells(folder / INDEX_NAME)]
    if RunFile.read(folder) is None:
        raise InputError(f"{folder}: holds no run of evaluate (no run.json); give its --output_dir")
    return [_state(folder)]


def _cells(path: Path) -> list[str]:
    try:
        return [cell["name"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the index of a grid; run the grid again") from error


def _state(folder: Path) -> State:
    run = RunFile.read(folder)
    if run is None:
        return State(folder.name, "running" if _held(folder) else "waiting", 0, 0)
    done, number = run.done, len(run.students)
    if _held(folder):
        return State(folder.name, "running", done, number)
    if run.finished:
        return State(folder.name, "done", done, number)
    return State(folder.name, "failed" if run.error else "stopped", done, number, run.error)


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


def print_status(states: list[State], as_json: bool = False) -> None:
    """Print a table, or JSON."""
    if as_json:
        print_json([asdict(state) for state in states])
        return
    rows = [[state.name, state.state, f"{state.done} of {state.students}", state.error or ""] for state in states]
    print_table("Evaluations", ["", "state", "students>", ""], rows)
