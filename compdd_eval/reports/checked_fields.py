"""Fields of a file that anybody may have written: each is what it should be, or it is said what is wrong."""

import re
import unicodedata

from compdd_eval.utils.console import cut

_MARKS = 2  # combining marks on one letter; more only cover what is above and below
_MOST_TEXT = 300  # characters of a name
_MOST_DEPTH = 8  # of tables in tables, more than `evaluate` writes; what walks through them recurses


class Wrong(Exception):
    """What is wrong with a summary, in words."""


def table_of(name: str, value: object) -> dict:
    """Return a value that is a table; raise Wrong otherwise."""
    if not isinstance(value, dict):
        raise Wrong(f"{name} is missing or no table")
    return value


def list_of(name: str, value: object, least: int, most: int) -> list:
    """Return a value that is a list of so many; raise Wrong otherwise."""
    if not isinstance(value, list) or not least <= len(value) <= most:
        expected = str(least) if least == most else f"{least} to {most}"
        raise Wrong(f"{name} is no list of {expected}")
    return value


def text_of(name: str, value: object) -> str:
    """Return a value that is a text in one line; raise Wrong otherwise."""
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_TEXT or not value.isprintable():
        raise Wrong(f"{name} is no text of 1 to {_MOST_TEXT} characters in one line")
    return value


def is_sha256(value: object) -> bool:
    """Whether a value is a SHA-256 in hex digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def sha256_of(name: str, value: object) -> str:
    """Return a value that is a SHA-256 in hex digits; raise Wrong otherwise."""
    if not is_sha256(value):
        raise Wrong(f"digests: {name} is no SHA-256")
    return value


def number_of(name: str, value: object, low: float, high: float) -> float:
    """Return a value that is a number in a range, as a float; raise Wrong otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Wrong(f"{name} has {str(value)[:40]}, expected a number from {low:g} to {high:g}")
    return float(value)


def whole_of(name: str, value: object, low: int, high: int) -> int:
    """Return a value that is a whole number in a range; raise Wrong otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Wrong(f"{name} has {str(value)[:40]}, expected a whole number from {low} to {high}")
    return value


def plain_of(name: str, value: object) -> dict:
    """Return a table of settings as it is, if it is not too deep."""
    table_of(name, value)
    layer = [value]
    for _ in range(_MOST_DEPTH):
        inner = [part for outer in layer for part in (outer.values() if isinstance(outer, dict) else outer)]
        layer = [part for part in inner if isinstance(part, dict | list)]
    if layer:
        raise Wrong(f"{name} is too deep")
    return value


def clean(text: object, most: int = 1000) -> str:
    """Return a text in one line that can be shown: no control or direction characters, cut where it is too long."""
    # cut before it is looked at: a file may hold megabytes in one text
    kept, marks = [], 0
    for letter in str(text)[: 4 * most]:
        marks = marks + 1 if unicodedata.combining(letter) else 0
        if marks <= _MARKS:
            kept.append(letter if letter.isprintable() else " ")
    return cut(" ".join("".join(kept).split()), most)
