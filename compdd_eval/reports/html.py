"""Web pages from templates: everything that is put in is escaped, and nothing is loaded from elsewhere."""

import base64
import hashlib
import json
import re
from functools import cache

from compdd_eval.reports.summaries import Group
from compdd_eval.utils.markdown import templates

_MOST_SEEDS = 50  # that are listed
_URL = re.compile(r"https?://[^\s\"'<>\\]{1,2000}")


@cache
def _environment() -> object:
    environment = templates("compdd_eval.reports", "templates", autoescape=True)
    environment.filters |= {function.__name__: function for function in (percent, points, mean_and_std, span)}
    return environment


def render_page(template: str, **values: object) -> str:
    """Fill in a template of this package; texts are escaped, but for `markupsafe.Markup`."""
    text = _environment().get_template(template).render(**values)
    return text.encode("utf-8", errors="replace").decode("utf-8")  # half a pair of surrogates cannot be written


def asset(name: str) -> object:
    """Return a style sheet or script of this package, to be put into a page as it is."""
    from markupsafe import Markup

    return Markup(_environment().loader.get_source(_environment(), name)[0])


def policy(scripts: list[str]) -> str:
    """Return a Content-Security-Policy under which a page loads nothing and runs these scripts alone.

    Args:
        scripts: Content of each `<script>` element, exactly.
    """
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'"


def json_for_script(content: object) -> object:
    """Write JSON that can stand in a `<script>` element, whatever texts are in it."""
    from markupsafe import Markup

    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def percent(value: float | None, digits: int = 1) -> str:
    """Write a fraction in percent, without the sign."""
    return "–" if value is None else f"{100 * value:.{digits}f}"


def each_seed(group: Group) -> str:
    """Write the accuracy of each student, or of the first ones of many, in percent."""
    pairs = list(group.by_seed.items())
    more = f", and {len(pairs) - _MOST_SEEDS:,} more" if len(pairs) > _MOST_SEEDS else ""
    return ", ".join(f"seed {seed}: {percent(accuracy, 2)}" for seed, accuracy in pairs[:_MOST_SEEDS]) + more


def mean_and_std(group: Group | None) -> str:
    """Write the mean of some students in percent, with its standard deviation where there are several."""
    if group is None:
        return "–"
    return percent(group.mean, 2) + ("" if group.std is None else f" ± {percent(group.std, 2)}")


def points(value: float | None) -> str:
    """Write a difference of fractions in points, with its sign."""
    return "–" if value is None else f"{round(100 * value, 2) + 0.0:+.2f}"  # + 0.0: no -0.00


def span(interval: list[float] | None, sign: bool = False) -> str:
    """Write an interval of fractions in percent."""
    if interval is None:
        return "–"
    return " to ".join(f"{100 * value:{'+' if sign else ''}.1f}" for value in interval)


def short(text: object, most: int = 60) -> str:
    """Return a text in one line, cut in its middle where it is longer."""
    line = " ".join(str(text).split())
    half = (most - 1) // 2
    return line if len(line) <= most else f"{line[:half]}…{line[-half:]}"


def as_link(value: object) -> str | None:
    """Return a text if it is a web address and nothing else, or None."""
    return value if isinstance(value, str) and _URL.fullmatch(value) else None
