"""Cards for the Hub: Markdown out of templates, its tables, its generated parts, and the YAML that it begins with."""

import re
from collections.abc import Iterable
from functools import cache

import yaml


def templates(package: str, folder: str, **options: object) -> object:
    """Open the templates that lie in a folder of a package, with options of `jinja2.Environment`."""
    import jinja2

    loader = jinja2.PackageLoader(package, folder)
    kept = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    return jinja2.Environment(loader=loader, **kept, **options)


@cache
def _environment(package: str) -> object:
    environment = templates(package, ".", keep_trailing_newline=True)  # no escapes: this is Markdown
    environment.filters["cell"] = cell
    return environment


def fill(package: str, template: str, **values: object) -> str:
    """Fill in a template that lies in a package, such as `compdd_eval.distilled`; KeyError where a value is missing."""
    import jinja2

    try:
        return _environment(package).get_template(template).render(**values)
    except jinja2.UndefinedError as error:
        raise KeyError(str(error)) from error


def to_yaml(content: object) -> str:
    """Return YAML in the order of the content, with letters as they are."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def front_matter(metadata: dict[str, object]) -> str:
    """Return the YAML that a card begins with, with its dashes."""
    return f"---\n{to_yaml(metadata)}---"


def cell(value: object) -> str:
    """Return a value as a cell of a table."""
    return "not stated" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table; columns whose name ends with ">" are aligned right."""
    columns = list(columns)
    head = "|".join(f" {name.rstrip('>')} " if name else " " for name in columns)
    rule = " | ".join("---:" if name.endswith(">") else "---" for name in columns)
    return "\n".join([f"|{head}|", f"| {rule} |", *[f"| {' | '.join(map(cell, row))} |" for row in rows]])


def generated_part(text: str, name: str) -> str | None:
    """Return what stands between the marks of a part, or None where there are no such marks."""
    found = re.search(_pattern(name), text, flags=re.DOTALL)
    return found[1].strip() if found else None


def with_part(text: str, name: str, content: str) -> str:
    """Return a text with another content between the marks of a part; all that others have written around it stays."""
    part = f"<!-- compdd_eval: {name} -->\n{content}\n<!-- end -->"
    return re.sub(_pattern(name), lambda _: part, text, count=1, flags=re.DOTALL)


def _pattern(name: str) -> str:
    return rf"<!-- compdd_eval: {name} -->\n(.*?)<!-- end -->"
