"""`distill`: one loop for all methods; checkpoints, resume, evaluation in between, methods of one's own."""

import csv
import json
import shlex
import signal
import time
from dataclasses import fields

import pytest
import torch

from compdd_eval.config.distill import DistillConfig, MatchingConfig
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.methods.distill import distill
from compdd_eval.methods.evaluations import _remove_others
from compdd_eval.methods.learning_loop import CHECKPOINT_NAME, Learning
from compdd_eval.methods.registry import (
    ByIPC,
    Method,
    fill_settings,
    find_method,
    list_methods,
    load_plugin,
    register_method,
)
from compdd_eval.training import compiling
from compdd_eval.utils.errors import InputError
from tests.conftest import ROOT
from tests.support.forked import Forked, forked, launched

PLUGIN = str(ROOT / "tests/support/own_method.py")
BIRDS = {"category": "bird", "subset": "easy", "res": 16, "model": "ConvNetD1", "threads": 1}
OURS = ["random", "k-center", "herding", "rded", "sre2l", "dm", "dc", "mtt", "ftd", "datm", "edf"]


@pytest.fixture
def make(drawn, cache, tmp_path):
    """Distil drawn birds by the method of this folder, in a second."""

    def run(name="set", quiet=True, **changes):
        base = {"method": "pixel-means", "plugin": PLUGIN, "data_path": str(drawn), "ipc": 2, "batch_real": 4}
        settings = {**BIRDS, **base, "steps": 6, "output_dir": str(tmp_path / name), **changes}
        return distill(DistillConfig(**settings), quiet=quiet)

    return run


def test_the_set_has_its_recipe(make, tmp_path, drawn):
    distilled = make(ipc=2, options={"weight": 2.0})
    assert distilled.images.shape == (20, 3, 16, 16) and distilled.label_kind == "hard" and distilled.lr is None
    found = DistilledSet.load(tmp_path / "set")
    assert found.sha256 == distilled.sha256 and found.definition.name == "bird-easy" and found.ipc == 2
    made = found.metadata["distillation"]
    assert found.metadata["method"] == "pixel-means" and "paper" not in found.metadata
    assert made["settings"] == {
        "steps": 6,
        "lr_img": 100.0,
        "momentum_img": 0.5,
        "init": "real",
        "batch_real": 4,
    }
    assert made["options"] == {"weight": 2.0} and made["model"] == "ConvNetD1" and made["training_images"] == 120
    assert len(made["last_losses"]) == 6 and made["last_losses"][-1] < made["last_losses"][0]


def test_the_update_is_sgd_with_momentum(make, drawn, cache):
    """Two steps against a computation by hand."""
    load_plugin(PLUGIN)
    before = make("before", steps=1, lr_img=1e-30).images.double()
    from compdd_eval.data.splits import load_comp_dd

    images, labels = load_comp_dd(drawn, "bird", "easy", (16, 16)).dst_train.tensors()
    means = torch.stack([images[labels == label].double().mean(dim=0) for label in range(10)])
    moved, velocity = before.clone(), torch.zeros_like(before)
    for _ in range(2):
        gap = means - moved.view(10, 2, 3, 16, 16).mean(dim=1)
        gradient = (-2 * gap / gap[0].numel() / 2).repeat_interleave(2, dim=0)
        velocity = 0.5 * velocity + gradient
        moved = moved - 100 * velocity
    distilled = make("after", steps=2, batch_real=1000)
    torch.testing.assert_close(distilled.images.double(), moved, rtol=0, atol=1e-5)


def test_a_run_goes_on_where_it_was(make, tmp_path):
    whole = make("whole", save_every=4)
    make("parts", steps=4, save_every=4)
    assert make("parts", save_every=4).sha256 == whole.sha256
    assert make("other_seed", seed=1).sha256 != whole.sha256
    rows = list(csv.reader((tmp_path / "parts/progress/losses.csv").open()))
    assert rows[0] == ["step", "loss"] and [row[0] for row in rows[1:]] == ["1", "2", "3", "4", "5", "6"]
    names = {path.name for path in (tmp_path / "parts/progress").iterdir()}
    assert {"preview-000004.png", "preview-000006.png", CHECKPOINT_NAME, "losses.csv"} <= names


