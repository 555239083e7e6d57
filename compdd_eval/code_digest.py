"""A digest of the code of a class or a function, with what it uses of its author's other code."""

import functools
import hashlib
import inspect
import json
import os
import re
import sysconfig
import types
from collections.abc import Iterable, Iterator

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_INSTALLED = tuple(os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "purelib", "platlib"))
_SIMPLE = (int, float, complex, str, bytes, type(None))


def code_digest(value: object) -> str:
    """Return a SHA-256 of a class, a function, a partial one or a callable object.

    It is over source code (over byte code where there is none), and over defaults, closures and global values; so are
    functions and classes that it uses, as far as they are no part of Python or of an installed package.
    """
    return hashlib.sha256(json.dumps(list(_described(value, set()))).encode()).hexdigest()


def _described(value: object, seen: set[int]) -> Iterator[str]:
    """Yield texts that say what a value is; the same in every process, so that other objects are only named."""
    if isinstance(value, _SIMPLE):
        yield repr(value)
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, functools.partial):
        yield from _all((value.func, value.args, value.keywords), seen)
    elif isinstance(value, dict):
        yield from _all((part for pair in value.items() for part in pair), seen)
    elif isinstance(value, tuple | list):
        yield from _all(value, seen)
    elif isinstance(value, set | frozenset):
        yield from _all(sorted(value, key=repr), seen)
    elif isinstance(value, types.MethodType | staticmethod | classmethod):
        yield from _all((value.__func__, getattr(value, "__self__", None)), seen)
    elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        yield f"{value.__module__}.{value.__qualname__}"
        if not _is_installed(value):
            yield from (_of_class if isinstance(value, type) else _of_function)(value, seen)
    elif hasattr(value, "shape"):  # a tensor
        yield _ADDRESS.sub("", repr(value))
    elif not isinstance(value, types.ModuleType):
        yield from _all((type(value), vars(value) if callable(value) and hasattr(value, "__dict__") else None), seen)


def _all(values: Iterable[object], seen: set[int]) -> Iterator[str]:
    for value in values:
        yield from _described(value, seen)


def _is_installed(value: type | types.FunctionType) -> bool:
    """Whether code belongs to Python or to an installed package."""
    try:
        return os.path.realpath(inspect.getfile(value)).startswith(_INSTALLED)
    except OSError:  # typed in
        return False
    except TypeError:  # built in; a class that was typed in has no file, either
        return value.__module__ != "__main__"


def _of_class(value: type, seen: set[int]) -> Iterator[str]:
    yield _source(value)
    members = [member for name, member in sorted(vars(value).items()) if not name.startswith("__") or callable(member)]
    yield from _all([*value.__bases__, *members], seen)


def _of_function(value: types.FunctionType, seen: set[int]) -> Iterator[str]:
    yield _source(value)
    cells = [cell.cell_contents for cell in value.__closure__ or () if cell != types.CellType()]
    yield from _all((value.__defaults__, value.__kwdefaults__, cells), seen)
    names = sorted(set(_names(value.__code__)))
    for name in names:
        used = value.__globals__.get(name)
        if isinstance(used, types.ModuleType):
            yield from _all((vars(used).get(member) for member in names), seen)
        else:
            yield from _described(used, seen)


def _source(value: type | types.FunctionType) -> str:
    """Return the source; where there is none, or it is that of a whole line, the byte code, which a class has not."""
    try:
        if value.__name__ != "<lambda>":
            return inspect.getsource(value)
    except (OSError, TypeError):
        pass
    return "".join(_byte_code(value.__code__)) if isinstance(value, types.FunctionType) else ""


def _byte_code(code: types.CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names}"
    for constant in code.co_consts:
        yield from _byte_code(constant) if isinstance(constant, types.CodeType) else [repr(constant)]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
