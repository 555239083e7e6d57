"""Baselines, regimes, scores, the search of the rate, teachers, grids, `status` and `reproduce`."""

import argparse
import contextlib
import json
import random
import re
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from accelerate import Accelerator
from safetensors.torch import save_file

from compdd_eval import DistilledSet, create_model, evaluate, load_comp_dd, random_images, train_student
from compdd_eval.commands.parser import parse
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.protocol import PRESETS, Protocol
from compdd_eval.config.report import ReportConfig
from compdd_eval.config.reproduce import ReproduceConfig
from compdd_eval.config.status import StatusConfig
from compdd_eval.data.subsets import load_classes, load_subset
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD, normalise, preprocess
from compdd_eval.data.zca import Whitening
from compdd_eval.distilled.push import summaries_of
from compdd_eval.distilled.set import read_distilled
from compdd_eval.evaluation.evaluate import Evaluation
from compdd_eval.evaluation.grid import read_cells
from compdd_eval.evaluation.teachers import load_teacher
from compdd_eval.evaluation.train_group import teacher_network
from compdd_eval.models.imagenet import OfImageNet, statistics_of
from compdd_eval.results.student_result import read_student
from compdd_eval.training.augment import augment_batch
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import make_accelerator
from tests.conftest import FAST, students
from tests.support.forked import Forked, forked, launched

QUICK = {**FAST, "model": "LeNet", "num_eval": 2, "full_epochs": 2}


@pytest.fixture
def settings(settings):
    """With two students that are quicker still."""

    def make(**changes):
        return settings(**{**QUICK, **changes})

    return make


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fill_what_is_left_out(name):
    assert {key: getattr(Protocol(name), key) for key in PRESETS[name]} == PRESETS[name]
    assert Protocol(name).changes() == {}
    changed = Protocol(name, epoch_eval_train=7, flip=not PRESETS[name]["flip"])
    assert set(changed.changes()) == {"epoch_eval_train", "flip"}


def test_presets_as_published():
    assert Protocol("dc-bench").passes == 301 and Protocol("dc-bench", dsa=True).passes == 1001
    assert (Protocol("mtt").crop_pad, Protocol("mtt").labels, Protocol("mtt").antialias) == (0.125, "hard", False)
    rded = Protocol("rded")
    assert (rded.optimizer, rded.mix, rded.temperature, rded.labels) == ("adamw", "cutmix", 20, "soft+kd")
    assert Protocol().labels == "given" and Protocol().ema == 0


def test_settings_that_are_refused(settings):
    for changes, message in [
        ({"protocol": "mttt"}, "did you mean 'mtt'"),
        ({"protocol": "rded"}, "soft\\+kd needs a teacher"),
        ({"regimes": "sft"}, "did you mean 'soft'"),
        ({"baseline": "randm"}, "did you mean 'random'"),
        ({"scores": "lrs", "lr_net": 0.1}, "leave --lr_net out"),
        ({"scores": "ars", "dsa": False}, "has none"),
        ({"optimizer": "sgdd"}, "did you mean 'sgd'"),
        ({"ema": 1.0}, "--ema 1.0: expected a number in"),
        ({"full_epochs": 1}, "--full_epochs 1"),
        ({"eval_every": -1}, "--eval_every -1"),
    ]:
        with pytest.raises(InputError, match=message):
            settings(**changes)
    for changes, message in [
        ({"regimes": "soft"}, "the set has hard ones; give --teacher"),
        ({"teacher": "LeNet=nothing.pt"}, "nothing.pt: no such file"),
        ({"teacher": "LeNett"}, "did you mean 'LeNet'"),
        ({"model": "LeNet,MLP", "eval_mode": "C"}, "expected one network"),
        ({"log_with": "trackio"}, "it is not installed|"),
    ]:
        if "log_with" not in changes:
            with pytest.raises(InputError, match=message):
                evaluate(settings(**changes))


