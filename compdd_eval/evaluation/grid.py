"""Many evaluations in one call: all combinations of a file's settings, a folder each, one index over them."""

import contextlib
import itertools
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from accelerate import Accelerator
from tqdm.auto import tqdm

from compdd_eval.config.arguments import arguments_of, wrong_type
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.data.subsets import config_names, related_names
from compdd_eval.evaluation.evaluate import accelerator_of, evaluate
from compdd_eval.evaluation.plan import EvaluationInputs, expected_students
from compdd_eval.evaluation.pool import BEGUN, DONE, FAILED, TRAINED, StudentPool
from compdd_eval.evaluation.trackers import Tracker
from compdd_eval.results.aggregate import mean_and_spread
from compdd_eval.results.run_folder import INDEX_NAME, claim
from compdd_eval.results.student_result import SUMMARY_NAME, read_student
from compdd_eval.utils.console import print_table
from compdd_eval.utils.digests import digest_of
from compdd_eval.utils.errors import InputError, unknown
from compdd_eval.utils.files import read_yaml, write_json
from compdd_eval.utils.processes import on_main_process

CELLS = "cells"
_MOST = 60  # letters of a name that a list of classes makes
_OWN = ("grid", "output_dir", "dry_run", "overwrite", "json")  # of the command, not of a cell


@dataclass
class Cell:
    """One evaluation of a grid.

    Attributes:
        name: Its folder.
        settings: In what it differs from other cells.
        config: All its settings.
        students: How many it trains if none is there already.
        state: `waiting`, `running`, `done`, `failed`, or `unfinished` where the grid was interrupted.
        error: Why it failed.
        accuracies: By model, once it is done: `accuracy_mean` and `accuracy_std` as fractions, `students`.
        ipc: Images per class that the set must have, or None.
    """

    name: str
    settings: dict[str, object]
    config: EvaluateConfig
    students: int
    state: str = "waiting"
    error: str | None = None
    accuracies: dict[str, dict[str, object]] | None = None
    ipc: int | None = None


def read_cells(config: EvaluateConfig) -> list[Cell]:
    """Return all cells of `config.grid`; what the command line gives wins over the file.

    The file has settings of `evaluate` by name; those with a list of values are combined (a flat list of ten classes is
    one value). `cells`, a list of settings, gives combinations that belong together, such as sets and their subsets.

    Raises:
        InputError: The file, a setting or a value is wrong, or two cells are the same.
    """
    content = read_yaml(Path(config.grid), "--grid")
    together = content.pop(CELLS, [{}])
    if not isinstance(together, list) or not all(isinstance(cell, dict) for cell in together) or not together:
        raise InputError(
            f"{config.grid}: {CELLS} must be a list of settings, such as - {{distilled: a, category: bird}}"
        )
    given = _given(config)
    cells: dict[str, Cell] = {}
    for first in together:
        merged = content | first | given
        axes = {name: value for name, value in merged.items() if isinstance(value, list) and not _is_one(name, value)}
        differs = {name: value for name, value in first.items() if name not in given}
        for values in itertools.product(*axes.values()):
            chosen = dict(zip(axes, values, strict=True))
            _add(cells, config, merged | chosen, differs | chosen)
    return list(cells.values())


def _is_one(name: str, value: list) -> bool:
    """Whether a list is one value, and no values to combine: single classes, not lists of them."""
    return name == "classes" and not any(isinstance(part, list) or _is_list_of_classes(part) for part in value)


def _is_list_of_classes(part: object) -> bool:
    return isinstance(part, str) and ("," in part or part.strip().lower() in [*config_names(), *related_names()])


def _add(cells: dict[str, Cell], config: EvaluateConfig, settings: dict, differs: dict) -> None:
    _check_types(config.grid, settings)
    name = "_".join(_slug(key, value) for key, value in differs.items()) or "cell"
    root = Path(config.output_dir)
    # one folder of baselines for all cells, so that cells of one subset share them
    options = {"baseline_dir": str(root / "baselines"), **settings}
    try:
        cell = EvaluateConfig(**options, output_dir=str(root / name), overwrite=config.overwrite)
    except InputError as error:
        raise InputError(f"{config.grid}: {name}: {error}") from error
    if name in cells and cells[name].config != cell:
        # different settings, such as two long paths, can end in one name
        name = f"{name}-{digest_of(differs)[:6]}"
        cell = cell.changed(output_dir=str(root / name))
    if name in cells:
        raise InputError(f"{config.grid}: {name} is there twice; leave one of them out")
    cells[name] = Cell(name, differs, cell, expected_students(cell))


