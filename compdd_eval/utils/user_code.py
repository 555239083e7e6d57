"""Python files of a user's own: run on purpose, and never without being asked for."""

import hashlib
import importlib.util
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from compdd_eval.utils.errors import InputError, first_line

if TYPE_CHECKING:
    from torch import nn


def run_file(path: Path, expected: str) -> ModuleType:
    """Run a Python file and return it as a module, one for each content of a file.

    Args:
        path: The file.
        expected: What the flag takes, for the message where there is no such file.

    Raises:
        InputError: There is no such file, or its code fails; the message has the reason.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; {expected}")
    digest = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()[:8]
    name = re.sub(r"\W", "_", f"compdd_eval_user_{path.stem}_{digest}")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: no Python file; {expected}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and compilers look for the module of a class
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: running it failed ({type(error).__name__}: {first_line(error)})") from error
    return module


def function_of(path: Path, name: str, expected: str) -> Callable[..., object]:
    """Run a Python file and return one of its functions; the file may draw no random numbers.

    Raises:
        InputError: As from `run_file`; it has no such function, or it draws when it is run, so that it would be another
            one in every process.
    """
    import numpy as np
    import torch

    def drawn() -> list[object]:
        _, keys, *rest = np.random.get_state()
        return [torch.get_rng_state().tolist(), random.getstate(), keys.tolist(), rest]

    with torch.random.fork_rng(devices=[]):
        before = drawn()
        module = run_file(path, expected)
        if drawn() != before:
            raise InputError(
                f"{path}: draws random numbers, or seeds them, when it is run; do that in {name}(), where the seed of "
                "each student decides them"
            )
    found = getattr(module, name, None)
    if not callable(found):
        raise InputError(f"{path}: has no function {name}(); {expected}")
    return found


def made_network(what: str, build: Callable[[], object]) -> "nn.Module":
    """Return the network that code of a user's own makes.

    Args:
        what: The code, for messages.
        build: Makes the network.

    Raises:
        InputError: It fails, or makes anything else.
    """
    from torch import nn

    try:
        network = build()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what} failed ({first_line(error)})") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"{what} returned {type(network).__name__}, expected a torch.nn.Module")
    return network
