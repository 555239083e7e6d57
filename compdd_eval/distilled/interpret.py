"""Bring what a reader found to one meaning: what labels and pixels are, by what is said of them or else by a guess."""

import logging
from dataclasses import dataclass, field, replace

import torch

from compdd_eval.config.reading import ReadConfig
from compdd_eval.data.label_kinds import infer_label_kind
from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.subsets import load_subset
from compdd_eval.data.synsets import synsets
from compdd_eval.distilled.class_order import columns_of, labels_of_names, listed_classes, ordered
from compdd_eval.distilled.content import RawSet, check_size
from compdd_eval.distilled.formats.published import ignores_rate
from compdd_eval.distilled.metadata import FACTS_NAME, statistics_of, subset_stated, wnids_of
from compdd_eval.distilled.mosaics import FACTOR, cut_mosaics, looks_like_mosaics
from compdd_eval.distilled.pixel_range import channels_first, doubt, guess_pixel_range, to_normalised
from compdd_eval.utils.digests import digest_of_tensors
from compdd_eval.utils.errors import InputError

_logger = logging.getLogger(__name__)


@dataclass
class Interpreted:
    """Tensors in the terms of a `DistilledSet`, not yet checked, and how they were understood.

    Attributes:
        images: float32, ImageNet-normalised.
        labels: In the order of the subset.
        label_kind: `hard`, `logits` or `probabilities`.
        subset: The subset that the set is for, where it is known.
        guesses: What was guessed, as (what, the guess, the flag that states it).
        remarks: What was done to the set.
        doubts: What is said of the set, and does not look so.
        factor: Images of a side of the mosaics that were cut; 1 where there were none.
    """

    images: torch.Tensor
    labels: torch.Tensor
    label_kind: str
    subset: Subset | None
    guesses: list[tuple[str, str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    factor: int = 1

    @property
    def notes(self) -> dict[str, list[str]]:
        """Guesses and remarks in words, as `DistilledSet.origin` keeps them; what is empty is left out."""
        guesses = [f"{what}: {guess} ({flag})" for what, guess, flag in self.guesses]
        return {name: notes for name, notes in (("guesses", guesses), ("remarks", self.remarks)) if notes}


def check_digest(content: RawSet) -> None:
    """Raise InputError where the tensors are not the ones that `distilled.json` was written for."""
    stated = content.facts.get("sha256")
    if stated is None or content.pixel_range is not None:
        return
    found = digest_of_tensors(content.images, content.labels)
    if found != stated:
        raise InputError(
            f"{content.name}: {FACTS_NAME} was written for other tensors (sha256 {stated[:12]}..., these have "
            f"{found[:12]}...): a file was changed or damaged; get the set again, or remove {FACTS_NAME}"
        )


def understand(content: RawSet, config: ReadConfig) -> Interpreted:
    """Bring what a reader found to the terms of a `DistilledSet`.

    Raises:
        InputError: What is said contradicts itself, or labels cannot be mapped.
    """
    subset = subset_of(content, config)
    notes = list(content.guesses), list(content.remarks), list(content.doubts)
    meaning = Interpreted(content.images, content.labels, "hard", subset, *notes)
    _check_contradictions(content, config)
    stated = content.facts.get("lr")
    if None not in (stated, content.lr) and stated != content.lr and config.lr_dir is None:
        meaning.doubts.append(f"{FACTS_NAME} says rate {stated:g}, the rate beside it is {content.lr:g} and is taken")
    _order_labels(meaning, content, config)
    _take_label_kind(meaning, content, config)
    _normalise(meaning, content, config)
    _cut_mosaics(meaning, content, config)
    return meaning


def _check_contradictions(content: RawSet, config: ReadConfig) -> None:
    """Raise InputError where a flag says something else than the set: labels or pixels would be changed twice."""
    facts, tensors = content.facts, content.pixel_range is None
    statistics, kind = statistics_of(facts), facts.get("label_kind")
    given = None
    if tensors and facts.get("classes") is not None and config.label_order not in ("auto", "subset"):
        given = "--label_order"
    elif tensors and statistics is not None and config.statistics() not in (None, statistics):
        given = "--mean and --std"
    elif tensors and statistics is not None and config.pixel_range not in ("auto", "normalised"):
        given = "--pixel_range"
    elif tensors and kind is not None and config.label_kind not in ("auto", kind):
        given = "--label_kind"
    if given is not None:
        raise InputError(f"{given}: the set says it itself ({FACTS_NAME}), and otherwise; leave the flag out")


def subset_of(content: RawSet, config: ReadConfig) -> Subset | None:
    """Return the subset that is asked for, or that the set says it is for; raise InputError if these differ."""
    asked, stated = config.load_subset(), content.facts.get("config_name")
    if asked is not None and stated is not None and asked.name != stated:
        raise InputError(
            f"was made for {stated}, not for {asked.name}: its labels mean other classes; give --category and --subset "
            f"(or --classes) of {stated}, or leave them out"
        )
    found = asked or subset_stated(content.facts)
    return load_subset(stated) if found is None and stated is not None else found  # says what is missing


def _order_labels(meaning: Interpreted, content: RawSet, config: ReadConfig) -> None:
    """Bring labels to the subset's order."""
    labels, subset, order = content.labels, meaning.subset, config.label_order
    if labels.ndim not in (1, 2) or len(labels) != len(content.images) or not labels.numel():
        return  # left to the checks of the set
    if labels.ndim == 1 and labels.is_floating_point() and torch.equal(labels.long().to(labels.dtype), labels):
        labels = meaning.labels = labels.long()
    if labels.ndim == 2 and labels.shape[1] == len(synsets()) and subset is not None:
        labels, order = _take_columns(meaning, content, config), "subset"
        content = replace(content, labels=labels)
    if content.names is not None:
        named = config.label_order if content.places is None else "auto"  # else it is that of the labels beside them
        mapped, kind = labels_of_names(content.names, subset, named, content.name)
        pairs = ", ".join(f"{name} -> {label}" for name, label in zip(content.names, mapped, strict=True))
        meaning.remarks.append(f"classes taken as {kind}: {pairs}")
        mapped = torch.tensor(mapped)
        meaning.labels = mapped[labels] if content.places is None else _beside_folders(meaning, content, mapped, order)
        return
    if order == "auto" and content.facts.get("classes") is not None:
        meaning.labels = _in_stated_order(labels, content, subset)
    elif order == "imagenet" or (order == "auto" and _are_indices(labels, subset)):
        _take_indices(meaning, labels)
        if order == "auto":
            meaning.guesses.append(("label order", "ImageNet indices", "--label_order imagenet"))
    elif order == "auto":
        meaning.guesses.append(("label order", "as in the subset", "--label_order subset"))
    elif order != "subset":
        meaning.labels = ordered(labels, listed_classes(order, subset))


def _in_stated_order(labels: torch.Tensor, content: RawSet, subset: Subset | None) -> torch.Tensor:
    """Map labels by the WordNet ids that `distilled.json` gives them."""
    wnids = wnids_of(content.facts)
    if subset is None:
        return labels
    ours = {entry.wnid: entry.label for entry in subset.classes}
    if wnids == {label: wnid for wnid, label in ours.items()}:
        return labels
    if set(wnids.values()) != set(ours):
        strange = next(iter(set(wnids.values()) - set(ours)), None)
        found = (
            f"class {strange} is none of {subset.name}" if strange else f"lists fewer classes than {subset.name} has"
        )
        raise InputError(f"{FACTS_NAME}: {found}; give --category and --subset of the set")
    target = [ours.get(wnids.get(label)) for label in range(max(wnids) + 1)]
    if None in target:
        raise InputError(f"{FACTS_NAME}: classes have no label {target.index(None)}; expected labels without gaps")
    return ordered(labels, target)


def _take_columns(meaning: Interpreted, content: RawSet, config: ReadConfig) -> torch.Tensor:
    """Cut soft labels for all of ImageNet to the subset; of a set for all its classes, keep the subset's images."""
    labels, subset = content.labels.float(), meaning.subset
    kind = infer_label_kind(labels) if config.label_kind == "auto" else config.label_kind
    peaks = labels.argmax(dim=1)
    own = torch.isin(peaks, torch.tensor(sorted(subset.class_map)))
    of_more = len(peaks.unique()) > 2 * NUM_CLASSES and 0 < 2 * int(own.sum()) < len(
        labels
    )  # and no strays of a teacher
    meaning.remarks.append(f"of the labels' {len(synsets())} columns those of {subset.name} are taken")
    if content.names is None and of_more:
        meaning.remarks.append(f"only the images of {subset.name} are taken, {int(own.sum())} of {len(labels)}")
        meaning.images, labels = meaning.images[own], labels[own]
    elif not own.all():
        number = len(labels) - int(own.sum())
        meaning.doubts.append(f"{number} of {len(labels)} labels peak at a class that is none of {subset.name}")
    meaning.labels = columns_of(labels, subset, kind)
    return meaning.labels


def _beside_folders(meaning: Interpreted, content: RawSet, mapped: torch.Tensor, order: str) -> torch.Tensor:
    """Return labels of a file that lies beside class folders, in the order that the folders confirm.

    Hard labels, and the peaks of soft ones, are compared with the folders' classes; column k may be label k, or the
    k-th folder by name, as torchvision's `ImageFolder` numbers them.

    Raises:
        InputError: They agree with fewer than half of the folders: the labels are of other images, or in another order.
    """
    labels, places = content.labels, content.places
    if labels.ndim == 2 and labels.shape[1] != NUM_CLASSES:
        return labels  # left to the checks of the set
    if _are_indices(labels, meaning.subset):
        labels, order = torch.tensor([meaning.subset.class_map.get(index, -1) for index in labels.tolist()]), "subset"
    elif order not in ("auto", "subset", "sorted", "imagenet"):
        labels, order = ordered(labels, listed_classes(order, meaning.subset)), "subset"
    peaks = labels if labels.ndim == 1 else labels.argmax(dim=1)
    agreeing = {"subset": int((peaks == mapped[places]).sum()), "sorted": int((peaks == places).sum())}
    chosen = order if order in agreeing else max(agreeing, key=agreeing.get)
    number = len(places)
    if 2 * agreeing[chosen] < number:
        raise InputError(
            f"the labels peak at the class of the image's folder for {agreeing[chosen]} of {number} images only: they "
            "are of other images, or in another order than folders and files sorted by name; give the --label_dir of "
            "this set"
        )
    if agreeing[chosen] < number:
        wrong = number - agreeing[chosen]
        meaning.doubts.append(f"{wrong} of {number} labels peak at another class than their image's folder")
    if chosen == "subset":
        return labels
    if order != chosen:
        meaning.guesses.append(("label order", "as the folders are sorted", "--label_order sorted"))
    return ordered(labels, mapped.tolist())


def _are_indices(labels: torch.Tensor, subset: Subset | None) -> bool:
    """Whether hard labels can only be ImageNet indices: those of the subset, or of all 1000 classes."""
    if subset is None or labels.ndim != 1 or labels.is_floating_point():
        return False
    values = set(labels.unique().tolist())
    return max(values) >= NUM_CLASSES and (values <= set(subset.class_map) or values == set(range(len(synsets()))))


def _take_indices(meaning: Interpreted, labels: torch.Tensor) -> None:
    """Map ImageNet indices to labels; of a set for more classes keep the images of the subset."""
    subset = meaning.subset
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
        kept = torch.isin(labels, torch.tensor(sorted(own)))
        meaning.remarks.append(f"only the images of {subset.name} are taken, {int(kept.sum())} of {len(labels)}")
        meaning.images, labels = meaning.images[kept], labels[kept]
    meaning.labels = torch.tensor([subset.class_map[index] for index in labels.tolist()])


def _take_label_kind(meaning: Interpreted, content: RawSet, config: ReadConfig) -> None:
    labels, stated = meaning.labels, content.facts.get("label_kind")
    if labels.ndim == 2 and not labels.is_floating_point():
        labels = meaning.labels = labels.float()  # one-hot rows of integers
    if config.label_kind != "auto":
        meaning.label_kind = config.label_kind
    elif stated is not None and content.names is None:
        meaning.label_kind = stated
    else:
        meaning.label_kind = infer_label_kind(labels) if labels.ndim == 2 else "hard"
        if labels.ndim == 2:
            meaning.guesses.append(("label kind", meaning.label_kind, f"--label_kind {meaning.label_kind}"))
        if meaning.label_kind == "logits" and _rows_sum_to_zero(labels):
            meaning.doubts.append(
                "the rows of the labels sum to zero, as those of centred one-hot labels (KIP, FRePo) do; they are "
                f"taken as logits, whose softmax peaks at {labels.float().softmax(1).max():.2g}; --label_kind logits "
                "states it"
            )


def _rows_sum_to_zero(labels: torch.Tensor) -> bool:
    """Whether rows that are not flat sum to zero, up to rounding."""
    rows = labels.double()
    return bool((rows.sum(1).abs() <= 1e-3 * rows.abs().sum(1)).all()) and bool(rows.any())


def _normalise(meaning: Interpreted, content: RawSet, config: ReadConfig) -> None:
    images = meaning.images
    if images.ndim != 4 or not images.numel():
        return  # left to the checks of the set
    images, moved = channels_first(images)
    if moved:
        meaning.remarks.append("images have their channels last, [N, H, W, 3]: they are moved to [N, 3, H, W]")
    if images.shape[1] != 3:
        return
    statistics, pixel_range = config.statistics() or statistics_of(content.facts), config.pixel_range
    if content.pixel_range is not None:
        statistics, pixel_range = None, _stated_range(content.pixel_range, config)
    elif pixel_range == "auto" and statistics is not None:
        pixel_range = "normalised"
    elif pixel_range == "auto":
        pixel_range = guess_pixel_range(images)
        in_words = {"normalised": "normalised with ImageNet's mean and std", "0-1": "[0, 1]", "0-255": "[0, 255]"}
        flag = f"--pixel_range {pixel_range}"
        meaning.guesses.append(("pixel range", in_words[pixel_range], flag))
        if pixel_range != "normalised" and images.is_floating_point():
            meaning.doubts.append(f"the images look like {in_words[pixel_range]} and are taken so; {flag} states it")
    elif found := doubt(images, pixel_range):
        meaning.doubts.append(found)
    meaning.images = to_normalised(images, pixel_range, statistics)
    if images.dtype == torch.float64:
        meaning.remarks.append("images are rounded from float64 to float32")


def _cut_mosaics(meaning: Interpreted, content: RawSet, config: ReadConfig) -> None:
    """Cut mosaics of --factor x --factor images, or say it where images look like such."""
    images, labels, factor = meaning.images, meaning.labels, config.factor
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3] or not images.numel():
        return  # left to the checks of the set
    stated = (content.facts.get("metadata") or {}).get(FACTOR)
    if factor is None or factor == 1:
        if factor is None and stated is None and (found := looks_like_mosaics(images)):
            meaning.doubts.append(
                f"the images look like mosaics of {found} x {found} images, as IDC, DANCE and NCFM store them; if so "
                f"give --factor {found}, else --factor 1"
            )
        return
    if stated is not None:
        raise InputError(f"--factor: the set was cut already (factor {stated} in {FACTS_NAME}); leave the flag out")
    if labels.ndim not in (1, 2) or len(labels) != len(images):
        return  # left to the checks of the set
    check_size(f"{len(images)} mosaics cut by --factor {factor}", images.numel() * factor**2)
    meaning.images, meaning.labels = cut_mosaics(images, factor), labels.repeat_interleave(factor**2, dim=0)
    meaning.factor = factor
    meaning.remarks.append(
        f"{len(images)} mosaics of {factor} x {factor} are cut into {len(meaning.images)} images, each part resized to "
        f"{images.shape[-1]} px"
    )


def _stated_range(pixel_range: str, config: ReadConfig) -> str:
    if config.pixel_range not in ("auto", pixel_range) or config.statistics() is not None:
        raise InputError("--pixel_range, --mean and --std are for tensors; image files are what they are")
    return pixel_range


def rate_of(content: RawSet, config: ReadConfig) -> object:
    """Return the learned rate: that of the files, else the one that `distilled.json` says; None if it is ignored."""
    if ignores_rate(config.lr_dir):
        return None
    return content.facts.get("lr") if content.lr is None else content.lr


def log_doubts(name: str, meaning: Interpreted) -> None:
    """Warn of what does not look as it is said to be."""
    for found in meaning.doubts:
        _logger.warning(f"{name}: {found}")
