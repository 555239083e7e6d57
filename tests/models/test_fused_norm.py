"""Norm, ReLU and pooling as one operation against the plain modules, in Triton's interpreter."""

import copy
import importlib.util
import os

import pytest
import torch
import torch.nn.functional as F

from compdd_eval import create_model
from compdd_eval.config.protocol import Protocol
from compdd_eval.models.convnet import ConvNet
from compdd_eval.training.stack import Stack
from compdd_eval.training.train import StudentBatches, Training, _network_loss
from tests.conftest import ROOT, python
from tests.support.parity import normal

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
INTERPRETER = "TRITON_INTERPRET"  # which is chosen before Triton is imported, and makes kernels of other tests slow
inside = os.environ.get(INTERPRETER) == "1"
interpreted = pytest.mark.skipif(not inside, reason="run by test_in_the_interpreter, in a process of its own")
SIZES = [(2, 2), (3, 2), (3, 3), (8, 8), (7, 10), (64, 64)]
SIZES += [pytest.param((65, 127), marks=pytest.mark.slow)]  # more pixels than a program has at a time
BFLOAT16 = 2**-7  # the most that its 8 bits change a number, as a share of it: the interpreter cuts what a GPU rounds


@pytest.mark.skipif(inside, reason="would start itself again")
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_in_the_interpreter(which):
    run = python("-m", "pytest", "-q", "-n", "0", "-m", which, __file__, cwd=ROOT, **{INTERPRETER: "1"})
    assert run.returncode == 0 and " passed, 1 skipped" in run.stdout, run.stdout


@pytest.mark.parametrize(
    ("name", "fused"),
    [("ConvNetD5", 5), ("ConvNetD8", 5), ("ConvNetGAP", 3), ("ConvNetW32", 3)]
    + [(f"ConvNet{other}", 0) for other in ("AS", "AL", "NN", "BN", "LN", "GN", "NP", "MP")]
    + [("VGG11", 0), ("ResNet18_AP", 0), ("MLP", 0)],
)
def test_what_is_fused(name, fused):
    """And nothing of it changes names, values or what a test computes."""
    from compdd_eval.models.fused_norm import NormReluPool, fuse_norms

    network = create_model(name, im_size=(32, 32))
    plain = copy.deepcopy(network)
    assert fuse_norms(network) == bool(fused)
    assert sum(isinstance(module, NormReluPool) for module in network.modules()) == fused
    assert list(network.state_dict()) == list(plain.state_dict())
    images = normal(1, (4, 3, 32, 32))
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(images), plain.eval()(images))


