"""Weights of networks in files: read without running code, digested."""

import argparse
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from compdd_eval.utils.digests import digest_of_tensors
from compdd_eval.utils.errors import InputError

_KEYS = ("state_dict", "model", "model_state_dict", "net")  # of PyTorch's and timm's, torchvision's and RDED's scripts
_PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel and averages, of compiled networks
_COUNTER = "n_averaged"  # of a moving average
_HARMLESS = [argparse.Namespace]  # torchvision's and timm's scripts put their flags beside the weights


def read_weights(file: Path, usage: str) -> dict[str, torch.Tensor]:
    """Read named tensors from .safetensors or .pt; pickles cannot run code.

    Args:
        file: The file; of a dict with `state_dict`, `model`, ..., as training scripts write it, that is taken, and a
            prefix that wrappers of a network put before all names is left out.
        usage: What the flag takes, for the message where there is no such file.

    Raises:
        InputError: There is no such file, or it holds anything but tensors by name.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file; {usage}")
    try:
        if file.suffix == ".safetensors":
            content = load_file(file)
        else:
            with torch.serialization.safe_globals(_HARMLESS):
                content = torch.load(file, "cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError, OSError, ImportError) as error:
        raise InputError(f"{file}: cannot be read as weights ({str(error).splitlines()[0][:120]})") from error
    except Exception as error:  # what unpickling refuses
        if type(error).__module__ not in ("_pickle", "pickle"):
            raise
        raise InputError(f"{file}: holds more than tensors by name; save model.state_dict()") from error
    for key in _KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise InputError(f"{file}: holds no tensors by name; save model.state_dict()")
    content = {key: value for key, value in content.items() if key != _COUNTER}
    # all names or none: a prefix that only some have is a part of the network; wrappers may be nested
    while prefix := next((p for p in _PREFIXES if content and all(key.startswith(p) for key in content)), None):
        content = {key.removeprefix(prefix): value for key, value in content.items()}
    return content


def digest_of_weights(weights: dict[str, torch.Tensor]) -> str:
    """Return a SHA-256 over the tensors in the order of their names."""
    return digest_of_tensors(*[weights[key] for key in sorted(weights)])
