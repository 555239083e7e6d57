"""The parts of README.md, the guides and dataset_card.md that come from the code and the subset files.

`python -m tests.support.generated_docs` writes them; a test fails when they drift.
"""

import re
from pathlib import Path

from comp_dd import _CITATION
from compdd_eval.commands import COMMANDS
from compdd_eval.config.protocol import DSA_STRATEGY, PRESET_SOURCES, PRESETS
from compdd_eval.data.card import CardEntry, card_metadata
from compdd_eval.data.subset_files import VALIDATION_IMAGES_PER_CLASS
from compdd_eval.data.subsets import load_subset, related_names, subset_names
from compdd_eval.methods.registry import list_methods

ROOT = Path(__file__).resolve().parents[2]
GUIDES = sorted((ROOT / "compdd_eval").rglob("README.md"))


def subset_table() -> str:
    """One line a configuration: sizes, published complexity, classes in label order."""
    lines = [
        "| configuration | train | validation | complexity | classes, labels 0-9 |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for name in subset_names():
        subset = load_subset(name)
        sizes = f"{subset.splits['train']:,} | {subset.splits['validation']:,}"
        classes = ", ".join(c.name for c in subset.classes)
        lines.append(f"| `{name}` | {sizes} | {subset.published_complexity_percent} % | {classes} |")
    return "\n".join(lines)


def related_table() -> str:
    """One line a related list: size, classes in label order, source."""
    lines = ["| list | train | classes, labels 0-9 | source |", "| --- | ---: | --- | --- |"]
    for name in related_names():
        subset = load_subset(name)
        classes = ", ".join(f"{c.name} ({c.imagenet_index})" for c in subset.classes)
        lines.append(f"| `{name}` | {subset.splits['train']:,} | {classes} | {subset.paper}; {subset.source} |")
    return "\n".join(lines)


def card_totals() -> str:
    """Totals over all configurations."""
    subsets = [load_subset(name) for name in subset_names()]
    classes = {c.wnid for subset in subsets for c in subset.classes}
    train = sum(subset.splits["train"] for subset in subsets)
    validation = sum(subset.splits["validation"] for subset in subsets)
    return (
        f"{len(subsets)} configurations, {len(classes)} distinct ImageNet classes, {train:,} training images and "
        f"{validation:,} validation images ({VALIDATION_IMAGES_PER_CLASS} a class)."
    )


def errata() -> str:
    """What differs from the published lists."""
    lines = []
    for name in subset_names():
        erratum = load_subset(name).erratum
        if erratum is not None:
            published = load_subset(name, published=True)
            sizes = f"{published.splits['train']:,} training and {published.splits['validation']:,} validation images"
            lines.append(
                f"- **`{name}`.** {erratum.reason} The published list, "
                f"`{list(erratum.published_imagenet_indices)}`, is prepared as `{published.name}` "
                f"({len(published.classes)} classes, {sizes})."
            )
    return "\n".join(lines)


def citation() -> str:
    """BibTeX of the paper."""
    return f"```bibtex\n{_CITATION}\n```"


def protocol_table() -> str:
    """All presets: a column each, and where their numbers come from."""
    names = list(PRESETS)
    lines = ["| | " + " | ".join(f"`{name}`" for name in names) + " |", "| --- |" + " --- |" * len(names)]
    for field in PRESETS["comp-dd"]:
        values = [PRESETS[name][field] for name in names]
        shown = ["all" if value == DSA_STRATEGY else str(value) for value in values]
        lines.append(f"| `{field}` | {' | '.join(shown)} |")
    sources = [f"- `{name}`: {text}." for name, text in PRESET_SOURCES.items()]
    return "\n".join([*lines, "", *sources])


def methods_table() -> str:
    """One line a distillation method of ours."""
    lines = ["| method | | paper | cost | needs |", "| --- | --- | --- | --- | --- |"]
    ours = [method for method in list_methods() if method.is_ours]
    for method in ours:
        lines.append(f"| `{method.name}` | {method.title} | {method.paper} | {method.cost} | {method.needs} |")
    return "\n".join(lines)


def methods_list() -> str:
    """Names, papers and needs of our distillation methods."""
    lines = ["| method | | paper | needs |", "| --- | --- | --- | --- |"]
    ours = [method for method in list_methods() if method.is_ours]
    return "\n".join([*lines, *(f"| `{m.name}` | {m.title} | {m.paper} | {m.needs} |" for m in ours)])


def subset_sizes() -> str:
    """One line a category: names, training images and complexity of its two subsets."""
    lines = ["| easy | train | complexity | hard | train | complexity |"]
    lines.append("| --- | ---: | ---: | --- | ---: | ---: |")
    subsets = [load_subset(name) for name in subset_names()]
    cells = [f"`{s.name}` | {s.splits['train']:,} | {s.published_complexity_percent} %" for s in subsets]
    lines += [f"| {easy} | {hard} |" for easy, hard in zip(cells[::2], cells[1::2], strict=True)]
    return "\n".join(lines)


def own_method() -> str:
    """The example of a method, without the docstring of its file."""
    text = (ROOT / "tests/support/own_method.py").read_text(encoding="utf-8")
    code = text.split('"""', 2)[2].strip()
    return f"```python\n{code}\n```"


def command_table() -> str:
    """One line a command."""
    return "\n".join(
        ["| command | what it does |", "| --- | --- |", *(f"| `{n}` | {t} |" for n, t in COMMANDS.items())]
    )


PARTS = {
    "methods_list": methods_list,
    "subset_sizes": subset_sizes,
    "own_method": own_method,
    "command_table": command_table,
    "methods_table": methods_table,
    "protocol_table": protocol_table,
    "subset_table": subset_table,
    "related_table": related_table,
    "totals": card_totals,
    "errata": errata,
    "citation": citation,
}


def regenerated(text: str) -> str:
    """Return a document with its generated parts made anew."""
    if text.startswith("---\n"):
        subsets = map(load_subset, subset_names())
        text = (
            card_metadata([CardEntry(subset, subset.splits) for subset in subsets]) + text[text.index("\n---", 3) + 4 :]
        )

    def replace(match: re.Match) -> str:
        return f"{match[1]}\n{PARTS[match[2]]()}\n{match[4]}"

    return re.sub(r"(<!-- generated: (\w+) -->)(.*?)(<!-- end -->)", replace, text, flags=re.DOTALL)


if __name__ == "__main__":
    for path in (ROOT / "README.md", ROOT / "dataset_card.md", *GUIDES):
        path.write_text(regenerated(path.read_text(encoding="utf-8")), encoding="utf-8")
