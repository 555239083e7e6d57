"""Checks that several settings share."""

import os

from compdd_eval.data.subset_files import Subset
from compdd_eval.utils.errors import InputError, require

AUTO = "auto"  # a value that is found: searched, or chosen by the machine
MOST_FACTOR = 16  # images of a side that a mosaic can be meant to have
MANY = 10_000  # students; more is a slip of the finger
_THREADS = max(64, os.cpu_count() or 1)
_PROCESSES = max(64, os.cpu_count() or 1)


def check_epochs(epochs: int) -> None:
    """Refuse a number of epochs below 1."""
    require("--epoch_eval_train", epochs, epochs >= 1, "a whole number from 1")


def check_students(number: int, threads: int, flag: str = "--num_eval") -> None:
    """Refuse a number of students (or experts) or of CPU threads that cannot be meant."""
    require(flag, number, 1 <= number <= MANY, f"a number from 1 to {MANY}")
    require("--threads", threads, 0 <= threads <= _THREADS, f"0 or a number of CPU threads up to {_THREADS}")


def check_together(students: int | str) -> None:
    """Refuse a number of students of one device that cannot be meant."""
    valid = students == AUTO or 1 <= students <= MANY
    require("--students_per_device", students, valid, f"{AUTO}, or a number from 1 to {MANY}")


def check_num_proc(number: int) -> None:
    """Refuse a number of processes that cannot be meant."""
    require("--num_proc", number, 1 <= number <= _PROCESSES, f"a number of processes from 1 to {_PROCESSES}")


def check_published(published: bool, subsets: list[Subset]) -> None:
    """Refuse `--published` where no subset has a published list of its own."""
    if published and not any(subset.erratum for subset in subsets):
        names = [subset.name for subset in subsets]
        raise InputError(f"--published: the list of {', '.join(names)} is as published; leave the flag out")


def check_results(places: list[str], least: int, example: str, name: str = "RESULTS") -> None:
    """Refuse too few places to read from, a text in place of a list, and empty names: variables that nobody has set."""
    require(name, repr(places), not isinstance(places, str), f"a list, for example {[places]}")
    if len(places) < least:
        missing = "is missing" if not places else f"has {len(places)}, expected {least} or more"
        raise InputError(f"{name} {missing}, as in: compdd_eval {example}")
    if not all(place.strip() for place in places):
        raise InputError(f"{name} has an empty name, maybe a variable that is not set; as in: compdd_eval {example}")


def no_subset(source: str | None = None) -> InputError:
    """Make the error where nothing says which subset is meant; `source` is the set that does not say it either."""
    nor = "" if source is None else f", and nothing in {source} says which subset it is for"
    return InputError(
        f"--category is missing{nor}; give one subset, for example --category bird --subset easy, or --classes"
    )


def check_given(name: str, value: str | None, example: str) -> None:
    """Raise InputError where a value that a command needs is not given."""
    if not value:
        raise InputError(f"{name} is missing, as in: compdd_eval {example}")


def check_res(res: int | None) -> None:
    """Check a resolution, or none."""
    require("--res", res, res is None or 1 <= res <= 4096, "a number of pixels from 1 to 4096, for example 128")
