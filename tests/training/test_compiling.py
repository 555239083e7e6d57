"""Compiled and lower-precision training: the same numbers as eager float32, and clear words where it cannot be had."""

import contextlib
import functools
import json

import pytest
import torch
import torch._dynamo.exc

from compdd_eval import create_model, evaluate
from compdd_eval.config.protocol import Protocol
from compdd_eval.config.reproduce import ReproduceConfig
from compdd_eval.evaluation.evaluate import Evaluation
from compdd_eval.evaluation.image_sets import TrainingSet
from compdd_eval.evaluation.plan import Condition, Planner
from compdd_eval.evaluation.reproduce import reproduce
from compdd_eval.evaluation.train_group import GroupTrainer, Timing
from compdd_eval.evaluation.train_students import StudentTrainer
from compdd_eval.results.student_result import read_student
from compdd_eval.training import compiling, memory, precision
from compdd_eval.training.stack import Stack, can_be_stacked
from compdd_eval.training.train import StudentBatches, Training
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import make_accelerator
from tests.conftest import python, students
from tests.support.parity import RUNS, fill, normal


def losses(**options):
    torch.manual_seed(0)
    model = create_model("ConvNetD1", im_size=(16, 16))
    how = Protocol(epoch_eval_train=8)
    feed = StudentBatches(normal(1, (20, 3, 16, 16)), torch.arange(20) % 10, "hard", how, 0)
    run = Training(model, [feed], 0.01, how, **options)
    return torch.stack(list(run.passes()))


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run["model"])
def test_compiled_training_equals_the_reference(run):
    size, seed, number = run["resolution"], run["seed"], run["images"]
    protocol = Protocol(epoch_eval_train=run["epochs"], batch_train=number, dsa=False)
    images, logits = normal(seed + 1, (number, 3, size, size)), 3 * normal(seed + 2, (number, 10))
    student = fill(create_model(run["model"], im_size=(size, size)), seed)
    training = Training(
        student, [StudentBatches(images, logits, "logits", protocol, 0)], run["lr"], protocol, compiled=True
    )
    assert torch.stack(list(training.passes())).tolist() == pytest.approx(run["losses"], rel=1e-3)


@pytest.mark.slow
def test_compiled_students_repeat_and_parts_sum_up():
    first, again, eager = losses(compiled=True), losses(compiled=True), losses()
    assert torch.equal(first, again)
    assert torch.allclose(first, eager, atol=1e-3)
    assert torch.allclose(losses(compiled=True, part=8), eager, atol=1e-3)


TOGETHER = [
    ("ConvNetD3", {}),
    ("ConvNetD3", {"optimizer": "adamw", "lr_net": 0.001, "schedule": "cosine", "ema": 0.9}),
    ("ConvNetD1", {"mix": "cutmix", "flip": True, "patches": 2, "rrc": 0.5, "dsa": False}),
    ("ConvNetD1", {"optimizer": "adamw", "lr_net": 0.001, "weight_decay": 10.0, "decay_all": False, "dsa": False}),
    ("ConvNetGN", {"dsa": False}),
    ("MLP", {}),
    ("LeNet", {}),
    *[pytest.param(name, {}, marks=pytest.mark.slow) for name in ("ConvNetLN", "ConvNetNN", "ConvNetMP")],
    *[pytest.param(name, {"epoch_eval_train": 2}, marks=pytest.mark.slow) for name in ("AlexNet", "VGG11", "ResNet18")],
]


def seeds_together(name, how, seeds, dtype=torch.float64, **options):
    """Train students of these seeds; return losses `[passes, K]` and logits `[K, 8, 10]` after the last pass."""
    networks, feeds = [], []
    for seed in seeds:
        torch.manual_seed(seed)
        networks.append(create_model(name, im_size=(32, 32)).to(dtype))
        images, labels = normal(seed + 1, (20, 3, 32, 32)).to(dtype), torch.arange(20) % 10
        feeds.append(StudentBatches(images, labels, "hard", how, seed))
    run = Training(Stack(networks) if len(seeds) > 1 else networks[0], feeds, how.rate, how, **options)
    losses = torch.stack([loss.expand(len(seeds)) for loss in run.passes()])
    tested, places = run.tested, range(len(seeds))
    ends = [tested if len(seeds) == 1 else tested.copy_to(place, networks[place]) for place in places]
    return losses, torch.stack([end.eval()(normal(9, (8, 3, 32, 32)).to(dtype)).detach() for end in ends])


