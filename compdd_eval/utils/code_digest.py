"""A digest of the code of a class or a function, with what it uses of its author's other code."""

import contextlib
import dis
import enum
import functools
import hashlib
import inspect
import json
import os
import pathlib
import re
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder

from compdd_eval.utils.errors import InputError

_OURS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_INSTALLED = (
    *(os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "purelib", "platlib")),
    _OURS + os.sep,
)
_PACKAGES = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
_SIMPLE = (bool, int, float, complex, str, bytes, type(None))
_CONTAINERS = (dict, list, tuple, set, frozenset, types.MappingProxyType)
_SLOTS = (types.GetSetDescriptorType, types.MemberDescriptorType)
_WRAPPERS = {  # what wraps code -> the attributes that say which
    functools.partial: ("func", "args", "keywords"),
    types.MethodType: ("__func__", "__self__"),
    staticmethod: ("__func__", "__self__"),
    classmethod: ("__func__", "__self__"),
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
}
_NOT_OF_CODE = {"_abc_impl"}  # what ABC notes of a class
# by id: a number, None for a container that is done, and the object, which lives on; files by their path
Seen = dict[int | str, tuple[int | None, object]]


def code_digest(value: object) -> str:
    """Return a SHA-256 of a class, a function, a partial one or a callable object.

    It is over source code (over byte code where there is none), over defaults, closures, global values and what their
    objects hold, and over the files of modules that are imported; so are functions and classes that it uses. All this
    as far as it is no part of Python or of an installed package.

    Raises:
        InputError: It uses an object whose content cannot be read.
    """
    return _sha256(json.dumps(list(_described(value, {}))).encode())


def code_name(value: object) -> str:
    """Return the name of a class, a function, a partial one or a callable object, as a name of a file can have it."""
    inner = value.func if isinstance(value, functools.partial) else value
    return re.sub(r"[^\w.+-]+", "", getattr(inner, "__name__", type(inner).__name__))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _described(value: object, seen: Seen) -> Iterator[str]:
    """Yield texts that say what a value is; the same in every process."""
    if type(value) in _SIMPLE:
        yield repr(value)
        return
    number = seen.get(id(value), (None,))[0]
    if number is not None:
        yield f"again {number}"
        return
    seen[id(value)] = (len(seen), value)
    if type(value) in _CONTAINERS:
        yield from _of_container(value, seen)
        seen[id(value)] = (None, value)  # equal constants are one object or two, as Python likes
    else:
        yield from _of_object(value, seen)


def _of_container(value: Iterable[object], seen: Seen) -> Iterator[str]:
    yield f"{type(value).__name__} of {len(value)}"
    if isinstance(value, set | frozenset):
        yield from sorted(json.dumps(list(_described(part, dict(seen)))) for part in value)
    elif isinstance(value, tuple | list):
        yield from _all(value, seen)
    else:
        yield from _all((part for pair in value.items() for part in pair), seen)


def _of_object(value: object, seen: Seen) -> Iterator[str]:
    wrapped = next((names for kind, names in _WRAPPERS.items() if isinstance(value, kind)), None)
    if isinstance(value, types.ModuleType):
        yield from _of_module(value.__name__, seen)
    elif wrapped:
        yield from _all([getattr(value, name, None) for name in wrapped], seen)
    elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        yield f"{value.__module__}.{value.__qualname__}"
        if not _is_installed(value):
            yield from (_of_class if isinstance(value, type) else _of_function)(value, seen)
        elif type(getattr(value, "__self__", None)) in _CONTAINERS:  # such as the method `get` of a dict
            yield from _described(value.__self__, seen)
    elif isinstance(value, _SLOTS):
        yield value.__qualname__
    else:
        yield from _of_instance(value, seen)


def _of_instance(value: object, seen: Seen) -> Iterator[str]:
    """Yield the class and the content, as copies are made of it."""
    yield from _described(type(value), seen)
    if isinstance(value, enum.Enum):
        yield from _all((value.name, value.value), seen)
    elif isinstance(value, pathlib.PurePath):
        yield str(value)
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        yield f"{value.dtype} {tuple(value.shape)} {_sha256(_bytes(value))}"
    else:
        yield from _all(_parts(value), seen)


def _bytes(value: object) -> bytes:
    """Return the numbers of a tensor or of an array."""
    try:
        if hasattr(value, "detach"):
            flat = value.detach().cpu().contiguous().reshape(-1)
            return flat.view(sys.modules["torch"].uint8).numpy().tobytes()
        if not value.dtype.hasobject:
            return value.tobytes()
    except Exception as error:  # of other devices and layouts
        raise _refused(value, str(error)) from error
    raise _refused(value, "it holds objects")


def _parts(value: object) -> list[object]:
    try:
        found = value.__reduce_ex__(4)
    except Exception as error:  # whatever its author raises
        raise _refused(value, str(error)) from error
    if isinstance(found, str):
        return [found]
    return [*found[:3], *(list(items or ()) for items in found[3:5])]


