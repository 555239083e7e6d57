"""What the labels of a set mean: from numbers, WordNet ids, ImageNet indices or names to the labels of a subset."""

import re

import torch

from compdd_eval.data.label_kinds import infer_label_kind
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.synsets import plain_name, synsets
from compdd_eval.utils.errors import InputError, unknown

_LABELS, _INDICES, _WNIDS, _NAMES = "labels 0-9", "ImageNet indices", "WordNet ids", "class names"  # what names can be
_NEEDS_SUBSET = "give --category and --subset, or --classes"
_NUMBER = re.compile(r"(?:new|class_?|label_?)?0*(\d{1,5})")  # 3, 00003 (RDED), new003 (SRe2L)


def _readings(names: list[str], subset: Subset | None) -> dict[str, list[int | None]]:
    """Return what names can be taken for -> the label of each name then, None where it is nothing of the kind."""
    classes = subset.classes if subset else ()
    stripped = [name.strip().lower() for name in names]
    numbers = [int(match[1]) if (match := _NUMBER.fullmatch(name)) else None for name in stripped]
    ways = {
        _LABELS: (numbers, {label: label for label in range(NUM_CLASSES)}),
        _INDICES: (numbers, {each.imagenet_index: each.label for each in classes}),
        _WNIDS: (stripped, {each.wnid: each.label for each in classes}),
        _NAMES: (map(plain_name, names), {plain_name(each.name): each.label for each in classes}),
    }
    return {kind: [labels.get(key) for key in keys] for kind, (keys, labels) in ways.items()}


def labels_of_names(names: list[str], subset: Subset | None, order: str, source: str) -> tuple[list[int], str]:
    """Map what the classes of a source are called to labels.

    Args:
        names: Names of folders, keys of a dict, or class names of a dataset.
        subset: The subset, where it is known.
        order: `--label_order`.
        source: Where the names are from, for messages.

    Returns:
        A label for each name, and what the names were taken for, in words.

    Raises:
        InputError: A name is none of the subset's classes, or could mean two things.
    """
    readings = _readings(names, subset)
    if order not in ("auto", "subset", "imagenet"):
        return _through(names, readings[_LABELS], listed_classes(order, subset), source)
    # names such as 0-9 can be labels and ImageNet indices at once: all readings are tried, and two that differ refused
    wanted = {"subset": (_LABELS, _WNIDS), "imagenet": (_INDICES, _WNIDS)}.get(order, readings)
    fitting = {kind: labels for kind, labels in readings.items() if kind in wanted and None not in labels}
    if len({tuple(labels) for labels in fitting.values()}) > 1:
        raise InputError(
            f"{source}: {_some(names)} could be {' or '.join(fitting)}; say --label_order subset or "
            "--label_order imagenet"
        )
    if not fitting:
        raise _no_reading(names, subset, order, source, readings)
    kind, labels = next(iter(fitting.items()))
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        same = " and ".join(repr(name) for name, label in zip(names, labels, strict=True) if label == twice)
        raise InputError(f"{source}: {same} are one class, label {twice}; keep one of them")
    return labels, kind


def choose_classes(names: list[str], subset: Subset | None, order: str, source: str) -> dict[str, str]:
    """Of the classes of a source that has more than a subset, return those of the subset.

    Numbers are ImageNet indices only where all 1000 are there or `--label_order imagenet` says so: of a list with 100
    classes, they are positions in that list.

    Args:
        names: What the classes are called: more than ten names.
        subset: The subset, where it is known.
        order: `--label_order`.
        source: Where the names are from, for messages.

    Returns:
        Name -> WordNet id of the subset's classes.

    Raises:
        InputError: The subset is not known, or not all of its classes are there.
    """
    number = f"{source}: has {len(names)} classes, a subset has {NUM_CLASSES}"
    if subset is None:
        raise InputError(f"{number}; {_NEEDS_SUBSET}, and only its classes are read")
    numbered = len(names) == len(synsets()) or order == "imagenet"
    wnids = {entry.label: entry.wnid for entry in subset.classes}
    readings = _readings(names, subset)
    # the surest reading first; each has to find all classes of the subset, not only some
    for kind in (_WNIDS, _NAMES, _INDICES) if numbered else (_WNIDS, _NAMES):
        labels = zip(names, readings[kind], strict=True)
        chosen = {name: wnids[label] for name, label in labels if label is not None}
        if sorted(chosen.values()) == sorted(wnids.values()):
            return chosen
    hint = "" if numbered else " (where numbers are ImageNet indices, say --label_order imagenet)"
    raise InputError(
        f"{number}, and {_some(names)} are not called so that the {len(wnids)} of {subset.name} are found, by WordNet "
        f"id, ImageNet index or name{hint}; keep only these, or check --category and --subset"
    )


