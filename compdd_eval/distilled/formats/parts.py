"""Images, labels and rate out of whatever a file holds: one tensor, a dict, a pair, lists of tensors, arrays."""

from dataclasses import dataclass

import numpy as np
import torch

from compdd_eval.distilled.limits import check_size, is_plain
from compdd_eval.utils.errors import InputError

_NAMES = {  # what MTT, DATM, EDF, DC, DM, RDED and their relatives call the parts, most telling first
    "images": ("images", "image", "imgs", "syn_images", "image_syn", "images_syn", "images_best", "x"),
    "labels": ("labels", "label", "targets", "target", "syn_labels", "label_syn", "labels_syn", "labels_best", "y"),
    "lr": ("lr", "syn_lr", "lr_syn", "lr_best", "learned_lr", "learning_rate"),
}
NOTE = "distilled"  # where a single file carries what `distilled.json` says
_MOST = 1e300  # no rate is larger, and larger whole numbers are no floats
_RUNS = "data"  # where DC and DM keep a list of [images, labels], one for each of their runs


@dataclass(frozen=True)
class Parts:
    """What one file holds, each part in whatever way it is stored; None where there is none.

    Attributes:
        images: The images.
        labels: The labels.
        lr: The learned rate.
        names: What the values 0, 1, ... of `labels` are called, where the file has its images by class.
        runs: Number of runs of which one was taken, where the file has runs.
        steps: Number of steps whose images were joined, where the file has steps.
        note: What `distilled.json` says, as text or as bytes of it.
    """

    images: object
    labels: object = None
    lr: object = None
    names: list[str] | None = None
    runs: int | None = None
    steps: int | None = None
    note: object = None


def parts_of(content: object, name: str, run: int | None = None) -> Parts:
    """Tell the parts of what one file holds.

    Args:
        content: A dict with the field's names for them; a pair of images and labels, or a list of such pairs, one a
            step; a dict of class -> images; or one tensor, which is the images.
        name: What to call the file in messages.
        run: Which of the runs that DC, DSA and DM save in one file; None takes the first.

    Raises:
        InputError: It holds nothing of the kind, or one part twice, or no such run.
    """
    parts = _parts_of_dict(content, name, run or 0) if isinstance(content, dict) else _parts_of_list(content)
    if run is not None and parts.runs is None:
        raise InputError(f"{name}: holds no runs to choose from, as DC, DSA and DM save them; leave --run out")
    return parts


def _parts_of_list(content: object) -> Parts:
    if _is_set(content):
        return Parts(*content)
    if isinstance(content, (list, tuple)) and content and all(map(_is_set, content)):
        return _parts_of_steps(content)
    return Parts(content)


def _is_set(content: object) -> bool:
    """Whether it is a list of images and labels, and maybe a rate."""
    several = isinstance(content, (list, tuple)) and len(content) in (2, 3)
    return several and _rank(content[0]) == 4 and _rank(content[1]) < 3


def _parts_of_steps(steps: list) -> Parts:
    """Join the images of all steps, as Wang et al. (2018) save them: a step is made again in each of their epochs."""
    images, labels = [], []
    for some_images, their_labels, *_ in steps:
        if not any(_same(some_images, others) for others in images):
            images.append(some_images)
            labels.append(their_labels)
    return Parts(images, labels, steps=len(steps))


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one.shape == other.shape and bool((one == other).all())


def _parts_of_dict(content: dict, name: str, run: int) -> Parts:
    keys = {str(key).lower(): key for key in content}
    if len(keys) < len(content):
        raise InputError(f"{name}: holds keys that differ in case only ({_some(content)}); leave one of each")
    stored = {}
    for part, names in _NAMES.items():
        present = [keys[each] for each in names if each in keys]
        # beside a key that is called just so, others are something else, such as `images` and `images_best`
        if len(present) > 1 and str(present[0]).lower() != part:
            raise InputError(f"{name}: holds {present[0]!r} and {present[1]!r}; leave one of them as {part!r}")
        stored[part] = content[present[0]] if present else None
    note = content.get(NOTE)
    if stored["images"] is not None:
        return Parts(**stored, note=note)
    if isinstance(content.get(_RUNS), (list, tuple)):
        images, labels, runs = _chosen_run(content[_RUNS], name, run)
        return Parts(images, labels, stored["lr"], runs=runs, note=note)
    if content and all(_rank(value) in (3, 4) for value in content.values()):
        return _parts_of_classes(content, name)
    keys = _some(content) or "nothing"
    raise InputError(f"{name}: holds a dict with {keys}, expected the keys 'images', 'labels' and, if learnt, 'lr'")


def _some(content: dict) -> str:
    return ", ".join(repr(key)[:40] for key in list(content)[:5])


def _chosen_run(runs: list, name: str, run: int) -> tuple[object, object, int]:
    """Return images and labels of one run, and the number of runs."""
    if not runs or not all(map(_is_set, runs)):
        raise InputError(f"{name}: expected a list of [images, labels] under 'data', one for each run; save it so")
    if not 0 <= run < len(runs):
        number = f"{len(runs)} runs, expected 0 to {len(runs) - 1}" if len(runs) > 1 else "one run; leave the flag out"
        raise InputError(f"{name}: --run {run}: it holds {number}")
    return runs[run][0], runs[run][1], len(runs)


