"""Networks of a user's own, Python files and objects: what they are called, and where their code is.

A file is `PATH.py`, or `PATH.py@DIGITS`, which stands for that content of it alone. A network is called `NAME@DIGITS`:
the stem of its file, or the name of the class or function, with eight digits of a digest of the code. So results of
another network never pass for its own, as with class lists of a user's own. Of a file, all of its bytes are in the
digest, and nothing of what it imports.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compdd_eval.config.checks import comma_parts
from compdd_eval.utils.code_digest import code_digest, code_name
from compdd_eval.utils.errors import InputError, require
from compdd_eval.utils.files import read_json
from compdd_eval.utils.user_code import function_of

FUNCTION = "create_model"
TEACHER_WEIGHTS, TEACHER_RECORD = "teacher.safetensors", "teacher.json"  # in a folder that `teacher` made
EXPECTED = f"expected FILE.py with a function {FUNCTION}(num_classes, im_size)"
_FILE = re.compile(r"(?P<path>.*\.py)(?:@(?P<digits>[0-9a-f]{8}))?", re.DOTALL)
_OWN_TEACHER = re.compile(r"([^=]*/.*?\.py(?:@[0-9a-f]{8})?)(?:=(.*))?", re.DOTALL)
_NAME = re.compile(r"[^/=]+@[0-9a-f]{8}")
_DIGITS = 8


@dataclass(frozen=True)
class UserNetwork:
    """A network of a user's own.

    Attributes:
        name: `NAME@DIGITS`.
        digest: SHA-256 of its code.
        build: Makes it, from `num_classes` and `im_size`.
        origin: Where it comes from, for messages: the function of a file, or the object.
    """

    name: str
    digest: str
    build: Callable[..., object]
    origin: str


_known: dict[str, UserNetwork] = {}  # by name: those of files that were read, and of objects that were given


def is_user_network(name: str) -> bool:
    """Whether a name is that of a file, or of a network of a user's own."""
    return bool(_FILE.fullmatch(name) or _NAME.fullmatch(name))


def network_name(name: str) -> str:
    """Return what the network of `PATH.py@DIGITS` is called; other names are returned as they are."""
    match = _FILE.fullmatch(name)
    return f"{_stem(match['path'])}@{match['digits']}" if match and match["digits"] else name


def recorded_network(models: str, name: str) -> str:
    """Return the one of networks joined by commas that is called so, with its file; the name itself if none is."""
    return next((part for part in comma_parts(models) if network_name(part) == name), name)


def own_file(recorded: str, given: str, flag: str) -> str:
    """Return a network that a result names; in place of a file, the one of that name that the user gives.

    A result can come from anybody, so that its own file is never read. Other networks are returned as they are.

    Args:
        recorded: The network, as in a result's settings.
        given: Networks of the user's, joined by commas.
        flag: The flag that they come from, for the message.

    Raises:
        InputError: The user gives no such file, or it has another content than the recorded one.
    """
    match = _FILE.fullmatch(recorded)
    if not match:
        return recorded
    digits = match["digits"]  # compared with the content before the file is run
    files = [found["path"] for part in comma_parts(given) if (found := _FILE.fullmatch(part))]
    files = [file for file in files if digits and _stem(file) == _stem(match["path"])]
    if not files:
        raise InputError(
            f"{recorded}: made the network {network_name(recorded)}, and a file that a result names is run only if you "
            f"name it, too; look at it and give {flag} {match['path']}"
        )
    same = (file for file in files if Path(file).is_file() and _digest(Path(file)).startswith(digits))
    return _pinned(f"{next(same, files[0])}@{digits}")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def without_folders(models: str) -> str:
    """Return networks joined by commas, files without their folders."""
    return _with_files(models, os.path.basename)


