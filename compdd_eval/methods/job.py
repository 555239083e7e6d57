"""What a distillation method works with: real images, networks, random numbers, and the synthetic images it learns."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import nn

from compdd_eval.config.distill import DistillConfig
from compdd_eval.data.decoded_cache import decode_once
from compdd_eval.data.splits import SubsetSplit
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.distilled.random_images import draw_indices
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.models.registry import create_model
from compdd_eval.training import compiling
from compdd_eval.training.augment import diff_augment
from compdd_eval.training.compiling import Compiler
from compdd_eval.utils.devices import send
from compdd_eval.utils.random_state import own_random_state, seed_of

T = TypeVar("T")
_ROOM = 4  # a device keeps the training images where they take at most this part of its free memory


class TrainingImages:
    """All training images of a subset, decoded; on the device where they leave room there.

    Attributes:
        images: float32 `[N, 3, H, W]`, ImageNet-normalised.
        labels: int64 `[N]`, on the CPU.
        classes: Labels that occur, in order.
        digest: SHA-256 over label, official name and bytes of every image.
        split: Where they come from.
    """

    def __init__(self, split: SubsetSplit, device: torch.device) -> None:
        self.split, self.labels, self._device = split, split.labels, device
        self.images, self.digest = decode_once(split, None, progress=True)
        if device.type == "cuda" and self.images.nbytes < torch.cuda.mem_get_info(device)[0] / _ROOM:
            self.images = self.images.to(device)
        self.classes = self.labels.unique().tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def indices_of(self, label: int) -> torch.Tensor:
        """Return the indices of the images of a class, int64, in the order of the split."""
        return (self.labels == label).nonzero().flatten()

    def at(self, indices: torch.Tensor | Sequence[int]) -> torch.Tensor:
        """Return some images by their indices, float32 `[n, 3, H, W]` on the device."""
        return send(self.images[send(torch.as_tensor(indices), self.images.device)], self._device)

    def batch(self, label: int, number: int, generator: torch.Generator) -> torch.Tensor:
        """Draw images of a class without replacement, on the device; all of it where it has no more than `number`."""
        members = self.indices_of(label)
        return self.at(members[torch.randperm(len(members), generator=generator)[:number]])


class Job:
    """One distillation, as a method sees it.

    Attributes:
        config: All settings; those of the method are filled in.
        real: The training images.
        device: Where networks and synthetic images are.
        memory: Tensors that a method keeps from one step to the next; they are part of a checkpoint.
        notes: What a method wants to be recorded with the set, in values that JSON can hold.

    Args:
        config: All settings.
        real: The training images.
        device: Where networks and synthetic images are.
        team: The processes that share the steps of a method, or None.
        compiler: Says whether the method's steps are compiled, where it offers that; None: they are not.
    """

    def __init__(
        self,
        config: DistillConfig,
        real: TrainingImages,
        device: torch.device,
        team: Accelerator | None = None,
        compiler: Compiler | None = None,
    ) -> None:
        self.config, self.real, self.device = config, real, device
        self._team, self._compiler = team, compiler
        self._made: dict[str, object] = {}
        self.memory: dict[str, torch.Tensor] = {}
        self.notes: dict[str, object] = {}

    @property
    def processes(self) -> int:
        """How many processes share a step."""
        return 1 if self._team is None else self._team.num_processes

    @property
    def rank(self) -> int:
        """Number of this process among them."""
        return 0 if self._team is None else self._team.process_index

    @property
    def labels(self) -> list[int]:
        """The classes that this process works on in a step that processes share by class."""
        return self.real.classes[self.rank :: self.processes]

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what was made under a name, at the first call; it is no part of a checkpoint, unlike `memory`."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over the processes."""
        return tensor if self.processes == 1 else self._team.reduce(tensor, reduction="sum")

    def generator(self, *purpose: object) -> torch.Generator:
        """Return random numbers that the seed and a purpose decide, such as `("real", step)`; on the CPU.

        Equal in every process, and after a resume.
        """
        return torch.Generator().manual_seed(seed_of(self.config.seed, *purpose))

    def draws(self, *purpose: object) -> AbstractContextManager[None]:
        """Let a block draw what the seed and a purpose decide from the global generators of torch, NumPy and Python.

        On a GPU also from that of the device. After the block they are as they were before.
        """
        return own_random_state(self.device, seed_of(self.config.seed, *purpose))

    def network(self, *purpose: object) -> nn.Module:
        """Return `config.model` with weights that the seed and a purpose decide, on the device, in training mode."""
        with self.draws(*purpose):
            network = create_model(self.config.model, NUM_CLASSES, (self.config.res,) * 2)
        return network._apply(lambda tensor: send(tensor, self.device))  # what `network.to` does, without waiting

    @property
    def compiled(self) -> bool:
        """Whether steps are compiled."""
        return self._compiler is not None and self._compiler.compiles(self.config.model)

    def compiled_call(self, function: Callable[..., T], *arguments: object, graphs: bool = True) -> T:
        """Call a function of tensors; compiled, where steps are.

        Args:
            function: One of a module, not made anew for a call: its code is compiled once.
            *arguments: Tensors, numbers, and a network of `in_place`.
            graphs: On a GPU, launch its kernels together; what it returns is then gone at the next call.

        Raises:
            InputError: --compile always, and this machine cannot compile.
        """
        if not self.compiled:
            return function(*arguments)
        gpu = self.device.type == "cuda"
        if gpu and graphs:
            compiling.new_step()
        try:
            return compiling.compiled(function, gpu, gpu and graphs)(*arguments)
        except Exception as error:
            if not self._compiler.gives_up(self.config.model, error):
                raise
        return function(*arguments)

    def in_place(self, network: nn.Module) -> nn.Module:
        """Return a network with these weights: where steps are compiled, the one that they are compiled for."""
        config = self.config
        return compiling.in_place(network, "distill", config.model, config.res) if self.compiled else network

    def augment(self, images: torch.Tensor, generator: torch.Generator, siamese: bool = True) -> torch.Tensor:
        """Augment images by DSA where the settings say so.

        Args:
            images: Float `[N, 3, H, W]`.
            generator: Random numbers; equal ones give real and synthetic images the same parameters.
            siamese: One set of parameters for all images; else each has its own.
        """
        config = self.config
        if not config.dsa:
            return images
        return diff_augment(images, config.dsa_strategy, config.crop_pad, generator, siamese)


