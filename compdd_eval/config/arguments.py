"""Settings as Python code gives them: by name, each of its type; errors speak of arguments, not of flags."""

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from typing import Literal, TypeVar, get_args, get_origin

from compdd_eval.config.settings import Settings, choices_of, hints_of
from compdd_eval.utils.errors import InputError, named_as_arguments, unknown

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
    hint = hints_of(kind)[name]
    found, accepted = {type(value)} | ({float} if type(value) is int else set()), _parts(hint)
    choices = choices_of(hint)
    if found & accepted and not (isinstance(value, str) and choices and value not in choices):
        return None
    if isinstance(value, str) and choices:
        return f"one of {', '.join(choices)}"
    return " or ".join(words for kind_of, words in _KINDS.items() if kind_of in accepted)


def _parts(hint: object) -> set[object]:
    parts = (hint,) if get_origin(hint) is Literal else get_args(hint) or (hint,)
    return {str if get_origin(part) is Literal else part for part in parts}


def settings_from(kind: type[Settings], field: str, given: object, settings: Mapping[str, object]) -> Settings:
    """Return the settings that a function of Python is called with.

    Args:
        kind: Their class.
        field: The one that stands first, without a name.
        given: Its value, or all settings.
        settings: Others, by name; paths may be `Path`, and lists tuples.

    Raises:
        InputError: An unknown setting, or a wrong value.
    """
    names = arguments_of(kind)
    for name in settings:
        if name not in names:
            raise unknown("setting", name, names)
    plain = {name: _plain(value) for name, value in settings.items()}
    for name, value in plain.items():
        expected = wrong_type(kind, name, value) if isinstance(value, str) else None
        if expected:
            raise InputError(f"--{name} {value}: expected {expected}")
    return replace(given, **plain) if isinstance(given, kind) else kind(**{field: _plain(given)}, **plain)


def named_as_given(kind: type[Settings], given: object) -> AbstractContextManager:
    """Let errors name settings as Python does, unless they are given as a command has them."""
    return nullcontext() if isinstance(given, kind) else named_as_arguments(arguments_of(kind))


def _plain(value: object) -> object:
    """Return a value as the command line gives it."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
