"""From flags and a `--config` file to a command's dataclass of settings."""

import json
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path

from compdd_eval.config.protocol import Protocol
from compdd_eval.config.settings import choices_of
from compdd_eval.utils.errors import InputError, unknown
from compdd_eval.utils.files import read_yaml

PRINT_MODES = ("all", "skip_default")  # of --print_config
_PARSER_FLAGS = ("config", "print_config", "help")  # of every command, beside its settings
_EXPECTED = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list of texts, such as [results]",
    dict: 'settings by name, such as {"temperature": 2}',
}


def parse(config_class: type, arguments: Sequence[str], positional: Sequence[str] = ()) -> object:
    """Turn command-line arguments into a command's dataclass: flags over `--config` file over defaults.

    Args:
        config_class: The dataclass.
        arguments: What follows the command.
        positional: Fields that arguments without a flag set, in this order; one that ends with "..." is a list, and
            takes all that are left.

    Raises:
        InputError: An unknown flag or key, or a value of the wrong type; the message is one line.
        SystemExit: With status 0, after `--print_config`.
    """
    given = given_values(config_class, arguments, positional)
    file = given.pop("config", None)
    printing = given.pop("print_config", None)
    values = _typed(config_class, given, file)
    if printing is not None:
        print(_as_yaml(config_class, values, printing), end="")
        raise SystemExit(0)
    config = config_class(**values)
    object.__setattr__(config, "on_command_line", frozenset(given))
    return config


def given_values(config_class: type, arguments: Sequence[str], positional: Sequence[str] = ()) -> dict[str, str]:
    """Return the value of each flag and positional argument as it is written; of a flag that comes twice, the last.

    Raises:
        InputError: An unknown flag, a flag without its value, or a value without a flag.
    """
    hints = plain_types(config_class)
    given: dict[str, str] = {}
    places, listed, stray, left = list(positional), [], [], list(arguments)
    while left:
        word = left.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if name not in hints and name not in _PARSER_FLAGS:
                raise unknown("flag", f"--{name}", [f"--{known}" for known in (*hints, *_PARSER_FLAGS)])
            given[name] = value if equals else _value_after(name, hints.get(name), left, bool(places))
        elif not places or word.startswith("-"):
            stray.append(word)
        elif places[0].endswith("..."):
            listed.append(word)
        else:
            given[places.pop(0)] = word
    if stray:
        raise InputError(f"{' '.join(stray)}: every value needs its flag, as in --category bird")
    return given | ({places[0].removesuffix("..."): json.dumps(listed)} if listed else {})


def _value_after(name: str, hint: object, left: list[str], places: bool) -> str:
    """Take the value of a flag from the words that follow it; a switch, true or false, may stand alone.

    Args:
        name: The flag.
        hint: Its type.
        left: The words that follow; the value is taken out.
        places: Whether a word without a flag has a meaning of its own here, so that it is no value of a switch.
    """
    following = left[0] if left else "--"
    is_value = not following.startswith("-") or re.match(r"-[\d.]", following)  # a negative number is no flag
    if name == "print_config":
        return left.pop(0) if following in PRINT_MODES else PRINT_MODES[0]
    if hint is bool and (not is_value or (places and following.lower() not in ("true", "false"))):
        return "true"
    if not is_value:
        raise InputError(f"--{name} is given without a value, as in --{name} VALUE")
    return left.pop(0)


def plain_types(config_class: type) -> dict[str, object]:
    """Return the type of each field, several as a tuple, without the None that stands for a default found elsewhere."""
    hints = typing.get_type_hints(config_class)
    for name, hint in hints.items():
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
            parts = [part for part in typing.get_args(hint) if part is not type(None)]
            hints[name] = parts[0] if len(parts) == 1 else tuple(parts)
    return {field.name: hints[field.name] for field in fields(config_class)}


def _typed(config_class: type, given: dict[str, str], file: str | None) -> dict[str, object]:
    """Return the value of every field, of its type."""
    from jsonargparse import ArgumentError, ArgumentParser

    names = [field.name for field in fields(config_class)]
    in_file = {} if file is None else read_yaml(Path(file), "--config")
    for name in in_file:
        if name not in names:
            raise unknown(f"setting in {file}", name, names)
    parser = ArgumentParser(exit_on_error=False, add_help=False, allow_abbrev=False, print_config=None)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(config_class, None)
    flags = [f"--{name}={value}" for name, value in given.items()]
    try:  # the file comes first, so that every flag wins over it
        parsed = parser.parse_args(([] if file is None else ["--config", file]) + flags)
    except ArgumentError as error:
        raise _wrong_value(error, config_class, given, file, in_file) from error
    return {name: parsed[name] for name in names}


def _wrong_value(
    error: Exception, config_class: type, given: dict[str, str], file: str | None, in_file: dict[str, object]
) -> InputError:
    """Put the parser's message into one line that names the flag, or the file and the setting, and what it takes."""
    text = " ".join(str(error).split())
    match = re.match(r'Parser key "(\w+)": (.*)', text)
    if match is None:
        return InputError(text)
    name, reason = match.groups()
    flag, value = (f"--{name}", given[name]) if name in given else (f"{file}: {name}", in_file[name])
    hint = plain_types(config_class)[name]
    if choices := choices_of(hint):
        if isinstance(hint, tuple):  # --lr_net
            return InputError(f"{flag} {value}: expected a number or {', '.join(choices)}")
        return unknown(f"value of {flag}", value, choices)
    if isinstance(hint, tuple):  # --classes
        return InputError(f"{flag} {value}: expected a text, or a list")
    expected = _EXPECTED.get(typing.get_origin(hint) or hint)
    return InputError(f"{flag} {value}: expected {expected}" if expected else f"{flag}: {reason}")


def defaults_of(config_class: type) -> dict[str, object]:
    """Return the default of each field."""
    return {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(config_class)
    }


def _as_yaml(config_class: type, values: dict[str, object], mode: str) -> str:
    """Return settings as a file for `--config`: all, checked, or those that were given and differ from their defaults.

    Those that a command needs may still be missing.
    """
    import yaml

    if mode not in PRINT_MODES:
        raise unknown("value of --print_config", mode, PRINT_MODES)
    is_protocol = issubclass(config_class, Protocol)
    protocol = {field.name: values[field.name] for field in fields(Protocol)} if is_protocol else {}
    try:
        settled = asdict(config_class(**values))
    except InputError as error:
        if "is missing" not in str(error):
            raise
        settled = values | (Protocol(**protocol).settings() if is_protocol else {})
    if mode == "skip_default":
        # as they were given: what a setting has filled in elsewhere, such as --classes, would contradict it
        filled = _filled_by_preset(protocol)
        defaults = defaults_of(config_class)
        settled = {name: values[name] for name in values if values[name] != defaults[name] and name not in filled}
    return yaml.safe_dump(settled, sort_keys=False, allow_unicode=True)


def _filled_by_preset(protocol: dict[str, object]) -> set[str]:
    """Return the settings of a protocol that can be left out, since its preset gives them the same values."""
    filled: set[str] = set()
    for name in protocol:
        fewer = {other: value for other, value in protocol.items() if other not in {*filled, name}}
        if Protocol(**fewer).settings() == Protocol(**protocol).settings():
            filled.add(name)
    return filled
