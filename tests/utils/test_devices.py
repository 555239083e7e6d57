"""What a GPU is told; the settings can be read without one."""

import pytest
import torch

from compdd_eval import train_student
from compdd_eval.config.protocol import Protocol
from compdd_eval.models.registry import create_model
from compdd_eval.utils.devices import out_of_memory, repeatable, repeatable_here

newer = pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="settings of torch 2.9")


def settings():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic


@pytest.fixture(autouse=True)
def restored():
    with repeatable_here():
        yield


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("bfloat16", False), ("tf32", True)])
def test_tf32_is_what_was_asked_for(precision, allowed):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not allowed
    repeatable(precision)
    assert settings() == (allowed, allowed, True)
    assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest"), "TorchInductor reads it"


@newer
def test_whatever_the_newer_settings_said_before():
    for said in ("tf32", "ieee"):
        for module in (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
            module.fp32_precision = said
        repeatable()
        assert settings()[:2] == (False, False)
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"


def test_a_students_training_leaves_the_settings_of_its_user():
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    seen = []
    student = create_model("MLP", im_size=(8, 8))
    student.register_forward_hook(lambda *given: seen.append(settings()))
    images, labels = torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])
    train_student(student, images, labels, label_kind="hard", lr=0.01, protocol=Protocol(epoch_eval_train=1))
    assert set(seen) == {(False, False, True)}
    assert settings() == (True, True, False)


@newer
def test_newer_settings_of_a_user_stay(restored):
    torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = "ieee", "tf32"
    with repeatable_here("tf32"):
        assert torch.backends.cudnn.conv.fp32_precision == "tf32"
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), True),
        (RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("Triton Error [CUDA]: out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("expected scalar type Float but found Half"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_that_ran_out(error, ran_out):
    assert out_of_memory(error) == ran_out
