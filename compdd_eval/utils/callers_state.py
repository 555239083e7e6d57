"""What a process that is somebody else's has set of torch, and finds again after work of ours."""

import contextlib
from collections.abc import Iterator

import torch

from compdd_eval.utils.devices import repeatable_here
from compdd_eval.utils.random_state import own_random_state


@contextlib.contextmanager
def callers_state_kept(device: torch.device) -> Iterator[None]:
    """Let a block work as in a fresh process, whatever the caller has set, and set what it likes.

    After it, all is as it was: global random numbers, threads, modes of gradients, inference and autocast, default
    type and device of tensors, current GPU, precision and algorithms of GPUs.

    Args:
        device: Where the block works.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        if device.type == "cuda":  # processes talk by the current one
            here = torch.cuda.current_device() if device.index is None else device
            stack.enter_context(torch.cuda.device(here))
        stack.callback(
            torch.use_deterministic_algorithms,
            torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        torch.use_deterministic_algorithms(False)
        stack.enter_context(own_random_state(device))
        stack.enter_context(repeatable_here())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in dict.fromkeys(("cpu", device.type)):
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # else the mode would be one more thing that a step passes
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        yield
