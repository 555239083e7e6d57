"""Networks of a user's own: built from a file, a class or a function, once it is known that they can be students."""

import inspect
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from compdd_eval.config.network_names import UserNetwork
from compdd_eval.models.other_libraries import checked_logits
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.user_code import made_network

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_ORDER = ("num_classes", "im_size")
_checked: set[tuple] = set()


def build_user_network(network: UserNetwork, num_classes: int, im_size: tuple[int, int], channel: int) -> nn.Module:
    """Build a network of a user's own, once it is known that it can be a student; cheap when asked again.

    It can be one if it maps images to logits, in training as well; if the seed alone decides its weights, and it shares
    them with no other; and if its parameters and buffers make the same of another one.

    Args:
        network: Its code.
        num_classes: Number of logits.
        im_size: Height and width of the images in pixels.
        channel: Channels of the images.

    Returns:
        The network; under `torch.device("meta")` one without values.

    Raises:
        InputError: Its code fails, or it is no such network; the message has the reason.
    """

    def build() -> nn.Module:
        arguments = _arguments(network, {"num_classes": num_classes, "im_size": im_size, "channel": channel})
        made = made_network(network.origin, lambda: network.build(*arguments.args, **arguments.kwargs))
        if any(is_lazy(tensor) for tensor in [*made.parameters(), *made.buffers()]):
            blank = torch.zeros(1, channel, *im_size)
            checked_logits(network.name, lambda: made.eval()(blank), blank, num_classes)
        return made.train()

    key = (network.name, num_classes, im_size, channel)
    if key not in _checked:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.enable_grad():
            _check(network, build, torch.randn(2, channel, *im_size), num_classes)
        _checked.add(key)
    if torch.get_default_device().type == "meta":
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            return build().to("meta")
    return build()


def _arguments(network: UserNetwork, given: dict[str, object]) -> inspect.BoundArguments:
    """Return what the code takes: by name what it calls so, else `num_classes` and `im_size` in this order."""
    try:
        signature = inspect.signature(network.build)
    except (TypeError, ValueError):  # built in
        signature = inspect.signature(lambda num_classes, im_size, /: None)
    parameters = signature.parameters.values()
    named = {p.name: given[p.name] for p in parameters if p.name in given and p.kind in _NAMED}
    positional = [p for p in parameters if p.kind in _POSITIONAL and p.name not in named]
    if named:  # what has a default beside them means something else
        positional = [p for p in positional if p.default is p.empty]
    rest = [given[name] for name in _ORDER if name not in named]
    kinds = {p.kind for p in parameters}
    if inspect.Parameter.VAR_POSITIONAL in kinds and not named:
        return signature.bind(*rest)
    if inspect.Parameter.VAR_KEYWORD in kinds and all(p.default is not p.empty for p in positional):
        return signature.bind(**named | {"num_classes": given["num_classes"]})  # as torchvision's functions
    if not positional and "num_classes" not in named:
        raise InputError(f"{network.origin}: takes no num_classes; expected a function of (num_classes, im_size)")
    bound = signature.bind_partial(**named)
    bound.arguments |= {p.name: value for p, value in zip(positional, rest, strict=False)}
    return bound


def _check(network: UserNetwork, build: Callable[[], nn.Module], images: torch.Tensor, num_classes: int) -> None:
    """Raise InputError where a network cannot be a student."""
    first, again, other = (_of_seed(build, seed) for seed in (0, 0, 1))
    if not any(parameter.requires_grad for parameter in first.parameters()):
        raise InputError(f"{network.origin}: its network has no parameters to train")
    if {id(parameter) for parameter in first.parameters()} & {id(parameter) for parameter in other.parameters()}:
        raise InputError(f"{network.origin}: gives two students the same weights; make new ones in each call")
    state, same = first.state_dict(), again.state_dict()
    if state.keys() != same.keys() or not all(torch.equal(state[key], same[key]) for key in state):
        raise InputError(
            f"{network.origin}: two networks of one seed differ; draw their weights from torch's default generator"
        )

    def logits(student: nn.Module) -> torch.Tensor:
        torch.default_generator.manual_seed(0)
        return checked_logits(network.name, lambda: student(images), images, num_classes)

    expected = logits(other.eval())
    first.load_state_dict(other.state_dict())
    if not torch.allclose(logits(first.eval()), expected, rtol=1e-3, atol=1e-5, equal_nan=True):
        raise InputError(
            f"{network.origin}: its network keeps numbers that are neither parameters nor buffers, and differ from "
            "student to student; keep them by register_buffer()"
        )
    outputs = logits(first.train())
    if not outputs.requires_grad:
        raise InputError(f"{network.origin}: the logits of its network do not depend on its parameters")
    outputs.sum().backward()


def _of_seed(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    torch.default_generator.manual_seed(seed)
    return build()
