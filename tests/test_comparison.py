"""Baselines, regimes, scores, the search of the rate, teachers, grids, `status` and `reproduce`."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from accelerate import Accelerator

from compdd_eval import DistilledSet, create_model, evaluate, load_comp_dd, random_images, train_student
from compdd_eval.augment import augment_batch, mix_batch
from compdd_eval.config import PRESETS, Protocol
from compdd_eval.errors import InputError
from compdd_eval.preprocess import preprocess
from compdd_eval.results import read_student
from compdd_eval.whitening import Whitening
from tests.conftest import FAST, environment, students

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
            inputs = augment_batch(images, protocol, generator)
            results.append(mix_batch(inputs, labels, protocol, generator))
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
    from compdd_eval.train import Feed, Training

    losses = []
    for part in (10, 3):
        torch.manual_seed(0)
        model = create_model("ConvNetD1", im_size=(8, 8))
        images = torch.randn(10, 3, 8, 8)
        protocol = Protocol(epoch_eval_train=4)
        run = Training(model, [Feed(images, torch.arange(10), "hard", protocol, 0)], 0.01, protocol, part=part)
        losses.append(torch.stack(list(run.passes())))
    assert torch.allclose(losses[0], losses[1], rtol=1e-5)


def test_out_of_memory_splits_the_batch(settings, monkeypatch, tmp_path, caplog):
    from compdd_eval.evaluation import students as module

    class Small(module.Training):
        def passes(self):
            if self.part > 3:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            yield from super().passes()

    plain = evaluate(settings(num_eval=1))["results"][0]["accuracies"]
    monkeypatch.setattr(module, "Training", Small)
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
    options = {"model": "ConvNetD2", "epoch_eval_train": 20, "num_eval": 1}
    lines = evaluate(settings(**options), moved, quiet=True)["results"][0]["diagnosis"]
    assert any("another order of classes" in line for line in lines), lines


def grid_file(tmp_path, drawn, my_set, **changes):
    content = {"data_path": str(drawn), "category": "bird", "subset": "easy", "distilled": str(my_set), **QUICK}
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(content | {"model": ["LeNet", "MLP"], "num_eval": 1} | changes))
    return path


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modle": "LeNet"}, "did you mean 'model'"),
        ({"num_eval": "three"}, "num_eval three: expected a whole number"),
        ({"cells": 3}, "cells must be a list"),
        ({"model": ["LeNet", "LeNet"]}, "LeNet is there twice"),
        ({"epoch_eval_train": [1, 0]}, "expected a whole number from 1"),
    ],
)
def test_wrong_grids(run, tmp_path, drawn, my_set, changes, message):
    file = grid_file(tmp_path, drawn, my_set, **changes)
    status, _, errors = run("--grid", file, "--output_dir", tmp_path / "grid")
    assert status == 2 and len(errors) == 1 and message in errors[0], errors
    assert not (tmp_path / "grid").exists()


def test_reproduce(run, settings, tmp_path, my_set):
    evaluate(settings(baseline="random,full", num_eval=1), quiet=True)
    status, text, errors = run("reproduce", tmp_path / "results/summary.json")
    assert status == 0 and text.count(": equal") == 3, (text, errors)
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
    assert run("reproduce", tmp_path / "nothing.json")[0] == 2
    assert run("reproduce")[0] == 2 and run("status", tmp_path / "nothing")[0] == 2


def test_a_tracker_that_this_accelerate_lacks(settings, monkeypatch):
    monkeypatch.setattr("compdd_eval.evaluation.tracking.LoggerType.list", lambda: ["all", "tensorboard", "wandb"])
    with pytest.raises(InputError, match=r"--log_with trackio: accelerate .* expected 1\.9 or later"):
        evaluate(settings(log_with="trackio"))


def test_trackers_get_every_student(settings, monkeypatch):
    logged = []
    monkeypatch.setattr(Accelerator, "init_trackers", lambda *args, **kwargs: None)
    monkeypatch.setattr(Accelerator, "log", lambda self, values, step: logged.extend((key, step) for key in values))
    monkeypatch.setattr(Accelerator, "end_training", lambda self: None)
    monkeypatch.setattr("compdd_eval.evaluation.check_trackers", lambda names: None)
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
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(number), "-m", "compdd_eval"]
        env = environment(ACCELERATE_USE_CPU="true", HF_DATASETS_CACHE=str(tmp_path / "cache"))
        done = subprocess.run([sys.executable, *launcher, *flags], env=env, capture_output=True, text=True, timeout=300)
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
    command, kept, kills = [sys.executable, "-m", "compdd_eval", *flags], {}, 0
    env = environment(HF_DATASETS_CACHE=str(tmp_path / "cache"))
    while kills < 20:
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
    subprocess.run(command, env=env, check=True, capture_output=True)
    whole = tmp_path / "whole"
    subprocess.run([*command[:-8], *command[-8:], "--output_dir", str(whole)], env=env, check=True, capture_output=True)
    ends = [json.loads((folder / "summary.json").read_text())["results"] for folder in (out, whole)]
    assert ends[0] == ends[1]
