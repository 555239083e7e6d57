"""`distill --all`: the sets of many subsets and IPCs in one pool, equal to those that are made one by one."""

import json
import shlex
import signal
import time
from pathlib import Path

import pytest
import torch
import torchvision

from compdd_eval.config.distill import DistillConfig
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.methods.distill import distill
from compdd_eval.methods.expert_files import read_expert_facts
from compdd_eval.methods.learning_loop import CHECKPOINT_NAME
from tests.support.bad_input import one_line
from tests.support.forked import launched, ranks

BIRDS = ("--configs", "bird-easy,bird-hard", "--ipc", "1,2")
SMALL = {"res": 8, "model": "ConvNetD1", "threads": 1, "compile": "never"}
DM = SMALL | {"steps": 3, "batch_real": 4, "seed": 3}
NAMES = [f"bird-{subset}-ipc{ipc}" for ipc in (1, 2) for subset in ("easy", "hard")]


def flags(settings):
    return [part for name, value in settings.items() for part in (f"--{name}", value)]


def digests(root):
    return {name: DistilledSet.load(root / name).sha256 for name in NAMES}


@pytest.fixture(scope="module")
def one_by_one(drawn, tmp_path_factory):
    """The sets of `dm`, each made by a call of its own."""
    root = tmp_path_factory.mktemp("one_by_one")
    for name in NAMES:
        subset, _, ipc = name.rpartition("-ipc")
        settings = DM | {"subset": subset, "ipc": int(ipc), "data_path": str(drawn), "output_dir": str(root / name)}
        distill(DistillConfig(method="dm", **settings), quiet=True)
    return digests(root)


