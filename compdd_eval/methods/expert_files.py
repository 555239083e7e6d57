"""Expert trajectories in files: ours, and the published kind (replay_buffer_*.pt), read snapshot by snapshot."""

import json
import logging
import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.distilled.formats.torch_files import load_torch
from compdd_eval.distilled.limits import is_plain
from compdd_eval.models.registry import create_model
from compdd_eval.utils.digests import digest_of
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import atomic_write

_logger = logging.getLogger(__name__)
FACTS_NAME = "experts.json"
_EXPERTS, _BUFFERS = "expert-*.safetensors", "replay_buffer_*.pt"
_FACTS = "expert"  # key of the header
_DEPTH = 3  # folders below the given one where buffers are looked for, to say where they are
_TAKES = "--experts takes a folder that `experts` wrote, or a folder or file of the published kind (replay_buffer_*.pt)"


def network_shapes(model: str, res: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's parameters by name, in the order of `parameters()`.

    Args:
        model: As `create_model` takes it.
        res: Resolution in pixels.

    Raises:
        InputError: Unknown network, or one that holds more than parameters, such as the statistics of batch norm.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = create_model(model, NUM_CLASSES, (res, res))
    if any(True for _ in network.buffers()):
        raise InputError(
            f"--model {model}: keeps statistics (batch norm) that are no part of a trajectory; take a network with "
            "another norm or none, for example ConvNetD3"
        )
    return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}


def expert_path(folder: Path, seed: int) -> Path:
    """Return the file of the expert with a seed."""
    return folder / f"expert-{seed:06}.safetensors"


def expert_paths(folder: Path) -> list[Path]:
    """Return the files of all experts in a folder, in the order of their seeds."""
    return sorted(folder.glob(_EXPERTS), key=_numbers)


def remove_parts(folder: Path) -> None:
    """Remove what killed processes had written of experts; nobody may be writing."""
    for path in folder.glob(f".{_EXPERTS}"):
        path.unlink(missing_ok=True)


def write_expert(path: Path, snapshots: dict[str, torch.Tensor], facts: dict[str, object]) -> None:
    """Write an expert, whole or not at all.

    Args:
        path: The file.
        snapshots: Name of a parameter -> its values, float32 `[epochs + 1, *shape]`.
        facts: What JSON can hold; `digest` says how and on what it was trained, `seed` with which.
    """
    with atomic_write(path) as temporary:
        save_file(snapshots, temporary, {_FACTS: json.dumps(facts)})  # one entry: several have no fixed order


