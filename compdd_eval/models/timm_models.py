"""`timm:NAME`: any classifier of timm (PyTorch Image Models), with fresh weights; timm is an extra.

Architectures and their default initialisation are timm's; nothing is downloaded. Parameters at other sizes are those of
the architecture, but for networks that timm marks as made for one size, which get the size of the images.
"""

import functools

from torch import nn

from compdd_eval.models.other_libraries import build_checked
from compdd_eval.models.registry import Build, register_library
from compdd_eval.utils.errors import InputError, unknown


@register_library("timm")
def timm_model(name: str) -> Build:
    """Return what builds a classifier of timm.

    Raises:
        InputError: timm is not installed, or unknown name (one without `.TAG` is expected: tags are of pretrained
            weights).
    """
    try:
        import timm
    except ImportError as error:
        raise InputError(f'timm:{name} needs timm: pip install "compdd-eval[timm]"') from error
    names = timm.list_models()
    if name not in names:
        raise unknown("timm model", name, names)
    settings = timm.models.get_pretrained_cfg(name)

    def build(num_classes: int, im_size: tuple[int, int], channel: int) -> nn.Module:
        options = {"img_size": im_size} if settings and settings.fixed_input_size else {}
        options |= {"num_classes": num_classes, "in_chans": channel}
        made = functools.partial(timm.create_model, name, pretrained=False, **options)
        return build_checked(f"timm:{name}", made, num_classes, im_size, channel)

    return build
