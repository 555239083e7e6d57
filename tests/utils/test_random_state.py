"""The global random numbers: a block has its own, and afterwards they are the caller's."""

import contextlib
import random
from pathlib import Path

import numpy as np
import pytest
import torch

import compdd_eval
from compdd_eval.config.protocol import Protocol
from compdd_eval.training.views import draw_views
from compdd_eval.utils.random_state import own_random_state

CPU = torch.device("cpu")


def drawn():
    return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()


def test_a_block_draws_what_its_seed_decides():
    found = []
    for seed in (2**62 + 1, 2**62 + 1, 2):
        drawn()
        with own_random_state(CPU, seed):
            found.append(drawn())
    assert found[0] == found[1] and all(a != b for a, b in zip(found[0], found[2], strict=True))


@pytest.mark.parametrize("seed", [None, 5])
def test_the_caller_finds_its_own_again(seed):
    with own_random_state(CPU, 3):
        expected = drawn()
    with own_random_state(CPU, 3):
        with contextlib.suppress(KeyError), own_random_state(CPU, seed):
            drawn()
            torch.manual_seed(1)
            np.random.seed(1)
            random.seed(1)
            raise KeyError
        assert drawn() == expected


def test_of_gpus_the_one_that_is_meant(monkeypatch):
    told = []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: ("state of", device))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: told.append((state, device)))
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext(told.append(device)))
    for name in ("manual_seed", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, lambda seed, name=name: told.append((name, seed)))
    gpu = torch.device("cuda:1")
    with own_random_state(gpu, 7):
        assert told == [gpu, ("manual_seed", 7)]
    assert told[2:] == [(("state of", gpu), gpu)]
    with own_random_state(CPU, 7):
        pass
    assert len(told) == 3


def test_gpus_are_seeded_only_where_they_are_meant(monkeypatch):
    """`torch.manual_seed` seeds every GPU: their draws would repeat at every call, and those of a caller be lost."""
    package = Path(compdd_eval.__file__).parent
    sources = [path for path in package.rglob("*.py") if "bench" not in path.parts and path.name != "random_state.py"]
    assert [
        path.name for path in sources if "torch.manual_seed(" in path.read_text().replace("`torch.manual", "")
    ] == []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", None)
    draw_views((8, 8), 4, Protocol("rded"), torch.Generator())