def _given(config: EvaluateConfig) -> dict[str, object]:
    """Return what the command line gives, also where that is the default, and what Python or a file does."""
    # of the protocol's other fields, what differs from its preset is given
    apart = {*_OWN, *config.settings()} - {"protocol"}
    given = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in apart and getattr(config, field.name) != field.default
    }
    named = {name: getattr(config, name) for name in config.on_command_line - set(_OWN)}
    return given | config.changes() | named


def _check_types(file: str, settings: dict[str, object]) -> None:
    known = arguments_of(EvaluateConfig)
    for name, value in settings.items():
        if name in _OWN:
            raise InputError(
                f"{file}: {name} is of the whole grid, not of its cells; give --{name} on the command line"
            )
        if name not in known:
            raise unknown(f"setting in {file}", name, [key for key in [*known, CELLS] if key not in _OWN])
        expected = wrong_type(EvaluateConfig, name, value)
        if expected is not None:
            raise InputError(f"{file}: {name} {value}: expected {expected}")


def _slug(name: str, value: object) -> str:
    """Write a value so that it can be part of a folder's name."""
    text = Path(value).stem or value if isinstance(value, str) else f"{name}{value}"[:_MOST]
    return re.sub(r"[^\w.@+-]+", "-", str(text)).strip("-.") or name


def run_grid(config: EvaluateConfig, accelerator: Accelerator | None = None, quiet: bool = False) -> list[Cell]:
    """Evaluate all cells; every process must call this.

    A cell that fails does not stop the others, and is for `raise_failures`; finished students of all cells are kept
    and not trained again.

    Args:
        config: Settings with `grid`.
        accelerator: Devices and processes; None makes one.
        quiet: Print no tables.

    Raises:
        InputError: The grid is wrong.
    """
    accelerator = accelerator or accelerator_of(config)
    cells = evaluate_cells(lambda: read_cells(config), config, accelerator, quiet)
    if accelerator.is_main_process and not (quiet or config.dry_run):
        _report(cells, Path(config.output_dir))
    return cells


def evaluate_cells(
    read: Callable[[], list[Cell]], config: EvaluateConfig, accelerator: Accelerator, quiet: bool
) -> list[Cell]:
    """Evaluate cells as `run_grid` does, without a table in the end; `read` returns them, on the main process."""
    root, quiet = Path(config.output_dir), quiet or not accelerator.is_main_process  # one process prints
    with contextlib.ExitStack() as locks:
        cells = on_main_process(accelerator, lambda: _open(read(), config, root, locks, quiet))
        if config.dry_run:
            return cells
        try:
            run_cells(cells, root, accelerator, quiet)
        except BaseException as error:
            _leave(cells, root, accelerator, error)
            raise
        return on_main_process(accelerator, lambda: cells)  # which alone has heard how each has ended


def run_cells(cells: list[Cell], root: Path, accelerator: Accelerator, quiet: bool) -> None:
    """Evaluate cells, all students in one pool; the main process's cells say how each has ended.

    Args:
        cells: What is evaluated; every process gives the same.
        root: Where the index lies.
        accelerator: Devices and processes.
        quiet: Print no lines, show no bar.
    """
    several = accelerator.num_processes > 1
    pooled = [cell for cell in cells if not (several and cell.config.parallel == "ddp")]

    new: dict[str, list[str]] = {cell.name: [] for cell in pooled}  # students that this grid has trained

    def changed(index: int, state: str, value: object) -> None:
        cell = pooled[index]
        if state == TRAINED:
            new[cell.name] += value
            return
        if state == DONE:
            _track(cell, value, new[cell.name], accelerator)
        _set_state(cell, cells, root, quiet, state, value)

    def check(index: int, inputs: EvaluationInputs) -> None:
        wanted, found = pooled[index].ipc, inputs.distilled.ipc
        if wanted is not None and found != wanted:
            place = pooled[index].config.distilled
            raise InputError(f"{place}: has {found:g} images per class, expected {wanted}; name it after what it holds")

    StudentPool([cell.config for cell in pooled], accelerator, changed, quiet, check).run()
    for cell in cells:
        if cell not in pooled:  # all processes train each of its students together
            _run_together(cell, cells, root, accelerator, quiet)


def _run_together(cell: Cell, cells: list[Cell], root: Path, accelerator: Accelerator, quiet: bool) -> None:
    if accelerator.is_main_process:
        _set_state(cell, cells, root, quiet, BEGUN, None)
    try:
        state, outcome = DONE, evaluate(cell.config, accelerator=accelerator, quiet=True)
    except InputError as error:
        state, outcome = FAILED, str(error)
    if accelerator.is_main_process:
        _set_state(cell, cells, root, quiet, state, outcome)


