"""From a dataclass of settings to flags, help and `--print_config`."""

import json
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from compdd_eval.config.protocol import Protocol
from compdd_eval.utils.errors import InputError, unknown
from compdd_eval.utils.files import read_yaml


def parse(config_class: type, command: str, arguments: list[str], positional: Sequence[str] = ()) -> object:
    """Turn command-line arguments into the command's dataclass: flags over `--config` file over defaults.

    Args:
        config_class: The dataclass.
        command: Its name.
        arguments: What follows the command.
        positional: Fields that arguments without a flag set, in this order; one that ends with "..." is a list, and
            takes all that are left.

    Raises:
        InputError: An unknown flag or key, or a value of the wrong type; the message is one line.
        SystemExit: With status 0, after `--help` or `--print_config`.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(
        prog=" ".join([f"compdd_eval {command}", *[_shown(name) for name in positional]]),
        description=(config_class.__doc__ or "").partition("\n")[0],
        epilog="A flag that takes true or false means true without a value.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with settings by these names; flags win over it.")
    for owner in config_class.__mro__[:-1]:  # one group of flags for each class, the command's own first
        inherited = {field.name for base in owner.__mro__[1:-1] for field in fields(base)}
        parser.add_class_arguments(owner, None, skip=inherited)
    names = [field.name for field in fields(config_class)]
    arguments = _with_flags(arguments, positional, config_class)
    arguments, file = _normalised(arguments, config_class)
    if file is not None:
        read_yaml(Path(file), "--config")
    wanted = [argument for argument in arguments if not argument.startswith("--print_config")]
    try:
        parsed = parser.parse_args(wanted)
    except ArgumentError as error:
        raise _clear(error, config_class, arguments, file) from error
    values = {name: parsed[name] for name in names}
    if len(wanted) < len(arguments):
        print(_as_yaml(config_class, values), end="")
        raise SystemExit(0)
    return config_class(**values)


def _shown(name: str) -> str:
    """Write a positional field as a usage line does."""
    return f"{name.removesuffix('...').upper()} [...]" if name.endswith("...") else f"[{name.upper()}]"


def plain_types(config_class: type) -> dict[str, object]:
    """Return the type of each field, without the None that stands for a default found elsewhere."""
    hints = typing.get_type_hints(config_class)
    for name, hint in hints.items():
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
            hints[name] = parts[0] if len(parts) == 1 else tuple(parts)
    return hints


def _as_yaml(config_class: type, values: dict[str, object]) -> str:
    """Return all settings, checked, as a file for `--config`; those that have to be given may still be missing."""
    import yaml

    try:
        values = asdict(config_class(**values))
    except InputError as error:
        if "is missing" not in str(error):
            raise
        if issubclass(config_class, Protocol):
            own = {name: values[name] for name in Protocol.__dataclass_fields__}
            values = values | Protocol(**own).settings()
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _with_flags(arguments: list[str], positional: Sequence[str], config_class: type) -> list[str]:
    """Put their flags before the first arguments that have none and are no value of a flag."""
    hints, found, left, listed = plain_types(config_class), [], list(positional), []
    for position, argument in enumerate(arguments):
        before = arguments[position - 1] if position else ""
        after_boolean = hints.get(before.removeprefix("--")) is bool and argument.lower() not in ("true", "false")
        if not argument.startswith("-") and (not before.startswith("--") or "=" in before or after_boolean):
            if left and left[0].endswith("..."):
                listed.append(argument)
                continue
            found += [f"--{left.pop(0)}"] if left else []
        found.append(argument)
    return found + ([f"--{left[0].removesuffix('...')}={json.dumps(listed)}"] if listed else [])


def _normalised(arguments: list[str], config_class: type) -> tuple[list[str], str | None]:
    """Let a bare boolean flag mean True, and put `--config` first, so that every flag wins over it.

    Returns:
        The arguments, and the file of `--config`.
    """
    hints = plain_types(config_class)
    first, rest = [], []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        following = arguments[position + 1] if position + 1 < len(arguments) else None
        bare = following is None or following.startswith("--")
        if argument == "--config" and not bare:
            first = [argument, following]
            position += 1
        elif argument.startswith("--config="):
            first = ["--config", argument.removeprefix("--config=")]
        elif argument.startswith("--") and hints.get(argument.removeprefix("--")) is bool and bare:
            rest.append(f"{argument}=true")
        elif argument.startswith("--") and "=" not in argument and re.match(r"-[\d.]", following or ""):
            rest.append(f"{argument}={following}")  # a negative number, and no flag
            position += 1
        else:
            rest.append(argument)
        position += 1
    return first + rest, first[1] if first else None


def _clear(error: Exception, config_class: type, arguments: list[str], file: str | None) -> InputError:
    """Put a parser's message into one line that names the flag and what it takes."""
    text = " ".join(str(error).split())
    names = [field.name for field in fields(config_class)]
    if match := re.search(r"[Uu]nrecognized arguments: (--[\w-]+)", text):
        return unknown("flag", match[1], [f"--{name}" for name in [*names, "config", "print_config", "help"]])
    if match := re.search(r"[Uu]nrecognized arguments: (.*)", text):
        return InputError(f"{match[1]}: every value needs its flag, as in --category bird")
    if match := re.search(r"(?:Option|Key) '(\w+)' is not (?:accepted|expected)", text):
        return unknown(f"setting in {file}", match[1], names)
    if match := re.match(r'Parser key "(\w+)": (.*)', text):
        name, reason = match.groups()
        hint = plain_types(config_class).get(name)
        flag, value = _given(name, arguments, file)
        if typing.get_origin(hint) is typing.Literal:
            return unknown(f"value of {flag}", value, map(str, typing.get_args(hint)))
        others = [str(choice) for part in (hint if isinstance(hint, tuple) else ()) for choice in typing.get_args(part)]
        if others:  # --lr_net
            return InputError(f"{flag} {value}: expected a number or {', '.join(others)}")
        if isinstance(hint, tuple) and list in hint:  # --classes
            return InputError(f"{flag} {value}: expected a text, or a list")
        if typing.get_origin(hint) is list:  # `status`
            return InputError(f"{flag} {value}: expected a list of texts, such as [results]")
        if typing.get_origin(hint) is dict:
            return InputError(f'{flag} {value}: expected settings by name, such as {{"temperature": 2}}')
        if hint in (str, int, float, bool):
            expected = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}[hint]
            return InputError(f"{flag} {value}: expected {expected}")
        return InputError(f"{flag}: {reason}")
    return InputError(text)


def _given(name: str, arguments: list[str], file: str | None) -> tuple[str, str]:
    """Return where a setting was given, its flag or the file and its name, and the value there."""
    for position in reversed(range(len(arguments))):
        flag, equals, value = arguments[position].partition("=")
        if flag == f"--{name}":
            return flag, value if equals else " ".join(arguments[position + 1 : position + 2])
    return f"{file}: {name}", str(read_yaml(Path(file), "--config")[name])
