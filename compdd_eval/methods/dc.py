"""DC and DSA: what a network learns from synthetic images matches, gradient by gradient, what it learns from real ones.

Sources: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (ICLR 2021): DC; Zhao and Bilen, "Dataset
Condensation with Differentiable Siamese Augmentation" (ICML 2021): DSA, which is DC with augmentation. Settings, and
what is done with batch norm, as in the authors' release.

One step is one update of the images. `outer_loop` of them share a network, which is trained on the synthetic images in
between. A step is over before the images are updated: so the next one begins with that training.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, grad_and_value

from compdd_eval.config.distill import CROP_PAD
from compdd_eval.config.protocol import DSA_STRATEGY
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.methods.dm import siamese_pair
from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.registry import ByIPC, register_method
from compdd_eval.models.layers import has_batch_norm
from compdd_eval.training.memory import images_at_a_time
from compdd_eval.training.precision import forward_pass
from compdd_eval.utils.devices import send

# `get_loops` of the release (DatasetCondensation, utils.py): by images per class, the updates of the images by one
# network, and the passes over the synthetic images that train it after each of them
_OUTER = {1: 1, 10: 10, 20: 20, 30: 30, 40: 40, 50: 50}
_INNER = {1: 1, 10: 50, 20: 25, 30: 20, 40: 15, 50: 10}
_NETWORKS = 1000  # `--Iteration` of the release (main.py): each is a new network of random weights
_MOMENTUM = {True: 0.0, False: 0.5}  # with and without DSA, of the network's SGD: the releases of DSA and of DC
_TINY = 1e-6  # added to the product of the norms: `distance_wb` of the release
_BATCH_NORM_IMAGES = 16  # of each class, which give batch norm its statistics: `BNSizePC` of the release
_NETWORK, _VELOCITY = "network.", "velocity."  # in the job's memory


@register_method(
    "dc",
    title="gradient matching: DC, DSA",
    paper="Zhao et al., ICLR 2021; Zhao and Bilen, ICML 2021",
    cost="gradients of gradients for each class; from IPC 10 on mostly training networks",
    shared=True,
    bfloat16=True,
    # gradients of gradients cost three times as much; then the network is trained
    compiles=lambda config: NUM_CLASSES * (config.batch_real + (3 + config.inner_loop) * config.ipc),
    settings={
        "steps": ByIPC({ipc: _NETWORKS * updates for ipc, updates in _OUTER.items()}),
        "lr_img": 0.1,
        "momentum_img": 0.5,
        "init": "real",
        "batch_real": 256,
        "dsa": True,
        "dsa_strategy": DSA_STRATEGY,
        "crop_pad": CROP_PAD,
        "outer_loop": ByIPC(_OUTER),
        "inner_loop": ByIPC(_INNER),
        "lr_net": 0.01,
        "batch_train": 256,
    },
    smoke={"steps": ByIPC({1: 150, 10: 60}), "lr_img": 1.0, "batch_real": 32, "inner_loop": ByIPC({1: 1, 10: 2})},
)
def match_gradients(job: Job, synthetic: Synthetic, step: int) -> torch.Tensor:
    """Make a step: for each class, the distance of the gradients that real and synthetic images give the network.

    Both are augmented alike. Each class is differentiated on its own: the memory is that of one class.

    Args:
        job: Its `labels` are the classes that this process counts; its memory keeps the network for the next step.
        synthetic: Its images get their gradients.
        step: Number of the step, which decides all random numbers.

    Returns:
        The sum over the classes, detached.
    """
    network = _network(job, synthetic, step)
    total = torch.zeros((), dtype=synthetic.images.dtype, device=job.device)
    if not job.labels:  # more processes than classes; the others' gradients are added to it
        synthetic.images.grad = torch.zeros_like(synthetic.images)
    for label in job.labels:
        real, made = siamese_pair(job, synthetic, step, label)
        with job.draws("layers", step, label):
            expected = _real_gradients(job, network, real, label)
            targets = torch.full((len(made),), label, device=job.device)
            # to the images alone: the network is trained in between, by its own loss
            of_images, loss = job.compiled_call(_match, network, made.detach(), targets, expected, job.config.precision)
        made.backward(of_images)
        total = total + loss
    return total


def gradient_distance(
    synthetic_gradients: Sequence[torch.Tensor], real_gradients: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return the distance of DC: the sum over all output units of 1 - cos of the gradients of their weights.

    A weight `[out, ...]` has `out` units, each with the rest as one row. Weights with one dimension, those of norms and
    biases, count 0.

    Args:
        synthetic_gradients: Of the loss on synthetic images, one tensor for each weight.
        real_gradients: Of that on real images, likewise.

    Returns:
        A scalar, part of the graph of `synthetic_gradients`.
    """
    distances = []
    for ours, theirs in zip(synthetic_gradients, real_gradients, strict=True):
        if ours.ndim > 1:
            ours, theirs = ours.flatten(1), theirs.flatten(1)
            norms = ours.norm(dim=1) * theirs.norm(dim=1)
            distances.append((1 - (ours * theirs).sum(dim=1) / (norms + _TINY)).sum())
    return torch.stack(distances).sum()