def test_the_crop_of_real_images_is_torchvisions():
    from torchvision.transforms import v2

    image = torch.randint(0, 256, (3, 150, 211), dtype=torch.uint8)
    resize = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Resize(144, antialias=True), v2.CenterCrop(128)])
    expected = v2.functional.normalize(resize(image), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert torch.allclose(preprocess(image, (128, 128), mode="crop"), expected, atol=1e-4)


def test_augmentation_follows_its_generator_and_mixes_labels():
    images, labels = torch.randn(6, 3, 16, 16), torch.eye(6, 10)
    for protocol in (Protocol("rded"), Protocol("rded", mix="mixup")):
        state = torch.get_rng_state()
        results = []
        for _ in range(2):
            generator = torch.Generator().manual_seed(3)
            results.append(augment_batch(images, labels, protocol, generator))
        assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
        assert torch.equal(state, torch.get_rng_state())
        mixed = results[0][1]
        assert torch.allclose(mixed.sum(1), torch.ones(6)) and ((mixed > 0).sum(1) == 2).all()
        assert results[0][0].shape == images.shape


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["step", "cosine", "half-cosine", "linear", "constant"])
def test_optimisers_and_schedules_learn(optimizer, schedule):
    torch.manual_seed(0)
    how = Protocol(epoch_eval_train=8, dsa=False, optimizer=optimizer, schedule=schedule, ema=0.5, mix="mixup")
    images, labels = torch.randn(10, 3, 8, 8), torch.arange(10)
    model = create_model("ConvNetD1", im_size=(8, 8))
    losses = train_student(model, images, labels, label_kind="hard", lr=0.003, protocol=how)
    assert losses[-1] < losses[0]


def test_parts_of_a_batch_give_the_same_numbers():
    from compdd_eval.training.train import StudentBatches, Training

    losses = []
    for part in (10, 3):
        torch.manual_seed(0)
        model = create_model("ConvNetD1", im_size=(8, 8))
        images = torch.randn(10, 3, 8, 8)
        protocol = Protocol(epoch_eval_train=4)
        run = Training(
            model, [StudentBatches(images, torch.arange(10), "hard", protocol, 0)], 0.01, protocol, part=part
        )
        losses.append(torch.stack(list(run.passes())))
    assert torch.allclose(losses[0], losses[1], rtol=1e-5)


def test_out_of_memory_splits_the_batch(settings, monkeypatch, tmp_path, caplog):
    from compdd_eval.evaluation import train_group
    from compdd_eval.training import train

    class Small(train.Training):
        def passes(self):
            if self.part > 3:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            yield from super().passes()

    plain = evaluate(settings(num_eval=1))["results"][0]["accuracies"]
    monkeypatch.setattr(train_group, "Training", Small)
    split = evaluate(settings(num_eval=1, overwrite=True))["results"][0]["accuracies"]
    record = read_student(students(tmp_path / "results")[0])
    assert record.images_at_a_time == 3 and split == pytest.approx(plain, abs=0.05)


def test_whitening_takes_either_side_of_the_matrix():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(30, 3, 3, 3, generator=generator)
    white = Whitening.fit(images.repeat(40, 1, 1, 1))(images).flatten(1)  # more images than pixels
    few = Whitening.fit(images)(images).flatten(1)
    assert torch.allclose(white, few, atol=0.05)
    many = torch.randn(4000, 3, 2, 2, generator=generator) * 5
    covariance = Whitening.fit(many)(many).flatten(1).T.cov()
    assert torch.allclose(covariance, torch.eye(12), atol=0.05)


