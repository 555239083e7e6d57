"""RDED: the most realistic crops of real images, several in one image (Sun et al., CVPR 2024)."""

import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from compdd_eval.data.transforms import normalise
from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.registry import ByIPC, register_method
from compdd_eval.methods.teacher import teacher_digest, teacher_of
from compdd_eval.training.predict import predict_logits
from compdd_eval.training.views import draw_boxes
from compdd_eval.utils.errors import InputError

# Those of the release for ten classes of ImageNet.
RDED_SETTINGS = {"teacher": None, "factor": ByIPC({1: 2, 11: 1}), "mipc": 300, "num_crop": 5}
RDED_SMOKE = {"mipc": 60}
_AT_A_TIME = 256  # crops in the middle of zeros; decides memory, not numbers
_LEAST, _RATIO = 0.08, (1.0, 1.0)  # area and shape of a crop, as the release asks RandomResizedCrop for them


@register_method(
    "rded",
    title="the most realistic crops of real images, pasted together",
    paper="Sun et al., CVPR 2024",
    cost="a teacher's pass over some crops",
    needs="a teacher",
    selects=True,
    inputs=teacher_digest,
    settings=RDED_SETTINGS,
    smoke=RDED_SMOKE,
)
def rded(job: Job) -> Synthetic:
    """Choose crops and paste them; nothing is learned.

    1. Draw `mipc` images of a class, and `num_crop` square crops of each original, of 0.08 to 1 of its area; resize
       them to `res` / `factor` pixels.
    2. Of each image, take the crop that the teacher finds most realistic (`most_realistic`).
    3. Of all images, the `ipc factor^2` most realistic of these crops are pasted together (`pasted`).

    Raises:
        InputError: A class has too few images.
    """
    config, real = job.config, job.real
    number = config.ipc * config.factor**2
    drawn = {label: _drawn(job, label, number) for label in real.classes}
    teacher, images, classes = teacher_of(job), [], []
    with tqdm(total=sum(map(len, drawn.values())), unit="image", desc=config.method) as bar:
        for label, indices in drawn.items():
            crops = []
            for index in indices:
                crops.append(_crops(job, index))
                bar.update()
            crops, losses = most_realistic(teacher, torch.stack(crops), label, config.res)
            images.append(pasted(crops[losses.argsort(stable=True)[:number]], config.factor))
            classes += [label] * config.ipc
    return Synthetic(torch.cat(images), torch.tensor(classes), torch.tensor(classes))


def _drawn(job: Job, label: int, number: int) -> list[int]:
    """Draw the images of a class that are looked at."""
    members = job.real.indices_of(label)
    order = torch.randperm(len(members), generator=job.generator("images", label))
    chosen = members[order[: job.config.mipc]].tolist()
    if len(chosen) < number:
        raise InputError(
            f"label {label}: {len(chosen)} images are looked at, and {number} crops are needed, one of an image (--ipc "
            f"times --factor squared); of the class there are {len(members)}; lower --ipc or --factor, or raise --mipc"
        )
    return chosen


def _crops(job: Job, index: int) -> torch.Tensor:
    """Return crops of an original, normalised, float32 `[num_crop, 3, res / factor, res / factor]`."""
    config, image = job.config, job.real.split.original(index)
    side, generator = config.res // config.factor, job.generator("crops", index)
    boxes = draw_boxes(tuple(image.shape[1:]), config.num_crop, _LEAST, generator, _RATIO)
    parts = [image[None, :, top : top + rows, left : left + columns] / 255 for top, left, rows, columns in boxes]
    sized = [F.interpolate(part, (side, side), mode="bilinear", antialias=True) for part in parts]
    return normalise(torch.cat(sized))


def most_realistic(network: nn.Module, crops: torch.Tensor, label: int, res: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return of each image the crop of the lowest cross-entropy under a teacher, the first one of equals.

    As the release, which gives the teacher a small crop in the middle of zeros, not enlarged.

    Args:
        network: The teacher: maps `[N, 3, res, res]` to logits `[N, K]`.
        crops: Of each image, float `[N, M, 3, s, s]`, normalised.
        label: Class of all images.
        res: Side of what the teacher is given, in pixels.

    Returns:
        Crops, float `[N, 3, s, s]`, and their losses, float `[N]`.
    """
    number, each = crops.shape[:2]
    missing = res - crops.shape[-1]
    before, after = missing // 2, missing - missing // 2
    parts = (F.pad(part, (before, after, before, after)) for part in crops.flatten(0, 1).split(_AT_A_TIME))
    logits = torch.cat([predict_logits(network, part) for part in parts])
    targets = torch.full((len(logits),), label)
    least, best = F.cross_entropy(logits, targets, reduction="none").view(number, each).min(dim=1)
    return crops[torch.arange(number), best], least


def pasted(crops: torch.Tensor, factor: int) -> torch.Tensor:
    """Paste `factor` x `factor` crops into each image, row by row.

    As the release: of n images, the first n crops are the upper left parts, the next n those beside them, and so on.

    Args:
        crops: Float `[n factor^2, 3, s, s]`.
        factor: Crops along a side.

    Returns:
        Images, float `[n, 3, factor s, factor s]`.
    """
    parts = crops.unflatten(0, (factor, factor, -1))  # [row, column, n, 3, s, s]
    return parts.permute(2, 3, 0, 4, 1, 5).flatten(4, 5).flatten(2, 3)