def test_a_finished_set_is_not_made_again(make, tmp_path):
    make()
    before = (tmp_path / "set/distilled.safetensors").stat().st_mtime_ns
    make(save_every=3)
    assert (tmp_path / "set/distilled.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("changes", [{"seed": 3}, {"lr_img": 7.0}, {"ipc": 1}, {"options": {"weight": 3.0}}])
def test_other_settings_are_refused(make, changes):
    first = make()
    with pytest.raises(InputError, match="--overwrite"):
        make(**changes)
    assert make(overwrite=True, **changes).sha256 != first.sha256


def test_a_damaged_checkpoint(make, tmp_path):
    make()
    (tmp_path / "set/distilled.json").unlink()
    (tmp_path / "set/progress" / CHECKPOINT_NAME).write_bytes(b"nothing")
    (tmp_path / "set/README.md").unlink()
    with pytest.raises(InputError, match="damaged.*--overwrite"):
        make()


def test_fewer_steps_than_are_done(make, tmp_path):
    make()
    with pytest.raises(InputError, match="6 steps already"):
        make(steps=3)


def test_memory_that_runs_out(make, monkeypatch):
    def full(learning):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learning, "step", full)
    with pytest.raises(InputError, match="set: out of memory at .* px, IPC 2; lower the batches"):
        make()


def test_students_of_another_set_at_the_same_step_go(tmp_path):
    """Of a run that was killed after an evaluation and went on from an older checkpoint with other last bits."""
    for name in ("ipc1-aaaaaaaaaaaa", "ipc1-bbbbbbbbbbbb"):
        path = tmp_path / f"step-000010/{name}/bird-easy/MLP/0/seed0.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        _remove_others(tmp_path / "step-000010", name)
        assert path.exists() == (name == "ipc1-aaaaaaaaaaaa")
    _remove_others(tmp_path / "step-000020", "ipc1-aaaaaaaaaaaa")


def test_a_loss_that_is_not_finite_stops_before_the_images_are_spoilt(make, tmp_path):
    with pytest.raises(InputError, match="loss of step .*--lr_img"):
        make(lr_img=1e30, steps=40)
    assert not (tmp_path / "set/distilled.json").exists()


def test_evaluations_in_between(make, tmp_path):
    distilled = make(eval_every=4, num_eval=2, epoch_eval_train=1)
    found = distilled.metadata["distillation"]["evaluations"]
    assert [entry["step"] for entry in found] == [4, 6] and all(entry["n"] == 2 for entry in found)
    assert "kept_step" not in distilled.metadata["distillation"]
    assert distilled.sha256 == make("without").sha256


def test_the_best_is_known_whatever_was_asked_for_first(make, tmp_path, monkeypatch):
    """Evaluated without --keep best, gone on with it: the images of the best step, under its number."""
    from compdd_eval.methods import evaluations as module

    rates = {1: 0.2, 2: 0.9, 3: 0.1, 4: 0.3, 5: 0.95}

    def evaluate(settings, distilled, accelerator, quiet):
        rate = rates[distilled.metadata["distillation"]["step"]]
        return {"results": [{"accuracy_mean": rate, "accuracy_std": 0.01, "n": 2, "accuracies": [rate, rate]}]}

    monkeypatch.setattr(module, "evaluate", evaluate)
    make(steps=3, eval_every=1, save_every=1, keep="best")
    make(steps=4, eval_every=1, save_every=1)
    made = make(steps=4, eval_every=1, save_every=1, keep="best")
    assert made.metadata["distillation"]["kept_step"] == 2 and made.sha256 == make("two", steps=2).sha256
    made = make(steps=5, eval_every=1, save_every=1, keep="best")
    assert made.metadata["distillation"]["kept_step"] == 5 and made.sha256 == make("five", steps=5).sha256
    with pytest.raises(InputError, match="--num_eval 2 --epoch_eval_train 1000"):
        make(steps=6, eval_every=1, epoch_eval_train=3)
    make("none", steps=2)
    with pytest.raises(InputError, match="no step was evaluated"):
        make("none", steps=2, eval_every=1, keep="best")


def test_an_edited_plugin_is_another_method(drawn, tmp_path):
    """In a process of its own: a file is run once in a process."""
    plugin = tmp_path / "edited.py"
    text = (ROOT / "tests/support/own_method.py").read_text()
    arguments = ["distill", "pixel-means", "--plugin", plugin, "--data_path", drawn, "--steps", 2]
    for name, value in BIRDS.items():
        arguments += [f"--{name}", value]
    statuses = []
    for content in (text, text, text.replace("gap.square()", "gap.abs()")):
        plugin.write_text(content)
        command = ["-m", "compdd_eval", *arguments, "--output_dir", "set"]
        statuses.append(forked(*command, cwd=tmp_path, HF_DATASETS_CACHE=str(tmp_path / "cache")).returncode)
    assert statuses == [0, 0, 2]


