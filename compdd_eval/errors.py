"""The one exception that means "the input is wrong", and how its messages suggest the right value."""

import difflib
from collections.abc import Iterable

_MANY = 16  # choices; more are not listed where one is close
_TOO_MANY = 70  # choices; more are never listed


class InputError(ValueError):
    """Bad input: a flag, a file or a value that the user can mend.

    The message is one line: it names the file or value, says what was expected and how to fix it.
    The command line prints it without a traceback and exits with status 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))


def unknown(kind: str, value: object, choices: Iterable[str]) -> InputError:
    """Make the error for a name that is none of `choices`: with the nearest where one is close, or all, or three."""
    choices = list(choices)
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(str(value).lower(), lowered, n=1, cutoff=0.5)
    if close and len(choices) > _MANY:
        return InputError(f"unknown {kind} {value!r}; did you mean {lowered[close[0]]!r}?")
    if len(choices) > _TOO_MANY:
        near = difflib.get_close_matches(str(value).lower(), lowered, n=3, cutoff=0.0)
        return InputError(f"unknown {kind} {value!r}; the nearest are {', '.join(lowered[name] for name in near)}")
    hint = f"; did you mean {lowered[close[0]]!r}?" if close else ""
    return InputError(f"unknown {kind} {value!r}{hint} (one of: {', '.join(choices)})")
