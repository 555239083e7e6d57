"""Python files of a user's own: run on purpose, and never without being asked for."""

import importlib.util
from pathlib import Path
from types import ModuleType

from compdd_eval.errors import InputError


def run_file(path: Path, expected: str) -> ModuleType:
    """Run a Python file and return it as a module.

    Args:
        path: The file.
        expected: What the flag takes, for the message where there is no such file.

    Raises:
        InputError: There is no such file, or its code fails; the message has the reason.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; {expected}")
    spec = importlib.util.spec_from_file_location(f"compdd_eval_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: no Python file; {expected}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: running it failed ({type(error).__name__}: {reason})") from error
    return module