def test_overwrite_removes_only_what_was_written(make, tmp_path):
    make()
    (tmp_path / "set/progress/thesis.txt").write_text("mine")
    (tmp_path / "set/distilled.safetensors").write_bytes(b"damaged")
    assert make(overwrite=True).sha256 == make("other").sha256
    assert (tmp_path / "set/progress/thesis.txt").read_text() == "mine"


def wrong(name, **options):
    """Register a method that does something wrong, once."""

    def with_function(function):
        if name not in {method.name for method in list_methods()}:
            register_method(name, **options)(function)
        return name

    return with_function


@pytest.mark.parametrize(
    ("name", "function", "options", "message"),
    [
        ("returns-none", lambda job, synthetic, step: None, {}, "returned NoneType, expected its loss"),
        ("returns-two", lambda job, synthetic, step: synthetic.images[0, 0, 0, :2], {}, r"returned \[2\], expected"),
        ("no-gradient", lambda job, synthetic, step: torch.tensor(1.0), {}, "left no gradient"),
        ("begins-with-none", lambda *a: None, {"begin": lambda job: None}, "`begin` returned NoneType"),
        ("selects-none", lambda job: None, {"selects": True}, "it returned NoneType"),
        ("selects-twice", lambda job: [0, 0], {"selects": True}, "each once"),
        ("selects-few", lambda job: [0, 1], {"selects": True}, "2 positions of each class.*it returned"),
    ],
)
def test_methods_that_do_something_wrong(make, tmp_path, name, function, options, message):
    changes = {"batch_real": None} | ({"steps": None} if options.get("selects") else {})
    with pytest.raises(InputError, match=message):
        make(method=wrong(name, **options)(function), plugin=None, **changes)
    assert not (tmp_path / "set/distilled.json").exists()


def test_gradients_that_are_not_finite(make):
    def step(job, synthetic, number):
        (synthetic.images.sum() * float("inf")).backward()
        return torch.tensor(1.0)

    with pytest.raises(InputError, match="gradients are not finite"):
        make(method=wrong("infinite")(step), plugin=None, batch_real=None)


def test_the_best_is_kept_only_where_it_is_asked_for(make, tmp_path, monkeypatch):
    from compdd_eval.methods import evaluations as module

    rates = iter([0.3, 0.9, 0.4])

    def evaluate(settings, distilled, accelerator, quiet):
        entry = {"accuracy_mean": next(rates), "accuracy_std": 0.01, "n": 2, "accuracies": [0.1, 0.2]}
        return {"results": [entry]}

    monkeypatch.setattr(module, "evaluate", evaluate)
    best = make(eval_every=2, keep="best")
    made = best.metadata["distillation"]
    assert made["kept_step"] == 4 and made["keep"] == "best"
    assert best.sha256 == make("four", steps=4).sha256
    assert DistilledSet.load(tmp_path / "set").sha256 == best.sha256


def test_killed_and_run_again(drawn, tmp_path):
    """SIGKILL at any moment: the next start ends with the images of a run that was never stopped."""
    arguments = ["distill", "pixel-means", "--plugin", PLUGIN, "--data_path", drawn, "--ipc", 1, "--steps", 500]
    arguments += ["--save_every", 20, "--batch_real", 2]
    for name, value in BIRDS.items():
        arguments += [f"--{name}", value]

    def start(folder):
        command = ["-m", "compdd_eval", *arguments, "--output_dir", folder]
        return Forked(*command, cwd=tmp_path, HF_DATASETS_CACHE=str(tmp_path / "cache"))

    killed = start("killed")
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed/progress" / CHECKPOINT_NAME).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed/distilled.json").exists()
    again, whole = start("killed"), start("whole")
    for process in (again, whole):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert "going on from step" not in out
    first, second = (DistilledSet.load(tmp_path / name) for name in ("killed", "whole"))
    assert first.sha256 == second.sha256


