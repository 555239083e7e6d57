"""Pools of students: the evaluation modes of Zhao et al. (ICLR 2021) and Cazenavette et al. (CVPR 2022)."""

import math

from compdd_eval.models.convnet import ACTIVATIONS, DEPTHS, NORMS, POOLINGS
from compdd_eval.utils.errors import unknown

EVAL_MODES = ("S", "M", "W", "D", "A", "P", "N", "BN", "C")


def eval_pool(mode: str, model: str, im_size: tuple[int, int]) -> list[str]:
    """Return the names of the students that a mode evaluates.

    Args:
        mode: `S` the model itself (published: without the "BN" of its name; here every name means itself), `M`
            architectures (ConvNet of the depth that fits the images, AlexNet, VGG11, ResNet18), `W` widths, `D` depths,
            `A` activations, `P` poolings, `N` norms, `BN` networks with batch norm, `C` the model and ConvNet.
        model: The model, for `S` and `C`.
        im_size: Height and width of the images in pixels, for `M`.

    Returns:
        Names for `create_model`, each once.

    Raises:
        InputError: Unknown mode.
    """
    pools = {
        "S": [model],
        "M": [f"ConvNetD{fitting_depth(im_size)}", "AlexNet", "VGG11", "ResNet18"],
        "W": ["ConvNetW32", "ConvNetW64", "ConvNetW128", "ConvNetW256"],
        "D": ["ConvNetD1", "ConvNetD2", "ConvNetD3", "ConvNetD4"],
        "A": [f"ConvNet{name}" for name in ACTIVATIONS],
        "P": [f"ConvNet{name}" for name in POOLINGS],
        "N": [f"ConvNet{name}" for name in NORMS],
        "BN": ["ConvNetBN", "VGG11BN", "ResNet18BN"],
        "C": list(dict.fromkeys([model, "ConvNet"])),
    }
    if mode not in EVAL_MODES:
        raise unknown("value of --eval_mode", mode, EVAL_MODES)
    return pools[mode]


def fitting_depth(im_size: tuple[int, int]) -> int:
    """Return the depth of ConvNet that leaves maps of about 4 x 4: 3 at 32 px, 4 at 64, 5 at 128, 6 at 224 and 256."""
    depth = round(math.log2(min(im_size))) - 2
    return min(max(depth, DEPTHS[0]), DEPTHS[-1])