def _match(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    expected: Sequence[torch.Tensor],
    precision: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradient of the distance by the synthetic images `[m, 3, H, W]`, and the distance."""
    weights = {name: parameter.detach() for name, parameter in network.named_parameters() if parameter.ndim > 1}

    def distance(images: torch.Tensor) -> torch.Tensor:
        def loss(weights: dict[str, torch.Tensor]) -> torch.Tensor:
            logits = forward_pass(lambda images: functional_call(network, weights, (images,)), images, precision)
            return F.cross_entropy(logits, labels)

        return gradient_distance(tuple(grad(loss)(weights).values()), expected)

    return grad_and_value(distance)(images)


def _real_gradients(job: Job, network: nn.Module, images: torch.Tensor, label: int) -> list[torch.Tensor]:
    """Return the gradients of the mean loss, without a graph, as many images at a time as the device likes."""
    part = images_at_a_time(network, images, len(images), images.device)
    targets = torch.full((len(images),), label, device=images.device)
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    total: list[torch.Tensor] = []
    for batch, labels in zip(images.split(part), targets.split(part), strict=True):
        # not by `torch.func`, which keeps what gradients of gradients would need: three times the memory
        loss = job.compiled_call(_loss, network, batch, labels, job.config.precision) * (len(batch) / len(images))
        found = torch.autograd.grad(loss, weights)
        total = [a + b for a, b in zip(total, found, strict=True)] if total else [tensor.clone() for tensor in found]
    return total


def _network(job: Job, synthetic: Synthetic, step: int) -> nn.Module:
    """Return the network of a step: a new one, or that of the step before, trained on the images as they are now."""
    number, update = divmod(step, job.config.outer_loop)
    network = job.in_place(job.network("dc", number))
    optimizer = torch.optim.SGD(network.parameters(), lr=job.config.lr_net, momentum=_MOMENTUM[job.config.dsa])
    if update:
        _recall(job, network, optimizer)
        with job.draws("layers", step):
            _train(job, network, optimizer, synthetic, step)
    if has_batch_norm(network):
        _freeze_batch_norm(job, network, step)
    job.memory = _kept(network, optimizer) if update + 1 < job.config.outer_loop else {}
    return network


def _kept(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return all that the next step needs of a network: its state, and the momentum of its optimiser."""
    # copies: the next network may lie where this one does
    memory = {_NETWORK + name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        velocity = optimizer.state[parameter].get("momentum_buffer")
        if velocity is not None:
            memory[_VELOCITY + name] = velocity
    return memory


def _recall(job: Job, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put what a step kept into a network and its optimiser."""
    network.load_state_dict({name: job.memory[_NETWORK + name] for name in network.state_dict()})
    for name, parameter in network.named_parameters():
        if _VELOCITY + name in job.memory:
            optimizer.state[parameter]["momentum_buffer"] = job.memory[_VELOCITY + name]


def _train(job: Job, network: nn.Module, optimizer: torch.optim.Optimizer, synthetic: Synthetic, step: int) -> None:
    """Train a network on the synthetic images, `inner_loop` passes; every image has its own augmentation."""
    images, labels, generator = synthetic.images.detach(), synthetic.labels, job.generator("train", step)
    part, precision = images_at_a_time(network, images, job.config.batch_train, job.device), job.config.precision
    for _ in range(job.config.inner_loop):
        order = send(torch.randperm(len(images), generator=generator), job.device)
        for indices in order.split(job.config.batch_train):
            inputs, targets = job.augment(images[indices], generator, siamese=False), labels[indices]
            optimizer.zero_grad()
            for batch, wanted in zip(inputs.split(part), targets.split(part), strict=True):
                # a part's gradients would be written over by a CUDA graph of the next one
                loss = job.compiled_call(_loss, network, batch, wanted, precision, graphs=part >= len(inputs))
                (loss * (len(batch) / len(inputs))).backward()
            optimizer.step()
    optimizer.zero_grad()


def _loss(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, precision: str) -> torch.Tensor:
    return F.cross_entropy(forward_pass(network, images, precision), labels)


def _freeze_batch_norm(job: Job, network: nn.Module, step: int) -> None:
    """Give batch norm the statistics of real images of all classes, and leave it with them for this step."""
    drawn = [
        job.real.batch(label, _BATCH_NORM_IMAGES, job.generator("norm", step, label)) for label in job.real.classes
    ]
    with torch.no_grad(), job.draws("norm", step):
        network(torch.cat(drawn))
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