def test_the_command(run, drawn, cache, tmp_path):
    arguments = ["distill", "pixel-means", "--plugin", PLUGIN, "--data_path", drawn, "--ipc", 1, "--preset", "smoke"]
    for name, value in BIRDS.items():
        arguments += [f"--{name}", value]
    status, out, lines = run(*arguments, "--output_dir", tmp_path / "a set", "--options", '{"weight": 0.5}')
    assert (status, lines) == (0, []) and f"distilled set: {tmp_path / 'a set'}" in out and "20, " in out
    following = shlex.split(out.splitlines()[-1].removeprefix("evaluate it: compdd-eval "))
    assert following == [
        *("evaluate", "--distilled", str(tmp_path / "a set"), "--category", "bird", "--subset", "easy"),
        *("--data_path", str(drawn), "--res", "16", "--model", "ConvNetD1"),
    ]
    status, out, _ = run(*arguments, "--output_dir", tmp_path / "set2", "--json")
    assert status == 0 and json.loads(out)["distillation"]["settings"]["steps"] == 20
    status, _, _ = run("validate", tmp_path / "a set", "--data_path", drawn)
    assert status == 0
    status, out, _ = run(*following, "--epoch_eval_train", 1, "--num_eval", 1, "--output_dir", tmp_path / "results")
    assert status == 0 and "bird-easy" in out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--method", "dmm"], "unknown method 'dmm'"),
        (["--syn_steps", "3"], "--syn_steps: pixel-means has no such setting; it has --steps"),
        (["--steps", "0"], "--steps 0: expected a whole number from 1"),
        (["--lr_img", "-1"], "--lr_img -1.0: expected a finite number above 0"),
        (["--ipc", "13"], "has 12 training images, fewer than the IPC of 13"),
        (["--keep", "best"], "--keep best chooses among evaluations"),
        (["--model", "ConvNetD33"], "unknown model"),
        (["--plugin", "nowhere.py"], "nowhere.py: no such file"),
        (["--options", '{"wait": 2}'], "--options: pixel-means has no 'wait'; it has weight"),
        (["--options", '{"weight": [1]}'], "--options: weight [1]: expected a number, a text, or true or false"),
        (["--options", "5"], "--options 5: expected settings by name"),
        (["--output_dir", ""], "--output_dir '': expected the name of a folder"),
        (["--init", "zeros"], "unknown value of --init"),
        (["--category", "brid"], "brid"),
    ],
)
def test_bad_input(run, drawn, cache, tmp_path, changes, message):
    load_plugin(PLUGIN)
    arguments = ["distill", "--method", "pixel-means", "--data_path", drawn, "--output_dir", tmp_path / "set"]
    for name, value in BIRDS.items():
        arguments += [f"--{name}", value]
    status, out, lines = run(*arguments, *changes)
    assert (status, out, len(lines)) == (2, "", 1) and message in lines[0]
    assert not (tmp_path / "set/distilled.json").exists()


def test_a_plugin_that_fails_or_registers_nothing(tmp_path):
    (tmp_path / "fails.py").write_text("import nowhere_to_be_found")
    with pytest.raises(InputError, match="fails.py: running it failed .*nowhere_to_be_found"):
        load_plugin(str(tmp_path / "fails.py"))
    (tmp_path / "empty.py").write_text("x = 1")
    with pytest.raises(InputError, match="registers no method"):
        load_plugin(str(tmp_path / "empty.py"))
    with pytest.raises(ValueError, match="registered already"):
        register_method("dm")(lambda job: [])
    with pytest.raises(ValueError, match="no field of MatchingConfig"):
        register_method("new", settings={"temperature": 1.0})


def test_settings_go_with_the_ipc():
    assert [ByIPC({1: "a", 10: "b", 50: "c"}).at(ipc) for ipc in (1, 5, 10, 49, 50, 100)] == list("aabbcc")
    assert ByIPC({10: "b", 50: "c"}).at(1) == "b"
    for ipc, threshold in ((1, 1.7), (10, 2.0), (50, 1.0)):
        method = find_method("edf")
        config = fill_settings(
            DistillConfig(method="edf", category="bird", subset="easy", ipc=ipc, experts="x"), method
        )
        assert config.match_threshold == threshold and config.steps == 10_000 and config.syn_steps == 40


def test_experts_have_to_be_given():
    for name in ("mtt", "ftd", "datm", "edf"):
        with pytest.raises(InputError, match="--experts is missing"):
            fill_settings(DistillConfig(method=name, category="bird", subset="easy"), find_method(name))


