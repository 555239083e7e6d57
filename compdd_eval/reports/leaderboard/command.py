"""What a result was asked for: its settings, and the command that makes it again; nothing of it is believed."""

from dataclasses import fields

from compdd_eval.config.arguments import wrong_type
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.protocol import Protocol, flag_value
from compdd_eval.data.imagenet.hub_files import is_commit
from compdd_eval.reports.checked_fields import clean
from compdd_eval.reports.summaries import Run
from compdd_eval.results.command import evaluate_command, without_places
from compdd_eval.utils.errors import InputError

_DEFAULTS = {field.name: field.default for field in fields(EvaluateConfig)}
_PROTOCOL = tuple(field.name for field in fields(Protocol))
_MACHINE = ("data_path", "layout", "output_dir", "baseline_dir", "complexity", "overwrite", "grid", "dry_run")
_MACHINE += ("log_with", "threads")
_OF_FILES = ("label_dir", "lr_dir", "label_kind", "label_order", "pixel_range", "mean", "std", "data_dir")
_LONGEST = 200  # characters of a setting
_LARGEST = 1e12  # number


def protocol_of(run: Run) -> Protocol:
    """Return the protocol of a result; what it says of its differences from the preset is not used.

    Raises:
        InputError: It is no protocol of this version.
    """
    said = run.protocol
    for name in _PROTOCOL:
        if not _fits(name, said.get(name)) or said[name] is None:
            value = clean(said.get(name), 30)
            raise InputError(f"{run.place}: protocol: {name} is {value}; evaluate again with this version")
    try:
        return Protocol(**{name: said[name] for name in _PROTOCOL})
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{run.place}: protocol: {clean(error, 100)}; evaluate again with this version") from error


def settings_of(run: Run, protocol: Protocol) -> tuple[dict[str, str], dict[str, str]]:
    """Return the protocol, and all other settings that are not about a machine, as texts.

    Files and folders are named without where they lie.
    """
    others = {name: value for name, value in _given(run).items() if value is not None}
    return (
        {name: clean(flag_value(value), _LONGEST) for name, value in protocol.settings().items()},
        {name: clean(flag_value(without_places(name, value)), _LONGEST) for name, value in others.items()},
    )


def command_of(run: Run, protocol: Protocol, repository: str | None) -> str | None:
    """Return the command that makes a result again, quoted for a shell, a flag in each line.

    Args:
        run: The result.
        protocol: Its protocol.
        repository: `USER/NAME@COMMIT` of its set, or None where it is a folder.

    Returns:
        The command, or None where the settings are not those of a command of this version.
    """
    given = _given(run)
    wanted = {name: value for name, value in (given | protocol.flags()).items() if value not in (None, _DEFAULTS[name])}
    wanted = _set_of(wanted, run, repository)
    if "model" not in given:
        wanted["model"] = ",".join(dict.fromkeys(entry.model for entry in run.entries))
    own = wanted.pop("subsets_dir", None)
    try:  # files are not looked at, but for those of subsets
        EvaluateConfig(**wanted | ({"category": None, "subset": None} if own else {}))
    except (InputError, TypeError, ValueError):
        return None
    wanted |= {"subsets_dir": own} if own else {}
    return evaluate_command({name: without_places(name, value) for name, value in wanted.items()})


def _given(run: Run) -> dict[str, object]:
    """Return settings beside the protocol that are of this version and could have been given."""
    names = [name for name in _DEFAULTS if name not in _PROTOCOL and name not in _MACHINE and name in run.config]
    return {name: run.config[name] for name in names if _fits(name, run.config[name])}


def _set_of(wanted: dict[str, object], run: Run, repository: str | None) -> dict[str, object]:
    """Say where the set is: on the Hub if it is there, else the name of its folder."""
    if repository is None:
        return wanted | ({"distilled": run.repository} if is_commit(run.repository) else {})
    kept = {name: value for name, value in wanted.items() if name not in _OF_FILES}
    return {**kept, "distilled": repository, **({"lr_dir": "none"} if wanted.get("lr_dir") == "none" else {})}


def _fits(name: str, value: object) -> bool:
    """Whether a value is of the type of a setting, and a text that a command can hold."""
    if value is None:
        return True
    if isinstance(value, str):
        if not value or len(value) > _LONGEST or not value.isprintable() or value.startswith("-"):
            return False
    elif not isinstance(value, bool | int | float) or not abs(value) < _LARGEST:
        return False
    return wrong_type(EvaluateConfig, name, value) is None
