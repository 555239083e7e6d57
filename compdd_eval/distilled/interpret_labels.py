"""Bring the labels of a set to the subset's order: by names, by `distilled.json`, by a flag, or by a guess."""

import torch

from compdd_eval.config.reading import ReadConfig
from compdd_eval.data.label_kinds import infer_label_kind
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.synsets import synsets
from compdd_eval.distilled.class_order import label_columns, labels_of_names, listed_classes, ordered
from compdd_eval.distilled.metadata import RECORD_NAME, SetRecord
from compdd_eval.distilled.raw_set import Interpreted, RawSet
from compdd_eval.utils.errors import InputError


def order_labels(interpreted: Interpreted, raw: RawSet, config: ReadConfig) -> None:
    """Bring labels to the subset's order.

    Raises:
        InputError: They cannot be mapped to the classes of the subset.
    """
    labels, subset, order = raw.labels, interpreted.subset, config.label_order
    if labels.ndim == 1 and labels.is_floating_point() and torch.equal(labels.long().to(labels.dtype), labels):
        labels = labels.long()
    if labels.ndim == 2 and labels.shape[1] == len(synsets()) and subset is not None:
        labels, order = _take_columns(interpreted, raw, config.label_kind), "subset"
    interpreted.labels = labels
    if raw.names is not None:
        interpreted.labels = _by_names(interpreted, raw, config.label_order, order)
    elif config.label_order in ("auto", "subset") and order != "imagenet" and raw.record.classes is not None:
        interpreted.labels = _in_stated_order(labels, raw.record, subset)
        if config.label_order == "subset" and not torch.equal(interpreted.labels, labels):
            raise InputError(
                f"--label_order: the set says it itself ({RECORD_NAME}), and otherwise; leave the flag out"
            )
    elif order == "imagenet" or (order == "auto" and _are_indices(labels, subset)):
        _take_indices(interpreted)
        if order == "auto":
            interpreted.guesses.append(("label order", "ImageNet indices", "--label_order imagenet"))
    elif order == "auto":
        interpreted.guesses.append(("label order", "as in the subset", "--label_order subset"))
    elif order != "subset":
        interpreted.labels = ordered(labels, listed_classes(order, subset))


def _by_names(interpreted: Interpreted, raw: RawSet, given: str, order: str) -> torch.Tensor:
    """Map labels by what their classes are called in the source.

    Args:
        interpreted: With the labels.
        raw: The set as it is stored.
        given: `--label_order`: what the names mean; of labels beside folders, it is about the labels.
        order: The order of the labels beside folders.
    """
    named = given if raw.folders is None else "auto"
    mapped, kind = labels_of_names(raw.names, interpreted.subset, named, raw.name)
    pairs = ", ".join(f"{name} -> {label}" for name, label in zip(raw.names, mapped, strict=True))
    interpreted.remarks.append(f"classes taken as {kind}: {pairs}")
    mapped = torch.tensor(mapped)
    if raw.folders is None:
        return mapped[interpreted.labels]
    return _beside_folders(interpreted, raw.folders, mapped, order)


def _in_stated_order(labels: torch.Tensor, record: SetRecord, subset: Subset | None) -> torch.Tensor:
    """Map labels by the WordNet ids that `distilled.json` gives them."""
    if subset is None:
        return labels
    stated, ours = record.wnids, {entry.wnid: entry.label for entry in subset.classes}
    if set(stated.values()) != set(ours):
        strange = min(set(stated.values()) - set(ours), default=None)
        none_of = f"class {strange} is none of {subset.name}"
        problem = none_of if strange is not None else f"lists fewer classes than {subset.name} has"
        raise InputError(f"{RECORD_NAME}: {problem}; give --category and --subset of the set")
    target = {label: ours[wnid] for label, wnid in stated.items()}
    if all(label == other for label, other in target.items()):
        return labels  # also where labels have a gap, as those of music-hard-published
    if gaps := set(range(max(target) + 1)) - set(target):
        raise InputError(f"{RECORD_NAME}: classes have no label {min(gaps)}; expected labels without gaps")
    return ordered(labels, [target[label] for label in sorted(target)])


