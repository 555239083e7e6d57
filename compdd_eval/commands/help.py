"""What `--help` prints: the commands, and the flags of each; the texts are those of the settings' docstrings."""

import contextlib
import inspect
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from compdd_eval.commands import GROUPS
from compdd_eval.commands.parser import defaults_of, given_values, plain_types
from compdd_eval.config.distill import DISTILL_PRESETS, WITH_STEPS, MatchingConfig
from compdd_eval.config.methods import MethodsConfig
from compdd_eval.config.protocol import PRESETS, Protocol, flag_value
from compdd_eval.config.settings import choices_of
from compdd_eval.utils.errors import InputError

if TYPE_CHECKING:
    from compdd_eval.methods.registry import Method

_WIDTHS = (60, 100)  # of lines, whatever the terminal: narrower, texts fall apart; wider, the eye loses the line
_TEXT_AT = 24  # column in which the text of a flag begins
_NO_BREAK = "\N{NO-BREAK SPACE}"  # textwrap breaks no line there
_EVERY_COMMAND = {
    "--config": "YAML file of settings by these names; flags win over it.",
    "--print_config": "Print all settings as a file for --config, and stop; --print_config=skip_default prints only "
    "those that differ from their defaults.",
}


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether `--help` is among the arguments of a command."""
    return any(word in ("-h", "--help") or word.startswith("--help=") for word in arguments)


def overview() -> str:
    """Return the list of all commands."""
    what = "Comp-DD: benchmark of dataset distillation in complex scenes."
    groups = [_block(head, commands, text_at=15) for head, commands in GROUPS.items()]
    how = "`compdd-eval COMMAND --help` shows the flags of a command."
    launcher = "On several GPUs, or in several processes: accelerate launch -m compdd_eval COMMAND ..."
    return "\n\n".join(["usage: compdd-eval [COMMAND] [--FLAG VALUE ...]", what, *groups, f"{how}\n{launcher}"])


def help_text(command: str, arguments: Sequence[str]) -> str:
    """Return the help of a command: its common flags, or all after `--help all`; where they are few, always all.

    Args:
        command: Its name.
        arguments: What follows it; a method, a preset or a protocol there decides which defaults are shown.

    Raises:
        InputError: No distillation method has the name that is given, or `--help` is given another word than `all`.
    """
    settings = import_module(f"compdd_eval.config.{command}")
    words, asked = _without_help(arguments)
    is_short = hasattr(settings, "COMMON") and "all" not in asked
    given: dict[str, str] = {}
    with contextlib.suppress(InputError):  # who asks for help need not have the other flags right
        given = given_values(settings.CONFIG, words, getattr(settings, "POSITIONAL", ()))
    for word in asked:
        if word != "all":
            _take_word(command, word, given)

    groups = settings.COMMON if is_short else _by_class(command, settings)
    defaults = defaults_of(settings.CONFIG)
    if issubclass(settings.CONFIG, Protocol):
        defaults |= PRESETS.get(given.get("protocol"), PRESETS[Protocol.protocol])
    if command == "distill" and "method" in given:
        groups, defaults = _of_method(groups, defaults, given)
    blocks = _blocks(command, settings, groups, _texts(settings.CONFIG, defaults, is_short))
    return "\n\n".join([*filter(None, blocks), _wrapped(_ending(command, is_short, given))])


def _blocks(
    command: str, settings: ModuleType, groups: Mapping[str, Sequence[str]], texts: dict[str, str]
) -> list[str]:
    """Return the usage line, what the command does, and its arguments and flags in groups; an empty group is ""."""
    labels = {name.removesuffix("..."): _placeholder(name) for name in getattr(settings, "POSITIONAL", ())}
    usage = ["usage: compdd-eval", command, *(f"[{label}]" for label in labels.values()), "[--FLAG VALUE ...]"]
    flags = {head: {f"--{name}": texts[name] for name in names if name not in labels} for head, names in groups.items()}
    return [
        " ".join(usage),
        _wrapped(inspect.getdoc(settings.CONFIG).partition("\n")[0]),
        _block("Arguments", {label: texts[name] for name, label in labels.items()}),
        *(_block(head, entries) for head, entries in flags.items()),
        _block("Settings from a file", _EVERY_COMMAND),
    ]


def _without_help(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments without those of `--help`, and the words that it is given: `--help all`, `--help=all`."""
    words, asked = [], []
    for before, word in zip(["", *arguments], arguments, strict=False):
        if word in ("-h", "--help"):
            continue
        is_asked = word.startswith("--help=") or (before in ("-h", "--help") and not word.startswith("-"))
        (asked if is_asked else words).append(word.removeprefix("--help="))
    return words, asked


def _take_word(command: str, word: str, given: dict[str, str]) -> None:
    """Take a word after `--help` for the method of `distill`; raise InputError where it can be none."""
    if command != "distill" or "method" in given:
        raise InputError(f"--help {word}: expected all, which shows all flags, or no word")
    try:
        given["method"] = _method_of(word, given).name
    except InputError as error:
        raise InputError(f"--help {word}: expected all, which shows all flags, or a method ({error})") from error


