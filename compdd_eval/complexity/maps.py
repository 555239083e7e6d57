"""Class-activation maps, by TorchCAM, of images in batches."""

import contextlib
import logging

import torch
from torch import nn

from compdd_eval.complexity.classifier import Classifier
from compdd_eval.config.complexity import METHODS
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.random_state import seed_torch

_NAMES = dict(zip(METHODS, ("SmoothGradCAMpp", "GradCAM", "GradCAMpp", "LayerCAM"), strict=True))  # in torchcam.methods
SAMPLES, NOISE = 4, 0.3  # of Smooth Grad-CAM++: noisy copies of an image, and the standard deviation of that noise


class Mapper:
    """Makes the map of each image that a class has in one layer of a classifier.

    Smooth Grad-CAM++: Omeiza et al., 2019, with the noise of TorchCAM (4 samples, standard deviation 0.3, on normalised
    images); Grad-CAM: Selvaraju et al., ICCV 2017; Grad-CAM++: Chattopadhay et al., WACV 2018; LayerCAM: Jiang et al.,
    TIP 2021. A map has the size that the layer has, and is min-max normalised to [0, 1].

    Args:
        classifier: The network and its layer.
        method: One of `compdd_eval.config.complexity.METHODS`.

    Raises:
        InputError: TorchCAM is missing; or, when called, outputs or maps that are not finite.
    """

    def __init__(self, classifier: Classifier, method: str) -> None:
        try:
            from torchcam import methods
        except ImportError as error:
            raise InputError('complexity needs TorchCAM: pip install "compdd-eval[complexity]"') from error
        logging.getLogger("torchcam").setLevel(logging.ERROR)
        self._classifier = classifier
        self._network = classifier.network
        layer = self._network.get_submodule(classifier.layer)
        self._handle = layer.register_forward_hook(_start_of_graph)
        options = {"num_samples": SAMPLES, "std": NOISE} if method == METHODS[0] else {}
        self._extractor = getattr(methods, _NAMES[method])(self._network, classifier.layer, **options)

    def __call__(
        self, images: torch.Tensor, seed: int, targets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map a batch.

        Args:
            images: Float `[N, 3, H, W]`, normalised for the classifier.
            seed: Seeds the noise, where the method has some.
            targets: Class that each map explains, int64 `[N]`; default: the predicted one.

        Returns:
            Maps float `[N, h, w]` in [0, 1], the predicted class int64 `[N]`, and its softmax probability float `[N]`;
            all on the CPU. A map that is the same everywhere is all zeros.
        """
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            seed_torch(images.device, seed)
            logits = self._network(images)
            if not torch.isfinite(logits).all():
                raise InputError("the classifier's outputs are not finite; its weights are damaged, give others")
            confidence, predicted = logits.detach().softmax(dim=1).max(dim=1)
            classes = (predicted if targets is None else targets).tolist()
            maps = self._extractor(classes, logits, normalized=False)[0]
        self._extractor.reset_hooks()
        if not torch.isfinite(maps).all():
            raise InputError(f"--layer {self._classifier.layer}: a map is not finite; give another --layer or --method")
        return normalised(maps.detach()).cpu(), predicted.cpu(), confidence.cpu()

    def close(self) -> None:
        """Take the hooks out of the network."""
        self._extractor.remove_hooks()
        self._handle.remove()


def normalised(maps: torch.Tensor) -> torch.Tensor:
    """Bring each map to [0, 1]: minus its least value, over its range; a map without a range becomes zeros."""
    least, most = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    extent = most - least
    return torch.where(extent > 0, (maps - least) / extent.clamp_min(torch.finfo(maps.dtype).tiny), 0.0)


def _start_of_graph(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
    """Let gradients reach the output of a layer and go no further: nothing below it is asked for."""
    if not isinstance(output, torch.Tensor) or not torch.is_grad_enabled():
        return output
    return output.detach().requires_grad_().clone()


def mapper_of(classifier: Classifier, method: str) -> contextlib.closing[Mapper]:
    """Lend a mapper."""
    return contextlib.closing(Mapper(classifier, method))
