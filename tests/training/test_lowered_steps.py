"""Compiled steps as a GPU would run them, lowered without one: every family is a CUDA graph, and its sums repeat."""

import importlib.util
import json
import shutil
import sys

import pytest
import torch

from compdd_eval import create_model
from compdd_eval.models.registry import list_models
from compdd_eval.training.stack import can_be_stacked
from tests.conftest import ROOT, python
from tests.support.lowered_step import Lowered, Step

pytestmark = pytest.mark.skipif(
    sys.platform != "linux"
    or shutil.which("gcc") is None
    or torch.cuda.is_available()
    or importlib.util.find_spec("triton") is None
    or tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14),
    reason="lowers for a GPU on a Linux machine without one, with Triton, a C compiler and inner parts of torch 2.14",
)
FAMILIES = [
    *("ConvNet", "ConvNetGN", "ConvNetLN", "ConvNetMP", "AlexNet", "LeNet", "MLP"),
    *("ResNet18", "ResNet18BN", "ResNet18ImageNet", "VGG11"),
]


def lowered(steps):
    run = python("-m", "tests.support.lowered_step", json.dumps(steps), cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return [Lowered(*found) for found in json.loads(run.stdout)]


def assert_good(steps, lowered_steps):
    for step, found in zip(steps, lowered_steps, strict=True):
        assert found.kernels and found.gigabytes > 0
        assert not found.no_graphs, step
        assert not found.timed_reductions, step
        # the gradient of max pooling: each to a place of its own, where windows do not overlap (see the next test)
        assert all("max_pool2d_with_indices_backward" in name for name in found.unordered), step


def test_one_network_has_max_poolings_that_overlap():
    """Their gradients are added in any order on a GPU, compiled or not: the guide says so of this network."""
    found = set()
    with torch.device("meta"):
        for name in list_models():
            pools = [module for module in create_model(name).modules() if isinstance(module, torch.nn.MaxPool2d)]
            found |= {name for pool in pools if pool.kernel_size > pool.stride}
    assert found == {"ResNet18ImageNet"}


ON_THE_CPU = """
import torch


class Network(torch.nn.Module):
    def __init__(self, num_classes, im_size):
        super().__init__()
        self.layer = torch.nn.Linear(3 * im_size[0] * im_size[1], num_classes)

    def forward(self, images):
        return self.layer(images.flatten(1)) * torch.arange(5.0).exp().sum()


create_model = Network
"""
TIMED = """
from tests.support.lowered_step import Step
from tests.support.simulated_cuda import load_driver

driver = load_driver()
from tests.support.lowered_step_mode import Lowering, compiling

compiling.gpu_options = lambda graphs: {}
found = Lowering(driver)(Step("ConvNetD1", 32, 10))
assert found.timed_reductions and found.no_graphs, found
"""


@pytest.mark.slow
def test_students_are_graphs_that_repeat(tmp_path):
    """With a last batch that is smaller, soft labels, two students together, and statistics that a step changes."""
    (tmp_path / "network.py").write_text(ON_THE_CPU)
    good = [
        Step("ConvNetD1", 32, 10),
        Step("ConvNetD1", 32, 3, "bfloat16", students=2, soft=True),
        Step("ConvNetD1BN", 32, 10),
        Step("ConvNetD2", 32, 10, soft=True, matching=True),  # distillation: differentiated twice
    ]
    *found, on_the_cpu = lowered([*good, Step(str(tmp_path / "network.py"), 8, 4)])
    assert_good(good, found)
    assert "cpu ops" in on_the_cpu.no_graphs


@pytest.mark.slow
def test_what_the_options_change():
    """Without them, reductions are chosen by timing, and kernels are launched one by one."""
    run = python("-c", TIMED, cwd=ROOT)
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_norms_as_one_operation():
    """Alone and together; bfloat16 maps stay bfloat16, which more than halves what a step moves."""
    how = [(precision, students) for precision in ("float32", "bfloat16") for students in (1, 2)]
    fused = [Step("ConvNetD2", 64, 10, *each, fused=True) for each in how]
    found = lowered([*fused, *[step._replace(fused=False) for step in fused]])
    assert_good(fused, found[:4])
    for step, one, plain in zip(fused, found[:4], found[4:], strict=True):
        share = one.gigabytes / plain.gigabytes
        assert share < (0.9 if step.precision == "float32" else 0.7 if step.students == 2 else 0.5), (step, share)


@pytest.mark.slow
@pytest.mark.parametrize("network", FAMILIES)
def test_families(network):
    """At 48 px, where last maps have to be averaged to the size that a network was made for."""
    students = 2 if can_be_stacked(create_model(network, im_size=(48, 48))) else 1
    steps = [Step(network, 48, 10, students=students), Step(network, 48, 3, "bfloat16", soft=True)]
    assert_good(steps, lowered(steps))