def _take_columns(interpreted: Interpreted, raw: RawSet, label_kind: str) -> torch.Tensor:
    """Cut soft labels for all of ImageNet to the subset; of a set for all its classes, keep the subset's images."""
    labels, subset = raw.labels.float(), interpreted.subset
    kind = infer_label_kind(labels) if label_kind == "auto" else label_kind
    peaks = labels.argmax(dim=1)
    own = torch.isin(peaks, torch.tensor(sorted(subset.class_map)))
    # a set for many classes; else other peaks are strays of a teacher that knew all 1000
    of_more = len(peaks.unique()) > 2 * NUM_CLASSES and 0 < 2 * int(own.sum()) < len(labels)
    interpreted.remarks.append(f"of the labels' {len(synsets())} columns those of {subset.name} are taken")
    if raw.names is None and of_more:
        labels = _keep(interpreted, labels, own)
    elif not own.all():
        number = len(labels) - int(own.sum())
        interpreted.doubts.append(f"{number} of {len(labels)} labels peak at a class that is none of {subset.name}")
    return label_columns(labels, subset, kind)


def _keep(interpreted: Interpreted, labels: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Keep the images of the subset and say so; return their labels."""
    number = f"{int(own.sum())} of {len(labels)}"
    interpreted.remarks.append(f"only the images of {interpreted.subset.name} are taken, {number}")
    interpreted.images = interpreted.images[own]
    return labels[own]


def _beside_folders(interpreted: Interpreted, folders: torch.Tensor, mapped: torch.Tensor, order: str) -> torch.Tensor:
    """Return labels of a file that lies beside class folders, in the order that the folders confirm.

    Hard labels, and the peaks of soft ones, are compared with the folders' classes; column k may be label k, or the
    k-th folder by name, as torchvision's `ImageFolder` numbers them.

    Raises:
        InputError: They agree with fewer than half of the folders: the labels are of other images, or in another order.
    """
    labels = interpreted.labels
    if labels.ndim == 2 and labels.shape[1] != NUM_CLASSES:
        return labels  # left to the checks of the set
    subset = interpreted.subset
    if _are_indices(labels, subset):
        labels, order = torch.tensor([subset.class_map.get(index, -1) for index in labels.tolist()]), "subset"
    elif order not in ("auto", "subset", "sorted", "imagenet"):
        labels, order = ordered(labels, listed_classes(order, subset)), "subset"
    peaks = labels if labels.ndim == 1 else labels.argmax(dim=1)
    agreeing = {"subset": int((peaks == mapped[folders]).sum()), "sorted": int((peaks == folders).sum())}
    chosen = order if order in agreeing else max(agreeing, key=agreeing.get)
    number = len(folders)
    # soft labels of a teacher may peak elsewhere now and then; for half of the images they do not
    if 2 * agreeing[chosen] < number:
        raise InputError(
            f"the labels peak at the class of the image's folder for {agreeing[chosen]} of {number} images only: they "
            "are of other images, or in another order than folders and files sorted by name; give the --label_dir of "
            "this set"
        )
    if agreeing[chosen] < number:
        wrong = number - agreeing[chosen]
        interpreted.doubts.append(f"{wrong} of {number} labels peak at another class than their image's folder")
    if chosen == "subset":
        return labels
    if order != chosen:
        interpreted.guesses.append(("label order", "as the folders are sorted", "--label_order sorted"))
    return ordered(labels, mapped.tolist())


def _are_indices(labels: torch.Tensor, subset: Subset | None) -> bool:
    """Whether hard labels can only be ImageNet indices: those of the subset, or of all 1000 classes."""
    if subset is None or labels.ndim != 1 or labels.is_floating_point():
        return False
    values = set(labels.unique().tolist())
    return max(values) >= NUM_CLASSES and (values <= set(subset.class_map) or values == set(range(len(synsets()))))


def _take_indices(interpreted: Interpreted) -> None:
    """Map ImageNet indices to labels; of a set for more classes keep the images of the subset."""
    labels, subset = interpreted.labels, interpreted.subset
    if subset is None:
        raise InputError("--label_order imagenet: give --category and --subset, or --classes")
    if labels.ndim != 1:
        raise InputError(f"--label_order imagenet is for labels [N], found {list(labels.shape)}")
    labels = labels.long()
    own, values = set(subset.class_map), set(labels.unique().tolist())
    strange = sorted(values - own)
    if strange and not (own < values and values <= set(range(len(synsets())))):
        raise InputError(f"--label_order imagenet: label {strange[0]} is no ImageNet index of {subset.name}")
    if strange:
        labels = _keep(interpreted, labels, torch.isin(labels, torch.tensor(sorted(own))))
    interpreted.labels = torch.tensor([subset.class_map[index] for index in labels.tolist()])