def test_every_method_says_what_it_is():
    methods = [method for method in list_methods() if method.is_ours]
    assert [method.name for method in methods] == OURS
    known = {field.name for field in fields(MatchingConfig)}
    used = set()
    for method in methods:
        assert isinstance(method, Method) and method.title and (method.paper or method.name == "random")
        for preset in ("published", "smoke"):
            for ipc in (1, 10, 50):
                values = method.settings(preset, ipc)
                used |= set(values)
                filled = {"experts": "x"} | {name: value for name, value in values.items() if value is not None}
                filled = {name: value for name, value in filled.items() if name in values}
                DistillConfig(method=method.name, category="bird", subset="easy", ipc=ipc, **filled)
    assert used == known  # no flag that nothing takes


def test_methods_lists_them(run):
    status, out, _ = run("methods")
    assert status == 0 and all(name in out for name in OURS)
    status, out, _ = run("methods", "edf", "--ipc", 50)
    assert status == 0 and "--loss_threshold" in out and "0.375" in out
    status, out, _ = run("methods", "--plugin", PLUGIN, "--json")
    assert {entry["name"] for entry in json.loads(out)} >= {*OURS, "pixel-means"}
    status, _, lines = run("methods", "edff")
    assert status == 2 and "did you mean 'edf'" in lines[0]


def in_processes(processes, *arguments, cwd):
    """Run the command in CPU processes, as a launcher does; what it is given wins over `BIRDS`."""
    birds = [part for name, value in BIRDS.items() for part in (f"--{name}", value)]
    arguments = (arguments[0], *birds, *arguments[1:])
    done = launched(processes, "-m", "compdd_eval", *arguments, cwd=cwd, HF_DATASETS_CACHE=str(cwd / "cache"))
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dm", "dc", "edf", "pixel-means"])
def test_two_processes_make_the_same_set(method, drawn, tmp_path):
    """Shared by class: the same bits; by image: other last bits; what cannot be shared is run alike in both."""
    data = ["--data_path", drawn]
    arguments = ["distill", method, *data, "--ipc", 2, "--preset", "smoke", "--steps", 4, "--plugin", PLUGIN]
    if method == "edf":
        trained = ["--num_experts", 1, "--epochs", 20, "--compile", "never", "--output_dir", "experts"]
        in_processes(2, "experts", *data, *trained, cwd=tmp_path)
        # a rate that does not blow up last bits, such as those that decide a ReLU
        arguments += ["--experts", "experts", "--syn_steps", 2, "--lr_img", 100]
    tested = ["--eval_every", 4, "--num_eval", 2, "--epoch_eval_train", 1]
    printed = in_processes(2, *arguments, *tested, "--output_dir", "two", cwd=tmp_path)
    assert ("cannot be shared" in printed) == (method == "pixel-means")
    in_processes(1, *arguments, *tested, "--output_dir", "one", cwd=tmp_path)
    two, one = (DistilledSet.load(tmp_path / name) for name in ("two", "one"))
    if method == "edf":
        torch.testing.assert_close(two.images, one.images, rtol=0, atol=1e-4)
        torch.testing.assert_close(two.labels, one.labels, rtol=0, atol=1e-4)
    else:
        assert two.sha256 == one.sha256
    evaluations = [found.metadata["distillation"]["evaluations"] for found in (two, one)]
    assert evaluations[0] == evaluations[1] or method == "edf"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rded", "sre2l"])
def test_two_processes_with_a_teacher_make_the_same_set(method, drawn, tmp_path):
    """One process trains the teacher, and chooses crops; steps are made alike in both."""
    data = ["--data_path", drawn]
    trained = ["--model", "ConvNetD1BN", "--epochs", 2, "--output_dir", "teacher"]
    printed = in_processes(2, "teacher", *data, *trained, cwd=tmp_path)
    assert printed.count("use it: --teacher teacher") == 1
    arguments = ["distill", method, *data, "--ipc", 2, "--teacher", "teacher"]
    arguments += ["--factor", 1] if method == "rded" else ["--steps", 2]
    for processes, folder in ((2, "two"), (1, "one")):
        in_processes(processes, *arguments, "--output_dir", folder, cwd=tmp_path)
    assert DistilledSet.load(tmp_path / "two").sha256 == DistilledSet.load(tmp_path / "one").sha256


