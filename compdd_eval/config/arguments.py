"""Settings as Python code gives them: by name, each of its type; errors speak of arguments, not of flags."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

from compdd_eval.config.settings import Settings
from compdd_eval.utils.errors import InputError, unknown

S = TypeVar("S", bound=Settings)
_KINDS = {str: "a text", list: "a list", bool: "true or false", int: "a whole number", float: "a number"}
_OBJECTS = ("model", "teacher")  # may be classes and functions, which are checked where they are given a name


def arguments_of(kind: type[Settings]) -> tuple[str, ...]:
    """Return the names of all settings of a command."""
    return tuple(field.name for field in fields(kind))


def checked_arguments(kind: type[S], arguments: Mapping[str, object], taken: Iterable[str]) -> dict[str, object]:
    """Return arguments as settings: paths as texts, all of the types of the fields.

    Args:
        kind: The settings that they are for.
        arguments: By name.
        taken: Names that are taken.

    Raises:
        InputError: An unknown name, or a value of another type.
    """
    taken, settings = tuple(taken), {}
    for name, value in arguments.items():
        if name not in taken:
            raise unknown("argument", name, taken)
        settings[name] = os.fspath(value) if isinstance(value, os.PathLike) else value
        expected = None if name in _OBJECTS else wrong_type(kind, name, settings[name])
        if expected is not None:
            raise InputError(f"{name} {value!r}: expected {expected}")
    return settings


def wrong_type(kind: type[Settings], name: str, value: object) -> str | None:
    """Return what a setting has to be, in words, where a value is of no such type; else None."""
    # its very type: to Python true is an int; to a reader it is no number
    found, accepted = {type(value)} | ({float} if type(value) is int else set()), _parts(get_type_hints(kind)[name])
    if found & accepted:
        return None
    return " or ".join(words for kind_of, words in _KINDS.items() if kind_of in accepted)


def _parts(hint: object) -> set[object]:
    parts = (hint,) if get_origin(hint) is Literal else get_args(hint) or (hint,)
    return {str if get_origin(part) is Literal else part for part in parts}
