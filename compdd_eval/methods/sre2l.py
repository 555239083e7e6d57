"""SRe2L: images from a teacher and the statistics of its batch norms (Yin et al., NeurIPS 2023)."""

import torch
import torch.nn.functional as F
from torch import nn

from compdd_eval.config.network_names import split_teacher
from compdd_eval.data.transforms import normalise, resampling_weights
from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.registry import register_method
from compdd_eval.methods.teacher import teacher_digest, teacher_of
from compdd_eval.models.registry import list_models
from compdd_eval.training.views import FLIP_PROBABILITY, draw_boxes
from compdd_eval.utils.devices import send
from compdd_eval.utils.errors import InputError

# The command of the release for ImageNet-1K (recover.sh), and the defaults of its code for what that leaves out. Its
# batches are of 100 classes; of ten, 100 images are ten of each.
SRE2L_SETTINGS = {
    "teacher": None,
    "steps": 4000,
    "init": "noise",
    "lr_img": 0.25,
    "momentum_img": 0.5,
    "batch_syn": 100,
    "r_bn": 0.01,
    "first_bn_multiplier": 10.0,
    "tv_l2": 0.0,
    "l2_scale": 0.0,
}
# With ten times the weight, 100 images at 32 px lose nine tenths of the distance in so few steps (ResNet18BN_Tiny).
SRE2L_SMOKE = {"steps": 150, "r_bn": 0.1}
_LEAST = 0.08  # area of a crop, that of RandomResizedCrop by default
_SHIFT = 1 / 7  # of the side: 32 of the release's 224 pixels


def begin_with_teacher(job: Job) -> Synthetic:
    """Begin with noise (or photographs), which every update cuts to what pixels can be.

    Raises:
        InputError: The teacher has no batch norm.
    """
    if not _batch_norms(teacher_of(job)):
        name = split_teacher(job.config.teacher)[0]
        raise InputError(
            f"--teacher {name}: has no batch norm, whose statistics sre2l matches; train one of "
            f"{', '.join(list_models('*BN*'))}, or one of torchvision or timm that has it, such as torchvision:resnet18"
        )
    synthetic = Synthetic.begin(job)
    colours = torch.tensor([0.0, 1.0], device=job.device).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    synthetic.limits = tuple(normalise(colours))
    return synthetic


@register_method(
    "sre2l",
    title="images that a teacher is sure of, with the batch statistics of real ones",
    paper="Yin et al., NeurIPS 2023",
    cost="a pass of all images through the teacher, forward and backward, a step",
    needs="a teacher with batch norm",
    begin=begin_with_teacher,
    adam=True,
    inputs=teacher_digest,
    settings=SRE2L_SETTINGS,
    smoke=SRE2L_SMOKE,
)
def sre2l(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Make a step: all images, in batches of `batch_syn` with as many of each class, which learn apart.

    1. Crop, flip and shift a batch, all images alike (`draw_view`).
    2. The loss is that of `recovery_loss`; Adam updates the images, at a rate that falls along half a cosine.
    3. Values that no pixel can have are cut off.

    `job.notes["batch_statistics"]` has the distance of the statistics, unweighted but for `first_bn_multiplier`, at the
    first and at the last step, mean over the batches.
    """
    config, teacher = job.config, teacher_of(job)
    in_turns = torch.arange(len(synthetic.images), device=job.device).view(-1, config.ipc).T.flatten()
    total, distances = torch.zeros((), device=job.device), []
    for number, places in enumerate(in_turns.split(config.batch_syn)):
        loss, distance = recovery_loss(
            teacher,
            draw_view(synthetic.images[places], job.generator("view", step, number)),
            synthetic.labels[places],
            r_bn=config.r_bn,
            first_bn_multiplier=config.first_bn_multiplier,
            tv_l2=config.tv_l2,
            l2_scale=config.l2_scale,
        )
        loss.backward()
        total = total + loss.detach()
        distances.append(distance.detach())
    if step in (0, config.steps - 1):  # else a GPU would be waited for at every step
        job.notes.setdefault("batch_statistics", []).append(torch.stack(distances).mean().item())
    return total / len(distances)


def recovery_loss(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    r_bn: float = 0.01,
    first_bn_multiplier: float = 10.0,
    tv_l2: float = 0.0,
    l2_scale: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of SRe2L's recovery (Yin et al., NeurIPS 2023, section 3.2), as its release has it.

    cross-entropy + r_bn sum_l w_l (|mu_l - running mean_l| + |sigma_l^2 - running variance_l|) + tv_l2 TV + l2_scale L2

    over the batch norms l, in the order of use: w is `first_bn_multiplier` for the first one, 1 for the others; mu and
    sigma^2 (biased) are of their inputs, of each channel over all images and pixels. TV is the sum of the norms of the
    differences of neighbours in four directions, L2 the mean norm of an image.

    Args:
        network: The teacher, in eval mode, with `nn.BatchNorm2d`.
        images: Float `[N, 3, H, W]`, normalised.
        labels: int64 `[N]`.
        r_bn: Weight of the statistics.
        first_bn_multiplier: Weight of the first batch norm.
        tv_l2: Weight of TV.
        l2_scale: Weight of L2.

    Returns:
        The loss, and the sum over l alone; scalars, part of the graph of `images`.
    """
    found: list[torch.Tensor] = []

    def compare(module: nn.BatchNorm2d, inputs: tuple[torch.Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), unbiased=False)
        found.append((module.running_var - variance).norm() + (module.running_mean - mean).norm())

    handles = [module.register_forward_pre_hook(compare) for module in _batch_norms(network)]
    try:
        logits = network(images)
    finally:
        for handle in handles:
            handle.remove()
    distance = torch.stack([first_bn_multiplier * found[0], *found[1:]]).sum()
    loss = F.cross_entropy(logits, labels) + r_bn * distance
    if tv_l2:
        loss = loss + tv_l2 * _total_variation(images)
    if l2_scale:
        loss = loss + l2_scale * images.flatten(1).norm(dim=1).mean()
    return loss, distance


def _batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def _total_variation(images: torch.Tensor) -> torch.Tensor:
    right, down = images[..., :-1] - images[..., 1:], images[..., :-1, :] - images[..., 1:, :]
    falling = images[..., :-1, :-1] - images[..., 1:, 1:]
    rising = images[..., 1:, :-1] - images[..., :-1, 1:]
    return right.norm() + down.norm() + falling.norm() + rising.norm()


def draw_view(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Crop and resize, flip, and shift a batch as SRe2L does: all images alike.

    A box as of `RandomResizedCrop` is enlarged, bilinear; flipped or not; then rows and columns are shifted by up to a
    seventh of the side, those that leave it coming in again. By matrix products, whose gradients repeat their bits on
    a GPU.

    Args:
        images: Float `[N, C, H, W]`.
        generator: Random numbers, on the CPU.

    Returns:
        Float `[N, C, H, W]`, part of the graph of `images`.
    """
    height, width = images.shape[2:]
    ((top, left, rows, columns),) = draw_boxes((height, width), 1, _LEAST, generator)
    down, across = (
        send(resampling_weights(side, size, True).to_dense().to(images.dtype), images.device)
        for side, size in ((rows, height), (columns, width))
    )
    views = down @ images[:, :, top : top + rows, left : left + columns] @ across.T
    if torch.rand((), generator=generator) < FLIP_PROBABILITY:
        views = views.flip(3)
    most = [int(side * _SHIFT + 0.5) + 1 for side in (height, width)]
    shifts = [int(torch.randint(bound, (1,), generator=generator)) for bound in most]
    return views.roll(shifts, (2, 3))