def _method_of(name: str, given: dict[str, str]) -> "Method":
    from compdd_eval.methods.registry import find_method, load_plugin  # imports torch, which other help needs not

    if "plugin" in given:
        load_plugin(given["plugin"])
    return find_method(name)


def _by_class(command: str, settings: ModuleType) -> dict[str, list[str]]:
    """Group all settings: under one head where a command has few, else those of each class under its first words."""
    if not hasattr(settings, "COMMON"):
        return {"Flags": [field.name for field in fields(settings.CONFIG)]}
    groups = {}
    for owner in settings.CONFIG.__mro__[:-1]:
        inherited = {field.name for base in owner.__mro__[1:-1] for field in fields(base)}
        head = re.split(r"[.;:]", inspect.getdoc(owner))[0]
        names = [field.name for field in fields(owner) if field.name not in inherited]
        groups[f"Flags of `{command}`" if owner is settings.CONFIG else head] = names
    return groups


def _of_method(
    groups: Mapping[str, Sequence[str]], defaults: dict[str, object], given: dict[str, str]
) -> tuple[dict[str, Sequence[str]], dict[str, object]]:
    """Return the groups of `distill` with the settings that a method takes alone, and the defaults of its preset."""
    method = _method_of(given["method"], given)
    preset = given["preset"] if given.get("preset") in DISTILL_PRESETS else DISTILL_PRESETS[0]
    ipc = int(given["ipc"]) if given.get("ipc", "").isdigit() else int(defaults["ipc"])
    subset = MethodsConfig().subset_name
    with contextlib.suppress(InputError):
        subset = MethodsConfig(category=given.get("category"), subset=given.get("subset")).subset_name
    takes, note = method.settings(preset, ipc, subset), method.settings_note(subset)
    possible = [field.name for field in fields(MatchingConfig)]
    hidden = {*possible, "options", *(WITH_STEPS if method.selects else ())}
    left = {head: [name for name in names if name not in hidden] for head, names in groups.items()}
    own = [name for name in possible if name in takes] + (["options"] if method.options else [])
    facts = [f"preset {method.preset_name(preset)}", f"IPC {ipc}", *filter(None, [note])]
    return left | {f"Settings of {method.name} ({', '.join(facts)})": own}, defaults | takes


def _ending(command: str, is_short: bool, given: dict[str, str]) -> str:
    """Return the last words: how to see what is not shown."""
    if not is_short:
        return "A switch, whose default is true or false, means true without a value."
    unknown_method = command == "distill" and "method" not in given
    more = "`compdd-eval distill METHOD --help` shows what a method takes. " if unknown_method else ""
    words = " ".join([command, *filter(None, [given.get("method")])])
    return f"{more}`compdd-eval {words} --help all` shows all flags, and says more on these."


def _texts(config_class: type, defaults: dict[str, object], is_short: bool) -> dict[str, str]:
    """Return what is said of each setting: the docstrings' text (a first sentence, if short), choices, the default."""
    hints, texts = plain_types(config_class), {}
    for owner in reversed(config_class.__mro__[:-1]):  # what a class says of a setting that it inherits holds
        entries = re.findall(r"^ {4}(\w+): (.*(?:\n {6}.*)*)", inspect.getdoc(owner).partition("\nArgs:\n")[2], re.M)
        texts |= {name: " ".join(text.split()) for name, text in entries}
    for name, text in texts.items():
        text = re.split(r'(?<=[\w)"`]\.) (?=[A-Z"])', text)[0] if is_short else text
        choices = choices_of(hints[name])
        if all(choice in text for choice in choices):  # a text that explains them names them
            choices = ()
        facts = [f"one of {', '.join(choices)}"] if choices else []
        facts += [f"default:{_NO_BREAK}{flag_value(defaults[name])}"] if defaults[name] not in (None, []) else []
        texts[name] = f"{text} [{'; '.join(facts)}]" if facts else text
    return texts


def _placeholder(name: str) -> str:
    """Write a positional argument as a usage line does."""
    return name.removesuffix("...").upper() + (" ..." if name.endswith("...") else "")


def _block(head: str, entries: Mapping[str, str], text_at: int = _TEXT_AT) -> str:
    """Return a head with its entries, each a label and an indented text; nothing where there are no entries."""
    lines = [f"{head}:"] if entries else []
    for label, text in entries.items():
        first = f"  {label}".ljust(text_at - 1) + " "
        wrapped = textwrap.wrap(text, _width() - text_at, break_on_hyphens=False, break_long_words=False)
        if len(first) > text_at:
            lines.append(first.rstrip())
            first = " " * text_at
        lines += [first + wrapped[0], *(" " * text_at + line for line in wrapped[1:])]
    return "\n".join(lines).replace(_NO_BREAK, " ")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _width())


def _width() -> int:
    low, high = _WIDTHS
    return min(max(shutil.get_terminal_size((high, 24)).columns, low), high)
