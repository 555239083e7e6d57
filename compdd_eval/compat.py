"""`evaluate_synset` as the releases of MTT, DATM and EDF call it: their code gets our training by changing one import.

    from compdd_eval.compat import evaluate_synset  # in place of: from utils import evaluate_synset

Sources: mtt-distillation (`utils.py`), DATM and EDF (`utils/utils_baseline.py`).
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from compdd_eval.config.protocol import PRESETS, Protocol
from compdd_eval.data.label_kinds import infer_label_kind
from compdd_eval.data.subsets import load_subset
from compdd_eval.models.cost import flops_of
from compdd_eval.training import augment
from compdd_eval.training.compiling import Compiler, eager_seconds
from compdd_eval.training.losses import soft_cross_entropy
from compdd_eval.training.memory import images_at_a_time
from compdd_eval.training.retry import train_with_retries
from compdd_eval.training.train import StudentBatches, Training
from compdd_eval.utils.devices import repeatable_here, send
from compdd_eval.utils.errors import InputError, require

# what `ParamDiffAug` of the releases holds, and ours cannot change
_CONSTANTS = {
    "aug_mode": "S",
    "prob_flip": augment.FLIP_PROBABILITY,
    "ratio_scale": augment.SCALE_RATIO,
    "ratio_rotate": augment.ROTATE_DEGREES,
    "ratio_cutout": augment.CUTOUT_RATIO,
    "brightness": augment.BRIGHTNESS,
    "saturation": augment.SATURATION,
    "contrast": augment.CONTRAST,
}
_CROP_PAD = 0.125  # `ratio_crop_pad` of `ParamDiffAug` in MTT and DATM
_NETWORK = "the network"


def evaluate_synset(
    it_eval: int,
    net: nn.Module,
    images_train: torch.Tensor,
    labels_train: torch.Tensor,
    testloader: Iterable[tuple[torch.Tensor, torch.Tensor]],
    args: Any,
    return_loss: bool = False,
    texture: bool = False,
    train_criterion: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    Preciser_Scheduler: bool = False,  # noqa: N803
    type: int = 1,  # noqa: A002
) -> tuple:
    """Train a network on synthetic images and test it, as the releases do.

        net, acc_train_list, acc_test = evaluate_synset(it_eval, net, images, labels, testloader, args)

    Random numbers (order of the images, DSA) are those that the releases draw from torch's global CPU generator: after
    the same `torch.manual_seed` the numbers are theirs up to rounding, and so is the generator's state afterwards. On a
    GPU the releases draw the parameters of DSA on it; here they are drawn on the CPU, whatever the device.

    Args:
        it_eval: Number of the network, for the bar.
        net: Network, trained in place.
        images_train: Float `[N, C, H, W]`, normalised.
        labels_train: Integers `[N]`, or float `[N, K]`: soft labels.
        testloader: Batches of images and labels 0 ... K - 1; where `args.dataset` is "ImageNet", ImageNet's indices
            of the classes of `args.subset` (imagenette, imagewoof, ..., bird-easy), as in MTT.
        args: Of it are read `lr_net, epoch_eval_train, batch_train, dsa, dsa_strategy, dsa_param, device`; a batch is
            256 images where there is no `batch_train`.
        return_loss: Return the losses, too.
        texture: Not taken.
        train_criterion: The loss on soft labels: soft cross-entropy with the softmax of the labels, or with
            probabilities. It is tried, not called in training; None looks at the labels.
        Preciser_Scheduler: Not taken: DATM's and EDF's own evaluation has it off.
        type: Of that schedule; no matter.

    Returns:
        `net, acc_train_list, acc_test`: accuracies in [0, 1], of each of the `epoch_eval_train + 1` passes on the
        augmented images during training (of soft labels, the largest entry; the releases have no number then), and on
        the test images after the last. With `return_loss` also the loss of each pass, and on the test images.

    Raises:
        InputError: A value that is none of the above, or settings of the releases that are not taken.
    """
    require("texture", texture, not texture, "False; textures are not taken")
    require("Preciser_Scheduler", Preciser_Scheduler, not Preciser_Scheduler, "False; the rate drops once, halfway")
    device = torch.device(args.device)
    net = (net.module if isinstance(net, nn.DataParallel) else net).to(device)
    protocol = _protocol_of(args)
    labels, kind = _labels_of(labels_train.detach(), train_criterion)
    batches = _GlobalDraws(images_train.detach().float(), labels, kind, protocol)
    class_map = _class_map_of(args)
    with repeatable_here():
        losses, accuracies = _train(net, batches, float(args.lr_net), protocol, it_eval)
        loss_test, acc_test = _test(net, testloader, class_map, device)
    return (net, accuracies, acc_test, losses, loss_test) if return_loss else (net, accuracies, acc_test)


class _GlobalDraws(StudentBatches):
    """Draws from torch's global CPU generator, in the order of the releases."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, label_kind: str, protocol: Protocol) -> None:
        super().__init__(images, labels, label_kind, protocol, seed=0)
        self.generator = torch.default_generator

    def order(self) -> torch.Tensor:
        """Draw the order of a pass by a `DataLoader`, which takes a seed for workers before that of the order."""
        (order,) = DataLoader(range(len(self)), batch_size=len(self), shuffle=True)
        return send(order, self.images.device)


