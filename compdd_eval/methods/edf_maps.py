"""Discriminative area enhancement of EDF: pixels that decide the class learn faster.

Source: Wang et al., "Emphasizing Discriminative Features for Dataset Distillation in Complex Scenarios" (CVPR 2025),
with Grad-CAM (Selvaraju et al., ICCV 2017).
"""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from compdd_eval.complexity.classifier import Classifier, load_classifier
from compdd_eval.complexity.maps import mapper_of
from compdd_eval.complexity.score import given_to
from compdd_eval.config.complexity import ComplexityConfig
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.data.synsets import synsets
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.trajectory_matching import trained_expert
from compdd_eval.utils.errors import InputError

EXPERT = "expert"  # value of --map_model
_METHOD = "gradcam"
_AT_A_TIME = 32


@functools.lru_cache(maxsize=1)
def map_classifier(name: str, device: torch.device) -> Classifier:
    """Load the classifier that --map_model names, other than an expert; it is kept.

    Raises:
        InputError: As from `load_classifier`, or its outputs are neither ImageNet's classes nor those of a subset.
    """
    try:
        classifier = load_classifier(ComplexityConfig(model=name), device, "--map_model")
    except InputError as error:
        raise InputError(f"--map_model takes {EXPERT}, or a --model of `complexity`: {error}") from error
    if classifier.outputs not in (len(synsets()), NUM_CLASSES):
        raise InputError(
            f"--map_model {name}: has {classifier.outputs} outputs, expected the {len(synsets())} classes of ImageNet "
            f"or the {NUM_CLASSES} of the subset; take another classifier"
        )
    return classifier


def activation_maps(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Return the class-activation map of each synthetic image for its class.

    Args:
        job: The distillation; `map_model` says whose maps.
        synthetic: The images.
        step: Number of the step, by which an expert is drawn.

    Returns:
        Float32 `[N, H, W]` in [0, 1], on the device; of the size of the images.

    Raises:
        InputError: TorchCAM is missing, or the expert has no convolution.
    """
    name, images, classes = job.config.map_model, synthetic.images.detach(), synthetic.classes.cpu()
    if name == EXPERT:
        classifier = _of_expert(trained_expert(job, "maps", step), job.device)
    else:
        classifier = map_classifier(name, job.device)
        images = given_to(images.cpu(), classifier, ComplexityConfig.image_size)
        if classifier.outputs != NUM_CLASSES:
            known = {entry.label: entry.imagenet_index for entry in job.config.load_subset().classes}
            classes = torch.tensor([known[label] for label in classes.tolist()])
    with mapper_of(classifier, _METHOD) as mapper:
        parts = zip(images.split(_AT_A_TIME), classes.split(_AT_A_TIME), strict=True)
        maps = torch.cat([mapper(part.to(job.device), 0, targets)[0] for part, targets in parts])
    size = synthetic.images.shape[2:]
    maps = F.interpolate(maps[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]
    return maps.to(job.device)


def _of_expert(network: nn.Module, device: torch.device) -> Classifier:
    """Return an expert as a classifier; the layer is its last convolution."""
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise InputError(f"--map_model {EXPERT}: {type(network).__name__} has no convolution; give a classifier")
    network = network.eval().requires_grad_(False)
    return Classifier(network, IMAGENET_MEAN, IMAGENET_STD, EXPERT, "", convolutions[-1], device, NUM_CLASSES)


def enhancement_factors(maps: torch.Tensor, beta: float, threshold: float | None) -> torch.Tensor:
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
