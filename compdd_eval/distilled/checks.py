"""What can be wrong with a distilled set and shows without training: one function a check."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import adaptive_avg_pool2d

from compdd_eval.data.subset_files import NUM_CLASSES, Subset
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD, denormalise
from compdd_eval.distilled.label_order import compare_label_order
from compdd_eval.distilled.pixel_range import guess_pixel_range, in_unit_range
from compdd_eval.distilled.raw_set import Interpreted
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.distilled.tensors import range_remark
from compdd_eval.utils.errors import InputError

PASSED, WARNING, FAILED, SKIPPED = "passed", "warning", "failed", "skipped"
_ALIKE = 0.999  # correlation from which two images are near duplicates
_THUMB = 16  # pixels of a side at which images are compared
_CELLS = 4  # of a side, whose means are coarse structure
_CHUNK = 1024  # images that are compared with all others at a time
_LOWEST = min(-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))  # black, normalised
_HIGHEST = max((1 - mean) / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))  # white


@dataclass(frozen=True)
class Check:
    """One check: its name, its result (`passed`, `warning`, `failed`, or `skipped`: it could not be made), and why."""

    name: str
    result: str
    detail: str


@dataclass(frozen=True)
class RealSample:
    """Real validation images of the subset, with what the whole training set has.

    Attributes:
        images: float32 `[M, 3, H, H]`, ImageNet-normalised, at the set's resolution.
        labels: int64 `[M]`.
        train_bytes: Bytes of the original training images, where they are known.
    """

    images: torch.Tensor
    labels: torch.Tensor
    train_bytes: int | None = None


def check_of(name: str, work: Callable[[], object], detail: Callable[[object], str] | str) -> tuple[Check, object]:
    """Make a check of what raises InputError when it is wrong; return it with the outcome."""
    try:
        outcome = work()
        text = detail if isinstance(detail, str) else detail(outcome)
    except InputError as error:
        return Check(name, FAILED, str(error)), None
    return Check(name, PASSED, text), outcome


def guesses(interpreted: Interpreted) -> Check:
    """What the files leave unsaid."""
    if not interpreted.guesses:
        return Check("stated", PASSED, "pixel range, label kind and label order are stated")
    said = "; ".join(f"{what}: {guess}" for what, guess, _ in interpreted.guesses)
    flags = " ".join(flag for _, _, flag in interpreted.guesses)
    return Check("stated", WARNING, f"guessed, since nothing says it: {said}; to state it: {flags}")


def resolution(distilled: DistilledSet, wanted: int | None) -> Check:
    """Whether the images have the resolution that is asked for."""
    side = distilled.resolution
    if wanted not in (None, side):
        return Check("resolution", FAILED, f"{side} px, expected {wanted}; give --res {side}, or make the set anew")
    return Check("resolution", PASSED, f"{side} px")


def value_range(distilled: DistilledSet) -> Check:
    """Whether the values can be those of normalised images."""
    images = distilled.images
    low, high = images.min().item(), images.max().item()
    if remark := range_remark(images):
        certain = in_unit_range(low, high) or guess_pixel_range(images) == "0-255"
        return Check("value range", FAILED if certain else WARNING, remark)
    if _fills_half_range(images):
        text = f"{low:.3g} to {high:.3g}: looks like [-1, 1]; if so, give --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"
        return Check("value range", WARNING, text)
    outside = ((images < _LOWEST) | (images > _HIGHEST)).float().mean().item()
    black, white = f"black ({_LOWEST:.3g})", f"white ({_HIGHEST:.3g})"
    text = f"normalised: {low:.3g} to {high:.3g}; {100 * outside:.2g} % beyond {black} and {white}"
    return Check("value range", WARNING if outside > 0.5 else PASSED, text)


def _fills_half_range(images: torch.Tensor) -> bool:
    """Whether values reach from -1 to 1 and not beyond: of images normalised by 0.5 and 0.5."""
    return -1.01 <= images.min().item() <= -0.9 and 0.9 <= images.max().item() <= 1.01


def normalisation(distilled: DistilledSet, real: RealSample | None) -> Check:
    """Whether mean and standard deviation of the channels are those of normalised real images, roughly.

    Normalised, ImageNet as a whole has mean 0 and standard deviation 1. Methods raise the contrast, so the bounds are
    wide: the mean within one standard deviation, the standard deviation within a factor of 2.5. Averaged and smooth
    images have a smaller one and keep their mean: a small one is odd only where the mean fits better to images in
    [0, 1], the values just fill [-1, 1], or next to nothing is left.
    """
    mean, std = distilled.images.mean((0, 2, 3)), distilled.images.std((0, 2, 3))
    if real is None:
        whose, real_mean, real_std = "ImageNet's", torch.zeros(3), torch.ones(3)
    else:
        whose, real_mean, real_std = "the real images'", real.images.mean((0, 2, 3)), real.images.std((0, 2, 3))
    text = f"mean {_numbers(mean)}, std {_numbers(std)}; {whose}: {_numbers(real_mean)}, {_numbers(real_std)}"
    ratio, shift = std / real_std, (mean - real_mean).abs()
    in_unit = denormalise(real_mean.view(1, 3, 1, 1)).flatten()  # the mean of real images that are not normalised
    other_range = (mean - in_unit).norm() < shift.norm() or _fills_half_range(distilled.images)
    if ((ratio < 0.5).any() and other_range) or (ratio < 0.1).any() or (ratio > 2.5).any() or (shift > real_std).any():
        return Check("normalisation", WARNING, f"{text}: far apart; check --pixel_range, --mean and --std")
    return Check("normalisation", PASSED, text)


def whitening(distilled: DistilledSet, zca: bool) -> Check:
    """Whether images are whitened (ZCA) just where a run takes them so.

    What whitening takes away is coarse structure. On photographs at 32 and 64 px the means of 4 x 4 cells have a
    standard deviation of 0.9 to 1.0 (averages of a whole class 0.3, with nothing else left), also under noise;
    whitened ones 0.05 to 0.1, a quarter of that of their pixels.

    Args:
        distilled: The set.
        zca: Whether students are tested on whitened images.
    """
    cells = adaptive_avg_pool2d(distilled.images, _CELLS)
    coarse, all_of_it = cells.std().item(), distilled.images.std().item()
    text = f"coarse structure has standard deviation {coarse:.2f}, all pixels {all_of_it:.2f}"
    whitened = distilled.resolution >= 2 * _CELLS and coarse < 0.5 and coarse < 0.35 * all_of_it
    if whitened and not zca:
        return Check("whitening", WARNING, f"looks whitened, or like noise: {text}; if whitened, evaluate --zca true")
    if zca and not whitened:
        return Check("whitening", WARNING, f"does not look whitened: {text}; if it is not, leave --zca out")
    return Check("whitening", PASSED, text)


def _numbers(values: torch.Tensor) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in values.tolist()) + ")"


def duplicates(distilled: DistilledSet) -> Check:
    """Whether images are the same, or nearly, as others."""
    thumbs = adaptive_avg_pool2d(distilled.images, min(_THUMB, distilled.resolution)).flatten(1)
    thumbs = thumbs - thumbs.mean(1, keepdim=True)
    thumbs = thumbs / thumbs.norm(dim=1, keepdim=True).clamp(min=1e-6)
    pairs = []
    for start in range(0, len(thumbs), _CHUNK):
        alike = (thumbs[start : start + _CHUNK] @ thumbs.T) > _ALIKE
        chunk = alike.nonzero()
        chunk[:, 0] += start
        pairs.append(chunk[chunk[:, 0] < chunk[:, 1]])  # each pair once, and no image with itself
    pairs = torch.cat(pairs)
    if not len(pairs):
        return Check("duplicates", PASSED, f"none among {len(thumbs)} images")
    exact = sum(torch.equal(distilled.images[i], distilled.images[j]) for i, j in pairs[:1000].tolist())
    classes = distilled.classes
    across = int((classes[pairs[:, 0]] != classes[pairs[:, 1]]).sum())
    some = ", ".join(f"{i} and {j}" for i, j in pairs[:3].tolist())
    number = "1 pair of images is" if len(pairs) == 1 else f"{len(pairs)} pairs of images are"
    text = f"{number} alike, {exact} of them the same: {some}"
    return Check("duplicates", WARNING, text + (f"; {across} pairs have different labels" if across else ""))


def class_balance(distilled: DistilledSet, subset: Subset) -> Check:
    """Whether each class of the subset has images, and as many."""
    counts, used = distilled.class_counts, sorted(subset.class_map_inv)
    missing = [label for label in used if not counts[label]]
    unused = [label for label, count in enumerate(counts) if count and label not in used]
    soft = distilled.label_kind != "hard"  # then an image counts for the class at which its label peaks
    if missing:
        names = ", ".join(f"{label} ({subset.label_names[label]})" for label in missing)
        if soft:
            return Check("class balance", WARNING, f"no soft label peaks at {names}")
        return Check("class balance", FAILED, f"no image has label {names}: these classes cannot be learnt")
    if unused:
        return Check("class balance", FAILED, f"label {', '.join(map(str, unused))} is none of {subset.name}")
    numbers = [counts[label] for label in used]
    if len(set(numbers)) > 1:
        text = f"{min(numbers)} to {max(numbers)} images per class"
        return Check("class balance", PASSED if soft else WARNING, f"by peaks: {text}" if soft else f"uneven: {text}")
    return Check("class balance", PASSED, f"{numbers[0]} images of each of {len(used)} classes")


def soft_labels(distilled: DistilledSet) -> Check:
    """Whether soft labels peak at the class of their position: sets are saved class after class, or in turns."""
    name, number, classes = "soft labels", len(distilled.images), distilled.classes
    if distilled.label_kind == "hard":
        return Check(name, PASSED, "labels are hard")
    flat = int((distilled.labels.max(1).values == distilled.labels.min(1).values).sum())
    if flat:
        return Check(name, WARNING, f"{flat} of {number} rows have no peak: all entries are equal")
    present = classes.unique()
    if number % len(present):
        return Check(name, PASSED, f"{number} images of {len(present)} classes: positions say nothing of classes")
    ipc = number // len(present)
    orders = {"class after class": present.repeat_interleave(ipc), "in turns": present.repeat(ipc)}
    order, expected = max(orders.items(), key=lambda item: int((item[1] == classes).sum()))
    wrong = (classes != expected).nonzero().flatten().tolist()
    if not wrong:
        return Check(name, PASSED, f"all peak at the class of their position ({order})")
    some = ", ".join(f"image {i} peaks at {classes[i]}, not at {expected[i]}" for i in wrong[:3])
    if len(wrong) > number // 2:
        return Check(name, WARNING, f"in no order of classes ({some}): positions cannot confirm them")
    return Check(name, WARNING, f"{len(wrong)} of {number} peak at another class than their position's: {some}")


def label_order(distilled: DistilledSet, subset: Subset, real: RealSample | None) -> Check:
    """Whether another order of the classes would fit the images better, by cheap features of real ones.

    Args:
        distilled: The set; another `--label_order` is suggested where reading it had to guess the order.
        subset: Its subset.
        real: Real images; without them the check is skipped.
    """
    name = "label order"
    if len(subset.classes) < NUM_CLASSES:
        return Check(name, SKIPPED, "a published list with fewer classes: only ten can be compared")
    if real is None:
        return Check(name, SKIPPED, "needs real images: give --data_path, or prepare the subset")
    known = torch.isin(distilled.classes, real.labels.unique())
    if not known.all():
        return Check(name, SKIPPED, "labels without real images, see class balance")
    fit = compare_label_order(distilled.images, distilled.classes, real.images, real.labels)
    if not fit.telling:
        return Check(name, SKIPPED, "too few images to tell")
    text = f"fits {fit.score:.1f} standard deviations better than a random order; below {fit.limit:.1f}, and with "
    text += "a better order at hand, it would look permuted"
    if not fit.suspicious:
        return Check(name, PASSED, text)
    permuted = f"looks permuted: fits {fit.score:.1f} standard deviations better than a random order, real images at "
    permuted += f"least {fit.limit:.1f}, and another order fits better"
    # another order is suggested only where so many real images would lead to the right one, and nobody has stated it
    wnids = {entry.label: entry.wnid for entry in subset.classes}
    guessed = any(guess.startswith("label order") for guess in distilled.origin.get("guesses", []))
    if not (fit.certain and guessed and distilled.classes.unique().numel() == len(wnids)):
        return Check(name, WARNING, f"{permuted}; find out how the labels were numbered")
    order = ",".join(wnids[label] for label in fit.order)
    return Check(name, WARNING, f"{permuted}. Best fit: --label_order {order}")


def ipc(distilled: DistilledSet, stated: object) -> Check:
    """Images per class, against what the set says."""
    if stated is not None and stated != distilled.ipc:
        return Check("IPC", FAILED, f"{distilled.ipc:g}, but the set says {stated}; get it again or correct it")
    decoded = f", {distilled.decoded_ipc:g} decoded" if distilled.factor > 1 else ""
    return Check("IPC", PASSED, f"{distilled.ipc:g}{decoded} ({len(distilled.images)} images)")


def storage(distilled: DistilledSet, subset: Subset, real: RealSample | None) -> Check:
    """Bytes of the tensors, and their ratio to the real training set."""
    tensors = sum(tensor.numel() * tensor.element_size() for tensor in (distilled.images, distilled.labels))
    number, whole = len(distilled.images), subset.splits["train"]
    labels = distilled.view_labels
    views = f" and {labels.file.stat().st_size:,} of labels of views" if labels else ""
    text = f"{tensors:,} bytes{views}; {number:,} of {whole:,} real training images ({100 * number / whole:.3g} %)"
    if real is not None and real.train_bytes:
        text += f"; {tensors / real.train_bytes:.3g} x the size of their files, {real.train_bytes:,} bytes"
    return Check("storage", PASSED, text)