def plain_model(model: object) -> str:
    """Return what is given as a model as names joined by commas: files with their whole path, objects registered.

    Args:
        model: Names joined by commas; a class or a function that takes `num_classes` and `im_size`; or a list of these.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(model, str):
        return _with_files(model, lambda file: os.path.abspath(os.path.expanduser(file)))
    if isinstance(model, list | tuple):
        return ",".join(map(plain_model, model))
    return _registered(model).name


def plain_teacher(teacher: object) -> str:
    """Return what is given as a teacher as `NAME` or `NAME=FILE`, of which NAME is as of `plain_model`.

    Raises:
        InputError: It is the name of a folder, and no teacher is there.
    """
    if not isinstance(teacher, str):
        return plain_model(teacher)
    name, weights = split_teacher(teacher)
    folder = Path(teacher).expanduser()
    is_path = os.sep in name and ":" not in name and not _FILE.fullmatch(name)
    if is_path or (folder / TEACHER_RECORD).is_file():
        return _teacher_in(folder)
    require("--teacher", teacher, not teacher.endswith("="), "a file after =, as in ResNet18=weights.pth")
    return _joined(plain_model(name), weights)


def split_teacher(teacher: str) -> tuple[str, str]:
    """Return the network and the file of weights of `NAME` or `NAME=FILE`, "" where there is none."""
    own = _OWN_TEACHER.fullmatch(teacher)  # "=" may be part of its path
    return own.groups(default="") if own else tuple(teacher.partition("=")[::2])


def _joined(name: str, weights: str) -> str:
    return f"{name}={weights}" if weights else name


def _teacher_in(folder: Path) -> str:
    """Return the teacher of a folder that `teacher` made as `NAME=FILE`."""
    advice = "is no folder with a teacher; make one with `python -m compdd_eval teacher`, or give NAME or NAME=FILE"
    record = read_json(folder / TEACHER_RECORD, f"cannot be read ({{}}); {folder} {advice}")
    name = record.get("model") if isinstance(record, dict) else None
    if not isinstance(name, str):
        raise InputError(f"{folder / TEACHER_RECORD}: names no model; {folder} {advice}")
    file = folder / TEACHER_WEIGHTS
    if is_user_network(name):  # its code is run only where the user names it
        raise InputError(f"{folder}: its network {name} is code of your own; give --teacher FILE.py={file}")
    return f"{name}={file}"


def pinned(models: str) -> str:
    """Read the files among networks joined by commas, and return all, the files as `PATH.py@DIGITS`.

    Raises:
        InputError: A file is not there, its code fails, or it has no function `create_model`.
    """
    return _with_files(models, _pinned)


def pinned_teacher(teacher: str) -> str:
    """Do the same for `NAME` or `NAME=FILE`."""
    name, weights = split_teacher(teacher)
    return _joined(pinned(name), weights)


def find_user_network(name: str) -> UserNetwork:
    """Return the network of a file, or the one that is called so; a content that was read is not read again.

    Raises:
        InputError: As from `pinned`; or a name that this process does not know.
    """
    if network_name(name) not in _known and _FILE.fullmatch(name):
        name = _pinned(name)
    name = network_name(name)
    if name not in _known:
        raise InputError(f"{name}: a network of a user's own, and its code is not here; give its file, or its class")
    return _known[name]


def _with_files(models: str, change: Callable[[str], str]) -> str:
    """Return networks joined by commas, with what a function makes of each file."""
    if ".py" not in models:
        return models
    return ",".join(change(part) if _FILE.fullmatch(part) else part for part in comma_parts(models))


def _stem(path: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", Path(path).stem)


def _pinned(name: str) -> str:
    """Read a file and run it, unless that content was; return it with the digits."""
    match = _FILE.fullmatch(name)
    path, digits = Path(match["path"]).expanduser(), match["digits"]
    if not path.is_file():
        made = f"the network {network_name(name)} was made by it; put it back" if digits else EXPECTED
        raise InputError(f"{path}: no such file; {made}")
    digest = _digest(path)
    found = digest[:_DIGITS]
    if digits and digits != found:
        raise InputError(
            f"{path}: has changed since it made {network_name(name)}, it is {path.name}@{found} now; put the old file "
            f"back, or give {path.name} for other students"
        )
    called = f"{_stem(str(path))}@{found}"
    if called not in _known:
        build = function_of(path, FUNCTION, EXPECTED)
        _known[called] = UserNetwork(called, digest, build, f"{path}: {FUNCTION}()")
    return f"{path}@{found}"


def _registered(model: object) -> UserNetwork:
    """Give a class or a function its name, and keep it."""
    if hasattr(model, "state_dict") and not isinstance(model, type):
        raise InputError(
            f"model: an instance of {type(model).__name__}, but every student has weights of its own; give the class, "
            "or a function of num_classes and im_size that makes one"
        )
    if not callable(model):
        raise InputError(f"model {model!r}: expected a name, FILE.py, a class or a function of num_classes and im_size")
    digest, title = code_digest(model), code_name(model)
    name = f"{title}@{digest[:_DIGITS]}"
    known = _known.setdefault(name, UserNetwork(name, digest, model, f"model {title}"))
    if known.digest != digest:
        raise InputError(f"model {title}: {name} is the name of another network ({known.origin}); rename one of them")
    return known
