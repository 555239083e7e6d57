"""The command that repeats an evaluation, as cards, pages and leaderboards show it."""

import shlex
from collections.abc import Mapping
from pathlib import PurePath

from compdd_eval.config.network_names import split_teacher, without_folders
from compdd_eval.config.protocol import flag_value
from compdd_eval.data.imagenet.hub_files import is_commit

DATA_PATH = "/path/to/imagenet"
PATHS = ("distilled", "data_dir", "label_dir", "lr_dir", "subsets_dir")  # settings that name files or folders


def evaluate_command(flags: Mapping[str, object]) -> str:
    """Return `evaluate` with these flags, quoted for a shell, a flag in each line, the set and the images first."""
    first = {"distilled": flags["distilled"]} if "distilled" in flags else {}
    flags = {**first, "data_path": DATA_PATH, **flags}
    return "accelerate launch -m compdd_eval " + " \\\n    ".join(_words(flags))


def command_line(command: str, flags: Mapping[str, object]) -> str:
    """Return a command with these flags, quoted for a shell, in one line."""
    return " ".join(["compdd-eval", command, *_words(flags)])


def _words(flags: Mapping[str, object]) -> list[str]:
    return [f"--{name} {shlex.quote(flag_value(value))}" for name, value in flags.items()]


def without_places(name: str, value: object) -> object:
    """Return the value of a setting without the folders of the machine that it names."""
    if name == "model":
        return without_folders(str(value))
    if name == "teacher":
        network, file = split_teacher(str(value))
        return without_folders(network) + (f"=path/to/{_file_name(file)}" if file else "")
    on_the_hub = name == "distilled" and is_commit(value)
    if name not in PATHS or on_the_hub or (name == "lr_dir" and value == "none"):
        return value
    return f"path/to/{_file_name(str(value))}"


def _file_name(path: str) -> str:
    """Return the last part of a path that may be of any system."""
    name = PurePath(path.replace("\\", "/")).name
    return name if name not in ("", "..") else "set"
