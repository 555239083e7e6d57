"""Many sets at once, a set for each subset and number of images per class: how commands ask for them."""

from compdd_eval.config.checks import comma_parts
from compdd_eval.data.subsets import subset_names
from compdd_eval.utils.errors import InputError, require, unknown

CONFIG_NAME, IPC = "{config}", "{ipc}"  # marks in the names of places
SET_NAME = f"{CONFIG_NAME}-ipc{IPC}"  # of a set among many
_OF_ONE_SUBSET = ("category", "subset", "subsets_dir", "published", "classes")


def place_of(pattern: str, config_name: str, ipc: int | None = None) -> str:
    """Return a place, with the name of the subset and the images per class filled in."""
    return pattern.replace(CONFIG_NAME, config_name).replace(IPC, str(ipc))


def read_ipcs(text: int | str) -> list[int]:
    """Return images per class, each once, ascending; `text` is one number, or several joined by commas.

    Raises:
        InputError: Not whole numbers joined by commas.
    """
    parts = comma_parts(str(text))
    whole = bool(parts) and all(part.isdecimal() and int(part) > 0 for part in parts)
    require("--ipc", text, whole, "whole numbers from 1 joined by commas, as in 1,10,50")
    return sorted(set(map(int, parts)))


def read_config_names(text: str | None) -> list[str]:
    """Return subsets, in the order of the benchmark; all of them where the text is empty or None.

    Raises:
        InputError: There is no subset of that name.
    """
    asked = comma_parts(text or "")
    for name in asked:
        if name not in subset_names():
            raise unknown("value of --configs", name, subset_names())
    return [name for name in subset_names() if not asked or name in asked]


def refuse_one_subset(config: object, who: str) -> None:
    """Refuse settings that say which subset is meant."""
    for name in _OF_ONE_SUBSET:
        if getattr(config, name):
            raise InputError(f"--{name}: {who} goes over the subsets; --configs bird-easy,... takes some of them")
