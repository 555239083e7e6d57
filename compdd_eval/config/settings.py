"""What the settings of all commands share: checks of their fields, and how they are filled in."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import ClassVar, Literal, get_args, get_origin, get_type_hints

from compdd_eval.config.checks import AUTO, MANY, MOST_CORES
from compdd_eval.utils.errors import InputError, require, unknown


@dataclass(frozen=True)
class Settings:
    """Settings that cannot be changed once they are made; a field that is left out (None) passes every check.

    The checks raise InputError; what they refuse and nobody could mean is a slip of the finger, such as 99999 students.
    """

    on_command_line: ClassVar[frozenset[str]] = frozenset()  # names of those that were given there, also as defaults

    def _set(self, name: str, value: object) -> None:
        """Set a field while the settings are made."""
        object.__setattr__(self, name, value)

    def _expand_home(self, *names: str) -> None:
        """Let ~ be the home folder in paths, or in lists of paths."""
        for name in names:
            value = getattr(self, name)
            if value is not None:
                is_list = isinstance(value, list)
                self._set(name, list(map(os.path.expanduser, value)) if is_list else os.path.expanduser(value))

    def _make_code_absolute(self, *names: str) -> None:
        """Give Python files their whole path, for other processes may start elsewhere; other values stay."""
        for name in names:
            value = getattr(self, name)
            if value is not None and value.endswith(".py"):
                self._set(name, os.path.abspath(os.path.expanduser(value)))

    def _check(self, name: str, valid: Callable[[object], bool], expected: str) -> None:
        value = getattr(self, name)
        require(f"--{name}", value, value is None or valid(value), expected)

    def _check_choices(self) -> None:
        """Refuse what is none of the choices of a field that has a few."""
        for name, hint in hints_of(type(self)).items():
            value, choices = getattr(self, name), choices_of(hint)
            numbers = not {int, float}.isdisjoint(get_args(hint))
            left_out = value is None and get_origin(hint) is not Literal
            if not choices or left_out or value in choices or (numbers and type(value) in (int, float)):
                continue
            if numbers:
                raise InputError(f"--{name} {value}: expected a number or {', '.join(choices)}")
            raise unknown(f"value of --{name}", value, choices)

    def _check_number_of(self, name: str, what: str, least: int = 1, most: int = MANY) -> None:
        self._check(name, lambda value: least <= value <= most, f"a number of {what} from {least} to {most}")

    def _check_whole(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda value: value >= 1, "a whole number from 1")

    def _check_above_zero(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda value: 0 < value < math.inf, "a finite number above 0")

    def _check_from_zero(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda value: 0 <= value < math.inf, "a finite number from 0")

    def _check_share(self, name: str) -> None:
        self._check(name, lambda value: 0 <= value <= 1, "a number in [0, 1]")

    def _check_momentum(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda value: 0 <= value < 1, "a number in [0, 1)")

    def _check_seed(self, networks: int = 1) -> None:
        """Check the seed of the first of several networks; NumPy takes none from 2^32 on."""
        self._check("seed", lambda seed: 0 <= seed <= 2**32 - networks, "a whole number from 0, below 2^32")

    def _check_res(self) -> None:
        self._check("res", lambda value: value >= 1, "a number of pixels from 1, for example 128")

    def _check_students(self, name: str = "num_eval") -> None:
        self._check(name, lambda value: 1 <= value <= MANY, f"a number from 1 to {MANY}")

    def _check_threads(self) -> None:
        self._check(
            "threads", lambda value: 0 <= value <= MOST_CORES, f"0 or a number of CPU threads up to {MOST_CORES}"
        )

    def _check_together(self) -> None:
        expected = f"{AUTO}, or a number from 1 to {MANY}"
        self._check("students_per_device", lambda value: value == AUTO or 1 <= value <= MANY, expected)

    def _check_given(self, name: str, example: str) -> None:
        """Refuse an argument without a flag that is missing."""
        if not getattr(self, name):
            raise InputError(f"{name.upper()} is missing, as in: compdd_eval {example}")

    def _check_list(self, name: str, least: int, example: str) -> None:
        """Refuse too few places, a text in place of a list, and empty places: variables that nobody has set."""
        places, shown = getattr(self, name), name.upper()
        require(shown, repr(places), not isinstance(places, str), f"a list, for example {[places]}")
        if len(places) < least:
            missing = "is missing" if not places else f"has {len(places)}, expected {least} or more"
            raise InputError(f"{shown} {missing}, as in: compdd_eval {example}")
        if not all(place.strip() for place in places):
            raise InputError(
                f"{shown} has an empty name, maybe a variable that is not set; as in: compdd_eval {example}"
            )


@cache
def hints_of(kind: type[Settings]) -> Mapping[str, object]:
    """Return the type of each setting."""
    return MappingProxyType(get_type_hints(kind))


@cache
def choices_of(hint: object) -> tuple[str, ...]:
    """Return the only texts that a setting of a type, or of one of several, can be; none for any text, or no text."""
    alone = (hint,) if get_origin(hint) is Literal else get_args(hint) or (hint,)
    parts = hint if isinstance(hint, tuple) else alone
    choices = [each for part in parts if get_origin(part) is Literal for each in get_args(part)]
    return () if str in parts else tuple(each for each in choices if isinstance(each, str))
