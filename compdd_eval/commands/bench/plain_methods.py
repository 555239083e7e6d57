"""Steps of distillation methods as the authors' releases write them: what `bench distill` compares with.

Eager float32; one graph over all classes (DM, DC) or over all student steps (MTT, EDF); networks in `DataLoader` loops.
They do the work of `compdd_eval.methods` with random numbers of their own. EDF is without its maps, which are made once
in a hundred steps.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from compdd_eval.commands.bench.plain_loop import augment
from compdd_eval.config.distill import DistillConfig
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.methods.dc import gradient_distance
from compdd_eval.methods.expert_files import Experts
from compdd_eval.models.registry import create_model


class PlainMethod:
    """A distillation, step by step.

    Args:
        config: All settings.
        images: Real images `[N, 3, H, W]`, as many of each class, ordered by class.
        experts: Trajectories, for mtt and edf.
        device: Where it runs.
    """

    def __init__(
        self, config: DistillConfig, images: torch.Tensor, experts: Experts | None, device: torch.device
    ) -> None:
        self._config, self._experts, self._device = config, experts, device
        self._dsa = Protocol(dsa_strategy=config.dsa_strategy, crop_pad=config.crop_pad)
        self._real = images.to(device).view(NUM_CLASSES, -1, *images.shape[1:])
        first = self._real[:, : config.ipc].flatten(0, 1)
        self._images = first.clone().requires_grad_()
        self._labels = torch.arange(NUM_CLASSES, device=device).repeat_interleave(config.ipc)
        learned = [{"params": [self._images], "lr": config.lr_img, "momentum": config.momentum_img}]
        if experts is not None:
            self._lr = torch.tensor(config.lr_student, device=device, requires_grad=True)
            learned.append({"params": [self._lr], "lr": config.lr_lr, "momentum": config.momentum_lr})
        if config.lr_label is not None:
            self._labels = F.one_hot(self._labels, NUM_CLASSES).float().requires_grad_()
            learned.append({"params": [self._labels], "lr": config.lr_label, "momentum": config.momentum_label})
        self._optimizer = torch.optim.SGD(learned)

    def steps(self) -> Iterator[float]:
        """Make steps for ever; yield the loss of each."""
        steps = {"dm": self._dm, "dc": self._dc, "mtt": self._trajectory, "edf": self._trajectory}
        yield from steps[self._config.method]()

    def _network(self) -> nn.Module:
        return create_model(self._config.model, NUM_CLASSES, (self._config.res,) * 2).to(self._device).train()

    def _pair(self, label: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return augmented real and synthetic images of a class."""
        members = self._real[label]
        real = members[torch.randperm(len(members), device=self._device)[: self._config.batch_real]]
        made = self._images[label * self._config.ipc : (label + 1) * self._config.ipc]
        return augment(real, self._dsa), augment(made, self._dsa)

    def _update(self, loss: torch.Tensor) -> float:
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def _dm(self) -> Iterator[float]:
        while True:
            network = self._network().requires_grad_(False)
            loss = torch.zeros((), device=self._device)
            for label in range(NUM_CLASSES):
                real, made = self._pair(label)
                expected = network.features(real).flatten(1).detach()
                gap = expected.mean(dim=0) - network.features(made).flatten(1).mean(dim=0)
                loss = loss + gap.square().sum()
            yield self._update(loss)

    def _dc(self) -> Iterator[float]:
        config = self._config
        while True:
            network = self._network()
            parameters = list(network.parameters())
            optimizer = torch.optim.SGD(parameters, lr=config.lr_net)
            for _ in range(config.outer_loop):
                loss = torch.zeros((), device=self._device)
                for label in range(NUM_CLASSES):
                    real, made = self._pair(label)
                    wanted = [torch.full((len(images),), label, device=self._device) for images in (real, made)]
                    expected = torch.autograd.grad(F.cross_entropy(network(real), wanted[0]), parameters)
                    found = torch.autograd.grad(
                        F.cross_entropy(network(made), wanted[1]), parameters, create_graph=True
                    )
                    loss = loss + gradient_distance(found, [tensor.detach() for tensor in expected])
                value = self._update(loss)
                data = TensorDataset(self._images.detach().clone(), self._labels)
                loader = DataLoader(data, batch_size=config.batch_train, shuffle=True, num_workers=0)
                for _ in range(config.inner_loop):
                    for images, labels in loader:
                        loss = F.cross_entropy(network(augment(images, self._dsa)), labels)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                yield value

    def _trajectory(self) -> Iterator[float]:
        config = self._config
        network = self._network()
        names, shapes = zip(*[(name, tensor.shape) for name, tensor in network.named_parameters()], strict=True)
        while True:
            start, target = (
                torch.cat([tensor.flatten() for tensor in self._experts.parameters(0, epoch)]).to(self._device)
                for epoch in (0, config.expert_epochs)
            )
            theta, chunks = start.clone().requires_grad_(), []
            for _ in range(config.syn_steps):
                if not chunks:
                    order = torch.randperm(len(self._images), device=self._device)
                    chunks = list(order.split(config.batch_syn))
                indices = chunks.pop()
                parts = theta.split([shape.numel() for shape in shapes])
                named = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
                logits = functional_call(network, named, (augment(self._images[indices], self._dsa),))
                labels = self._labels[indices]
                labels = F.softmax(labels, dim=1) if labels.is_floating_point() else labels
                (slope,) = torch.autograd.grad(F.cross_entropy(logits, labels), theta, create_graph=True)
                theta = theta - self._lr * slope
            reached, begun = (theta - target).square(), (start - target).square()
            if config.loss_threshold:
                kept = reached.argsort()[int(config.loss_threshold * len(reached)) :]
                reached, begun = reached[kept], begun[kept]
            yield self._update(reached.sum() / begun.sum())
