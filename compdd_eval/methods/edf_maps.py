"""Discriminative area enhancement of EDF: pixels that decide the class learn faster.

Source: Wang et al., "Emphasizing Discriminative Features for Dataset Distillation in Complex Scenarios" (CVPR 2025),
with Smooth Grad-CAM++ (Omeiza et al., 2019) of a network that is trained on ImageNet, as in its release. The release
asks that network for class 0-9, the label of an image; here its ImageNet class is taken.
"""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from compdd_eval.complexity.classifier import Classifier, load_classifier
from compdd_eval.complexity.maps import mapper_of
from compdd_eval.complexity.score import normalise_for
from compdd_eval.config.complexity import METHODS, ComplexityConfig
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.data.synsets import synsets
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD, denormalise
from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.trajectory_matching import trained_expert
from compdd_eval.utils.errors import InputError

EXPERT = "expert"  # value of --map_model
_SMOOTH = METHODS[0]  # Smooth Grad-CAM++
_AT_A_TIME = 32


@functools.lru_cache(maxsize=1)
def map_classifier(name: str, size: int, device: torch.device) -> Classifier:
    """Load the classifier that --map_model names, other than an expert; it is kept.

    Args:
        name: As --model of `complexity` takes it.
        size: Side in pixels of the images that it is given.
        device: Where to put it.

    Raises:
        InputError: As from `load_classifier`, or its outputs are neither ImageNet's classes nor those of a subset.
    """
    try:
        classifier = load_classifier(ComplexityConfig(model=name, image_size=size), device, "--map_model")
    except InputError as error:
        raise InputError(f"{error}; or give --map_model {EXPERT}, for maps of an expert") from error
    if classifier.outputs not in (len(synsets()), NUM_CLASSES):
        raise InputError(
            f"--map_model {name}: has {classifier.outputs} outputs, expected the {len(synsets())} classes of ImageNet "
            f"or the {NUM_CLASSES} of the subset; take another classifier"
        )
    return classifier


def activation_maps(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Return the class-activation map of each synthetic image for its class, by Smooth Grad-CAM++.

    A classifier is given the images at their own size, normalised as it wants them; an expert as they are.

    Args:
        job: The distillation; `map_model` says whose maps.
        synthetic: The images.
        step: Number of the step, by which noise, and an expert, are drawn.

    Returns:
        Float32 `[N, H, W]` in [0, 1], on the device; bilinearly brought to the size of the images.

    Raises:
        InputError: TorchCAM is missing, the expert has no convolution, or the layer is 1 x 1.
    """
    name, images, classes = job.config.map_model, synthetic.images.detach(), synthetic.classes.cpu()
    if name == EXPERT:
        classifier = _of_expert(trained_expert(job, "maps", step), job.device)
    else:
        classifier = map_classifier(name, job.config.res, job.device)
        images = normalise_for(denormalise(images), classifier)
        if classifier.outputs != NUM_CLASSES:
            known = {entry.label: entry.imagenet_index for entry in job.config.load_subset().classes}
            classes = torch.tensor([known[label] for label in classes.tolist()])
    with mapper_of(classifier, _SMOOTH) as mapper:
        parts = zip(images.split(_AT_A_TIME), classes.split(_AT_A_TIME), strict=True)
        seeded = ((job.generator("maps", step, number).initial_seed(), *part) for number, part in enumerate(parts))
        maps = torch.cat([mapper(part, seed, targets)[0] for seed, part, targets in seeded])
    if maps[0].numel() == 1:
        raise InputError(
            f"--map_model {name}: its layer {classifier.layer} is 1 x 1 at --res {job.config.res}, and a map the same "
            f"everywhere; give a larger --res or another --map_model ({EXPERT}, ...)"
        )
    maps = F.interpolate(maps[:, None].float(), images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return maps.to(job.device)


def _of_expert(network: nn.Module, device: torch.device) -> Classifier:
    """Return an expert as a classifier; the layer is its last convolution."""
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise InputError(f"--map_model {EXPERT}: {type(network).__name__} has no convolution; give a classifier")
    network = network.eval().requires_grad_(False)
    return Classifier(network, IMAGENET_MEAN, IMAGENET_STD, EXPERT, "", convolutions[-1], device, NUM_CLASSES)


def enhancement_factors(maps: torch.Tensor, beta: float = 1.0, threshold: float | None = None) -> torch.Tensor:
    """Return what the gradient of each pixel is multiplied by: beta + M where M reaches its threshold, else 1.

    Args:
        maps: M, float `[N, H, W]` in [0, 1].
        beta: Factor at an activation of 0.
        threshold: Activation; None: the mean of each map.

    Returns:
        Float `[N, 1, H, W]`.
    """
    least = maps.mean(dim=(1, 2), keepdim=True) if threshold is None else threshold
    return torch.where(maps >= least, beta + maps, 1.0)[:, None]
