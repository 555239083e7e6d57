"""Compiled steps of a student: when they pay, and what to do where they fail."""

import functools
import logging
import sys
from collections.abc import Callable

import torch
from torch import nn

from compdd_eval.utils.errors import InputError, first_line

_logger = logging.getLogger(__name__)
_FLOPS = {"cpu": 5e10, "cuda": 2e13}  # a second, of each CPU thread or GPU, in eager mode: measured; an estimate
_OVERHEAD = {"cpu": 1e-3, "cuda": 3e-3}  # seconds of a step that are not arithmetic, likewise
_COMPILING_PAYS = 60.0  # seconds in eager mode: compiling takes 5 to 25 on two CPU cores and saves about a half
_BACKWARD = 3  # operations of forward and backward together, against forward alone
_PLACES: dict[tuple, nn.Module] = {}  # networks that are trained in this process, by their kind
_KINDS = 8  # of them
_GRAPHS = 64  # compiled steps that are kept: one for each network, size of a batch and kind of labels


@functools.cache
def compiled(
    function: Callable[..., torch.Tensor], gpu: bool = False, graphs: bool = False
) -> Callable[..., torch.Tensor]:
    """Return a function compiled by TorchInductor; its code and the cache of that on disk serve every student.

    Args:
        function: What is compiled.
        gpu: It runs on a GPU.
        graphs: Launch the kernels of the GPU together, as CUDA graphs. `new_step` has to be called before every call,
            and gradients must not be kept from one call to the next.
    """
    import torch._dynamo

    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns of a CUDA toolkit without a GPU
    dynamo = torch._dynamo.config
    limit = "recompile_limit" if hasattr(dynamo, "recompile_limit") else "cache_size_limit"  # so called up to torch 2.6
    setattr(dynamo, limit, max(getattr(dynamo, limit), _GRAPHS))
    return torch.compile(function, dynamic=False, options=gpu_options(graphs) if gpu else None)


def gpu_options(graphs: bool) -> dict[str, bool]:
    """Return TorchInductor's options for a GPU, those of them that this torch has."""
    import torch._inductor

    options = {
        "triton.cudagraphs": graphs,
        # of the configurations of a reduction, choose one by rule: each sums in another order, and timing them would
        # give a student other last bits in every process
        "deterministic": True,
        # channels last, which suits convolutions, is what norms and poolings read worst: 13.7 GB a step of ConvNetD5 at
        # 128 px against 17.4, of ResNet18 49.4 against 65.2, of AlexNet 16.0 against 16.2 (100 images, float32)
        "layout_optimization": False,
    }
    known = torch._inductor.list_options()
    return {name: value for name, value in options.items() if name in known}


def in_place(network: nn.Module, *kind: object) -> nn.Module:
    """Return a network that is trained where the last one of its kind lay, with the new weights.

    CUDA graphs are of addresses: a network of its own place would be recorded anew, for every student of a grid.

    Args:
        network: What is going to be trained; nothing else of its kind is being trained.
        kind: Name, number of students and resolution.
    """
    # what a name stands for may have changed: a user's network may be registered anew, with other layers
    layers = repr(network), *map(type, network.modules())
    tensors = ((name, value.shape, value.dtype, value.device) for name, value in network.state_dict().items())
    kind = (*kind, layers, *tensors)
    if kind not in _PLACES:
        if len(_PLACES) == _KINDS:
            forget_compiled()  # with the graphs of networks that may not come again
        _PLACES[kind] = network
    elif _PLACES[kind] is not network:
        _PLACES[kind].load_state_dict(network.state_dict())
        for module, new in zip(_PLACES[kind].modules(), network.modules(), strict=True):
            module.training = new.training  # the last one may have left a batch norm frozen
    return _PLACES[kind]


def forget_compiled() -> None:
    """Let go of compiled steps and of the memory that their CUDA graphs hold; the code stays in the cache on disk."""
    compiled.cache_clear()
    _PLACES.clear()
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


def new_step() -> None:
    """Tell CUDA graphs that a step begins: what the last one computed may be written over."""
    torch.compiler.cudagraph_mark_step_begin()


def compiling_failed(error: BaseException) -> bool:
    """Return whether an error says that this machine cannot compile, for example since it has no C++ compiler."""
    exceptions = sys.modules.get("torch._dynamo.exc")
    return exceptions is not None and isinstance(error, exceptions.TorchDynamoException)


class Compiler:
    """Which networks of a run have compiled steps: those that --compile means, until compiling fails once.

    Args:
        how: What --compile says: `always`, `never` or `auto`.
        who: Whose steps they are, for messages: `students`.
    """

    def __init__(self, how: str, who: str) -> None:
        self._how, self._who = how, who
        self._networks: set[str] = set()
        self._failed = False

    @property
    def by_time(self) -> bool:
        """Whether it matters how long networks train."""
        return self._how == "auto" and not self._failed

    def choose(self, seconds: dict[str, float]) -> None:
        """Choose among networks, by the time that all their students take in eager mode.

        Give that of finished students, too, so that a run that is resumed trains like one that was not.
        """
        if self._how == "never" or self._failed:
            return
        always = self._how == "always"
        self._networks = {name for name, found in seconds.items() if always or found > _COMPILING_PAYS}

    def take(self, networks: list[str]) -> None:
        """Take these for compiled, as another process has chosen, unless compiling has failed here."""
        self._networks = set() if self._failed else set(networks)

    def compiles(self, network: str) -> bool:
        """Return whether the steps of a network are compiled."""
        return network in self._networks

    def gives_up(self, network: str, error: Exception) -> bool:
        """Return whether steps failed for they are compiled; then all networks train in eager mode from here on.

        Raises:
            InputError: The user wants them compiled: --compile always.
        """
        if not (self.compiles(network) and compiling_failed(error)):
            return False
        reason = first_line(error)
        if self._how == "always":
            raise InputError(
                f"--compile always: this machine cannot compile ({reason}); give --compile never, or install what is "
                "missing (a C++ compiler on CPUs)"
            ) from error
        _logger.warning(f"{self._who} are not compiled, they train more slowly: {reason}")
        self._networks, self._failed = set(), True
        return True


def eager_seconds(flops: float, steps: int, device: torch.device) -> float:
    """Estimate the time of training in eager mode; the same for the same work, whatever the load.

    Args:
        flops: Floating-point operations of all forward passes.
        steps: Their number.
        device: Where they run; of CPUs, torch's threads count.
    """
    kind = "cpu" if device.type == "cpu" else "cuda"
    rate = _FLOPS[kind] * (torch.get_num_threads() if kind == "cpu" else 1)
    return _BACKWARD * flops / rate + steps * _OVERHEAD[kind]