def test_sets_are_those_of_single_calls_and_are_found_by_benchmark(one_by_one, drawn, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("distill", "dm", "--all", *BIRDS, *flags(DM), "--data_path", drawn, "--output_dir", "my sets")
    status, text, errors = run(*words)
    assert status == 0, errors
    assert digests(tmp_path / "my sets") == one_by_one
    ended = [line for line in errors if " of 4): " in line]
    assert [line.partition(" (")[2][:6] for line in ended] == [f"{place} of 4" for place in (1, 2, 3, 4)]
    assert ended[0].startswith("compdd_eval: bird-easy-ipc2"), "the costliest come first"
    assert "10 images, last loss " in ended[-1]

    written = {path: path.stat().st_mtime_ns for path in Path("my sets").rglob("*") if path.name != ".lock"}
    status, again, _ = run(*words, "--json")
    assert status == 0 and written == {path: path.stat().st_mtime_ns for path in written}
    assert {made["name"]: made["sha256"] for made in json.loads(again)["sets"]} == one_by_one

    line = text.splitlines()[-1].removeprefix("evaluate them: compdd-eval ")
    quick = ("--num_eval", 1, "--epoch_eval_train", 1, "--threads", 1, "--output_dir", "results")
    status, _, errors = run(*shlex.split(line), *quick)
    assert status == 0, errors
    assert json.loads(Path("results/benchmark.json").read_text())["missing_sets"] == []


def test_two_processes_killed_and_begun_again(one_by_one, drawn, tmp_path):
    words = ["distill", "dm", "--all", *BIRDS, *flags(DM), "--data_path", drawn, "--output_dir", tmp_path / "sets"]
    words += ["--save_every", 1]
    killed = ranks(2, "-m", "compdd_eval", *words, cwd=tmp_path)
    deadline = time.time() + 120
    while not list(tmp_path.rglob(CHECKPOINT_NAME)) and killed[0].poll() is None and time.time() < deadline:
        time.sleep(0.01)
    for process in killed:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert list(tmp_path.rglob(CHECKPOINT_NAME))
    again = launched(2, "-m", "compdd_eval", *words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert digests(tmp_path / "sets") == one_by_one


def test_experts_are_trained_once_a_subset(drawn, tmp_path, run):
    few = {"steps": 2, "syn_steps": 2, "expert_epochs": 1, "max_start_epoch": 2, "first_max_start_epoch": 1}
    words = ("distill", "datm", "--all", *BIRDS, *flags(SMALL | few), "--preset", "smoke", "--data_path", drawn)
    status, _, errors = run(*words, "--output_dir", tmp_path / "sets")
    assert status == 0, errors
    for name in ("bird-easy", "bird-hard"):
        files = sorted((tmp_path / "sets/experts" / name).glob("expert-*.safetensors"))
        assert len(files) == 5 and read_expert_facts(files[0])["epochs"] == 20
        settings = json.loads((tmp_path / "sets/experts" / name / "experts.json").read_text())["settings"]
        assert settings["sam"] and settings["model"] == "ConvNetD1"
    made = {name: DistilledSet.load(tmp_path / "sets" / name).metadata["distillation"] for name in NAMES}
    inputs = {name: found["inputs"]["files"] for name, found in made.items()}
    assert inputs["bird-easy-ipc1"] == inputs["bird-easy-ipc2"] != inputs["bird-hard-ipc1"]

    # experts that are there already are taken as they are
    place = tmp_path / "sets/experts/{config}"
    status, _, errors = run(*words, "--experts", place, "--output_dir", tmp_path / "others")
    assert status == 0 and digests(tmp_path / "others") == digests(tmp_path / "sets"), errors
    assert not (tmp_path / "others/experts").exists()


def test_a_set_that_fails_does_not_stop_the_others(drawn, tmp_path, run):
    words = ("distill", "random", "--all", "--res", 8, "--data_path", drawn, "--output_dir", tmp_path, "--ipc", "1,99")
    status, text, errors = run(*words, "--configs", "bird-easy,car-easy")
    assert status == 2 and (tmp_path / "bird-easy-ipc1/distilled.json").is_file()
    assert "3 of 4 sets were not made; the first, car-easy-ipc1: " in errors[-1]
    assert "images of 1 subset of 2 are not there: car-easy" in errors[0]
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("bird")] == [["bird-easy-ipc1", "10"]]
    reasons = [line for line in text.splitlines() if line.startswith("not made: ")]
    assert len(reasons) == 2 and reasons[0].startswith("not made: car-easy-ipc1, car-easy-ipc99: ")
    assert "bird-easy-ipc99" in reasons[1] and "99" in reasons[1]
    one_line(run(*words, "--configs", "car-easy"), "this class folder is missing")


def test_a_teacher_of_all_subsets_has_imagenets_outputs(drawn, tmp_path, run):
    torch.save(torchvision.models.squeezenet1_1(num_classes=10).state_dict(), tmp_path / "ten.pt")
    words = ("distill", "rded", "--all", *BIRDS, "--data_path", drawn, "--res", 32, "--output_dir", tmp_path / "sets")
    said = "has the outputs of one subset; expected ImageNet's 1000 outputs for several subsets, or a name with {"
    one_line(run(*words, "--teacher", f"torchvision:squeezenet1_1={tmp_path / 'ten.pt'}"), said)
    assert not (tmp_path / "sets").exists()


def test_a_dry_run_measures_each_ipc(drawn, tmp_path, run):
    words = ("distill", "dm", "--all", *BIRDS, *flags(DM), "--data_path", drawn, "--output_dir", tmp_path / "sets")
    status, text, errors = run(*words, "--dry_run", "--json")
    assert status == 0, errors
    costs = json.loads(text)["costs"]
    assert [(cost["ipc"], cost["sets"], cost["steps"]) for cost in costs] == [(1, 2, 3), (2, 2, 3)]
    assert "of this device for all sets" in run(*words, "--dry_run")[1]
    ftd = ("distill", "ftd", "--all", *BIRDS, "--data_path", drawn, "--output_dir", tmp_path / "sets", "--dry_run")
    one_line(run(*ftd), 'what --all trains first, and it is not given; give --experts "experts/{config}"')
    rded = ("distill", "rded", "--all", *BIRDS, "--data_path", drawn, "--output_dir", tmp_path / "sets", "--dry_run")
    one_line(run(*rded), "rded chooses real images and makes no steps")
    assert not (tmp_path / "sets").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ipc", "1,10"), "--ipc 1,10: several sets are made with --all"),
        (("--configs", "bird-easy"), "--configs bird-easy: several sets are made with --all"),
        (("--all", "--subset", "bird-easy"), "--subset: --all goes over the subsets; --configs bird-easy,..."),
        (("--all", "--ipc", "1,x"), "--ipc 1,x: expected whole numbers from 1 joined by commas, as in 1,10,50"),
        (("--all", "--configs", "bird"), "unknown value of --configs"),
        (("--all", "--experts", "experts"), "--experts experts: expected a name with {config}"),
        (("--all", "--steps", "0"), "--steps 0: expected"),
        (("--all", "--lr_student", "1"), "--lr_student: dm has no such setting"),
    ],
)
def test_bad_input(run, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    one_line(run("distill", "dm", *words, "--data_path", "nowhere"), message)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_teachers_are_trained_once_a_subset_and_label_for_the_benchmark(drawn, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("distill", "rded", "--all", *BIRDS, *flags(SMALL), "--factor", 2, "--mipc", 12, "--preset", "smoke")
    status, text, errors = run(*words, "--data_path", drawn, "--output_dir", "sets")
    assert status == 0, errors
    records = {
        name: json.loads(Path(f"sets/teacher/{name}/teacher.json").read_text()) for name in ("bird-easy", "bird-hard")
    }
    assert [record["subset"] for record in records.values()] == list(records)
    for name in NAMES:
        notes = DistilledSet.load(f"sets/{name}").metadata["distillation"]["notes"]
        assert notes["teacher"]["digest"] and len(DistilledSet.load(f"sets/{name}").images) == 10 * int(name[-1])
    line = text.splitlines()[-1].removeprefix("evaluate them: compdd-eval ")
    assert "--labels soft+kd --teacher 'sets/teacher/{config}'" in line
    quick = ("--num_eval", 1, "--epoch_eval_train", 1, "--threads", 1, "--model", "MLP", "--output_dir", "results")
    status, _, errors = run(*shlex.split(line), *quick)
    assert status == 0, errors
    results = {path.parent.name: json.loads(path.read_text()) for path in Path("results").glob("*/summary.json")}
    for name, summary in results.items():
        teacher = summary["results"][0]["teacher"]
        assert teacher["accuracy"] == records[name.rpartition("-ipc")[0]]["accuracy"] and len(results) == 4
    assert run("benchmark", "--sets", "sets/{config}-ipc{ipc}", "--teacher", "none/{config}", *BIRDS)[0] == 2
