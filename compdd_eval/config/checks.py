"""Constants, errors and lists joined by commas that several settings share."""

import os

from compdd_eval.data.subset_files import Subset
from compdd_eval.utils.errors import InputError

AUTO = "auto"  # a value that is found: searched, or chosen by the machine
MOST_FACTOR = 16  # images along a side that a mosaic can be meant to have
MANY = 10_000  # students, images, ...; more is a slip of the finger
MOST_CORES = max(64, os.cpu_count() or 1)  # threads or processes


def comma_parts(text: str) -> list[str]:
    """Return the parts that commas join, without empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]


def check_published(published: bool, subsets: list[Subset]) -> None:
    """Refuse `--published` where no subset has a published list of its own."""
    if published and not any(subset.erratum for subset in subsets):
        names = [subset.name for subset in subsets]
        raise InputError(f"--published: the list of {', '.join(names)} is as published; leave the flag out")


def no_subset(source: str | None = None) -> InputError:
    """Make the error where nothing says which subset is meant; `source` is the set that does not say it either."""
    nor = "" if source is None else f", and nothing in {source} says which subset it is for"
    return InputError(f"--category is missing{nor}; give one subset, for example --subset bird-easy, or --classes")
