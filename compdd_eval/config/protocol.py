"""How students are trained: the protocol and its defaults."""

import math
from dataclasses import dataclass, fields

from compdd_eval.config.checks import check_epochs, require
from compdd_eval.errors import unknown

DSA_OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
DSA_STRATEGY = "color_crop_cutout_flip_scale_rotate"


def parse_strategy(strategy: str) -> list[str]:
    """Split a DSA strategy such as `color_crop_flip` into its operations; `none` has none.

    Raises:
        InputError: An unknown operation; the message names the nearest valid one.
    """
    if strategy.lower() == "none":
        return []
    operations = strategy.lower().split("_")
    for operation in operations:
        if operation not in DSA_OPERATIONS:
            raise unknown("operation of the augmentation strategy", operation, DSA_OPERATIONS)
    return operations


@dataclass(frozen=True)
class Protocol:
    """How a student is trained. The defaults are preset `comp-dd`: the evaluator of the Comp-DD release.

    Args:
        epoch_eval_train: Epochs E; passes 0 to E inclusive are made over the distilled images, so E + 1.
        batch_train: Distilled images in a batch.
        lr_net: Learning rate of the students where the distilled set has no learned rate.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD, on all parameters.
        dsa: Whether the distilled images are augmented (differentiable siamese augmentation).
        dsa_strategy: Operations of the augmentation, joined by "_"; one of them is drawn for each batch.
        crop_pad: Padding of the crop operation as a share of the image size. 0.25 in the benchmark's evaluator,
            0.125 in MTT, DATM, DC and DC-BENCH.
    """

    epoch_eval_train: int = 1000
    batch_train: int = 128
    lr_net: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dsa: bool = True
    dsa_strategy: str = DSA_STRATEGY
    crop_pad: float = 0.25

    def __post_init__(self) -> None:
        check_epochs(self.epoch_eval_train)
        require("--batch_train", self.batch_train, self.batch_train >= 1, "a whole number from 1")
        require("--lr_net", self.lr_net, math.isfinite(self.lr_net) and self.lr_net > 0, "a finite number above 0")
        require("--momentum", self.momentum, 0 <= self.momentum < 1, "a number in [0, 1)")
        require("--weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "a finite number from 0")
        require("--crop_pad", self.crop_pad, 0 <= self.crop_pad <= 1, "a number in [0, 1]")
        parse_strategy(self.dsa_strategy)

    def protocol(self) -> dict[str, object]:
        """Return the fields of the protocol alone, for printing and for the results."""
        return {field.name: getattr(self, field.name) for field in fields(Protocol)}

    def changes(self) -> dict[str, object]:
        """Return the fields in which this differs from preset `comp-dd`."""
        return {name: value for name, value in self.protocol().items() if value != getattr(Protocol, name)}
