"""DM: the mean features of synthetic images match those of real ones, in networks with random weights.

Source: Zhao and Bilen, "Dataset Condensation with Distribution Matching" (WACV 2023); settings, and what is done with
batch norm, as in the authors' release.
"""

import functools
from collections.abc import Callable

import torch
from torch import nn

from compdd_eval.config.distill import CROP_PAD
from compdd_eval.config.protocol import DSA_STRATEGY
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.registry import ByIPC, register_method
from compdd_eval.models.embedding import embed, head_of, without_head
from compdd_eval.models.layers import has_batch_norm
from compdd_eval.training.memory import images_at_a_time
from compdd_eval.training.precision import forward_pass


@register_method(
    "dm",
    title="distribution matching",
    paper="Zhao and Bilen, WACV 2023",
    cost="a pass over a real batch of each class, a step; least of those that learn",
    shared=True,
    bfloat16=True,
    # real images pass forward alone: a third of both passes
    compiles=lambda config: NUM_CLASSES * (config.batch_real / 3 + config.ipc),
    settings={
        "steps": 20_000,
        "lr_img": 1.0,
        "momentum_img": 0.5,
        "init": "real",
        "batch_real": 256,
        "dsa": True,
        "dsa_strategy": DSA_STRATEGY,
        "crop_pad": CROP_PAD,
    },
    smoke={"steps": 200, "lr_img": ByIPC({1: 2.0, 10: 10.0}), "batch_real": 32},
)
def match_distributions(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Make a step: for each class, |mean feature of a real batch - mean feature of its synthetic images|^2.

    Both are augmented alike, and pass a network with new random weights. Each class is differentiated on its own: the
    memory is that of one class. A network with batch norm sees all classes at once, as in the release: the statistics
    of one class would take its mean away.

    Args:
        job: Its `labels` are the classes that this process counts.
        synthetic: Its images get their gradients.
        step: Number of the step, which decides all random numbers.

    Returns:
        The sum over the classes, detached.
    """
    total = torch.zeros((), dtype=synthetic.images.dtype, device=job.device)
    if not job.labels:  # more processes than classes; the others' gradients are added to it
        synthetic.images.grad = torch.zeros_like(synthetic.images)
        return total
    network, features = _features(job, job.network("dm", step).requires_grad_(False))
    # batches of labels that pass the network together
    for labels in [job.real.classes] if has_batch_norm(network) else [[label] for label in job.labels]:
        real, made = zip(*[siamese_pair(job, synthetic, step, label) for label in labels], strict=True)
        with job.draws("layers", step, labels):  # layers such as dropout
            expected = _of_parts(features, network, torch.cat(real)).split([len(images) for images in real])
            found = features(torch.cat(made)).split([len(images) for images in made])
        pairs = zip(labels, expected, found, strict=True)
        # with batch norm every process has all classes in hand, and counts its own
        loss = torch.stack([feature_distance(a, b) for label, a, b in pairs if label in job.labels]).sum()
        loss.backward()
        total = total + loss.detach()
    return total


def feature_distance(real_features: torch.Tensor, synthetic_features: torch.Tensor) -> torch.Tensor:
    """Return the distance of DM: |mean feature of real images - mean feature of synthetic ones|^2.

    Args:
        real_features: Of one class, float `[n, D]`.
        synthetic_features: Of the same class, float `[m, D]`.

    Returns:
        A scalar, part of the graph of both.
    """
    return (real_features.mean(dim=0) - synthetic_features.mean(dim=0)).square().sum()


def siamese_pair(job: Job, synthetic: Synthetic, step: int, label: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw real images of a class; augment these and the synthetic ones by one operation with one set of parameters.

    Args:
        job: Its `batch_real` is the number of images that are drawn, its DSA settings say how both are augmented.
        synthetic: What is learned.
        step: Number of the step.
        label: The class.

    Returns:
        Real images `[n, 3, H, W]`, and all synthetic images of the class `[m, 3, H, W]`, part of the graph of
        `synthetic.images`.
    """
    real = job.real.batch(label, job.config.batch_real, job.generator("real", step, label))
    made = synthetic.of_class(label)
    real, made = (job.augment(images, job.generator("dsa", step, label)) for images in (real, made))
    return real, made


def _features(job: Job, network: nn.Module) -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """Return a network with these weights and what makes its features, `[N, 3, H, W]` -> `[N, D]`."""
    precision = job.config.precision
    eager = functools.partial(forward_pass, functools.partial(embed, network), precision=precision)
    if not job.compiled:
        return network, eager
    # what finds the features of any network cannot be compiled; those of most are what they return without their head
    head = job.once("head", lambda: head_of(network, job.real.at([0])))
    if head is None:
        return network, eager
    network = job.in_place(without_head(network, head))
    return network, functools.partial(job.compiled_call, _outputs, network, precision)


def _outputs(network: nn.Module, precision: str, images: torch.Tensor) -> torch.Tensor:
    return forward_pass(network, images, precision).flatten(1)


@torch.no_grad()
def _of_parts(
    features: Callable[[torch.Tensor], torch.Tensor], network: nn.Module, images: torch.Tensor
) -> torch.Tensor:
    """Return features without a graph, `[N, D]`, as many images at a time as the device likes."""
    part = images_at_a_time(network, images, len(images), images.device)
    return torch.cat([features(batch).clone() for batch in images.split(part)])