def test_a_dry_run_measures_steps(run, drawn, tmp_path):
    words = ("--category", "bird", "--subset", "easy", "--ipc", 1, "--res", 16, "--model", "ConvNetD1", "--threads", 1)
    words = (*words, "--data_path", drawn, "--output_dir", tmp_path / "made", "--dry_run")
    status, out, errors = run("distill", "dm", *words, "--batch_real", 4, "--steps", 50, "--json")
    assert status == 0, errors
    cost = json.loads(out)
    assert cost["steps"] == 50 and cost["seconds"] == pytest.approx(50 * cost["seconds_of_a_step"])
    assert cost["seconds"] > 0 and cost["peak_bytes"] > 10**8
    status, out, errors = run("distill", "random", *words)
    assert status == 2 and errors == [
        "compdd_eval: error: --dry_run: random chooses real images and makes no steps that could be measured"
    ]
    assert not (tmp_path / "made").exists()


DM = {"method": "dm", "plugin": None, "steps": 2}


def test_bfloat16_is_another_recipe(make):
    single, half = (make(precision, **DM, precision=precision) for precision in ("float32", "bfloat16"))
    assert half.metadata["distillation"]["precision"] == "bfloat16" and half.images.dtype == torch.float32
    assert half.metadata["distillation"]["digest"] != single.metadata["distillation"]["digest"]
    assert 0 < (half.images - single.images).norm() < 0.1 * single.images.norm()
    with pytest.raises(InputError, match="holds a set that was made with other settings"):
        make("float32", **DM, precision="bfloat16")


@pytest.mark.parametrize("method", ["pixel-means", "herding"])
def test_methods_without_bfloat16_refuse_it(make, tmp_path, method):
    plugin = {"plugin": PLUGIN} if method == "pixel-means" else {"plugin": None, "batch_real": None, "steps": None}
    words = f"{method} runs no network in it; give float32, or one of dm, dc, mtt, ftd, datm, edf"
    with pytest.raises(InputError, match=words):
        make(method=method, precision="bfloat16", **plugin)
    assert not (tmp_path / "set").exists()


def test_where_nothing_compiles_steps_are_eager(make, monkeypatch, caplog):
    import torch._dynamo

    def fails(function, gpu, graphs):
        def call(*arguments):
            raise torch._dynamo.exc.TorchDynamoException("no C++ compiler")

        return call

    eager = make("eager", **DM, compile="never")
    monkeypatch.setattr(compiling, "compiled", fails)
    monkeypatch.setattr("compdd_eval.methods.distill.eager_seconds", lambda *arguments: 1e9)
    warned = make("warned", **DM)
    assert warned.sha256 == eager.sha256 and warned.metadata["distillation"]["compiled"] is False
    assert "steps are not compiled, they train more slowly: no C++ compiler" in caplog.text
    with pytest.raises(InputError, match="--compile always: this machine cannot compile"):
        make("refused", **DM, compile="always")


def test_a_run_goes_on_as_it_began(make, monkeypatch):
    """Compiled, though the steps that there are now would not pay."""
    calls = []
    monkeypatch.setattr(compiling, "compiled", lambda function, gpu, graphs: calls.append(function) or function)
    monkeypatch.setattr("compdd_eval.methods.distill.eager_seconds", lambda *arguments: 1e9)
    make(**DM, save_every=1)
    monkeypatch.setattr("compdd_eval.methods.distill.eager_seconds", lambda *arguments: 0)
    calls.clear()
    assert make(**{**DM, "steps": 3}, save_every=1).metadata["distillation"]["compiled"] is True and calls
    calls.clear()
    assert make(**{**DM, "steps": 4}, save_every=1, compile="never").metadata["distillation"]["compiled"] is False
    assert not calls


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dm", "dc"])
def test_compiled_steps_make_the_same_images(make, method):
    settings = {"method": method, "plugin": None, "steps": 3, "model": "ConvNetD2"}
    settings |= {"outer_loop": 3, "inner_loop": 2} if method == "dc" else {}
    eager, compiled = (make(how, **settings, compile=how) for how in ("never", "always"))
    assert compiled.metadata["distillation"]["compiled"] and not eager.metadata["distillation"]["compiled"]
    start = make("start", **{**settings, "steps": 1}, compile="never").images
    assert (compiled.images - eager.images).norm() < 1e-2 * (eager.images - start).norm()
    again = make("again", **settings, compile="always")
    assert again.sha256 == compiled.sha256
