"""Sub-commands: one file each, with `CONFIG` (its dataclass) and `run(config)`; parsing is shared here."""

import re
import typing
from dataclasses import fields

from compdd_eval.errors import InputError, unknown

COMMANDS = {
    "evaluate": "train students on a distilled set, test them on real images (the default command)",
    "prepare": 'build subsets from ImageNet, so that load_dataset("comp_dd", ...) works',
    "demo": "the whole job on drawn images: no ImageNet, no network, a few minutes",
}
MULTI_PROCESS = ("evaluate", "demo")  # the others run once, whatever launches them


def parse(config_class: type, command: str, arguments: list[str]) -> object:
    """Turn command-line arguments into the command's dataclass: flags over `--config` file over defaults.

    Raises:
        InputError: An unknown flag or key, or a value of the wrong type; the message is one line.
        SystemExit: With status 0, after `--help` or `--print_config`.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(
        prog=f"compdd_eval {command}",
        description=(config_class.__doc__ or "").partition("\n")[0],
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with settings by these names; flags win over it.")
    for owner in config_class.__mro__[:-1]:  # one group of flags for each class, the command's own first
        inherited = {field.name for base in owner.__mro__[1:-1] for field in fields(base)}
        parser.add_class_arguments(owner, None, skip=inherited)
    names = [field.name for field in fields(config_class)]
    try:
        parsed = parser.parse_args(_normalised(arguments, config_class))
    except ArgumentError as error:
        raise _clear(error, config_class) from error
    return config_class(**{name: parsed[name] for name in names})


def _normalised(arguments: list[str], config_class: type) -> list[str]:
    """Let a bare boolean flag mean True, and put `--config` first, so that every flag wins over it."""
    hints = typing.get_type_hints(config_class)
    first, rest = [], []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        following = arguments[position + 1] if position + 1 < len(arguments) else None
        bare = following is None or following.startswith("--")
        if argument == "--config" and not bare:
            first += [argument, following]
            position += 1
        elif argument.startswith("--config="):
            first.append(argument)
        elif argument.startswith("--") and hints.get(argument.removeprefix("--")) is bool and bare:
            rest.append(f"{argument}=true")
        else:
            rest.append(argument)
        position += 1
    return first + rest


def _clear(error: Exception, config_class: type) -> InputError:
    """Put a parser's message into one line that names the flag and what it takes."""
    text = " ".join(str(error).split())
    names = [field.name for field in fields(config_class)]
    if match := re.search(r"unrecognized arguments: (--[\w-]+)", text):
        return unknown("flag", match[1], [f"--{name}" for name in [*names, "config", "print_config", "help"]])
    if match := re.search(r"unrecognized arguments: (.*)", text):
        return InputError(f"{match[1]}: every value needs its flag, as in --category bird")
    if text.startswith("Unexpected config"):
        return InputError("the --config file is no list of settings; expected lines such as num_eval: 3")
    if match := re.search(r"Option '(\w+)' is not accepted", text):
        return unknown("setting in the --config file", match[1], names)
    if match := re.match(r'Parser key "(\w+)": (.*)', text):
        name, reason = match.groups()
        value = reason.rpartition("Got value: ")[2]
        hint = typing.get_type_hints(config_class).get(name)
        if typing.get_origin(hint) is typing.Literal:
            return unknown(f"--{name}", value, map(str, typing.get_args(hint)))
        if hint in (int, float, bool):
            expected = {int: "a whole number", float: "a number", bool: "true or false"}[hint]
            return InputError(f"--{name} {value}: expected {expected}")
        return InputError(f"--{name}: {reason}")
    return InputError(text)