def test_baselines_ratio_and_intervals(settings, tmp_path):
    summary = evaluate(settings(baseline="random,full", eval_every=2))
    entry = summary["results"][0]
    assert entry["random"]["seeds"] == entry["full"]["seeds"] == entry["seeds"] == [0, 1]
    ratio = entry["accuracy_mean"] / entry["full"]["accuracy_mean"]
    assert entry["recovery_ratio"]["ratio"] == pytest.approx(ratio)
    differences = [a - b for a, b in zip(entry["accuracies"], entry["random"]["accuracies"], strict=True)]
    assert entry["improvement"]["mean"] == pytest.approx(sum(differences) / 2)
    assert sum(map(sum, entry["confusion"])) == 100
    records = [read_student(path) for path in students(tmp_path / "results/baselines/random-ipc1")]
    assert len({tuple(record.files) for record in records}) == 2 and all(len(r.files) == 10 for r in records)
    assert [point[0] for point in records[0].curve] == [2, 3]
    assert len(list((tmp_path / "results/baselines/images").iterdir())) == 2
    shared = settings(output_dir=str(tmp_path / "b"), baseline_dir=str(tmp_path / "results/baselines"), eval_every=2)
    before = {path: path.stat().st_mtime_ns for path in students(tmp_path / "results/baselines")}
    again = evaluate(shared.changed(baseline="random,full"))
    assert again["results"][0]["random"] == entry["random"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_regimes_scores_and_the_search_of_the_rate(settings, tmp_path):
    summary = evaluate(settings(regimes="hard,soft,soft+kd", teacher="LeNet", scores="lrs,ars", num_eval=2))
    assert [regime["labels"] for regime in summary["regimes"]] == ["hard", "soft", "soft+kd"]
    for regime in summary["regimes"]:
        entry = regime["results"][0]
        assert entry["random"]["images_seen"] == entry["images_seen"] == 30 and len(regime["lines"]) == 1
        assert (entry["teacher"] is None) == (regime["labels"] == "hard")
    score = summary["scores"][0]
    assert 0 <= score["lrs"] <= 1 and 0 <= score["ars"] <= 1
    for search in summary["rate_search"]:
        assert list(search["accuracies"]) == ["0.001", "0.003", "0.01", "0.03", "0.1"] and search["images"] == 20
    for path in students(tmp_path / "results/search") + students(tmp_path / "results/baselines/search"):
        assert read_student(path).tested_on == "held-out training images"
    assert len(students(tmp_path / "results/search")) == len(students(tmp_path / "results/baselines/search")) == 20
    drawn_files = {name for path in students(tmp_path / "results/baselines") for name in read_student(path).files or []}
    assert drawn_files and summary["teacher"]["name"] == "LeNet"


def test_a_teacher_from_a_file_is_the_same(settings, tmp_path):
    first = evaluate(settings(labels="soft+kd", teacher="LeNet", num_eval=1))
    file = next((tmp_path / "results/baselines/teachers").glob("*.safetensors"))
    other = settings(labels="soft+kd", teacher=f"LeNet={file}", num_eval=1, output_dir=str(tmp_path / "other"))
    second = evaluate(other)
    assert first["results"][0]["accuracies"] == second["results"][0]["accuracies"]
    assert first["teacher"]["digest"] == second["teacher"]["digest"]
    with pytest.raises(InputError, match="not the weights of MLP"):
        evaluate(settings(labels="soft+kd", teacher=f"MLP={file}", output_dir=str(tmp_path / "wrong")))


def checkpoint(path, outputs=1000, wrap=dict):
    """Save random weights of torchvision's smallest network."""
    torch.manual_seed(0)
    network = create_model("torchvision:squeezenet1_1", outputs, (32, 32)).eval()
    content = wrap(network.state_dict())
    save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
    return network


CHECKPOINTS = {  # as they are saved by torchvision's hub, timm's, RDED's and torchvision's, and PyTorch's scripts
    "hub.pth": dict,
    "timm.safetensors": dict,
    "rded.pth": lambda state: {"model": state},
    "script.pth": lambda state: {"model": state, "optimizer": {}, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
    "example.pth.tar": lambda state: {"epoch": 3, "state_dict": {f"module.{key}": v for key, v in state.items()}},
    "compiled.pt": lambda state: {f"_orig_mod.module.{key}": value for key, value in state.items()},
    "average.pt": lambda state: {f"module.{k}": v for k, v in state.items()} | {"n_averaged": torch.tensor(3)},
}


@pytest.mark.parametrize("file", CHECKPOINTS)
def test_a_teacher_of_imagenet_gives_its_logits_of_the_subset(settings, tmp_path, file):
    whole = checkpoint(tmp_path / file, wrap=CHECKPOINTS[file])
    teacher = f"torchvision:squeezenet1_1={tmp_path / file}"
    config = settings(labels="soft", teacher=teacher)
    inputs = Evaluation(config, make_accelerator(), contextlib.ExitStack()).inputs
    found = load_teacher(inputs, None, None)
    network, images = teacher_network(found, 32), torch.randn(4, 3, 32, 32)
    classes = [inputs.subset.class_map_inv[label] for label in range(10)]
    assert torch.equal(network(images), whole(images)[:, classes])
    assert "cut from ImageNet's 1000 outputs to the subset's 10" in found.record()["recipe"]
    expected = whole(inputs.validation.images)[:, classes].argmax(1) == inputs.validation.labels
    assert found.accuracy == pytest.approx(expected.float().mean().item())


def test_students_of_a_teacher_of_imagenet(settings, run, tmp_path, capsys):
    whole = checkpoint(tmp_path / "w.pth")
    config = settings(regimes="soft,soft+kd", teacher=f"torchvision:squeezenet1_1={tmp_path / 'w.pth'}", num_eval=1)
    summary = evaluate(config)
    said = "cut from ImageNet's 1000 outputs to the subset's 10"
    assert said in summary["teacher"]["recipe"] and said in capsys.readouterr().out
    student = next(path for path in students(tmp_path / "results") if read_student(path).labels == "soft")
    distilled = DistilledSet(torch.load(tmp_path / "my_set/images.pt"), torch.load(tmp_path / "my_set/labels.pt"))
    logits = whole(distilled.images)[:, list(load_subset("bird-easy").class_map_inv.values())].detach()
    torch.manual_seed(0)
    model = create_model("LeNet", im_size=(32, 32))
    losses = train_student(
        model, distilled.images, logits, label_kind="logits", lr=0.01, protocol=Protocol(epoch_eval_train=2), seed=0
    )
    assert read_student(student).losses == pytest.approx(losses, rel=1e-4)
    assert run("reproduce", tmp_path / "results/summary.json")[0] == 0


def test_a_teacher_of_imagenet_and_a_label_without_a_class():
    torch.manual_seed(0)
    logits, subset = torch.randn(5, 1000), load_subset("music-hard-published")
    cut = OfImageNet(torch.nn.Identity(), subset.class_map_inv, 10, (IMAGENET_MEAN, IMAGENET_STD))(logits)
    used = logits[:, [subset.class_map_inv[label] for label in range(1, 10)]]
    assert torch.equal(cut[:, 1:], used) and torch.equal(cut[:, 0], used.min(dim=1).values)


def test_a_teacher_of_imagenet_gets_images_as_it_wants_them():
    rgb = torch.rand(2, 3, 8, 8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.5, 1.0)
    columns = (rgb - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    network = torch.nn.Flatten()
    given = OfImageNet(network, {label: label for label in range(10)}, 10, (mean, std))(normalise(rgb))
    torch.testing.assert_close(given, columns.flatten(1)[:, :10], rtol=1e-4, atol=1e-5)
    google = create_model("torchvision:googlenet", 1000, (32, 32))
    assert statistics_of("torchvision:googlenet", google) == ((0.5,) * 3, (0.5,) * 3)
    google.mean = (0.1, 0.2, 0.3)
    assert statistics_of("net@12345678", google) == ((0.1, 0.2, 0.3), IMAGENET_STD)
    assert statistics_of("torchvision:resnet18", torch.nn.Identity()) == (IMAGENET_MEAN, IMAGENET_STD)


def test_a_teacher_of_other_outputs_or_another_network(settings, tmp_path):
    checkpoint(tmp_path / "hundred.pth", 100)
    checkpoint(tmp_path / "w.pth")
    torch.save(checkpoint(tmp_path / "x.pth"), tmp_path / "whole.pth")
    for teacher, message in (
        (
            "torchvision:squeezenet1_1=hundred.pth",
            "hundred.pth: torchvision:squeezenet1_1 has 100 outputs there; expected",
        ),
        ("torchvision:resnet18=w.pth", "w.pth: not the weights of torchvision:resnet18 at 32 px with 10 classes"),
        ("torchvision:squeezenet1_1=whole.pth", "holds more than tensors by name; save model.state_dict"),
    ):
        name, _, file = teacher.partition("=")
        with pytest.raises(InputError, match=re.escape(message)):
            evaluate(settings(labels="soft+kd", teacher=f"{name}={tmp_path / file}"), quiet=True)
        assert not students(tmp_path / "results")


def test_soft_labels_become_hard_by_position(settings, drawn, tmp_path):
    images = random_images(load_comp_dd(drawn, "bird", "easy", (32, 32)).dst_train, 1).images
    logits = 3 * torch.eye(10)
    logits[4] = logits[5]  # one image peaks at the class of another position
    soft = evaluate(settings(labels="hard", num_eval=1), DistilledSet(images, logits), quiet=True)
    hard = settings(num_eval=1, output_dir=str(tmp_path / "hard"))
    other = evaluate(hard, DistilledSet(images, torch.arange(10)), quiet=True)
    assert soft["results"][0]["confusion"] == other["results"][0]["confusion"]


def test_a_permuted_set_is_diagnosed(settings, drawn):
    train = load_comp_dd(drawn, "bird", "easy", (32, 32)).dst_train
    full = random_images(train, 12)
    moved = DistilledSet(full.images, (full.labels + 3) % 10)
    options = {"model": "ConvNetW32", "epoch_eval_train": 20, "num_eval": 1}
    lines = evaluate(settings(**options), moved, quiet=True)["results"][0]["diagnosis"]
    assert any("another order of classes" in line for line in lines), lines


def grid_file(tmp_path, drawn, my_set, **changes):
    content = {"data_path": str(drawn), "category": "bird", "subset": "easy", "distilled": str(my_set), **QUICK}
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(content | {"model": ["LeNet", "MLP"], "num_eval": 1} | changes))
    return path


def test_a_grid_over_subsets_in_one_word(tmp_path, drawn, my_set):
    names = ["bird-easy", "bird-hard", "nette"]
    file = grid_file(tmp_path, drawn, my_set, category=None, subset=names, model="MLP")
    cells = read_cells(EvaluateConfig(grid=str(file), output_dir=str(tmp_path)))
    assert [cell.config.load_subset().name for cell in cells] == names
    (cell,) = read_cells(EvaluateConfig(subset="bird-hard", grid=str(file), output_dir=str(tmp_path)))
    assert (cell.config.category, cell.config.subset) == ("bird", "hard")


def test_grid_index_and_status(run, tmp_path, drawn, my_set, cache):
    file, out = grid_file(tmp_path, drawn, my_set), tmp_path / "grid"
    status, text, _ = run("--grid", file, "--output_dir", out, "--dry_run")
    assert status == 0 and "2 evaluations, 2 students" in text and not out.exists()
    status, text, errors = run("--grid", file, "--output_dir", out)
    assert status == 0, errors
    cells = json.loads((out / "index.json").read_text())["cells"]
    assert [(cell["name"], cell["state"]) for cell in cells] == [("LeNet", "done"), ("MLP", "done")]
    assert all((out / cell["summary"]).exists() for cell in cells)
    status, text, _ = run("status", out, "--json")
    assert [state["state"] for state in json.loads(text)] == ["done", "done"]
    stamps = {path: path.stat().st_mtime_ns for path in students(out)}
    run("--grid", file, "--output_dir", out)
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    run("--grid", file, "--output_dir", out, "--overwrite")
    assert all(path.stat().st_mtime_ns != stamps[path] for path in stamps)


def test_a_cell_that_fails_does_not_stop_the_others(run, tmp_path, drawn, my_set, cache):
    file = grid_file(tmp_path, drawn, my_set, distilled=[str(tmp_path / "absent"), str(my_set)], model="LeNet")
    status, text, errors = run("--grid", file, "--output_dir", tmp_path / "grid")
    assert status == 2 and "1 of 2 cells failed" in errors[-1]
    states = [cell["state"] for cell in json.loads((tmp_path / "grid/index.json").read_text())["cells"]]
    assert states == ["failed", "done"]
    found = json.loads(run("status", tmp_path / "grid", "--json")[1])
    assert [state["state"] for state in found] == states and "no such file or folder" in found[0]["error"]


def until(process, condition, seconds=120):
    """Wait until a condition holds while a process runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)


def test_a_grid_that_is_killed_or_interrupted_is_unfinished(run, tmp_path, drawn, my_set):
    """One cell is done; the costliest comes first and runs for ever; one has not begun."""
    cells = [{"model": "MLP"}, {"model": "LeNet", "epoch_eval_train": 10**5}, {"model": "ConvNetD1"}]
    out, file = tmp_path / "grid", grid_file(tmp_path, drawn, my_set, cells=cells[:1], compile="never")
    assert run("--grid", file, "--output_dir", out)[0] == 0
    grid_file(tmp_path, drawn, my_set, cells=cells, compile="never")
    names = ["MLP", "epoch_eval_train100000_LeNet", "ConvNetD1"]

    def states(*places):
        status, text, errors = run("status", *places, "--json")
        assert status == 0, errors
        return [(state["name"], state["state"], state["note"]) for state in json.loads(text)]

    def written_after(begun):
        """Whether this grid has begun the second cell: until then `status` tells of the grid before."""
        record = out / names[1] / "run.json"
        return record.exists() and record.stat().st_mtime_ns > begun

    command = ["-m", "compdd_eval", "--grid", file, "--output_dir", out]
    stale, told = ["done", "running", "waiting"], ["done", "unfinished", "unfinished"]
    for sent, exit_status, index in ((signal.SIGKILL, -9, stale), (signal.SIGINT, 130, told)):
        begun = time.time_ns()
        process = Forked(*command, cwd=tmp_path)
        try:
            until(process, lambda: written_after(begun) and states(out)[1][1] == "running")  # noqa: B023
            waits = f"waits for {names[1]}, which runs now"
            assert states(out) == list(zip(names, ["done", "running", "waiting"], [None, None, waits], strict=True))
            assert states(out / names[1]) == [(names[1], "running", None)]
            process.send_signal(sent)
            assert process.wait(60) == exit_status
        finally:
            process.end()
        note = "the grid was interrupted; run the same command to go on"
        expected = list(zip(names, ["done", "unfinished", "unfinished"], [None, note, note], strict=True))
        assert states(out) == expected and states(out / names[1]) == expected[1:2]
        assert [cell["state"] for cell in json.loads((out / "index.json").read_text())["cells"]] == index
    status, text, _ = run("status", out)
    assert f"{names[2]}" in text and "0 of 1" in text and text.count(note) == 2


def test_a_list_of_classes_is_one_value(run, tmp_path, drawn, my_set):
    named = {"category": None, "subset": None}

    def classes_of(classes):
        file = grid_file(tmp_path, drawn, my_set, **named, classes=classes, model="MLP")
        status, text, errors = run("--grid", file, "--output_dir", tmp_path / "grid", "--dry_run", "--json")
        assert status == 0, errors
        return [cell["config"]["classes"] for cell in json.loads(text)["cells"]]

    ten, others = list(range(10)), ",".join(map(str, range(10, 20)))
    own, second = (load_classes(classes).selection["classes"] for classes in (ten, others))
    assert classes_of(ten) == classes_of(",".join(map(str, ten))) == [own]
    assert classes_of([ten, "nette", others]) == [own, "nette", second]


@pytest.mark.parametrize("name", ["/abs/x", "../..", "..", ".", "a/b", "", "a\0", 5])
def test_an_index_that_leads_elsewhere(run, tmp_path, name):
    (tmp_path / "index.json").write_text(json.dumps({"cells": [{"name": name}]}))
    status, _, errors = run("status", tmp_path)
    assert status == 2 and len(errors) == 1 and "not the index of a grid" in errors[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modle": "LeNet"}, "did you mean 'model'"),
        ({"num_eval": "three"}, "num_eval three: expected a whole number"),
        ({"cells": 3}, "cells must be a list"),
        ({"classes": 5}, "classes 5: expected a text or a list"),
        ({"category": None, "subset": None, "classes": [0, 1, 2]}, "--classes: 3 classes, expected 10"),
        ({"model": ["LeNet", "LeNet"]}, "LeNet is there twice"),
        ({"epoch_eval_train": [1, 0]}, "expected a whole number from 1"),
        ({"epochs": [1, 2]}, "'epochs'; did you mean 'epoch_eval_train'?"),
        (
            {"output_dir": "out"},
            "output_dir is of the whole grid, not of its cells; give --output_dir on the command line",
        ),
    ],
)
def test_wrong_grids(run, tmp_path, drawn, my_set, changes, message):
    file = grid_file(tmp_path, drawn, my_set, **changes)
    status, _, errors = run("--grid", file, "--output_dir", tmp_path / "grid")
    assert status == 2 and len(errors) == 1 and message in errors[0], errors
    assert not (tmp_path / "grid").exists()


def test_a_teacher_that_is_trained_again(run, settings, tmp_path):
    """On another machine its last bits are others: that is said, and is no reason not to train the student."""
    evaluate(settings(labels="soft+kd", teacher="LeNet", num_eval=1), quiet=True)
    path = next(path for path in students(tmp_path / "results") if read_student(path).source == "distilled")
    record = json.loads(path.read_text())
    Path(record["teacher"]["file"]).unlink()
    record["teacher"]["digest"] = "0" * 64
    path.write_text(json.dumps(record))
    status, text, errors = run("reproduce", path)
    assert status == 0 and ": equal" in text and "the teacher was trained again, to other weights" in text, errors


def test_flags_win_over_the_file_of_a_grid_also_where_they_are_defaults(tmp_path):
    file = tmp_path / "grid.yaml"
    values = {"distilled": ["a", "b"], "category": "bird", "subset": "easy", "num_eval": 10, "seed": 7, "crop_pad": 0.5}
    file.write_text(yaml.safe_dump(values | {"protocol": "mtt", "model": ["ConvNetD3", "LeNet"]}))
    flags = {"num_eval": "5", "seed": "0", "protocol": "comp-dd", "model": "ConvNetD5", "crop_pad": "0.25"}
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    config = parse(EvaluateConfig, ["--grid", str(file), "--output_dir", str(tmp_path / "out"), *words])
    cells = read_cells(config)
    assert [cell.name for cell in cells] == ["a", "b"]
    assert all(str(getattr(cell.config, name)) == value for cell in cells for name, value in flags.items())


def test_reproduce(run, settings, tmp_path, my_set):
    evaluate(settings(baseline="random,full", num_eval=1), quiet=True)
    status, text, errors = run("reproduce", tmp_path / "results/summary.json")
    assert status == 0 and text.count(": equal") == 3, (text, errors)
    for what in ("the distilled set", "the random images", "all training images"):
        assert text.count(f"digest of {what} ") == 1
    assert text.count("digest of validation images") == 3 and "training images " not in text.replace("all training", "")
    path = students(tmp_path / "results")[0]
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"losses": [1.0] * 3, "predictions": "0" * 50}))
    status, text, _ = run("reproduce", path)
    assert status == 1 and "the losses differ" in text
    shutil.copytree(my_set, tmp_path / "moved")
    images = torch.load(my_set / "images.pt")
    torch.save(images + 0.01, my_set / "images.pt")
    record = next(p for p in students(tmp_path / "results") if "ipc1-" in str(p) and "baselines" not in str(p))
    status, text, _ = run("reproduce", record)
    assert status == 1 and "other images" in text
    assert run("reproduce", record, "--distilled", tmp_path / "moved")[0] in (0, 1)
    assert run("reproduce")[2] == ["compdd_eval: error: RESULTS is missing, as in: compdd_eval reproduce results"]


def test_students_of_a_stack_are_reproduced(run, settings, tmp_path):
    """Of three together, two and one left over: a stack's sums depend on how many there are."""
    evaluate(settings(model="ConvNetD2", num_eval=5, students_per_device=3), quiet=True)
    status, text, errors = run("reproduce", tmp_path / "results/summary.json")
    assert status == 0 and text.count(": equal") == 5, (text, errors)


def test_reproduce_reads_all_records_before_it_trains(run, settings, tmp_path, monkeypatch):
    evaluate(settings(num_eval=2), quiet=True)
    monkeypatch.setattr("compdd_eval.evaluation.reproduce._again", lambda *given: pytest.fail("trained"))
    paths = students(tmp_path / "results")
    whole = json.loads(paths[1].read_text())
    for content, message in (
        (json.dumps({k: v for k, v in whole.items() if k != "losses"}), "not a result file of schema version"),
        (json.dumps(whole | {"config": {}}), "no result of this version of evaluate (KeyError('model'))"),
        (json.dumps(whole | {"config": whole["config"] | {"model": "LeNett"}, "model": "LeNett"}), "unknown model"),
    ):
        paths[1].write_text(content)
        status, text, lines = run("reproduce", *paths)
        assert status == 2 and not text and len(lines) == 1 and message in lines[0], lines


def of_set(sha256, name="bird-easy"):
    return SimpleNamespace(sha256=sha256, definition=SimpleNamespace(name=name))


@pytest.fixture
def two_runs_and_a_grid(run, settings, tmp_path, drawn, my_set):
    """`all/one`, and `all/grid` of two cells."""
    evaluate(settings(num_eval=1, output_dir=str(tmp_path / "all/one")), quiet=True)
    file = grid_file(tmp_path, drawn, my_set)
    assert run("--grid", file, "--output_dir", tmp_path / "all/grid")[0] == 0
    return tmp_path / "all"


def test_the_same_places_for_every_command(run, two_runs_and_a_grid, tmp_path, my_set):
    """Files, folders of runs, of grids and of such, several, and none of them twice."""
    place, sha256 = two_runs_and_a_grid, read_distilled(my_set).sha256
    given = {
        (place / "one",): 1,
        (place / "one/summary.json",): 1,
        (place / "one/run.json",): 1,
        (place / "grid",): 2,
        (place / "grid/index.json",): 2,
        (place,): 3,
        (place / "one", place / "grid/MLP"): 2,
        (place / "one", place, place / "one/summary.json"): 3,
    }
    for places, number in given.items():
        status, text, errors = run("report", *places, "--output", tmp_path / "report.html")
        assert status == 0 and f"({number} run" in text, (places, errors)
        assert len(json.loads(run("status", *places, "--json")[1])) == number, places
        assert len(summaries_of(places, of_set(sha256))) == number
    with pytest.raises(InputError, match=r"all: holds no results of this set on car-easy"):
        summaries_of([place], of_set(sha256, "car-easy"))
    with pytest.raises(InputError, match=r"no results of this set on bird-easy \(3 of other sets or subsets\)"):
        summaries_of([place], of_set("0" * 64))
    for places in list(given)[2:6:2]:
        found = json.loads(run("reproduce", *places, "--json")[1])
        assert found["equal"] and len(found["students"]) == given[places]
    assert run("compare", place / "one", place / "grid/index.json")[0] == 0
    names = [state["name"] for state in json.loads(run("status", place, "--json")[1])]
    assert names == ["grid/LeNet", "grid/MLP", "one"]


def test_the_same_errors_for_every_command(run, two_runs_and_a_grid, tmp_path):
    place = two_runs_and_a_grid
    (tmp_path / "empty").mkdir()
    shutil.copytree(place / "one", tmp_path / "begun")
    (tmp_path / "begun/summary.json").unlink()

    def errors(*places):
        commands = {"report": [], "compare": [place / "one"], "reproduce": [], "status": []}
        found = {name: run(name, *more, *places) for name, more in commands.items()}
        with pytest.raises(InputError) as caught:
            summaries_of(places, of_set("0" * 64))
        assert all(status == 2 and len(lines) == 1 for status, _, lines in found.values()), found
        return {name: lines[0] for name, (_, _, lines) in found.items()} | {"push": str(caught.value)}

    for text in errors(tmp_path / "nowhere").values():
        assert f"{tmp_path}/nowhere: no such file or folder; give the --output_dir of evaluate" in text
    for name, text in errors(tmp_path / "empty").items():
        assert f"empty: holds no {'run' if name == 'status' else 'summary'}.json; give the --output_dir" in text
    status = run("status", tmp_path / "begun")
    assert status[0] == 0 and "done" in status[1]
    for name in ("report", "reproduce"):
        (line,) = run(name, tmp_path / "begun")[2]
        assert "holds no summary.json yet, its evaluation is not finished; `status` shows it" in line
    for config in (ReportConfig, ReproduceConfig, StatusConfig):
        with pytest.raises(InputError, match=r"RESULTS 'results': expected a list, for example \['results'\]"):
            config("results")

    for file in (place / "one/summary.json", place / "one/run.json"):
        file.write_text('{"a": ')
    for name, text in errors(place / "one").items():
        assert ("run.json: not the file of a run" if name == "status" else "summary.json: not a JSON file") in text
    for name in ("report", "reproduce", "status"):
        status, text, lines = run(name, place, *(["--json"] if name != "report" else []))
        assert status == 0 and len([line for line in lines if "warning: left out: " in line]) == 1, (name, lines)
    (tmp_path / "other.json").write_text("{}")
    assert "other.json: no summary of evaluate: schema version None" in run("reproduce", tmp_path / "other.json")[2][0]


def test_a_tracker_that_this_accelerate_lacks(settings, monkeypatch):
    monkeypatch.setattr("compdd_eval.evaluation.trackers.LoggerType.list", lambda: ["all", "tensorboard", "wandb"])
    with pytest.raises(InputError, match=r"--log_with trackio: accelerate .* expected 1\.9 or later"):
        evaluate(settings(log_with="trackio"))


def test_trackers_get_every_student(settings, monkeypatch):
    logged = []
    monkeypatch.setattr(Accelerator, "init_trackers", lambda *args, **kwargs: None)
    monkeypatch.setattr(Accelerator, "log", lambda self, values, step: logged.extend((key, step) for key in values))
    monkeypatch.setattr(Accelerator, "end_training", lambda self: None)
    monkeypatch.setattr("compdd_eval.evaluation.evaluate.check_trackers", lambda names: None)
    evaluate(settings(log_with="tensorboard"), accelerator=Accelerator(cpu=True), quiet=True)
    losses = [step for name, step in logged if name.endswith("seed1/loss")]
    assert losses == [0, 1, 2]


def arguments(drawn, my_set, out, *more):
    given = ["--data_path", drawn, "--category", "bird", "--subset", "easy", "--distilled", my_set, "--res", "32"]
    given += ["--model", "LeNet", "--epoch_eval_train", "6", "--threads", "1", "--output_dir", out]
    return [*map(str, given), *more]


@pytest.mark.slow
def test_processes_and_ddp_give_the_same_accuracies(drawn, my_set, tmp_path):
    found = []
    for name, number, more in [("one", 1, []), ("two", 2, []), ("three", 3, []), ("ddp", 2, ["--parallel", "ddp"])]:
        out = tmp_path / name
        flags = arguments(drawn, my_set, out, "--num_eval", "3", "--baseline", "random", *more)
        cache = {"HF_DATASETS_CACHE": str(tmp_path / "cache")}
        done = launched(number, "-m", "compdd_eval", *flags, cwd=tmp_path, **cache)
        assert done.returncode == 0, done.stderr
        entry = json.loads((out / "summary.json").read_text())["results"][0]
        found.append((entry["accuracies"], entry["random"]["accuracies"]))
    assert found[0] == found[1] == found[2]
    for ours, single in zip(found[3], found[0], strict=True):
        assert ours == pytest.approx(single, abs=0.05)


@pytest.mark.slow
def test_killed_at_any_moment(drawn, my_set, tmp_path):
    """SIGKILL at random moments: no file is corrupt, nothing finished is lost, and the end is that of a whole run."""
    rng, out = random.Random(0), tmp_path / "killed"
    flags = arguments(drawn, my_set, out, "--num_eval", "20", "--baseline", "random", "--epoch_eval_train", "40")
    command, kept, kills = ["-m", "compdd_eval", *flags], {}, 0
    places = {"cwd": tmp_path, "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    while kills < 20:
        process = Forked(*command, **places)
        before, limit = len(students(out)), time.monotonic() + 60
        while len(students(out)) == before and process.poll() is None and time.monotonic() < limit:
            if rng.random() < 0.005:
                break
            time.sleep(0.02)
        time.sleep(rng.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        kills += 1
        for path in students(out):
            record = read_student(path)
            assert kept.setdefault(path, record) == record
        for path in [*out.rglob("*.json")]:
            json.loads(path.read_text())
        assert set(kept) <= set(students(out))
    assert kills >= 20
    whole = tmp_path / "whole"
    for more in ([], ["--output_dir", whole]):
        done = forked(*command, *more, **places)
        assert done.returncode == 0, done.stderr
    ends = [json.loads((folder / "summary.json").read_text())["results"] for folder in (out, whole)]
    assert ends[0] == ends[1]