def _refused(value: object, reason: str) -> InputError:
    return InputError(
        f"code of your own uses an object of {type(value).__module__}.{type(value).__qualname__}, whose content cannot "
        f"be read ({' '.join(reason.split())[:80]}), so results could not tell it from other code; keep settings in "
        "numbers, texts, lists, dicts, tensors or objects of these, or give FILE.py"
    )


def _all(values: Iterable[object], seen: Seen) -> Iterator[str]:
    for value in values:
        yield from _described(value, seen)


def _is_installed(value: type | types.FunctionType) -> bool:
    """Whether code belongs to Python, to an installed package or to this one."""
    try:
        return _is_of_package(inspect.getfile(value))
    except OSError:  # typed in
        return False
    except TypeError:  # built in; a class that was typed in has no file, either
        return value.__module__ != "__main__"


def _is_of_package(file: str) -> bool:
    file = os.path.realpath(file)
    return file.startswith(_INSTALLED) or any(folder in file for folder in _PACKAGES)


def _of_class(value: type, seen: Seen) -> Iterator[str]:
    yield _source(value, seen)
    members = [
        member
        for name, member in sorted(vars(value).items())
        if name not in _NOT_OF_CODE and (not name.startswith("__") or callable(member))
    ]
    yield from _all([*value.__bases__, *members], seen)


def _of_function(value: types.FunctionType, seen: Seen) -> Iterator[str]:
    yield _source(value, seen)
    cells = [cell.cell_contents for cell in value.__closure__ or () if cell != types.CellType()]
    yield from _all((value.__defaults__, value.__kwdefaults__, cells), seen)
    names = sorted({name for code in _codes(value.__code__) for name in code.co_names})
    for name in names:
        if name in value.__globals__:
            yield from _of_global(value.__globals__[name], names, seen)
    yield from _of_imports(value.__code__, value.__globals__.get("__package__") or "", seen)


def _of_global(used: object, names: list[str], seen: Seen) -> Iterator[str]:
    """Describe a global value; of a module, the names that the code has, in modules of its own to any depth."""
    yield from _described(used, seen)
    modules, known = [used] if isinstance(used, types.ModuleType) else [], set()
    while modules:
        module = modules.pop()
        if module.__name__ in known or _is_of_package(getattr(module, "__file__", None) or _OURS + os.sep):
            continue
        known.add(module.__name__)
        members = [vars(module)[name] for name in names if name in vars(module)]
        yield from _all(members, seen)
        modules += [member for member in members if isinstance(member, types.ModuleType)]


def _of_imports(code: types.CodeType, package: str, seen: Seen) -> Iterator[str]:
    """Yield the files of the modules that code imports: all that its words could mean, for some are no modules."""
    found = set()
    steps = package.split(".") if package else []
    parents = [".".join(steps[:end]) for end in range(len(steps), 0, -1)]  # of a relative import
    for part in _codes(code):
        imported = {step.argval for step in dis.get_instructions(part) if step.opname == "IMPORT_NAME"}
        imported |= {f"{parent}.{name}".rstrip(".") for parent in parents for name in imported}
        found |= imported | {f"{name}.{inner}" for name in imported for inner in part.co_names}
    for name in sorted(found):
        yield from _of_module(name, seen)


def _of_module(name: str, seen: Seen) -> Iterator[str]:
    """Yield digests of the files of a module and its packages, and of what these import, each once."""
    path, whole = None, []
    for part in name.split("."):
        whole.append(part)
        called = ".".join(whole)
        file, path = _place(called, path)
        if file and os.path.isfile(file) and not _is_of_package(file) and file not in seen:
            seen[file] = (len(seen), file)
            with open(file, "rb") as stream:
                content = stream.read()
            yield f"{called} {_sha256(content)}"
            yield from _of_imports(_compiled(content, file), called if path else called.rpartition(".")[0], seen)
        if path is None:
            return


def _place(name: str, path: list[str] | None) -> tuple[str | None, list[str] | None]:
    """Return a module's file, and a package's folders; nothing is imported for it."""
    module, spec = sys.modules.get(name), None
    if module is None and not ("." in name and path is None):
        with contextlib.suppress(ImportError, ValueError):
            spec = PathFinder.find_spec(name, path)
    file = getattr(module, "__file__", None) if spec is None else spec.origin
    folders = getattr(module, "__path__", None) if spec is None else spec.submodule_search_locations
    return file, None if folders is None else list(folders)


def _compiled(content: bytes, file: str) -> types.CodeType:
    try:
        return compile(content, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):  # no Python, such as a library
        return compile("", file, "exec")


def _source(value: type | types.FunctionType, seen: Seen) -> str:
    """Return the source; where there is none, or it is that of a whole line, the byte code, which a class has not."""
    try:
        if value.__name__ != "<lambda>":
            return inspect.getsource(value)
    except (OSError, TypeError):
        pass
    return "".join(_byte_code(value.__code__, seen)) if isinstance(value, types.FunctionType) else ""


def _byte_code(code: types.CodeType, seen: Seen) -> Iterator[str]:
    for part in _codes(code):
        yield f"{part.co_code.hex()} {part.co_names}"
        yield from _all((value for value in part.co_consts if not isinstance(value, types.CodeType)), seen)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield code and all code within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)
