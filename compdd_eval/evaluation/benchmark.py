"""The whole benchmark as a grid: a cell for each subset and IPC whose set is there."""

import contextlib
import os
from pathlib import Path

from compdd_eval.config.benchmark import BenchmarkConfig
from compdd_eval.config.many_sets import SET_NAME, place_of
from compdd_eval.data.imagenet.hub_files import parse_address
from compdd_eval.evaluation.grid import Cell
from compdd_eval.evaluation.plan import expected_students
from compdd_eval.utils.console import counted
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.hub_errors import clear_hub_error, no_connection


def find_sets(config: BenchmarkConfig) -> tuple[dict[tuple[str, int], str], list[str]]:
    """Look for the sets, on this machine and on the Hub.

    Returns:
        (Subset, IPC) -> where its set lies; and the names of those that are not there.

    Raises:
        InputError: None is there, or the Hub does not answer.
    """
    # those of one subset one after the other: they share real images
    places = {(name, ipc): config.place(name, ipc) for name in config.config_names for ipc in config.ipcs}
    found = {key: place for key, place in places.items() if _is_there(place)}
    missing = [place for place in places.values() if place not in found.values()]
    if not found:
        number = counted(len(places), "set")
        raise InputError(f"--sets {config.sets}: none of {number} is there; the first would be {missing[0]}")
    return found, missing


def _is_there(place: str) -> bool:
    if os.path.exists(os.path.expanduser(place)):
        return True
    address = parse_address(place)
    # a name such as distilled/bird-easy could be of the Hub, too: where its folder is there, it is not
    if address is None or os.path.isdir(place.partition("/")[0]):
        return False
    from huggingface_hub import HfApi, errors, snapshot_download

    where = {"revision": address.revision, "repo_type": "dataset"}
    try:
        for _ in HfApi().list_repo_tree(address.repo_id, address.folder or None, **where):
            return True
    except (errors.EntryNotFoundError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        return False
    except Exception as error:
        if not no_connection(error):
            raise clear_hub_error(error, place) from error
    else:
        return False
    with contextlib.suppress(errors.LocalEntryNotFoundError):
        return bool(snapshot_download(address.repo_id, **where, local_files_only=True))
    return False


def benchmark_cells(config: BenchmarkConfig, sets: dict[tuple[str, int], str]) -> list[Cell]:
    """Return an evaluation for each set; those of one subset share their baselines."""
    root, cells = Path(config.output_dir), []
    baselines = config.baseline_dir or str(root / "baselines")
    for (config_name, ipc), place in sets.items():
        name = place_of(SET_NAME, config_name, ipc)
        settings = config.of_set(config_name, place, output_dir=str(root / name), baseline_dir=baselines)
        cells.append(Cell(name, {"config": config_name, "ipc": ipc}, settings, expected_students(settings), ipc=ipc))
    return cells