@pytest.mark.parametrize(("name", "changes"), TOGETHER, ids=lambda value: value if isinstance(value, str) else "")
def test_students_together_are_those_alone(name, changes):
    """In float64, where rounding does not grow with the passes into something to see."""
    how = Protocol(**{"epoch_eval_train": 4, "batch_train": 8} | changes)
    together, logits = seeds_together(name, how, [3, 5])
    for place, seed in enumerate([3, 5]):
        alone, expected = seeds_together(name, how, [seed])
        assert torch.allclose(together[:, place], alone[:, 0], rtol=1e-8)
        assert torch.allclose(logits[place], expected[0], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(together[:, 0], together[:, 1], rtol=1e-3)


@pytest.mark.parametrize("name", ["ConvNetD1", "ResNet18BN_Tiny", "VGG11BN", "AlexNet"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_what_decays_in_rded_and_sre2l(name, optimizer):
    """The parameters that their releases' `get_parameters` puts into the group with weight decay."""
    network = create_model(name, im_size=(32, 32))
    how = Protocol("rded", optimizer=optimizer, labels="hard")
    feed = StudentBatches(normal(1, (4, 3, 32, 32)), torch.arange(4), "hard", how, 0)
    decayed, others = Training(network, [feed], how.rate, how, part=4)._optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    weights = {id(module.weight) for module in network.modules() if isinstance(module, kinds)}
    assert {id(parameter) for parameter in decayed["params"]} == weights
    assert {id(p) for p in others["params"]} == {id(p) for p in network.parameters()} - weights


EIGHT = Protocol(epoch_eval_train=7, batch_train=20)


@functools.cache
def eight_passes_alone(seed):
    return seeds_together("ConvNetD1", EIGHT, [seed])[0][:, 0]


@pytest.mark.parametrize(
    "options", [{}, pytest.param({"compiled": True}, marks=pytest.mark.slow), {"part": 4}], ids=str
)
def test_eight_passes_together(options):
    """Passes multiply rounding: seen in float64, where something else would stand out."""
    together, _ = seeds_together("ConvNetD1", EIGHT, [0, 1], **options)
    for seed in (0, 1):
        assert (together[:, seed] - eight_passes_alone(seed)).abs().max() < 1e-10


def test_more_students_than_images_at_a_time():
    """Labels that are mixed need the number of classes, which a forward pass of the whole stack tells."""
    how = Protocol(epoch_eval_train=1, mix="mixup", dsa=False)
    seeds = list(range(66))
    networks = [create_model("MLP", im_size=(8, 8)) for _ in seeds]
    feeds = [StudentBatches(normal(1, (10, 3, 8, 8)), torch.arange(10), "hard", how, seed) for seed in seeds]
    losses = torch.stack(list(Training(Stack(networks), feeds, 0.01, how).passes()))
    assert losses.shape == (2, 66) and torch.isfinite(losses).all()


def test_a_process_without_images_adds_nothing():
    """A last batch may be smaller than the number of processes of a team."""

    class Idle:
        def share(self, batch, dim):
            return batch[:0]

        def sum_gradients(self, model, loss):
            return loss

    model, how = create_model("ConvNetD1", im_size=(8, 8)), Protocol(epoch_eval_train=1, weight_decay=0.0)
    before = [parameter.clone() for parameter in model.parameters()]
    feed = StudentBatches(normal(1, (4, 3, 8, 8)), torch.arange(4), "hard", how, 0)
    losses = list(Training(model, [feed], 0.01, how, sync=Idle()).passes())
    assert torch.stack(losses).tolist() == [0.0, 0.0]
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_what_cannot_be_stacked():
    assert can_be_stacked(create_model("ConvNetD1", im_size=(16, 16)))
    assert not can_be_stacked(create_model("ConvNetBN", im_size=(16, 16)))  # its statistics are no parameters
    assert not can_be_stacked(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout()))


def test_how_many_images_and_students_at_a_time():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    network, batch_norm = create_model("ConvNetD1", im_size=(8, 8)), create_model("ConvNetD1BN", im_size=(8, 8))
    images = {side: torch.empty(500, 3, side, side, device="meta") for side in (8, 128, 2048)}
    parts = [memory.images_at_a_time(network, images[128], batch, cpu) for batch in (128, 100, 10)]
    assert parts == [32, 25, 10]
    assert memory.images_at_a_time(network, images[2048], 128, cpu) == 1
    assert memory.images_at_a_time(network, images[128], 128, cpu, students=4) == 8
    assert memory.images_at_a_time(network, images[8], 128, cpu) == 64
    assert memory.images_at_a_time(network, images[8][:10], 128, cpu) == 10
    assert memory.images_at_a_time(batch_norm, images[128], 128, cpu) == 128
    assert memory.images_at_a_time(network, images[128], 128, gpu) == 128
    assert memory.students_at_a_time(images[8][:10], 128) > 5
    assert memory.students_at_a_time(images[128], 128) == 1


def records(folder):
    found = {}
    for path in students(folder):
        record = read_student(path)
        found[record.source, record.model, record.seed] = record
    return found


def test_an_evaluation_of_students_together(settings, tmp_path):
    changes = {"num_eval": 3, "baseline": "random", "eval_every": 2, "model": "ConvNetD1,ConvNetD1BN"}
    evaluate(settings(output_dir=str(tmp_path / "alone"), **changes))
    evaluate(settings(output_dir=str(tmp_path / "together"), students_per_device=4, **changes))
    alone, together = records(tmp_path / "alone"), records(tmp_path / "together")
    assert alone.keys() == together.keys() and len(alone) == 12
    for key, expected in alone.items():
        found = together[key]
        assert found.losses == pytest.approx(expected.losses, rel=1e-3), key
        assert found.digests == expected.digests and found.correct == pytest.approx(expected.correct, abs=1)
        assert [passes for passes, _ in found.curve] == [passes for passes, _ in expected.curve] and found.curve
    counts = [record.students_at_a_time for (_, model, _), record in together.items() if model == "ConvNetD1"]
    assert sorted(counts) == [2, 2, 4, 4, 4, 4]
    assert {record.students_at_a_time for (_, model, _), record in together.items() if model != "ConvNetD1"} == {1}


def test_out_of_memory_takes_fewer_students(settings, tmp_path, monkeypatch, caplog):
    def train(self, group, part, bar, real=StudentTrainer._train):
        if len(group) > 1:
            raise RuntimeError("CUDA out of memory.")
        return real(self, group, part, bar)

    monkeypatch.setattr(StudentTrainer, "_train", train)
    evaluate(settings(num_eval=3, students_per_device=3))
    assert {record.students_at_a_time for record in records(tmp_path / "results").values()} == {1}
    assert "seeds 0, 1, 2: out of memory; again with 2 students at a time" in caplog.text


def test_a_student_does_not_depend_on_those_before_it(settings, tmp_path):
    """The network of the last student is taken over, with other weights."""
    evaluate(settings(output_dir=str(tmp_path / "three"), model="ConvNetD1BN"))
    evaluate(settings(output_dir=str(tmp_path / "one"), model="ConvNetD1BN", num_eval=1, seed=2))
    several, alone = records(tmp_path / "three"), records(tmp_path / "one")
    assert len(several) == 3 and len(alone) == 1
    for key, record in alone.items():
        assert several[key].losses == record.losses and several[key].predictions == record.predictions


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
    assert precision.precision_of(asked, torch.device("cpu")) == expected


def test_a_precision_that_is_not_there_is_refused(monkeypatch):
    with pytest.raises(InputError, match="tf32 is a mode of NVIDIA GPUs"):
        precision.precision_of("tf32", torch.device("cpu"))
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(InputError, match="--mixed_precision fp16.*no or bf16"):
        precision.precision_of(None, torch.device("cpu"))


def test_norms_are_fused_on_gpus_alone(settings, tmp_path, caplog):
    """And the record says that they were not."""
    evaluate(settings(num_eval=1, fused_norm=True))
    (path,) = students(tmp_path / "results")
    assert read_student(path).config["fused_norm"] is False
    assert "--fused_norm needs a GPU and Triton" in caplog.text


def test_only_long_runs_are_compiled():
    cpu = torch.device("cpu")
    compiler = compiling.Compiler("auto", "students")
    work = {"small": (1e9, 20), "large": (1e14, 1001)}
    compiler.choose({name: compiling.eager_seconds(*found, cpu) for name, found in work.items()})
    assert not compiler.compiles("small") and compiler.compiles("large")


@pytest.mark.parametrize(
    ("seconds", "together"),
    [({1: 1.0, 2: 0.6, 4: 0.5}, 4), ({1: 1.0, 2: 0.6, 4: 0.59}, 2), ({1: 1.0, 2: 0.97}, 1), ({1: 1e-9, 2: 0}, 12)],
)
def test_a_gpu_trains_as_many_students_together_as_measured(seconds, together, settings, monkeypatch):
    """Twice as many, as long as one of them takes clearly less; where all take no time, what a batch's size says."""
    monkeypatch.setattr(
        GroupTrainer,
        "timed",
        lambda trainer, task, number, compiled: Timing(number, 1, compiled, seconds[number], 0.0, 0),
    )
    run = Evaluation(settings(), make_accelerator(), contextlib.ExitStack())
    inputs, trainer = run.inputs, run.resources.group_trainer
    own = TrainingSet.of(inputs.distilled)
    task = Planner(inputs, {"distilled/given": own}).task("distilled", Condition("given"), "ConvNetD1", 0, 0.01, "")
    trainer._device = torch.device("cuda")
    expected = together if together < 9 else memory.students_at_a_time(own.images, task.protocol.batch_train)
    assert trainer.students_at_a_time(task, 5) == expected


def test_an_older_torch_gets_the_options_that_it_has(monkeypatch):
    assert compiling.gpu_options(False)["triton.cudagraphs"] is False
    monkeypatch.setattr("torch._inductor.list_options", lambda: ["triton.cudagraphs"])
    assert compiling.gpu_options(True) == {"triton.cudagraphs": True}


def test_a_launcher_asks_for_bfloat16(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    summary = evaluate(settings(num_eval=1))
    assert summary["config"]["precision"] == "bfloat16"
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION")
    evaluate(settings(num_eval=1))  # beside it, in a folder of its own
    records = [json.loads(path.read_text()) for path in students(tmp_path / "results")]
    assert {record["environment"]["precision"] for record in records} == {"bfloat16", "float32"}


@pytest.mark.slow
def test_a_compiled_student_is_reproduced(settings, tmp_path):
    evaluate(settings(num_eval=1, compile="always"))
    (path,) = students(tmp_path / "results")
    assert read_student(path).compiled
    (comparison,) = reproduce(ReproduceConfig([str(path)]))
    assert comparison.verdict.startswith("equal")


def test_where_nothing_can_be_compiled(settings, tmp_path, monkeypatch, caplog):
    def fails(function, gpu, graphs):
        def call(*arguments):
            raise torch._dynamo.exc.TorchDynamoException("no C++ compiler")

        return call

    monkeypatch.setattr(compiling, "compiled", fails)
    with pytest.raises(InputError, match="this machine cannot compile .no C.. compiler.*--compile never"):
        evaluate(settings(num_eval=1, compile="always"))
    monkeypatch.setattr(compiling, "_COMPILING_PAYS", -1.0)
    evaluate(settings(num_eval=1))
    (path,) = students(tmp_path / "results")
    assert not read_student(path).compiled and "not compiled" in caplog.text


def test_a_start_imports_only_what_it_needs(drawn, my_set, cache, tmp_path):
    """Seconds go into importing; the second start needs neither torchvision nor all of SciPy before the first pass."""
    code = """
import sys
from compdd_eval.training import train
from compdd_eval.__main__ import main

def stop(self):
    print([name for name in ("torchvision", "scipy.stats", "matplotlib", "timm") if name in sys.modules])
    raise KeyboardInterrupt

train.Training.passes = stop
main(sys.argv[1:])
"""
    place = ["--data_path", drawn, "--category", "bird", "--subset", "easy", "--distilled", my_set]
    arguments = ["-c", code, *place, "--res", 32, "--model", "ConvNetD1", "--output_dir", tmp_path / "out"]
    found = [python(*arguments, cwd=tmp_path, HF_DATASETS_CACHE=str(cache)).stdout.split("\n") for _ in range(2)]
    assert "['torchvision']" in found[0] and "[]" in found[1]


@pytest.mark.parametrize("code", ["import compdd_eval", "from compdd_eval.__main__ import main; main(['--help'])"])
def test_what_is_imported_at_once(code, tmp_path):
    heavy = ("torch", "numpy", "datasets", "accelerate", "jsonargparse", "rich")
    code += f"; import sys; print([name for name in {heavy} if name in sys.modules])"
    assert python("-c", code, cwd=tmp_path).stdout.splitlines()[-1] == "[]"


def test_a_network_in_the_place_of_another_is_in_its_mode():
    """`dc` freezes batch norm for a step; the next network is a new one, which is to be trained."""
    first, second = (create_model("ConvNetD1BN", im_size=(8, 8)) for _ in range(2))
    place = compiling.in_place(first, "test of modes")
    (norm,) = (module for module in place.modules() if isinstance(module, torch.nn.BatchNorm2d))
    norm.eval()
    again = compiling.in_place(second, "test of modes")
    assert again is place and all(module.training for module in again.modules())
    again(torch.randn(4, 3, 8, 8))
    assert norm.num_batches_tracked == 1