def both(size, dtype, number=3, channels=5):
    """Return output and gradients of maps, weight and bias: of the operation, and of the plain modules in float64."""
    from compdd_eval.models.fused_norm import norm_relu_pool

    maps = (2 * normal(1, (number, channels, *size)) + 1).to(dtype)
    inputs = [maps, normal(2, (channels,)), normal(3, (channels,))]
    gradient = normal(4, (number, channels, size[0] // 2, size[1] // 2)).to(dtype)

    def plain(maps, weight, bias):
        return F.avg_pool2d(F.relu(F.group_norm(maps, channels, weight, bias, 1e-5)), 2)

    found = []
    for function, kind in ((lambda *given: norm_relu_pool(*given, 1e-5)[0], None), (plain, torch.float64)):
        given = [value.to(kind or value.dtype).requires_grad_() for value in inputs]
        output = function(*given)
        found.append([output.detach(), *torch.autograd.grad(output, given, gradient.to(kind or dtype))])
    return found


@interpreted
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_output_and_gradients(size, dtype):
    ours, expected = both(size, dtype, *((1, 2) if size[0] > 64 else ()))
    rounding = [1e-6 if dtype == torch.float32 else BFLOAT16] * 2 + [1e-6] * 2
    kinds = [dtype, dtype, torch.float32, torch.float32]
    for found, right, kind, share in zip(ours, expected, kinds, rounding, strict=True):
        assert found.dtype == kind
        assert torch.allclose(found.double(), right, rtol=1.01 * share, atol=1e-6 * right.abs().max().item())


@interpreted
def test_bits_repeat():
    """In any layout of the maps."""
    from compdd_eval.models.fused_norm import norm_relu_pool

    first, again = both((13, 8), torch.bfloat16)[0], both((13, 8), torch.bfloat16)[0]
    assert all(map(torch.equal, first, again))
    maps, ones = normal(1, (3, 4, 8, 8)), torch.ones(4)
    last = maps.contiguous(memory_format=torch.channels_last)
    assert all(map(torch.equal, norm_relu_pool(maps, ones, ones, 1e-5), norm_relu_pool(last, ones, ones, 1e-5)))


@interpreted
def test_what_is_no_number_is_not_hidden():
    from compdd_eval.models.fused_norm import norm_relu_pool

    maps = normal(1, (2, 3, 4, 4))
    maps[0, 1, 2, 2] = torch.nan
    maps.requires_grad_()
    pooled, _, _ = norm_relu_pool(maps, torch.ones(3), torch.zeros(3), 1e-5)
    (gradient,) = torch.autograd.grad(pooled.sum(), maps)
    for found in (pooled, gradient):
        assert found.isnan().flatten(2).all(dim=2).tolist() == [[False, True, False], [False] * 3]
        assert found.isnan().flatten(2).any(dim=2).sum() == 1


@interpreted
def test_there_is_no_second_derivative():
    from compdd_eval.models.fused_norm import norm_relu_pool

    maps = normal(1, (2, 3, 4, 4)).requires_grad_()
    pooled, _, _ = norm_relu_pool(maps, torch.ones(3), torch.zeros(3), 1e-5)
    (gradient,) = torch.autograd.grad(pooled.square().sum(), maps, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        torch.autograd.grad(gradient.sum(), maps)


def students(number, fused):
    from compdd_eval.models.fused_norm import fuse_norms

    found = []
    for seed in range(number):
        torch.manual_seed(seed)
        found.append(ConvNet(10, (12, 12), 3, depth=2, width=4))
        assert not fused or fuse_norms(found[-1])
    return found[0] if number == 1 else Stack(found)


@interpreted
@pytest.mark.parametrize("number", [1, 2])
def test_training(number, monkeypatch):
    """Losses of a training, two passes of two batches through two blocks; of two students together, too."""
    from compdd_eval.models import fused_norm

    operation, calls = fused_norm.norm_relu_pool, []
    monkeypatch.setattr(fused_norm, "norm_relu_pool", lambda *given: calls.append(given) or operation(*given))
    how = Protocol(epoch_eval_train=1, batch_train=3)
    losses = []
    for fused in (True, False):
        feeds = [
            StudentBatches(normal(seed + 1, (5, 3, 12, 12)), torch.arange(5), "hard", how, seed)
            for seed in range(number)
        ]
        losses.append(torch.stack(list(Training(students(number, fused), feeds, 0.01, how).passes())))
    assert torch.allclose(*losses, rtol=1e-5)
    assert len(calls) == 2 * 2 * 2 * number  # that of a stack calls that of a single student


def step(model, precision, call=_network_loss):
    """Return loss and gradients of a step, but for biases before a norm: theirs are 0."""
    stack = (len(next(model.parameters())),) if isinstance(model, Stack) else ()
    images, targets = normal(7, (*stack, 4, 3, 12, 12)), torch.zeros(*stack, 4, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        loss = call(model, images, targets, 1.0)
    parameters = [parameter for place, parameter in enumerate(model.parameters()) if place not in (1, 5)]
    return [loss.detach(), *torch.autograd.grad(loss.sum(), parameters)]


@interpreted
def test_together_in_bfloat16():
    """Maps are bfloat16 in a stack, too: the same numbers as alone, but for a bias that is added in float32."""
    alone, together = step(students(1, fused=True), "bfloat16"), step(students(2, fused=True), "bfloat16")
    exact = step(students(1, fused=True), "float32")
    for found, own, right in zip(together, alone, exact, strict=True):
        assert (found[0] - right).norm() < 0.1 * right.norm() and (own - right).norm() < 0.1 * right.norm()


@interpreted
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_compiled_step_holds_it(number, precision):
    call = torch.compile(_network_loss, fullgraph=True, dynamic=False)  # a graph break raises
    model = students(number, fused=True)
    share = 1e-5 if precision == "float32" else 0.02
    for found, expected in zip(step(model, precision, call), step(model, precision), strict=True):
        assert (found - expected).norm() < share * expected.norm()