def _through(names: list[str], numbers: list[int | None], listed: list[int], source: str) -> tuple[list[int], str]:
    """Read names as numbers 0-9 whose meaning `--label_order` lists."""
    if None in numbers or max(numbers) >= len(listed):
        raise InputError(
            f"{source}: this --label_order is for classes called 0-{len(listed) - 1}, found {_some(names)}"
        )
    return [listed[number] for number in numbers], "the classes of --label_order"


def _no_reading(
    names: list[str], subset: Subset | None, order: str, source: str, readings: dict[str, list[int | None]]
) -> InputError:
    if subset is None:
        return InputError(f"{source}: cannot tell which labels {_some(names)} are; {_NEEDS_SUBSET}")
    if order == "subset":
        return InputError(f"{source}: {_some(names)} are not all labels 0-9, as --label_order subset wants")
    if order == "imagenet":
        return InputError(f"{source}: {_some(names)} are not all ImageNet indices of {subset.name}; see --label_order")
    # the reading that fits most names is the one that was meant: the names that do not fit it are at fault
    meant = min(readings.values(), key=lambda labels: labels.count(None))
    odd = [name for name, label in zip(names, meant, strict=True) if label is None]
    return InputError(
        f"{source}: {_some(odd)} is no label 0-9, and no ImageNet index, WordNet id or class name of {subset.name}; "
        "rename it, or check which subset is asked for"
    )


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")


def listed_classes(order: str, subset: Subset | None) -> list[int]:
    """Return the label of each class that `--label_order` lists; `sorted` lists them as `ImageFolder` numbers them.

    Raises:
        InputError: It is no list of the subset's classes.
    """
    parts = [part.strip() for part in order.split(",") if part.strip()]
    if len(parts) <= 1 and order != "sorted":
        raise unknown("value of --label_order", order, ("auto", "subset", "sorted", "imagenet", "ten classes"))
    if subset is None:
        raise InputError(f"--label_order {order[:60]}: {_NEEDS_SUBSET}")
    if order == "sorted":
        return [entry.label for entry in sorted(subset.classes, key=lambda entry: entry.wnid)]
    number = len(subset.classes)
    readings = _readings(parts, subset)
    for labels in (readings[_WNIDS], readings[_INDICES], readings[_NAMES]):
        if None not in labels and len(set(labels)) == len(labels) == number:
            return labels
    raise InputError(
        f"--label_order {order[:80]}: expected the {number} classes of {subset.name}, each once, all as WordNet ids, "
        "as ImageNet indices or as names"
    )


def ordered(labels: torch.Tensor, target: list[int]) -> torch.Tensor:
    """Give label k, or column k of soft labels, the number `target[k]`.

    Args:
        labels: int `[N]` with values below `len(target)`, or `[N, len(target)]`.
        target: For each label of the source, that of the subset.

    Returns:
        int64 `[N]`, or `[N, 10]` of the same type; a column that nothing maps to is 0 for probabilities, and has the
        lowest value of the row for logits, so that the softmax has nothing to gain there.

    Raises:
        InputError: There are other labels than the source has classes.
    """
    table, number = torch.tensor(target), len(target)
    if labels.ndim == 1:
        whole = labels.long()
        if not torch.equal(whole.to(labels.dtype), labels) or whole.min() < 0 or whole.max() >= number:
            values = f"{labels.min().item():g} to {labels.max().item():g}"
            raise InputError(f"the order of {number} classes is for whole numbers 0-{number - 1}, found {values}")
        return table[whole]
    if labels.shape[1] != number:
        raise InputError(f"the order of {number} classes is for as many columns, found {labels.shape[1]}")
    return _spread(labels, target, infer_label_kind(labels))


def label_columns(labels: torch.Tensor, subset: Subset, kind: str) -> torch.Tensor:
    """Return the columns of a subset out of soft labels for all of ImageNet, in label order.

    Args:
        labels: `[N, 1000]`.
        subset: The subset.
        kind: `logits` or `probabilities`.

    Returns:
        `[N, 10]`: logits as they are; probabilities given that the class is one of the subset's, so that rows sum to 1.

    Raises:
        InputError: Probabilities of an image have nothing for the classes of the subset.
    """
    chosen = labels[:, [entry.imagenet_index for entry in subset.classes]]
    if kind == "probabilities":
        total = chosen.sum(dim=1, keepdim=True)
        if (total <= 0).any():
            row = int((total <= 0).flatten().nonzero()[0])
            raise InputError(
                f"the label of image {row} has nothing for the classes of {subset.name}; is it of this set?"
            )
        chosen = chosen / total
    return _spread(chosen, [entry.label for entry in subset.classes], kind)


def _spread(labels: torch.Tensor, target: list[int], kind: str) -> torch.Tensor:
    """Put column k of soft labels at `target[k]`; what nothing maps to is as low as `ordered` says."""
    # music-hard as published has nine classes: no label may give the tenth any weight
    lowest = labels.min(dim=1, keepdim=True).values
    lowest = lowest * 0 if kind == "probabilities" else lowest
    moved = lowest.expand(-1, NUM_CLASSES).clone()
    moved[:, torch.tensor(target)] = labels
    return moved
