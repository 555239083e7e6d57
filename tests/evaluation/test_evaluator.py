"""`Evaluator`: scores in somebody's own loop, equal to those of `evaluate`, with nothing else left behind."""

import contextlib
import gc
import json
import os
import random

import numpy as np
import pytest
import torch

from compdd_eval import DistilledSet, EvaluateConfig, Evaluator, create_model, evaluate, save_published
from compdd_eval.data import splits
from compdd_eval.evaluation import resources
from compdd_eval.training import compiling
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.process_memory import peak_of_process
from tests.conftest import students
from tests.support.forked import launched

FAST = {"model": "ConvNetD1", "epoch_eval_train": 2, "num_eval": 2, "threads": 1}
NUMBERS = ("accuracies", "accuracy_mean", "accuracy_std", "accuracy_interval", "per_class_accuracy", "confusion")
LOOP = """
import sys, torch
from compdd_eval import Evaluator
evaluator = Evaluator("bird-easy", data_path=sys.argv[1], model="ConvNetD1", epoch_eval_train=2, num_eval=3, threads=1)
torch.manual_seed(0)
images = torch.randn(10, 3, 16, 16) + 10 * evaluator.accelerator.process_index  # the first one's are taken
for _ in range(2):
    score = evaluator(images, torch.arange(10))
print("SCORE", score.accuracies, score.predictions.tolist(), flush=True)
evaluator.save(score, "saved")
from accelerate import Accelerator
Accelerator(mixed_precision="bf16")  # which an Accelerator of ours would forbid
"""


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make(drawn):
    return lambda **changes: Evaluator("bird-easy", **{"data_path": drawn, **FAST, **changes})