def _protocol_of(args: Any) -> Protocol:
    dsa = str(args.dsa) == "True"  # some releases leave it a text
    augmentation = getattr(args, "dc_aug_param", None)
    if not dsa and augmentation is not None and augmentation.get("strategy") != "none":
        raise InputError("args.dsa False with args.dc_aug_param: DC's own augmentation is not taken; give dsa=True")
    param = getattr(args, "dsa_param", None)
    for name, expected in _CONSTANTS.items():
        value = getattr(param, name, expected)
        require(f"args.dsa_param.{name}", value, not dsa or value == expected, f"{expected}, as in the releases")
    return Protocol(
        epoch_eval_train=int(args.epoch_eval_train),
        batch_train=int(getattr(args, "batch_train", 256)),
        dsa=dsa,
        dsa_strategy=args.dsa_strategy if dsa else PRESETS["comp-dd"]["dsa_strategy"],
        crop_pad=getattr(param, "ratio_crop_pad", _CROP_PAD),
    )


def _labels_of(labels: torch.Tensor, criterion: Callable | None) -> tuple[torch.Tensor, str]:
    """Return labels as students take them, and their kind."""
    if labels.ndim == 1:
        _check_hard(labels, criterion)
        return labels.long(), "hard"
    require("labels_train", list(labels.shape), labels.ndim == 2, "[N], or soft labels [N, K]")
    labels = labels.float()
    if criterion is None:
        return labels, infer_label_kind(labels)
    outputs = torch.linspace(-1, 1, labels.numel()).view(labels.shape).to(labels.device)  # any that differ
    for kind in ("logits", "probabilities"):
        if _is_loss(criterion, outputs, labels, soft_cross_entropy(outputs, labels, kind)):
            return labels, kind
    raise InputError("train_criterion: expected the releases' SoftCrossEntropy; another loss is not taken")


def _check_hard(labels: torch.Tensor, criterion: Callable | None) -> None:
    """Refuse another loss than cross-entropy."""
    if criterion is None:
        return
    whole = labels.long()
    size = len(whole), max(2, int(whole.max()) + 1)
    outputs = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(labels.device)  # any that differ
    if not _is_loss(criterion, outputs, whole, F.cross_entropy(outputs, whole)):
        raise InputError("train_criterion: expected cross-entropy for hard labels; another loss is not taken")


def _is_loss(criterion: Callable, outputs: torch.Tensor, labels: torch.Tensor, expected: torch.Tensor) -> bool:
    value = torch.as_tensor(criterion(outputs, labels)).detach()
    return torch.allclose(value, expected.to(value), rtol=1e-4)


def _class_map_of(args: Any) -> dict[int, int] | None:
    """Return what turns labels of the test images into those of the network; None where they are."""
    if getattr(args, "dataset", None) != "ImageNet":
        return None
    name = str(getattr(args, "subset", None)).lower()
    try:
        return load_subset(name.removeprefix("image")).class_map
    except InputError as error:
        raise InputError(
            f"args.subset {name}: which classes of ImageNet are meant? Give a testloader with labels from 0, and "
            f"another args.dataset ({error})"
        ) from error


def _train(
    net: nn.Module, batches: StudentBatches, lr: float, protocol: Protocol, it_eval: int
) -> tuple[list[float], list[float]]:
    """Train in place; return mean loss and accuracy of each pass."""
    device, images, size = next(net.parameters()).device, batches.images, len(batches)
    weights, random_state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    compiler = Compiler("auto", _NETWORK)
    steps = protocol.passes * -(-size // protocol.batch_train)
    flops = flops_of(net, images[:1].to(device)) * size * protocol.passes
    compiler.choose({_NETWORK: eager_seconds(flops, steps, device)})

    def attempt(part: int) -> tuple[list[float], list[float]]:
        net.load_state_dict(weights)
        torch.set_rng_state(random_state)
        options = {"part": part, "compiled": compiler.compiles(_NETWORK), "counts": True}
        training = Training(net, [batches], lr, protocol, **options)
        bar = tqdm(training.passes(), total=protocol.passes, desc=f"Evaluate_{it_eval:02d}", unit="pass", leave=False)
        # on the device until the end: reading a number at every pass would make a GPU wait
        passes = [torch.stack([loss, training.right / size]) for loss in bar]
        losses, accuracies = torch.stack(passes, dim=1).tolist()
        return losses, accuracies

    return train_with_retries(
        attempt,
        images_at_a_time(net, images, protocol.batch_train, device),
        who=f"network {it_eval}",
        network=_NETWORK,
        res=images.shape[-1],
        compiler=compiler,
        device=device,
    )


@torch.no_grad()
def _test(
    net: nn.Module, testloader: Iterable, class_map: dict[int, int] | None, device: torch.device
) -> tuple[float, float]:
    """Return mean loss and accuracy on the test images."""
    net.eval()
    loss, right, number = 0.0, 0, 0
    for images, labels, *_ in testloader:
        if class_map is not None:
            known = [class_map.get(label) for label in labels.tolist()]
            require("labels of testloader", labels.tolist(), None not in known, "ImageNet's indices of args.subset")
            labels = torch.tensor(known)
        outputs, labels = net(images.float().to(device)), labels.long().to(device)
        loss = loss + F.cross_entropy(outputs, labels, reduction="sum")
        right = right + (outputs.argmax(dim=1) == labels).sum()
        number += len(labels)
    require("testloader", f"with {number} images", number > 0, "at least one")
    return float(loss) / number, int(right) / number
