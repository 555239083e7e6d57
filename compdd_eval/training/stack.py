"""Several students of one architecture as one network: small students fill a GPU together."""

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap


class Stack(nn.Module):
    """K students of one architecture: maps `[K, N, C, H, W]` to logits `[K, N, classes]`, each student its own images.

    Its parameters are those of the students with a leading dimension K, so that an optimiser that works element by
    element (SGD, Adam, AdamW) and a moving average train each student as if it were alone.

    Args:
        students: Networks of equal architecture for which `can_be_stacked` holds, on one device; they are copied.

    Attributes:
        names: What a student calls its parameters.
        stacked: Those of all, in this order, each `[K, ...]`.
    """

    def __init__(self, students: Sequence[nn.Module]) -> None:
        super().__init__()
        # buffers are left out: `can_be_stacked` has seen that there are none
        stacked, _ = stack_module_state(list(students))
        self.names = list(stacked)
        self.stacked = nn.ParameterList(nn.Parameter(value.detach()) for value in stacked.values())
        self._shape = [copy.deepcopy(students[0]).to("meta")]  # in a list: no part of this module's own parameters

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map `[K, N, C, H, W]` to logits `[K, N, classes]`."""

        def one(parameters: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
            # the network on `meta` gives the architecture, its parameters are replaced
            return functional_call(self._shape[0], parameters, (images,))

        return vmap(one)(dict(zip(self.names, self.stacked, strict=True)), images)

    def copy_to(self, position: int, student: nn.Module) -> nn.Module:
        """Write the weights of one student into a network of the same architecture, and return that."""
        values = {name: value[position] for name, value in zip(self.names, self.stacked, strict=True)}
        student.load_state_dict({name: value.detach() for name, value in values.items()})
        return student


def can_be_stacked(student: nn.Module) -> bool:
    """Return whether a network computes the same in a stack as alone: it holds parameters only, and draws nothing."""
    stateful = any(True for _ in student.buffers())
    draws = any(isinstance(module, nn.modules.dropout._DropoutNd) for module in student.modules())
    return not stateful and not draws and any(True for _ in student.parameters())
