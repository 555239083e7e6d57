"""Pools of students, called by a letter as in the published evaluators (`get_eval_pool` of DC and MTT)."""

from compdd_eval.errors import unknown

_POOLS = {
    "W": ["ConvNetW32", "ConvNetW64", "ConvNetW128", "ConvNetW256"],
    "D": ["ConvNetD1", "ConvNetD2", "ConvNetD3", "ConvNetD4"],
    "A": ["ConvNetAS", "ConvNetAR", "ConvNetAL"],
    "P": ["ConvNetNP", "ConvNetMP", "ConvNetAP"],
    "N": ["ConvNetNN", "ConvNetBN", "ConvNetLN", "ConvNetIN", "ConvNetGN"],
    "BN": ["ConvNetBN", "VGG11BN", "ResNet18BN"],
}
EVAL_MODES = ("S", "M", "C", *_POOLS)


def eval_pool(mode: str, model: str, im_size: tuple[int, int]) -> list[str]:
    """Return the students of a pool.

    Args:
        mode: `S` the model itself, `M` several architectures (ConvNet of the depth that suits the size, which is D5 at
            128 px, AlexNet, VGG11 and ResNet18), `W` widths, `D` depths, `A` activations, `P` poolings, `N` norms, `BN`
            networks with batch norm, `C` the model and ConvNet.
        model: For `S` and `C`.
        im_size: Height and width in pixels, for `M`.

    Raises:
        InputError: Unknown mode.
    """
    if mode not in EVAL_MODES:
        raise unknown("value of --eval_mode", mode, EVAL_MODES)
    if mode == "M":
        depth = min(max(min(im_size).bit_length() - 3, 1), 8)  # the last map is 4 x 4 and more
        return [f"ConvNetD{depth}", "AlexNet", "VGG11", "ResNet18"]
    if mode in ("S", "C"):
        return list(dict.fromkeys([model, *(["ConvNet"] if mode == "C" else [])]))
    return list(_POOLS[mode])