def _set_state(cell: Cell, cells: list[Cell], root: Path, quiet: bool, state: str, outcome: object) -> None:
    """Write down, and print, how a cell stands."""
    if state == BEGUN and cell.state != "waiting":
        return  # it runs already, or another process has found that it fails
    cell.state = "running" if state == BEGUN else state
    if state == FAILED:
        cell.error = outcome
    elif state == DONE:
        cell.accuracies = {entry["model"]: _accuracy(entry) for entry in outcome["results"]}
    _write_index(cells, root)
    if not quiet and state != BEGUN:
        ended = sum(each.state in (DONE, FAILED) for each in cells)
        said = "; ".join(map(_in_words, outcome["results"])) if state == DONE else f"failed: {outcome}"
        tqdm.write(f"{cell.name} ({ended} of {len(cells)}): {said}")


def _in_words(entry: dict) -> str:
    gain = f", {entry['improvement']['verdict']}" if entry["improvement"] else ""
    return f"{entry['model']} {mean_and_spread(entry)} %{gain}"


def _track(cell: Cell, summary: dict, students: list[str], accelerator: Accelerator) -> None:
    """Send the curves of a cell's new students to its trackers."""
    if not students:
        return
    tracker = Tracker(accelerator, cell.config, summary["set"], summary["config_name"])
    for path in students:
        tracker.log(read_student(Path(path)))
    tracker.close()


def raise_failures(cells: list[Cell]) -> None:
    """Raise InputError if cells failed."""
    failed = [cell for cell in cells if cell.state == "failed"]
    if failed:
        first = f"{failed[0].name}: {failed[0].error}"
        raise InputError(f"{len(failed)} of {len(cells)} cells failed; the first, {first}")


def grid_content(config: EvaluateConfig, cells: list[Cell]) -> dict[str, object]:
    """Return what the index holds and where it is, as JSON can hold it; of a dry run, there is none."""
    index = None if config.dry_run else str(Path(config.output_dir) / INDEX_NAME)
    return {"index": index, CELLS: [_content_of(cell) for cell in cells]}


def _open(
    cells: list[Cell], config: EvaluateConfig, root: Path, locks: contextlib.ExitStack, quiet: bool
) -> list[Cell]:
    if not quiet:
        _print_plan(cells)
    if not config.dry_run:
        claim(root, locks)
        if (root / SUMMARY_NAME).exists():
            raise InputError(f"{root}: holds the results of a single evaluation; give another --output_dir")
        _write_index(cells, root)
    return cells


def _print_plan(cells: list[Cell]) -> None:
    rows = [[c.name, c.config.distilled or c.config.data_dir or "-", _students(c.config), c.students] for c in cells]
    total = sum(cell.students for cell in cells)
    print_table(f"{len(cells)} evaluations, {total} students at most", ["cell", "set", "students", "number>"], rows)


def _students(config: EvaluateConfig) -> str:
    names = f"{config.eval_mode}({config.model})" if config.eval_mode else config.model
    return f"{names}, seeds {config.seeds[0]}-{config.seeds[-1]}"


def _leave(cells: list[Cell], root: Path, accelerator: Accelerator, error: BaseException) -> None:
    """Write down that a grid ends before all of its cells have run."""
    for cell in cells:
        if cell.state == "running" and isinstance(error, Exception):
            cell.state, cell.error = "failed", str(error) or type(error).__name__
        elif cell.state in ("waiting", "running"):
            cell.state = "unfinished"
    if accelerator.is_main_process:
        _write_index(cells, root)


def _accuracy(entry: dict[str, object]) -> dict[str, object]:
    kept = {name: entry[name] for name in ("accuracy_mean", "accuracy_std")}
    return kept | {"students": entry["n"]}


def _write_index(cells: list[Cell], root: Path) -> None:
    write_json(root / INDEX_NAME, {CELLS: [_content_of(cell) for cell in cells]})


def _content_of(cell: Cell) -> dict[str, object]:
    return asdict(cell) | {"summary": f"{cell.name}/{SUMMARY_NAME}" if cell.state == "done" else None}


def _report(cells: list[Cell], root: Path) -> None:
    rows = []
    for cell in cells:
        rows += [[cell.name, model, mean_and_spread(entry)] for model, entry in (cell.accuracies or {}).items()]
        if not cell.accuracies:
            rows.append([cell.name, "-", cell.error or cell.state])
    print_table("All cells: accuracy in %, mean ± std", ["cell", "student", "accuracy>"], rows)
    print(f"index: {root / INDEX_NAME}")
