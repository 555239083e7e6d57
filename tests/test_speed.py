"""Compiled and lower-precision training: the same numbers as eager float32, and clear words where it cannot be had."""

import json
import random

import pytest
import torch
import torch._dynamo.exc

from compdd_eval import create_model, diff_augment, evaluate, speed
from compdd_eval.bench_plain import augment as augment_plainly
from compdd_eval.bench_plain import plain_passes
from compdd_eval.bench_train import bench_train, print_rows
from compdd_eval.config import BenchConfig, Protocol, ReproduceConfig
from compdd_eval.errors import InputError
from compdd_eval.reproduce import reproduce
from compdd_eval.results import read_student
from compdd_eval.train import Training
from tests.conftest import students
from tests.test_students import RUNS, fill, normal


def losses(**options):
    torch.manual_seed(0)
    model = create_model("ConvNetD1", im_size=(16, 16))
    how = Protocol(epoch_eval_train=8)
    run = Training(model, normal(1, (20, 3, 16, 16)), torch.arange(20) % 10, "hard", 0.01, how, 0, **options)
    return torch.stack(list(run.passes()))


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run["model"])
def test_compiled_training_equals_the_reference(run):
    size, seed, number = run["resolution"], run["seed"], run["images"]
    training = Training(
        fill(create_model(run["model"], im_size=(size, size)), seed),
        normal(seed + 1, (number, 3, size, size)),
        3 * normal(seed + 2, (number, 10)),
        "logits",
        run["lr"],
        Protocol(epoch_eval_train=run["epochs"], batch_train=number, dsa=False),
        0,
        compiled=True,
    )
    assert torch.stack(list(training.passes())).tolist() == pytest.approx(run["losses"], rel=1e-3)


def test_compiled_students_repeat_and_parts_sum_up():
    first, again, eager = losses(compiled=True), losses(compiled=True), losses()
    assert torch.equal(first, again)
    assert torch.allclose(first, eager, atol=1e-3)
    assert torch.allclose(losses(compiled=True, part=8), eager, atol=1e-3)


def test_bfloat16_is_near_and_its_weights_stay_float32():
    low, full = losses(precision="bfloat16"), losses()
    assert not torch.equal(low, full) and torch.allclose(low, full, atol=0.05)
    assert low.dtype == torch.float32


@pytest.mark.parametrize(
    ("asked", "launcher", "expected"),
    [
        (None, "no", "float32"),
        (None, "bf16", "bfloat16"),
        ("float32", "bf16", "float32"),
        ("bfloat16", "fp16", "bfloat16"),
    ],
)
def test_the_flag_wins_over_the_launcher(monkeypatch, asked, launcher, expected):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launcher)
    assert speed.precision_of(asked, torch.device("cpu")) == expected


def test_a_precision_that_is_not_there_is_refused(monkeypatch):
    with pytest.raises(InputError, match="tf32 is a mode of NVIDIA GPUs"):
        speed.precision_of("tf32", torch.device("cpu"))
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(InputError, match="--mixed_precision fp16.*no or bf16"):
        speed.precision_of(None, torch.device("cpu"))


def test_only_long_runs_are_compiled():
    cpu = torch.device("cpu")
    assert not speed.pays_to_compile(1e9, 20, cpu)
    assert speed.pays_to_compile(1e14, 1001, cpu)


def test_a_launcher_asks_for_bfloat16(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    summary = evaluate(settings(num_eval=1))
    assert summary["config"]["precision"] == "bfloat16"
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION")
    evaluate(settings(num_eval=1))  # beside it, in a folder of its own
    records = [json.loads(path.read_text()) for path in students(tmp_path / "results")]
    assert {record["environment"]["precision"] for record in records} == {"bfloat16", "float32"}


def test_a_compiled_student_is_reproduced(settings, tmp_path):
    evaluate(settings(num_eval=1, compile="always"))
    (path,) = students(tmp_path / "results")
    assert read_student(path).compiled
    (comparison,) = reproduce(ReproduceConfig(str(path)))
    assert comparison.verdict.startswith("equal")


def test_where_nothing_can_be_compiled(settings, tmp_path, monkeypatch, caplog):
    def fails(function):
        def call(*arguments):
            raise torch._dynamo.exc.TorchDynamoException("no C++ compiler")

        return call

    monkeypatch.setattr(speed, "compiled", fails)
    with pytest.raises(InputError, match="this machine cannot compile .no C.. compiler.*--compile never"):
        evaluate(settings(num_eval=1, compile="always"))
    monkeypatch.setattr("compdd_eval.evaluation.students.pays_to_compile", lambda *arguments: True)
    evaluate(settings(num_eval=1))
    (path,) = students(tmp_path / "results")
    assert not read_student(path).compiled and "not compiled" in caplog.text


@pytest.mark.slow
def test_bench_train_prints_rows(capsys):
    config = BenchConfig("train", res=8, ipc="2,1", model="ConvNetD1", passes=2, threads=1, json=True)
    print_rows(config, bench_train(config))
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert list(dict.fromkeys(row["ipc"] for row in rows)) == [2, 1]
    assert {row["precision"] for row in rows} >= {"float32", "bfloat16"}
    for row in rows:
        assert row["resolution"] == 8 and row["images_per_second"] > 0 and row["peak_memory_bytes"] > 10**6
        assert (row["ratio_to_plain"] == 1) == (row["name"] == "plain loop")


@pytest.mark.parametrize("operation", ["color", "crop", "cutout", "flip", "scale", "rotate"])
def test_the_plain_loop_does_the_work_of_ours(operation):
    """Its augmentation changes images as ours does: mean size of the change, over many draws."""
    images = normal(1, (400, 3, 16, 16))
    protocol = Protocol(dsa_strategy=operation)
    ours = diff_augment(images, operation, protocol.crop_pad, torch.Generator().manual_seed(0))
    random.seed(0)
    plain = augment_plainly(images, protocol)
    assert plain.shape == images.shape
    change, expected = ((x - images).abs().mean().item() for x in (plain, ours))
    assert change == pytest.approx(expected, rel=0.15) and change > 0


def test_the_plain_loop_learns():
    model = create_model("ConvNetD1", im_size=(16, 16))
    passes = plain_passes(model, normal(1, (20, 3, 16, 16)), torch.arange(20) % 10, Protocol(dsa=False))
    found = [next(passes) for _ in range(10)]
    assert found[-1] < 0.9 * found[0]