def read_expert_facts(path: Path) -> dict[str, object]:
    """Return what the header of an expert says; the file has all the bytes that its header claims.

    Raises:
        InputError: It is damaged, or no expert of ours.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})[_FACTS])
        if not {"digest", "seed", "epochs"} <= facts.keys():
            raise KeyError("digest, seed, epochs")
    except (SafetensorError, OSError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: damaged or no expert ({error}); delete it and train it again") from error
    return facts


class Experts(ABC):
    """Trajectories of networks: their parameters in the beginning and after every epoch.

    Attributes:
        count: Number of experts.
        epochs: Epochs that each of them has at least; its snapshots are 0 ... epochs.
        digest: Identifies them: settings, images and seeds of ours; names, sizes and a sum of each trajectory's last
            parameters of published files.
        origin: Where they are from, in words.
        training_digest: Digest of the images that ours were trained on; None where that is not known.
        flat: Whether they were trained to flat minima (`experts --sam`); None where that is not known.
    """

    flat: bool | None = None

    def __init__(self, lengths: Sequence[int], digest: str, origin: str, training_digest: str | None = None) -> None:
        self.count, self.epochs = len(lengths), min(lengths)
        self.digest, self.origin, self.training_digest = digest, origin, training_digest
        if max(lengths) != self.epochs:
            _logger.warning(
                f"{origin}: trajectories of {self.epochs} to {max(lengths)} epochs; the first {self.epochs} are used"
            )

    def parameters(self, expert: int, epoch: int) -> list[torch.Tensor]:
        """Return the parameters of an expert after some epochs, in the order of `network.parameters()`.

        Args:
            expert: From 0 to count - 1.
            epoch: From 0 (the beginning) to `epochs`.

        Returns:
            float32 tensors on the CPU, which are the caller's.

        Raises:
            InputError: The file is damaged, or a number in it is not finite.
        """
        if not (0 <= expert < self.count and 0 <= epoch <= self.epochs):
            raise IndexError(f"expert {expert}, epoch {epoch}: there are {self.count} experts of {self.epochs} epochs")
        tensors, path = self._read(expert, epoch)
        found = [tensor.detach().to(torch.float32, copy=True) for tensor in tensors]
        if not all(tensor.isfinite().all() for tensor in found):
            raise InputError(f"{path}: parameters after epoch {epoch} are not finite; train this expert again")
        return found

    def check_images(self, digest: str) -> None:
        """Raise InputError where they are known to be trained on other images than those with this digest."""
        if self.training_digest not in (None, digest):
            raise InputError(
                f"{self.origin}: trained on other images than those of this subset and --data_path; train experts on "
                "these"
            )

    @abstractmethod
    def _read(self, expert: int, epoch: int) -> tuple[list[torch.Tensor], Path]:
        """Return a snapshot as it is stored, and its file."""


def open_experts(path: str, model: str, res: int) -> Experts:
    """Open expert trajectories; parameters are read when they are asked for.

    Args:
        path: A folder that `experts` wrote, a folder with `replay_buffer_*.pt`, or one such file: a list of
            trajectories, each a list of epochs, each a list of parameters in the order of `parameters()`, as MTT's
            `buffer.py` writes it (Cazenavette et al., CVPR 2022).
        model: Network that they are trajectories of.
        res: Its resolution in pixels.

    Raises:
        InputError: There are none, they are damaged, could run code, or are those of another network or resolution.
    """
    shapes = network_shapes(model, res)
    place = Path(path).expanduser()
    if (place / FACTS_NAME).is_file():
        return _Ours(place, shapes, model, res)
    if place.is_file():
        return _Published([place], shapes, f"--model {model} --res {res}")
    if not place.is_dir():
        raise InputError(f"{place}: no such file or folder; {_TAKES}")
    files = sorted(place.glob(_BUFFERS), key=_numbers)
    if not files:
        below = next((found for n in range(1, _DEPTH + 1) for found in place.glob("*/" * n + _BUFFERS)), None)
        hint = _TAKES if below is None else f"there are some in {below.parent}; give that folder"
        raise InputError(f"{place}: holds no experts; {hint}")
    return _Published(files, shapes, f"--model {model} --res {res}")


class _Ours(Experts):
    def __init__(self, folder: Path, shapes: dict[str, tuple[int, ...]], model: str, res: int) -> None:
        try:
            made = json.loads((folder / FACTS_NAME).read_text(encoding="utf-8"))
            digest, training, settings = made["digest"], made["training_digest"], made["settings"]
            found, self.flat = (settings["model"], settings["res"]), settings["sam"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder / FACTS_NAME}: damaged ({error}); run `experts` again for it") from error
        if found != (model, res):
            raise InputError(
                f"{folder}: experts of {found[0]} at {found[1]} px, not of {model} at {res} px; give --model "
                f"{found[0]} --res {found[1]}, or other --experts"
            )
        self._paths, self._names = expert_paths(folder), list(shapes)
        if not self._paths:
            raise InputError(f"{folder}: holds no finished expert yet; run `experts` again for it")
        facts = [read_expert_facts(path) for path in self._paths]
        for path, fact in zip(self._paths, facts, strict=True):
            if fact["digest"] != digest:
                raise InputError(f"{path}: trained with other settings than {FACTS_NAME} says; delete it")
            _check_ours(path, {name: (fact["epochs"] + 1, *shape) for name, shape in shapes.items()})
        members = [
            [path.name, fact["seed"], path.stat().st_size] for path, fact in zip(self._paths, facts, strict=True)
        ]
        lengths = [fact["epochs"] for fact in facts]
        super().__init__(lengths, digest_of([digest, members]), str(folder), training)

    def _read(self, expert: int, epoch: int) -> tuple[list[torch.Tensor], Path]:
        path = self._paths[expert]
        try:
            with safe_open(path, "pt") as file:
                return [file.get_slice(name)[epoch].clone() for name in self._names], path
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: cannot be read ({error}); delete it and train it again") from error


def _check_ours(path: Path, expected: dict[str, tuple[int, ...]]) -> None:
    with safe_open(path, "pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    found = {name: tuple(part.get_shape()) for name, part in slices.items()}
    if found != expected or any(part.get_dtype() != "F32" for part in slices.values()):
        raise InputError(f"{path}: its tensors are not those that {FACTS_NAME} says; delete it and train it again")


class _Published(Experts):
    """Files of the published kind; all stay open.

    Opening one takes a second for ten experts of ConvNetD5 over 60 epochs. Their numbers stay on disk until they are
    asked for; memory holds a kilobyte for each tensor, 0.12 GB for a hundred of these experts. Of the format before
    torch 1.6, whose numbers are all read, the last file alone stays.
    """

    def __init__(self, paths: list[Path], shapes: dict[str, tuple[int, ...]], flags: str) -> None:
        self._expected, self._flags = list(shapes.values()), flags
        self._open: dict[Path, list] = {}
        self._places: list[tuple[Path, int]] = []
        lengths: list[int] = []
        samples: list[object] = []  # a buffer of other experts has the same size
        for path in paths:
            trajectories = self._load(path)
            sums = [float(trajectory[-1][0].detach().double().sum()) for trajectory in trajectories]
            samples.append([path.name, path.stat().st_size, *map(repr, sums)])
            self._places += [(path, number) for number in range(len(trajectories))]
            lengths += [len(trajectory) - 1 for trajectory in trajectories]
        origin = str(paths[0] if len(paths) == 1 else paths[0].parent)
        super().__init__(lengths, digest_of(samples), origin)

    def _read(self, expert: int, epoch: int) -> tuple[list[torch.Tensor], Path]:
        path, number = self._places[expert]
        return self._load(path)[number][epoch], path

    def _load(self, path: Path) -> list:
        """Return the trajectories of a file."""
        found = self._open.get(path)
        if found is None:
            if not zipfile.is_zipfile(path):
                self._open.clear()  # before the next one takes memory
            found = self._open[path] = self._checked(path, load_torch(path, largest=None, mapped=True))
        return found

    def _checked(self, path: Path, content: object) -> list:
        for number, trajectory in enumerate(_list(content, path, "trajectories")):
            where = f"trajectory {number}"
            snapshots = _list(trajectory, path, f"epochs in {where}")
            if len(snapshots) < 2:
                raise InputError(f"{path}: {where} has one snapshot, expected the beginning and at least one epoch")
            for epoch, snapshot in enumerate(snapshots):
                self._check(_list(snapshot, path, f"parameters in {where}, epoch {epoch}"), path, where, epoch)
        return content

    def _check(self, snapshot: Sequence[object], path: Path, where: str, epoch: int) -> None:
        for position, (tensor, expected) in enumerate(zip(snapshot, self._expected, strict=False)):
            place = f"{path}: {where}, epoch {epoch}, parameter {position}"
            if not isinstance(tensor, torch.Tensor) or not is_plain(tensor) or not tensor.is_floating_point():
                kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
                raise InputError(f"{place}: {kind}, expected a dense tensor of floating point numbers")
            if tuple(tensor.shape) != expected:
                raise InputError(f"{place}: shape {list(tensor.shape)}, expected {list(expected)} {self._likely}")
        if len(snapshot) != len(self._expected):
            raise InputError(
                f"{path}: {where}, epoch {epoch} has {len(snapshot)} parameters, expected {len(self._expected)} "
                f"{self._likely}"
            )

    @property
    def _likely(self) -> str:
        return f"with {self._flags}; the experts are probably of another network or resolution, give theirs"


def _list(content: object, path: Path, what: str) -> Sequence[object]:
    if not isinstance(content, list | tuple) or not content:
        found = "an empty list" if isinstance(content, list | tuple) else type(content).__name__
        raise InputError(f"{path}: found {found}, expected a list of {what}; {_TAKES}")
    return content


def _numbers(path: Path) -> tuple[list[int], str]:
    """Sort 10 after 9."""
    return [int(digits) for digits in re.findall(r"\d+", path.name)], path.name