def synthetic(seed=0, side=8):
    images = torch.randn(10, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return images.requires_grad_(), torch.arange(10)


def of_the_command(drawn, folder, **changes):
    config = EvaluateConfig("bird", "easy", data_path=str(drawn), distilled=str(folder), **{**FAST, **changes})
    return evaluate(config, quiet=True, output_dir=f"{folder}_results")


def test_scores_in_a_loop_are_those_of_the_command(make, drawn, tmp_path):
    """Ten steps of plain gradient descent on random images, scored every two, saved and evaluated again."""
    evaluator, (images, labels) = make(baseline="random"), synthetic()
    lr = torch.tensor(0.02, requires_grad=True)
    teacher = create_model("ConvNetD1", im_size=(8, 8))
    scores = []
    for step in range(10):
        loss = torch.nn.functional.cross_entropy(teacher(images), labels)
        graph = loss.grad_fn
        if step % 2 == 0:
            DistilledSet(images, labels, lr=lr.item()).save(f"set{step}")
            scores.append((step, evaluator(images, labels, lr=lr)))
        assert loss.grad_fn is graph and images.grad is None and lr.grad is None
        (gradient,) = torch.autograd.grad(loss, images)
        images = (images - 10 * gradient).detach().requires_grad_()
    assert len({tuple(score.predictions.flatten().tolist()) for _, score in scores}) > 1
    for step, score in scores:
        summary = of_the_command(drawn, f"set{step}", baseline="random")
        assert score.to_dict()["results"] == summary["results"] and summary["lr"] == pytest.approx(0.02)
        assert score.improvement.interval == summary["results"][0]["improvement"]["interval"]
    evaluator.save(score, "saved")
    saved = json.loads((tmp_path / "saved/summary.json").read_text())
    assert saved["results"] == summary["results"] and saved["config"]["output_dir"] == "saved"
    assert all((tmp_path / path).is_file() for path in saved["students"])
    ours, theirs = students(tmp_path / "saved"), students(tmp_path / f"set{step}_results")
    assert [path.relative_to(tmp_path / "saved") for path in ours] == [
        path.relative_to(tmp_path / f"set{step}_results") for path in theirs
    ]
    for one, other in zip(ours, theirs, strict=True):
        one, other = json.loads(one.read_text()), json.loads(other.read_text())
        assert {name for name in one if one[name] != other[name]} <= {"config", "seconds", "created"}


def test_what_a_score_says(make):
    score = make(num_eval=3)(*synthetic())
    entry = score.to_dict()["results"][0]
    assert (score.mean, score.std, score.interval) == tuple(entry[name] for name in NUMBERS[1:4])
    assert score.accuracies == entry["accuracies"] and score.per_class == entry["per_class_accuracy"]
    right = (score.predictions == score.truth).float().mean(dim=1)
    assert score.predictions.shape == (3, 50) and right.tolist() == pytest.approx(score.accuracies)
    assert str(score) == f"{100 * score.mean:.1f} ± {100 * score.std:.1f} % (n = 3)"
    assert repr(score) == f"Score({score}, ConvNetD1, bird-easy)" and score.improvement is None
    assert score._repr_html_().startswith("<table>") and "ConvNetD1" in score._repr_html_()
    assert any("50 validation images, expected 500" in remark for remark in score.remarks)
    two = make(model="ConvNetD1,ConvNetD2", num_eval=1)(*synthetic())
    assert str(two).startswith("ConvNetD1 ") and str(two).endswith(" % (n = 1)") and "ConvNetD2 " in str(two)


@pytest.mark.parametrize("around", [contextlib.nullcontext, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_bfloat16_learns_whatever_autocast_is_around_it(make, drawn, around):
    """Autocast keeps the first weights that it has cast as long as another one is around it."""
    given = {"precision": "bfloat16", "num_eval": 2, "epoch_eval_train": 12, "lr_net": 0.05}
    images, labels = synthetic()
    DistilledSet(images, labels).save("set")
    expected = of_the_command(drawn, "set", **given)["results"]
    with around():
        score = make(**given)(images, labels)
    assert score.to_dict()["results"] == expected
    for student in score.students:
        assert student.losses[-1] < 0.7 * student.losses[0]


def test_a_set_a_pair_and_files_are_scored_alike(make, drawn):
    images, labels = synthetic()
    soft = torch.nn.functional.one_hot(labels).float() * 5
    evaluator = make(label_kind="logits")
    given = DistilledSet(images, soft, "logits", 0.03)
    expected = evaluator(given).to_dict()["results"]
    assert evaluator((images, soft), lr=0.03).to_dict()["results"] == expected
    assert evaluator(given, lr=0.3).summary.lr == 0.3
    save_published((images, soft), "files")
    config = EvaluateConfig("bird", "easy", data_path=str(drawn), data_dir="files", label_kind="logits", **FAST)
    with_files = evaluate(config, quiet=True, output_dir=None)["results"]
    assert evaluate(config, (images, soft), quiet=True, output_dir=None)["results"] == with_files
    in_unit_range = torch.rand(10, 3, 8, 8)
    scaled = (in_unit_range - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    found = make(pixel_range="0-1")(in_unit_range, labels), make()(scaled, labels)
    assert found[0].accuracies == found[1].accuracies


def test_nothing_is_written_or_printed(make, drawn, tmp_path, capfd):
    def files():
        return sorted(path for path in tmp_path.rglob("*") if path.is_file())

    before = files()
    score = make(baseline="random,full", full_epochs=2)(*synthetic())
    config = EvaluateConfig("bird", "easy", data_path=str(drawn), baseline="random,full", full_epochs=2, **FAST)
    summary = evaluate(config, synthetic(), quiet=True, output_dir=None)
    assert score.to_dict() == summary | {"digests": score.summary.digests} and score.results[0].full is not None
    assert files() == before
    capfd.readouterr()
    make(baseline="random")(*synthetic())
    assert capfd.readouterr() == ("", "")


def callers_state():
    precision = torch.backends.cuda.matmul
    return (
        *(torch.get_num_threads(), torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        *(torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), torch.get_default_dtype()),
        *(torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32),
        *(precision.allow_tf32, torch.get_float32_matmul_precision(), torch.get_default_device()),
    )


def random_numbers():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


def test_the_callers_state_is_left_and_changes_no_number(make):
    images, labels = synthetic()
    expected = make()(images, labels).predictions
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("medium")
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    try:
        for mode in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)):
            with mode:
                before = callers_state(), random_numbers()
                found = make()(images, labels).predictions
                with pytest.raises(InputError):
                    make()(images, labels[:3])
                assert (callers_state(), random_numbers()) == before
                assert torch.equal(found, expected)
    finally:
        torch.backends.cudnn.benchmark = False
        torch.set_float32_matmul_precision("highest")
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("how", ["never", pytest.param("always", marks=pytest.mark.slow)])
def test_a_second_call_decodes_creates_and_compiles_nothing(make, monkeypatch, how):
    evaluator = make(baseline="random", compile=how)
    first = evaluator(*synthetic())

    def forbidden(*arguments, **named):
        pytest.fail("made again")

    monkeypatch.setattr(splits, "decode_rgb", forbidden)
    monkeypatch.setattr(splits, "open_source", forbidden)
    monkeypatch.setattr(resources, "RealImages", forbidden)
    monkeypatch.setattr(resources, "GroupTrainer", forbidden)
    places, steps = dict(compiling._PLACES), compiling.compiled.cache_info().misses
    compiled = sum(torch._dynamo.utils.counters["stats"].values())
    trained = []
    real = evaluator._resources.group_trainer.training
    monkeypatch.setattr(
        evaluator._resources.group_trainer,
        "training",
        lambda group, *rest: trained.extend(task.source for task in group) or real(group, *rest),
    )
    second = evaluator(*synthetic(1))
    assert trained == ["distilled"] * 2  # the baseline's students are kept
    assert second.results[0].random == first.results[0].random and second.accuracies != first.accuracies
    assert places == compiling._PLACES and compiling.compiled.cache_info().misses == steps
    assert sum(torch._dynamo.utils.counters["stats"].values()) == compiled


def test_fifty_calls_take_no_more_memory_and_files(make):
    evaluator = make(num_eval=1, baseline="random", epoch_eval_train=1)
    scores = [evaluator(*synthetic(seed)) for seed in range(5)]

    def held():
        gc.collect()
        tensors = sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())
        return tensors, len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    before, peak = held(), peak_of_process()
    for seed in range(50):
        scores[seed % 5] = evaluator(*synthetic(seed))
    assert held() == before
    assert peak_of_process() < peak + 20 * 2**20


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["brid-easy"], {}, "unknown category 'brid'; did you mean 'bird'"),
        (["bird-easy"], {"model": "ConvNetD55"}, "unknown model 'ConvNetD55'; did you mean 'ConvNetD5'"),
        (["bird-easy"], {"num_eval": "3"}, "^num_eval '3': expected a whole number"),
        (["bird-easy"], {"precision": "bf16"}, "^precision 'bf16': expected one of float32, tf32, bfloat16"),
        (["bird-easy"], {"compile": "yes"}, "^compile 'yes': expected one of auto, always, never"),
        (["bird-easy"], {"students_per_device": "x"}, "^students_per_device"),
        (["bird-easy"], {"output_dir": "x"}, "^output_dir: an Evaluator writes no files"),
        (["bird-easy"], {"epochs": 3}, "unknown argument 'epochs'; did you mean 'epoch_eval_train'"),
        (["bird-easy"], {"lr_net": -1.0}, "^lr_net -1.0: expected"),
        (["bird-easy"], {"teacher": "LeNet"}, "give baseline_dir, or NAME=FILE"),
        (["bird-easy"], {"data_path": "nowhere"}, r"no such folder \(from data_path\)"),
        ([5], {}, "subset 5: expected a text"),
        ([], {}, "category is missing"),
    ],
)
def test_what_is_refused_before_there_is_a_set(drawn, arguments, settings, message):
    with pytest.raises(InputError, match=message):
        Evaluator(*arguments, **{"data_path": str(drawn), **settings})