class Synthetic:
    """The images that are learned, and what is learned with them; all on the device of the job.

    Attributes:
        images: float32 `[N, 3, H, W]`, normalised; learned.
        limits: Least and largest value of each channel, float `[3, 1, 1]`, to which every update is cut; or None.
        labels: int64 `[N]`; or logits float32 `[N, 10]`, which are learned.
        classes: int64 `[N]`, the class that each image was made for; ordered.
        lr: Learned rate of the students, a scalar, or None.
        average: Moving average of the images, which is the set in their place, or None; the loop keeps it by `ema_img`.
    """

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, classes: torch.Tensor, lr: float | None = None
    ) -> None:
        self.images = images.detach().clone().requires_grad_()
        self.labels = labels.detach().clone().requires_grad_(labels.is_floating_point())
        self.classes = classes.clone()
        # looked up once: where a class lies is a number that a GPU would have to be asked for at every step
        self._of_class = {label: (classes == label).nonzero().flatten() for label in classes.unique().tolist()}
        self.lr = None if lr is None else torch.tensor(float(lr), device=images.device, requires_grad=True)
        self.limits: tuple[torch.Tensor, torch.Tensor] | None = None
        self.average: torch.Tensor | None = None

    @classmethod
    def begin(cls, job: Job) -> "Synthetic":
        """Begin with real photographs that the seed draws, or with noise, ordered by class, with hard labels."""
        config, real = job.config, job.real
        indices = draw_indices(real.labels, config.ipc, config.seed)
        images, classes = real.at(indices), real.labels[indices].to(job.device)
        if config.init == "noise":
            images = send(torch.randn(images.shape, generator=job.generator("init")), job.device)
        return cls(images, classes, classes, config.lr_student)

    def learned(self) -> dict[str, torch.Tensor]:
        """Return the tensors that are learned, by name."""
        found = {"images": self.images, "labels": self.labels, "lr": self.lr}
        return {name: tensor for name, tensor in found.items() if tensor is not None and tensor.requires_grad}

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors that steps change, by name: those that are learned, and the moving average."""
        return self.learned() | ({} if self.average is None else {"average": self.average})

    def of_class(self, label: int) -> torch.Tensor:
        """Return the images of a class, `[n, 3, H, W]`, part of the graph of `images`."""
        return self.images[self._of_class[label]]

    def as_set(self, metadata: dict[str, object]) -> DistilledSet:
        """Return a copy as a distilled set."""
        soft = self.labels.is_floating_point()
        images = self.images.detach() if self.average is None else self.average
        return DistilledSet(
            images.cpu().clone(),
            self.labels.detach().cpu().clone(),
            "logits" if soft else "hard",
            None if self.lr is None else float(self.lr.detach()),
            metadata,
        )
