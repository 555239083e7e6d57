"""Read a distilled set, whatever its format: find the reader, then bring what it found to one meaning."""

import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from compdd_eval.config import ReadConfig
from compdd_eval.distilled import repository
from compdd_eval.distilled.classes import labels_of_names, listed_classes, ordered
from compdd_eval.distilled.content import Content, digest_of_tensors
from compdd_eval.distilled.facts import FACTS_NAME, metadata_of, statistics_of, subset_stated, wnids_of
from compdd_eval.distilled.folder import TENSORS_NAME, read_folder
from compdd_eval.distilled.image_files import holds_class_folders, read_image_folder
from compdd_eval.distilled.part_files import SUFFIXES, ignores_rate, is_part_file, read_part_files, read_rate
from compdd_eval.distilled.pixels import channels_first, doubt, guess_pixel_range, to_normalised
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.errors import InputError
from compdd_eval.labels import infer_label_kind
from compdd_eval.subsets import NUM_CLASSES, Subset, load_subset

_logger = logging.getLogger(__name__)


@dataclass
class Meaning:
    """Tensors in the terms of a `DistilledSet`, not yet checked, and how they were understood.

    Attributes:
        images: float32, ImageNet-normalised.
        labels: In the order of the subset.
        label_kind: `hard`, `logits` or `probabilities`.
        subset: The subset that the set is for, where it is known.
        guesses: What was guessed, as (what, the guess, the flag that states it).
        remarks: What was done to the set.
        doubts: What is said of the set, and does not look so.
    """

    images: torch.Tensor
    labels: torch.Tensor
    label_kind: str
    subset: Subset | None
    guesses: list[tuple[str, str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def notes(self) -> dict[str, list[str]]:
        """Guesses and remarks in words, as `DistilledSet.origin` keeps them; what is empty is left out."""
        guesses = [f"{what}: {guess} ({flag})" for what, guess, flag in self.guesses]
        return {name: notes for name, notes in (("guesses", guesses), ("remarks", self.remarks)) if notes}


def read_distilled(
    path: str | os.PathLike, config: ReadConfig | None = None, *, res: int | None = None, resize_all: bool = False
) -> DistilledSet:
    """Read a distilled set; what its files do not say is taken from the configuration, or guessed.

    Args:
        path: A folder (ours; `images.pt` and `labels.pt` as MTT, DATM and EDF save them; `images.npy`; class folders
            of images), a file (`.pt`, `.npz`, `.npy`, `.safetensors`), or `USER/NAME[@REVISION]` on the Hub.
        config: What the files do not say, as in `compdd_eval.ReadConfig(category="bird", subset="easy")`.
        res: Resolution for image files that are not all squares of one size.
        resize_all: Bring all image files to `res`.

    Returns:
        The set; `origin` names the files or the commit that were read, and holds the `guesses`, and `remarks` on what
        was done, if there are any.

    Raises:
        InputError: Nothing there that is a distilled set; the message says what is wrong, and with which file.
    """
    config = config or ReadConfig()
    content = open_content(path, config, res, resize_all)
    try:
        check_digest(content)
        meaning = understand(content, config)
        distilled = assemble(content, meaning, config)
    except InputError as error:
        if str(error).startswith(content.name):
            raise
        raise InputError(f"{content.name}: {error}") from error
    log_doubts(content.name, meaning)
    return distilled


def read_repository(repository_id: str) -> DistilledSet:
    """Read a set from the Hub, even where a folder is called so."""
    if not repository.is_repository(repository_id):
        raise InputError(f"{repository_id}: no name of a dataset on the Hub, which is USER/NAME")
    return read_distilled(f"{repository.PREFIX}{repository_id.removeprefix(repository.PREFIX)}")


def open_content(
    path: str | os.PathLike, config: ReadConfig, res: int | None = None, resize_all: bool = False
) -> Content:
    """Find the reader for a path and let it read; arguments and errors as in `read_distilled`."""
    text = os.fspath(path)
    local = Path(os.path.expanduser(text))
    if os.path.isdir(local):
        return _open_folder(local, config, res, resize_all)
    if local.name == TENSORS_NAME and local.is_file():
        return _with_rate(read_folder(local.parent), config)
    if os.path.isfile(local):
        if local.suffix.lower() not in SUFFIXES:
            raise InputError(f"{local}: expected a folder, or a file that ends with {', '.join(SUFFIXES)}")
        return read_part_files(local, config.label_dir, config.lr_dir)
    if repository.is_repository(text) and local.suffix.lower() not in SUFFIXES:
        return _with_rate(_open_repository(text, config, res, resize_all), config)
    raise InputError(f"{local}: no such file or folder; expected a folder, a file, or USER/NAME on the Hub")


def _open_folder(folder: Path, config: ReadConfig, res: int | None, resize_all: bool) -> Content:
    names = os.listdir(folder)
    has_parts = any(is_part_file(name) for name in names)
    if TENSORS_NAME in names and has_parts:
        part = next(name for name in sorted(names) if is_part_file(name))
        raise InputError(f"{folder}: holds both {TENSORS_NAME} and {part}; name the one that is meant, with its folder")
    if TENSORS_NAME in names:
        return _with_rate(read_folder(folder), config)
    if has_parts:
        return read_part_files(folder, config.label_dir, config.lr_dir)
    if holds_class_folders(folder):
        return _with_rate(read_image_folder(folder, res, resize_all), config)
    if FACTS_NAME in names:
        return read_folder(folder)
    return read_part_files(folder, config.label_dir, config.lr_dir)  # says what is missing


def _with_rate(content: Content, config: ReadConfig) -> Content:
    """Take the rate from where `--lr_dir` says; refuse labels from elsewhere, where there are some already."""
    if config.label_dir is not None:
        raise InputError(f"{content.name}: has labels of its own; leave --label_dir out")
    if config.lr_dir is None or ignores_rate(config.lr_dir):
        return content
    return replace(content, lr=read_rate(config.lr_dir))


def _open_repository(text: str, config: ReadConfig, res: int | None, resize_all: bool) -> Content:
    """Download a set, or take the cached copy, and read it as any folder; `origin` has the commit."""
    copy = repository.download(text)
    if copy.is_ours:
        content = read_folder(copy.folder)
    elif copy.has_parquet:
        content = repository.read_parquet(copy, res, resize_all)
    else:
        content = read_image_folder(copy.folder, res, resize_all)
    return replace(content, origin={"repository": copy.repo_id, "revision": copy.commit})


def check_digest(content: Content) -> None:
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


def understand(content: Content, config: ReadConfig) -> Meaning:
    """Bring what a reader found to the terms of a `DistilledSet`.

    Raises:
        InputError: What is said contradicts itself, or labels cannot be mapped.
    """
    subset = subset_of(content, config)
    meaning = Meaning(content.images, content.labels, "hard", subset, list(content.guesses), list(content.remarks))
    _check_contradictions(content, config)
    stated = content.facts.get("lr")
    if None not in (stated, content.lr) and stated != content.lr and config.lr_dir is None:
        meaning.doubts.append(f"{FACTS_NAME} says rate {stated:g}, the rate beside it is {content.lr:g} and is taken")
    _order_labels(meaning, content, config)
    _take_label_kind(meaning, content, config)
    _normalise(meaning, content, config)
    return meaning


def _check_contradictions(content: Content, config: ReadConfig) -> None:
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


def subset_of(content: Content, config: ReadConfig) -> Subset | None:
    """Return the subset that is asked for, or that the set says it is for; raise InputError if these differ."""
    asked, stated = config.load_subset(), content.facts.get("config_name")
    if asked is not None and stated is not None and asked.name != stated:
        raise InputError(
            f"was made for {stated}, not for {asked.name}: its labels mean other classes; give --category and --subset "
            f"(or --classes) of {stated}, or leave them out"
        )
    found = asked or subset_stated(content.facts)
    return load_subset(stated) if found is None and stated is not None else found  # says what is missing


def _order_labels(meaning: Meaning, content: Content, config: ReadConfig) -> None:
    """Bring labels to the subset's order."""
    labels, subset, order = content.labels, meaning.subset, config.label_order
    if labels.ndim not in (1, 2) or len(labels) != len(content.images) or not labels.numel():
        return  # left to the checks of the set
    if labels.ndim == 1 and labels.is_floating_point() and torch.equal(labels.long().to(labels.dtype), labels):
        labels = meaning.labels = labels.long()
    if content.names is not None:
        mapped, kind = labels_of_names(content.names, subset, order, content.name)
        meaning.labels = torch.tensor(mapped)[labels]
        pairs = ", ".join(f"{name} -> {label}" for name, label in zip(content.names, mapped, strict=True))
        meaning.remarks.append(f"classes taken as {kind}: {pairs}")
        return
    if order == "auto" and content.facts.get("classes") is not None:
        meaning.labels = _in_stated_order(labels, content, subset)
    elif order == "imagenet" or (order == "auto" and _are_indices(labels, subset)):
        meaning.labels = _from_indices(labels, subset)
        if order == "auto":
            meaning.guesses.append(("label order", "ImageNet indices", "--label_order imagenet"))
    elif order == "auto":
        meaning.guesses.append(("label order", "as in the subset", "--label_order subset"))
    elif order != "subset":
        meaning.labels = ordered(labels, listed_classes(order, subset))


def _in_stated_order(labels: torch.Tensor, content: Content, subset: Subset | None) -> torch.Tensor:
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


def _are_indices(labels: torch.Tensor, subset: Subset | None) -> bool:
    """Whether hard labels can only be ImageNet indices of the subset."""
    if subset is None or labels.ndim != 1 or labels.is_floating_point():
        return False
    values = set(labels.unique().tolist())
    return max(values) >= NUM_CLASSES and values <= set(subset.class_map)


def _from_indices(labels: torch.Tensor, subset: Subset | None) -> torch.Tensor:
    if subset is None:
        raise InputError("--label_order imagenet: give --category and --subset")
    if labels.ndim != 1:
        raise InputError(f"--label_order imagenet is for labels [N], found {list(labels.shape)}")
    strange = sorted(set(labels.unique().tolist()) - set(subset.class_map))
    if strange:
        raise InputError(f"--label_order imagenet: label {strange[0]} is no ImageNet index of {subset.name}")
    return torch.tensor([subset.class_map[index] for index in labels.long().tolist()])


def _take_label_kind(meaning: Meaning, content: Content, config: ReadConfig) -> None:
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


def _normalise(meaning: Meaning, content: Content, config: ReadConfig) -> None:
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


def _stated_range(pixel_range: str, config: ReadConfig) -> str:
    if config.pixel_range not in ("auto", pixel_range) or config.statistics() is not None:
        raise InputError("--pixel_range, --mean and --std are for tensors; image files are what they are")
    return pixel_range


def rate_of(content: Content, config: ReadConfig) -> object:
    """Return the learned rate: that of the files, else the one that `distilled.json` says; None if it is ignored."""
    if ignores_rate(config.lr_dir):
        return None
    return content.facts.get("lr") if content.lr is None else content.lr


def assemble(content: Content, meaning: Meaning, config: ReadConfig) -> DistilledSet:
    """Make the set; raise InputError where a part is not what it must be."""
    metadata = metadata_of(content.facts)
    if meaning.subset is not None:
        subset = meaning.subset
        metadata |= subset.selection
    lr = rate_of(content, config)
    origin = content.origin | meaning.notes
    return DistilledSet(meaning.images, meaning.labels, meaning.label_kind, lr, metadata, origin)


def log_doubts(name: str, meaning: Meaning) -> None:
    """Warn of what does not look as it is said to be."""
    for found in meaning.doubts:
        _logger.warning(f"{name}: {found}")