def test_what_is_no_set(make):
    evaluator, (images, labels) = make(), synthetic()
    made_for = DistilledSet(images, labels, metadata={"category": "car", "subset": "easy"})
    for given, message in [
        ((5,), "the set is a int, expected a DistilledSet, or two tensors: images and labels"),
        ((images,), "the set is a Tensor, expected"),
        ((images, [1, 2]), "labels are a list, expected one tensor"),
        ((images, labels[:3]), "10 images but 3 labels"),
        ((images.detach().byte(), labels), "8-bit images need pixel_range 0-255"),
        ((made_for,), "made for car-easy, not for bird-easy"),
    ]:
        with pytest.raises(InputError, match=message):
            evaluator(*given)
    with pytest.raises(InputError, match="the learned rate is -1"):
        evaluator(images, labels, lr=-1)
    with pytest.raises(InputError, match="score is a int"):
        evaluator.save(3, "saved")
    with pytest.raises(InputError, match="^output_dir 3: expected the name of a folder"):
        evaluator.save(evaluator(images, labels), 3)
    with pytest.raises(InputError, match="the set is a str, expected"):
        evaluate(evaluator.config, "set")
    with pytest.raises(InputError, match="^num_eval 'a': expected a whole number"):
        evaluate(evaluator.config, made_for, num_eval="a")


@pytest.mark.slow
def test_two_processes_have_the_score_of_one(drawn, tmp_path):
    printed = []
    for processes in (1, 2):
        done = launched(processes, "-c", LOOP, drawn, cwd=tmp_path, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith("SCORE")]
        assert len(lines) == processes
        printed += lines
        (tmp_path / "saved").rename(tmp_path / f"saved{processes}")
    assert len(set(printed)) == 1
    one, two = (json.loads((tmp_path / f"saved{number}/summary.json").read_text()) for number in (1, 2))
    assert one["results"] == two["results"] and len(students(tmp_path / "saved2")) == 3
