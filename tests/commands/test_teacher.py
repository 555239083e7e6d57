"""`teacher`: a network on all training images, resumed, recorded, refused, and taken by `--teacher`."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from compdd_eval.config.network_names import plain_teacher, split_teacher
from compdd_eval.config.protocol import LATER_FIELDS, Protocol
from compdd_eval.config.teacher import TeacherConfig
from compdd_eval.data.splits import load_comp_dd
from compdd_eval.data.subsets import load_subset
from compdd_eval.evaluation import train_teacher
from compdd_eval.evaluation.evaluate import evaluate
from compdd_eval.evaluation.teachers import given_teacher
from compdd_eval.models.registry import create_model
from compdd_eval.training.train import StudentBatches, Training
from compdd_eval.utils.errors import InputError

RES, EPOCHS = 16, 5
FLAGS = {"category": "bird", "subset": "easy", "res": RES, "model": "ConvNetD2BN", "epochs": EPOCHS, "threads": 1}


def arguments(drawn, folder, **changes):
    flags = FLAGS | {"data_path": drawn, "output_dir": folder} | changes
    return ["teacher", *[part for name, value in flags.items() for part in (f"--{name}", str(value))]]


@pytest.fixture
def make(run, drawn, cache, tmp_path):
    """Run `teacher` in a folder; return exit status, stdout, and lines of stderr."""

    def call(name="teacher", **changes):
        return run(*arguments(drawn, tmp_path / name, **changes))

    return call


def test_it_is_recorded_and_made_once(make, drawn, tmp_path):
    folder = tmp_path / "teacher"
    status, out, errors = make()
    assert status == 0, errors
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "teacher.json", "teacher.safetensors"]
    record = json.loads((folder / "teacher.json").read_text())
    assert f"{100 * record['accuracy']:.2f} % on 50 validation images" in out and f"--teacher {folder}" in out
    assert len(record["losses"]) == EPOCHS and record["losses"][-1] < record["losses"][0]
    assert record["subset"] == "bird-easy" and record["training_images"] == 120 and record["res"] == RES
    network = create_model("ConvNetD2BN", im_size=(RES, RES)).eval()
    network.load_state_dict(load_file(folder / "teacher.safetensors"))
    images, labels = load_comp_dd(drawn, "bird", "easy", RES).dst_test.tensors()
    assert record["accuracy"] == pytest.approx((network(images).argmax(1) == labels).double().mean().item())
    before = [path.read_bytes() for path in sorted(folder.glob("teacher.*"))]
    status, _, lines = make()
    assert status == 0 and any("is made already" in line for line in lines)
    status, _, lines = make(lr=0.02)
    assert status == 2 and "teacher.json: is of a teacher with other settings or images" in lines[-1]
    assert [path.read_bytes() for path in sorted(folder.glob("teacher.*"))] == before
    status, out, _ = make(lr=0.02, overwrite="true", json="true")
    assert status == 0 and json.loads(out)["protocol"]["lr_net"] == 0.02
    assert [path.read_bytes() for path in sorted(folder.glob("teacher.*"))] != before


def test_the_weights_are_those_of_a_plain_loop(make, drawn, tmp_path):
    """All images are one batch of dc-bench, which augments nothing; the rate falls after pass 4 // 2 + 1."""
    assert make(protocol="dc-bench", model="MLP", epochs=5)[0] == 0
    images, labels = load_comp_dd(drawn, "bird", "easy", RES).dst_train.tensors()
    torch.manual_seed(0)
    network = create_model("MLP", im_size=(RES, RES)).double()
    for rates in ([0.01] * 4, [0.001]):
        optimizer = torch.optim.SGD(network.parameters(), rates[0], momentum=0.9, weight_decay=5e-4)
        for _ in rates:
            optimizer.zero_grad()
            F.cross_entropy(network(images.double()), labels).backward()
            optimizer.step()
    found = load_file(tmp_path / "teacher/teacher.safetensors")
    for name, weights in network.state_dict().items():
        torch.testing.assert_close(found[name].double(), weights, rtol=0, atol=1e-5)