def _parts_of_classes(content: dict, name: str) -> Parts:
    """Take a dict of class -> images [n, 3, H, W]."""
    tensors = [as_tensor(value, f"{name}: {key}") for key, value in content.items()]
    tensors = [tensor[None] if tensor.ndim == 3 else tensor for tensor in tensors]
    labels = [torch.full((len(tensor),), number) for number, tensor in enumerate(tensors)]
    return Parts(tensors, torch.cat(labels), names=[str(key) for key in content])


def _rank(value: object) -> int:
    """Return the number of dimensions; -1 for what is no tensor or array."""
    return value.ndim if isinstance(value, (torch.Tensor, np.ndarray)) else -1


def as_tensor(value: object, name: str) -> torch.Tensor:
    """Turn a tensor, an array, or a list of numbers, tensors or arrays into one tensor, of the type that is stored.

    A list of images is stacked; a list of batches, one a class, is joined. Types that torch does little with are
    brought to int64 or float32, which hold all their values.

    Raises:
        InputError: It is nothing of the kind, claims more values than it holds, or sizes do not fit together.
    """
    if isinstance(value, (list, tuple)) and value and not any(isinstance(item, (list, tuple)) for item in value):
        return _joined([_one_tensor(item, name) for item in value], name)
    return _one_tensor(value, name)


def _one_tensor(value: object, name: str) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return _plain(value, name)
    if isinstance(value, np.ndarray):
        check_size(name, value.size)
        return _plain(_from_array(value, name), name)
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return torch.tensor(value)
        except (OverflowError, RuntimeError, ValueError) as error:
            raise InputError(f"{name}: holds a number that no tensor can hold, expected labels or pixels") from error
    raise InputError(f"{name}: holds {_in_words(value)}, expected one tensor or a list of tensors")


def _plain(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """Return a dense real tensor of a common type; refuse one that claims more values than its storage has."""
    if not is_plain(tensor):
        raise InputError(f"{name}: no plain dense tensor of real numbers ({tensor.dtype}, {tensor.layout})")
    check_size(name, tensor.numel())
    tensor = tensor.detach().resolve_neg()
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise InputError(
            f"{name}: claims {tensor.numel():,} values, but holds fewer (it repeats them); save tensor.clone()"
        )
    # types that torch does little with: int64 and float32 hold all their values
    if tensor.is_floating_point():
        return tensor.float() if tensor.element_size() == 1 else tensor  # 8-bit floats
    return tensor if tensor.dtype in (torch.uint8, torch.int64) else tensor.long()


def _from_array(array: np.ndarray, name: str) -> torch.Tensor:
    try:
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: an array of type {array.dtype}, expected numbers that torch has") from error


def _joined(tensors: list[torch.Tensor], name: str) -> torch.Tensor:
    check_size(name, sum(tensor.numel() for tensor in tensors))
    first = tensors[0]
    stacked = first.ndim in (0, 3)  # numbers, or single images
    same = first.shape if stacked else first.shape[1:]
    if any(tensor.ndim != first.ndim or (tensor.shape if stacked else tensor.shape[1:]) != same for tensor in tensors):
        some = " and ".join(dict.fromkeys(str(list(tensor.shape)) for tensor in tensors[:50]))
        raise InputError(f"{name}: a list of tensors of different shapes ({some[:80]}), expected equal ones")
    # a pickle can name one small storage thousands of times: joined, it would fill the memory
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors) > sum(storages.values()):
        raise InputError(f"{name}: a list that holds the same tensor again and again; save torch.stack(list)")
    return torch.stack(tensors) if stacked else torch.cat(tensors)


def as_labels(value: object, number: int, name: str) -> torch.Tensor:
    """Turn what a file calls labels into one tensor; a list of rows, one an image, is stacked.

    Args:
        value: As in `as_tensor`.
        number: Number of images, which tells a list of soft labels from a list of classes.
        name: What to call it in messages.
    """
    if isinstance(value, (list, tuple)) and len(value) == number and all(_rank(item) == 1 for item in value):
        rows = [as_tensor(item, name)[None] for item in value]
        value = rows if len({row.shape for row in rows}) == 1 else value
    labels = as_tensor(value, name)
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def as_rate(value: object, name: str) -> float:
    """Return a learned rate that is stored as a number, or as a tensor, an array or a list of one number."""
    number = value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
    if isinstance(number, (torch.Tensor, np.ndarray)) and np.prod(number.shape) == 1:
        number = as_tensor(number, name).item()
    number = number.item() if isinstance(number, np.generic) else number
    if isinstance(number, bool) or not isinstance(number, (int, float)) or abs(number) > _MOST:
        raise InputError(f"{name}: expected the learned rate as one number, found {_in_words(value)}")
    return float(number)


def _in_words(value: object) -> str:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f"a tensor {list(value.shape)}"
    if isinstance(value, (int, float)):
        return f"the number {str(value)[:20]}"
    return f"an empty {type(value).__name__}" if value in ((), [], {}) else f"a {type(value).__name__}"
