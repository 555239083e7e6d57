"""Training again where a machine cannot do as it was told: it cannot compile, or its memory is too small."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate.utils.memory import clear_device_cache

from compdd_eval.training.compiling import Compiler, forget_compiled
from compdd_eval.utils.devices import out_of_memory
from compdd_eval.utils.errors import InputError

T = TypeVar("T")
_logger = logging.getLogger(__name__)


def train_with_retries(
    train: Callable[[int], T],
    part: int,
    *,
    who: str,
    network: str,
    res: int,
    compiler: Compiler,
    device: torch.device,
    shared: bool = False,
    fewer_students: Callable[[], T] | None = None,
) -> T:
    """Return what training gives: in eager mode where compiling fails, with less at a time where memory runs out.

    Args:
        train: Trains from the start, with this many images of a student at a time.
        part: Images at a time, at first; halved where memory runs out.
        who: Who trains, for the warning.
        network: Its network.
        res: Side of the images in pixels.
        compiler: Asked by `train` whether to compile.
        device: Where it trains.
        shared: Processes train one student together: they would disagree on `part`, so they stop.
        fewer_students: Trains the students of a stack apart, which is tried before fewer images at a time.

    Raises:
        InputError: One image at a time is too much, or `--compile always` fails.
    """
    while True:
        try:
            return train(part)
        except Exception as error:
            if compiler.gives_up(network, error):
                continue
            if shared or not out_of_memory(error):
                raise
            if part == 1 and fewer_students is None:
                raise InputError(
                    f"{network} at {res} px: out of memory with one image at a time; give a smaller network or another "
                    "device"
                ) from error
        # only here, since the error holds on to the tensors of the step that failed
        if device.type == "cuda":
            forget_compiled()  # CUDA graphs own their memory
        clear_device_cache(garbage_collection=True)
        if fewer_students is not None:
            return fewer_students()
        part = (part + 1) // 2
        _logger.warning(f"{who}: out of memory; again with {part} images at a time")