def test_evaluate_trains_the_same_and_takes_the_folder(make, settings, tmp_path):
    assert make(res=32, model="LeNet")[0] == 0
    given = settings(labels="soft+kd", teacher=str(tmp_path / "teacher"), num_eval=1, output_dir=str(tmp_path / "a"))
    own = settings(labels="soft+kd", teacher="LeNet", full_epochs=EPOCHS, num_eval=1, output_dir=str(tmp_path / "b"))
    one, other = (evaluate(config, quiet=True) for config in (given, own))
    assert one["config"]["teacher"] == f"LeNet={tmp_path / 'teacher/teacher.safetensors'}"
    for name in ("name", "digest", "accuracy", "recipe"):
        assert one["teacher"][name] == other["teacher"][name]
    assert one["results"][0]["accuracies"] == other["results"][0]["accuracies"]
    record = json.loads((tmp_path / "teacher/teacher.json").read_text())
    assert one["teacher"]["accuracy"] == pytest.approx(record["accuracy"])


@pytest.mark.parametrize("stop", [2, 4])  # before and after the rate falls
@pytest.mark.parametrize("protocol", ["comp-dd", "rded"])
def test_a_run_that_is_stopped_goes_on(make, tmp_path, monkeypatch, stop, protocol):
    assert make("whole", protocol=protocol)[0] == 0
    monkeypatch.setattr(train_teacher, "_SAVE_EVERY", 0.0)
    passes = Training.passes

    def stopped(training):
        for number, loss in enumerate(passes(training)):
            if number == stop:
                raise KeyboardInterrupt
            yield loss

    monkeypatch.setattr(Training, "passes", stopped)
    assert make("stopped", protocol=protocol)[0] == 130
    assert [path.name for path in (tmp_path / "stopped").glob("[a-z]*")] == ["checkpoint.pt"]
    monkeypatch.setattr(Training, "passes", passes)
    status, _, lines = make("stopped", protocol=protocol, seed=1)
    assert status == 2 and "checkpoint.pt: is of a teacher with other settings" in lines[-1]
    status, _, lines = make("stopped", protocol=protocol)
    assert status == 0 and any(f"going on from pass {stop} of {EPOCHS}" in line for line in lines)
    whole, stopped = (json.loads((tmp_path / name / "teacher.json").read_text()) for name in ("whole", "stopped"))
    assert whole["weights_digest"] == stopped["weights_digest"] and whole["losses"] == stopped["losses"]


@pytest.mark.parametrize("schedule", ["step", "linear", "constant"])
def test_a_training_goes_on_with_its_average_and_its_dropout(schedule):
    protocol = Protocol(epoch_eval_train=5, batch_train=4, ema=0.5, schedule=schedule, labels="hard")
    images, labels = torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(10)

    def training():
        torch.manual_seed(3)
        layers = [torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(192, 10)]
        return Training(
            torch.nn.Sequential(*layers), [StudentBatches(images, labels, "hard", protocol, 0)], 0.1, protocol
        )

    whole = training()
    losses = [loss.item() for loss in whole.passes()]
    first = training()
    steps = first.passes()
    for _ in range(4):
        next(steps)
    state = first.state()
    second = training()
    second.go_on(state)
    assert [loss.item() for loss in second.passes()] == losses[4:]
    for network in ("model", "tested"):
        for one, other in zip(getattr(whole, network).parameters(), getattr(second, network).parameters(), strict=True):
            assert torch.equal(one, other)


