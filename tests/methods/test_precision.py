"""Steps of the methods in bfloat16 against the same ones in float32."""

import pytest
import torch

from compdd_eval import create_model
from compdd_eval.methods.student_steps import Student, StudentSteps
from tests.support.precision_differences import METHODS, differences

# about twice what was measured on a CPU with bfloat16 units, eager: other processors round in another order
LOSS, COSINE = 0.01, 0.98
GRADIENT = {"dm": 0.2, "dc": 0.2, "mtt": 0.1, "datm": 0.1, "edf": 0.1}


SLOW = ("mtt", "datm")  # whose steps are those of edf, but for what that adds


@pytest.mark.parametrize("method", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in METHODS])
def test_losses_and_gradients_are_those_of_float32(method):
    (found,) = differences((method,), resolution=16).values()
    assert found.loss < LOSS
    assert 1e-4 < found.gradient < GRADIENT[method], "in another precision, and not in a much worse one"
    assert found.cosine > COSINE


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dm", "dc", "mtt"])
def test_compiled_steps(method):
    (found,) = differences((method,), "ConvNetD1", resolution=16, compile="always").values()
    assert found.loss < LOSS and 1e-4 < found.gradient < GRADIENT[method] and found.cosine > COSINE


def test_all_but_the_passes_is_float32():
    network = create_model("ConvNetD1", im_size=(8, 8))
    dtypes = []
    network.features[0].register_forward_hook(
        lambda module, inputs, output: dtypes.append((inputs[0].dtype, output.dtype))
    )
    student = Student(network, "bfloat16")
    start = student.flat(list(network.parameters()))
    images, labels = torch.randn(4, 3, 8, 8), torch.randn(4, 10)
    for recompute in (True, False):
        batches = [torch.arange(4), torch.arange(2)]
        steps = StudentSteps(student, images, labels, torch.tensor(0.1), batches, recompute=recompute)
        distance, gradients = steps.match(start, start + 0.1)
        assert {tensor.dtype for tensor in (distance, *gradients.values())} == {torch.float32}
    assert set(dtypes) == {(torch.float32, torch.bfloat16)}
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