def test_a_teacher_for_something_else_is_refused(make, settings, tmp_path):
    assert make()[0] == 0
    place = str(tmp_path / "teacher")

    def refused(**changes):
        with pytest.raises(InputError) as caught:
            evaluate(settings(labels="soft+kd", **{"teacher": place} | changes), quiet=True)
        return str(caught.value)

    assert f"{place}: a teacher of bird-easy at 16 px, expected one of bird-easy at 32 px" in refused()
    assert make("32", res=32)[0] == 0
    path = tmp_path / "32/teacher.json"
    record = json.loads(path.read_text())
    place = str(tmp_path / "32")
    path.write_text(json.dumps(record | {"classes": record["classes"][::-1], "subset": "mine"}))
    assert "a teacher of mine at 32 px, expected one of bird-easy" in refused()
    path.write_text(json.dumps(record | {"weights_digest": "0"}))
    assert "teacher.json: is the record of other weights" in refused()
    path.write_text(json.dumps({"model": record["model"]}))
    assert "teacher.json: damaged" in refused()
    path.write_text("{}")
    assert "teacher.json: names no model" in refused()
    path.write_text(json.dumps(record | {"model": "net@12345678"}))
    assert f"code of your own; give --teacher FILE.py={place}/teacher.safetensors" in refused()
    assert "is no folder with a teacher; make one with `python -m compdd_eval teacher`" in refused(
        teacher=str(tmp_path / "nothing")
    )
    assert "--teacher ConvNett: is no folder that `teacher` made; unknown model 'ConvNett'" in refused(
        teacher="ConvNett"
    )
    assert "--teacher ConvNetD1=: expected a file after =" in refused(teacher="ConvNetD1=")


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("ResNet18", ("ResNet18", "")),
        ("ResNet18=/a/lr=1/w.py.pt", ("ResNet18", "/a/lr=1/w.py.pt")),
        ("timm:resnet18=w.pt", ("timm:resnet18", "w.pt")),
        ("./net.py=w.pt", ("./net.py", "w.pt")),
        ("/a/lr=1/net.py=/b/lr=2/w.pt", ("/a/lr=1/net.py", "/b/lr=2/w.pt")),
        ("/a/lr=1/net.py@0123abcd", ("/a/lr=1/net.py@0123abcd", "")),
        ("net@0123abcd=w.pt", ("net@0123abcd", "w.pt")),
    ],
)
def test_network_and_weights(given, parts):
    assert split_teacher(given) == parts


def test_a_folder_whose_name_has_an_equals_sign(make, tmp_path, monkeypatch):
    assert make("lr=0.1")[0] == 0
    monkeypatch.chdir(tmp_path)
    made = plain_teacher("lr=0.1")
    assert made.endswith("=lr=0.1/teacher.safetensors") and plain_teacher(made) == made
    assert given_teacher(made, 16, load_subset("bird-easy")).accuracy > 0
    with pytest.raises(InputError, match="lr=0.2/teacher.json: cannot be read .* is no folder with a teacher"):
        plain_teacher(str(tmp_path / "lr=0.2"))


def test_a_teacher_of_before_later_settings_stays(make, tmp_path):
    """Its digest and record are those of a version that had none of them."""
    assert make()[0] == 0
    record = json.loads((tmp_path / "teacher/teacher.json").read_text())
    assert record["protocol"]["protocol"] == "comp-dd" and not record["protocol"].keys() & LATER_FIELDS.keys()
    assert make(protocol="rded", name="rded")[0] == 0
    record = json.loads((tmp_path / "rded/teacher.json").read_text())
    assert record["protocol"]["decay_all"] is False and "patches" not in record["protocol"]


def test_bad_input(make, tmp_path):
    for changes, said in (
        ({"model": "ConvNetD2BNN"}, "did you mean 'ConvNetD2BN'"),
        ({"model": "MLP,LeNet"}, "--model MLP,LeNet: expected one network"),
        ({"epochs": 1}, "--epochs 1: expected a number of passes from 2"),
        ({"lr": 0}, "--lr 0.0: expected a finite number above 0"),
        ({"protocol": "rdet"}, "did you mean 'rded'"),
        ({"lr": 1e30, "model": "MLP"}, "diverged in pass"),
    ):
        status, _, lines = make(**changes)
        assert status == 2 and said in lines[-1], lines
        assert not list((tmp_path / "teacher").glob("[a-z]*"))
    (tmp_path / "teacher").mkdir(exist_ok=True)
    (tmp_path / "teacher/checkpoint.pt").write_bytes(b"damaged")
    status, _, lines = make()
    assert status == 2 and "checkpoint.pt: damaged; delete it, or give --overwrite" in lines[-1]
    assert make(overwrite="true")[0] == 0


def test_images_are_resized_as_the_protocol_says():
    config = TeacherConfig(category="bird", subset="easy", protocol="rded")
    assert config.resize == "crop" and config.antialias is True and config.training.labels == "hard"
    assert TeacherConfig(category="bird", subset="easy", protocol="mtt").antialias is False
    assert TeacherConfig(category="bird", subset="easy", protocol="mtt", antialias=True).training.antialias is True
