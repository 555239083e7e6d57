"""The command line: flags, files, and one clear line with exit status 2 for whatever is wrong."""

import os
import shutil
import subprocess
import sys
from dataclasses import fields
from importlib import import_module

import pytest
import torch
import yaml

from compdd_eval.commands import COMMANDS
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.settings import choices_of, hints_of
from compdd_eval.data.subsets import load_subset
from compdd_eval.utils.errors import InputError
from tests.conftest import ROOT, environment, python
from tests.support.bad_input import RunsCode, one_line

DEFAULTS = {
    "model": "ConvNetD5",
    "lr_net": 1e-2,
    "dsa": True,
    "dsa_strategy": "color_crop_cutout_flip_scale_rotate",
    "epoch_eval_train": 1000,
    "batch_train": 128,
    "num_eval": 5,
    "seed": 0,
    "output_dir": "results",
    "crop_pad": 0.25,
}
FAST = ["--model", "ConvNetD1", "--res", 32, "--epoch_eval_train", 1, "--num_eval", 1, "--threads", 1]


def printed(run, *arguments):
    status, out, errors = run(*arguments, "--print_config")
    assert (status, errors) == (0, [])
    return yaml.safe_load(out)


def test_published_names_and_defaults(run):
    config = printed(run, "evaluate")
    assert {name: config[name] for name in DEFAULTS} == DEFAULTS
    for name in ("data_path", "category", "subset", "data_dir", "label_dir", "lr_dir", "res"):
        assert config[name] is None


def test_evaluate_may_be_left_out(run):
    assert printed(run, "--num_eval", "7") == printed(run, "evaluate", "--num_eval=7")


def test_command_line_over_file_over_defaults(run, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("num_eval: 3\nseed: 5\ndsa: on\ncategory: dog\n")
    for arguments in (
        ["--seed", "9", "--config", file],
        ["--config", file, "--seed", "9"],
        [f"--config={file}", "--seed=9"],
    ):
        config = printed(run, *arguments)
        assert (config["num_eval"], config["seed"], config["dsa"], config["batch_train"]) == (3, 9, True, 128)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dsa", "True"], True),
        (["--dsa", "False"], False),
        (["--dsa", "false"], False),
        (["--dsa"], True),
        (["--dsa", "--seed", "1"], True),
    ],
)
def test_booleans(run, arguments, expected):
    assert printed(run, "evaluate", *arguments)["dsa"] is expected


def test_print_config_is_a_config_file(run, tmp_path):
    _, out, _ = run("evaluate", "--category", "birds", "--subset", "easy", "--lr_net", "0.5", "--print_config")
    (tmp_path / "c.yaml").write_text(out)
    assert printed(run, "--config", tmp_path / "c.yaml")["lr_net"] == 0.5


def test_help_and_version(run):
    status, out, _ = run()
    assert status == 0 and all(command in out for command in ("evaluate", "prepare", "demo"))
    assert run("--help")[1] == out
    assert run("--version")[1].startswith("compdd_eval 0.")
    for command in ("evaluate", "prepare", "demo"):
        status, out, _ = run(command, "--help")
        assert status == 0 and "default" in out
    assert "Learning rate of the students" in run("evaluate", "--help")[1]


def test_plural_categories_are_aliases():
    assert EvaluateConfig(category="birds", subset="easy").category == "bird"
    with pytest.raises(InputError):
        EvaluateConfig(category="musics", subset="easy")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["evalute"], ["unknown command 'evalute'", "did you mean 'evaluate'"]),
        (["--categry", "bird"], ["--categry", "did you mean '--category'"]),
        (["--epochs", "3"], ["'--epochs'", "did you mean '--epoch_eval_train'"]),
        (["--batch-size=3"], ["'--batch-size'", "did you mean '--batch_train'"]),
        (["--num_workers", "3"], ["'--num_workers'", "did you mean '--threads'"]),
        (["prepare", "--num_workers", "3"], ["'--num_workers'", "did you mean '--num_proc'"]),
        (["experts", "--num_epochs", "3"], ["'--num_epochs'", "did you mean '--epochs'"]),
        (["distill", "mtt", "--buffer_path", "x"], ["'--buffer_path'", "did you mean '--experts'"]),
        (["bench", "train", "--image_size", "3"], ["'--image_size'", "did you mean '--res'"]),
        (["--gpu", "0"], ["'--gpu'", "accelerate launch"]),
        (["somebody/set", "--category", "bird"], ["evaluate --distilled somebody/set --category bird"]),
        (["--subset", "easy"], ["--category is missing"]),
        (["--category", "bird"], ["--subset is missing"]),
        (["--category", "brid", "--subset", "easy"], ["'brid'", "did you mean 'bird'"]),
        (["--category", "bird", "--subset", "eesy"], ["'eesy'", "did you mean 'easy'"]),
        (["--category", "bird", "--subset", "easy", "--res", "0"], ["--res 0", "from 1"]),
        (["--category", "bird", "--subset", "easy", "--res", "big"], ["--res big", "a whole number"]),
        (["--category", "bird", "--subset", "easy", "--num_eval", "0"], ["--num_eval 0"]),
        (["--category", "bird", "--subset", "easy", "--lr_net", "-0.1"], ["--lr_net -0.1", "above 0"]),
        (["--category", "bird", "--subset", "easy", "--lr_net", "nan"], ["--lr_net nan"]),
        (["--category", "bird", "--subset", "easy", "--batch_train", "0"], ["--batch_train 0"]),
        (["--category", "bird", "--subset", "easy", "--epoch_eval_train", "0"], ["--epoch_eval_train 0"]),
        (["--category", "bird", "--subset", "easy", "--seed", "-1"], ["--seed -1"]),
        (["--category", "bird", "--subset", "easy", "--threads", "-1"], ["--threads -1"]),
        (["--category", "bird", "--subset", "easy", "--model", ","], ["--model"]),
        (["--category", "bird", "--subset", "easy", "--dsa", "maybe"], ["--dsa maybe", "true or false"]),
        (["--category", "bird", "--subset", "easy", "--label_kind", "soft"], ["--label_kind", "'soft'", "logits"]),
        (
            ["--category", "bird", "--subset", "easy", "--dsa_strategy", "colour_flip"],
            ["'colour'", "did you mean 'color'"],
        ),
        (
            ["--category", "bird", "--subset", "easy", "--model", "ConvNetD55"],
            ["'ConvNetD55'", "did you mean 'ConvNetD5'"],
        ),
        (
            ["--category", "bird", "--subset", "easy", "--res", "16", "--model", "VGG11"],
            ["VGG11", "16 x 16", "at least 32"],
        ),
        (["--category", "bird", "--subset", "easy", "--eval_mode", "Z"], ["--eval_mode", "'Z'"]),
        (["--category", "bird", "--subset", "easy", "--model", "torchvision:resnet500"], ["'resnet500'", "'resnet50'"]),
        (["--category", "bird", "--subset", "easy"], ["--distilled is missing", "--data_dir"]),
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
        (["--data_path"], ["--data_path"]),
        (["prepare", "--data_path", "/no/such/folder"], ["/no/such/folder", "no such folder"]),
        (["prepare", "--category", "cat"], ["'cat'", "did you mean 'car'"]),
        (["prepare"], ["no ImageNet given", "image-net.org", "COMP_DD_IMAGENET"]),
        (["demo", "--num_eval", "0"], ["--num_eval 0"]),
        (["--category", "bird", "--subset", "easy", "--num_eval", "99999999999"], ["--num_eval 99999999999", "10000"]),
        (["--category", "bird", "--subset", "easy", "--threads", "100000"], ["--threads 100000"]),
        (["evaluate", "bird-easy"], ["bird-easy", "every value needs its flag"]),
        (["prepare", "--data_path", "x" * 5000], ["name too long"]),
        (["prepare", "--category", "bird", "--published"], ["--published", "leave the flag out"]),
        (["--category", "bird", "--subset", "easy", "--published"], ["--published", "leave the flag out"]),
        (["--category", "bird", "--subset", "easy", "--dsa_strategy", ""], ["''", "color"]),
    ],
)
def test_wrong_flags(run, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    one_line(run(*arguments), *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["no settings by name"]),
        ("- a\n", ["no settings by name"]),
        ("bogus: 1\n", ["'bogus'"]),
        ("numeval: 1\n", ["'numeval'", "did you mean 'num_eval'"]),
        ("epochs: 1\n", ["'epochs'", "did you mean 'epoch_eval_train'"]),
        ("res: [1\n", ["not a YAML file"]),
        ("res: big\n", ["res big", "a whole number"]),
        ("label_kind: soft\n", ["'soft'", "logits"]),
    ],
)
def test_wrong_config_files(run, tmp_path, text, parts):
    (tmp_path / "c.yaml").write_text(text)
    one_line(run("evaluate", "--config", tmp_path / "c.yaml"), tmp_path / "c.yaml", *parts)


def test_a_text_for_a_list_in_a_config_file(run, tmp_path):
    file = tmp_path / "c.yaml"
    for command in ("status", "report", "compare", "reproduce"):
        for text in ("res", "[1, 2]"):
            file.write_text(f"results: {text}")
            one_line(run(command, "--config", file), f"{file}: results {text}: expected a list of texts")
    file.write_text("model: [MLP]")
    one_line(run("evaluate", "--config", file), f"{file}: model ['MLP']: expected a text")


@pytest.fixture
def evaluate(run, drawn, my_set, cache, tmp_path):
    """Run `evaluate` on a good set; what is given replaces or adds flags."""

    def call(**changes):
        flags = {
            "data_path": drawn,
            "category": "bird",
            "subset": "easy",
            "data_dir": my_set,
            "output_dir": tmp_path / "out",
        }
        flags = {**flags, **changes}
        return run("evaluate", *FAST, *[part for name, value in flags.items() for part in (f"--{name}", value)])

    return call


def test_the_good_set_passes(evaluate):
    assert evaluate()[0] == 0


def damage(content):
    def change(folder):
        torch.save(content, folder / "images.pt")

    return change


IMAGES = torch.randn(10, 3, 32, 32)


def swap(folder):
    (folder / "images.pt").rename(folder / "x")
    (folder / "labels.pt").rename(folder / "images.pt")
    (folder / "x").rename(folder / "labels.pt")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (swap, ["swapped"]),
        (damage(IMAGES * float("nan")), ["NaN"]),
        (damage(IMAGES[:0]), ["images", "empty"]),
        (damage(torch.randn(10, 3, 64, 64)), ["64 pixels", "--res 64"]),
        (damage({"a": 1}), ["holds a dict"]),
        (damage(RunsCode("/tmp/compdd_eval_test_ran_code")), ["could run code"]),
        (lambda folder: torch.save(torch.rand(10, 9), folder / "labels.pt"), ["9 columns"]),
        (lambda folder: torch.save(torch.arange(10) + 1, folder / "labels.pt"), ["0-9"]),
        (lambda folder: torch.save(torch.tensor(-0.01), folder / "lr.pt"), ["learned rate is -0.0"]),
        (lambda folder: torch.save(torch.tensor(float("nan")), folder / "lr.pt"), ["learned rate is nan"]),
        (lambda folder: (folder / "images.pt").write_bytes(b"no tensors"), ["images.pt"]),
        (lambda folder: (folder / "labels.pt").unlink(), ["no labels.pt", "--label_dir"]),
        (shutil.rmtree, ["no such file or folder", "expected a folder, a file, or USER/NAME"]),
    ],
)
def test_wrong_distilled_sets(evaluate, my_set, tmp_path, change, parts):
    change(my_set)
    one_line(evaluate(), *parts)
    assert not (tmp_path / "out").exists()
    assert not os.path.exists("/tmp/compdd_eval_test_ran_code")


def test_a_set_in_the_place_of_a_command(run, my_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = "python -m compdd_eval evaluate --distilled my_set --category bird --subset easy"
    one_line(run("my_set", "--category", "bird", "--subset", "easy"), "my_set: is no command", expected)
    (tmp_path / "evalute").mkdir()
    one_line(run("evalute", "--res", 32), "evaluate --distilled evalute --res 32")


def test_other_words_are_those_of_settings():
    """Each setting is of some command, and for each other word there is one that lacks it."""
    from compdd_eval.utils.errors import _OTHER_WORDS

    configs = [import_module(f"compdd_eval.config.{command}").CONFIG for command in COMMANDS]
    settings = [{field.name for field in fields(config)} for config in configs]
    for name, words in _OTHER_WORDS.items():
        having = [names for names in settings if name in names]
        assert having, name
        for word in words.split():
            assert any(word not in names for names in having), (name, word)


@pytest.mark.parametrize("command", COMMANDS)
def test_settings_refuse_what_is_none_of_their_choices(command):
    """Also where they are made in Python, which no parser checks."""
    kind = import_module(f"compdd_eval.config.{command}").CONFIG
    needed = {"benchmark": {"sets": "{config}-{ipc}", "output_dir": "x"}, "distill": {"method": "dm"}}.get(command, {})
    for name, hint in hints_of(kind).items():
        if choices_of(hint):
            for value in ("typo", False):
                with pytest.raises(InputError, match=f"--{name} .*{value}"):
                    kind(**needed | {name: value})


def test_wrong_imagenet(evaluate, drawn, tmp_path):
    one_line(evaluate(data_path=tmp_path / "nowhere"), tmp_path / "nowhere", "no such folder")
    one_line(evaluate(data_path=drawn / "train"), "give the folder above it")
    one_line(evaluate(category="dog"), "class folder is missing", load_subset("dog-easy").wnids[0])
    copy = tmp_path / "imagenet"
    shutil.copytree(drawn, copy)
    folder = copy / "val" / load_subset("bird-easy").wnids[3]
    image = sorted(folder.iterdir())[1]
    image.write_text("a text file")
    one_line(evaluate(data_path=copy), image, "cannot be decoded")
    shutil.copy(sorted(folder.iterdir())[0], image)
    image.write_bytes(image.read_bytes()[:800])
    one_line(evaluate(data_path=copy), image, "truncated")
    for path in folder.iterdir():
        path.unlink()
    one_line(evaluate(data_path=copy), folder, "empty")


def test_prepared_and_nothing_mean_the_same_everywhere(run, drawn, my_set, cache, monkeypatch, tmp_path):
    """`prepared` whatever the environment says; nothing: ImageNet of the environment, else what is prepared."""
    one, small = ["--category", "bird", "--subset", "easy"], ["--model", "ConvNetD1", "--threads", 1]
    commands = {
        "evaluate": ["--distilled", my_set, *one, *FAST],
        "distill": ["random", *one, "--res", 32],
        "experts": [*one, *small, "--num_experts", 1, "--epochs", 2, "--res", 8, "--compile", "never"],
        "export": one,
    }

    def outcomes(*path):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        return {name: run(name, *rest, "--output_dir", out / name, *path) for name, rest in commands.items()}

    for result in outcomes("--data_path", "prepared").values():
        one_line(result, "bird-easy", "not prepared")
    assert run("prepare", "--data_path", drawn, *one)[0] == 0
    for result in outcomes().values():
        assert result[0] == 0, result
    monkeypatch.setenv("COMP_DD_IMAGENET", str(tmp_path / "nowhere"))
    for path in ([], ["--data_path", "prepared"]):
        for result in outcomes(*path).values():
            one_line(result, "nowhere: no such folder (from COMP_DD_IMAGENET)") if not path else None
            assert not path or result[0] == 0, result
    (record,) = sorted(tmp_path.rglob("seed0.json"))[:1]
    one_line(run("reproduce", record), "nowhere: no such folder")
    assert run("reproduce", record, "--data_path", "prepared")[0] == 0
    for command in (["prepare"], ["info"]):
        one_line(run(*command, "--data_path", "prepared"), "data_path prepared: stands for what `prepare` made")


def test_output_folder_that_cannot_be_written(evaluate, tmp_path):
    (tmp_path / "file").write_text("")
    one_line(evaluate(output_dir=tmp_path / "file" / "out"), tmp_path / "file" / "out", "cannot write there")
    one_line(evaluate(output_dir=tmp_path / "file"), tmp_path / "file", "is a file")


def test_cache_that_cannot_be_written(run, drawn, tmp_path):
    (tmp_path / "file").write_text("")
    one_line(
        run("prepare", "--data_path", drawn, "--category", "bird", "--cache_dir", tmp_path / "file"), tmp_path / "file"
    )


def test_bad_classes_of_images_in_prepare(run, drawn, cache, tmp_path):
    copy = tmp_path / "imagenet"
    shutil.copytree(drawn, copy)
    folder = copy / "train" / load_subset("bird-easy").wnids[3]
    image = sorted(folder.iterdir())[1]
    arguments = ["prepare", "--data_path", copy, "--category", "bird", "--subset", "easy"]
    good = image.read_bytes()
    for content, part in [(b"text", "not an image"), (b"", "empty"), (good[:900], "cut off")]:
        image.write_bytes(content)
        one_line(run(*arguments), image, part)
    shutil.rmtree(folder)
    one_line(run(*arguments), folder, "missing")
    folder.mkdir()
    one_line(run(*arguments), folder, "empty")
    one_line(run("prepare", "--data_path", copy, "--category", "dog"), "none of 2 subsets")


def test_another_set_into_the_same_folder_is_refused(evaluate, my_set, tmp_path):
    assert evaluate()[0] == 0
    before = (tmp_path / "out/summary.json").read_bytes()
    one_line(evaluate(subset="hard"), tmp_path / "out", "bird-easy", "bird-hard", "another --output_dir")
    torch.save(IMAGES, my_set / "images.pt")
    one_line(evaluate(), tmp_path / "out", "another --output_dir")
    assert (tmp_path / "out/summary.json").read_bytes() == before


def test_internal_errors_keep_their_traceback(run, monkeypatch):
    monkeypatch.setattr("compdd_eval.commands.prepare.run", lambda config: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("prepare")


def test_interruption(run, monkeypatch):
    def interrupt(config):
        raise KeyboardInterrupt

    monkeypatch.setattr("compdd_eval.commands.prepare.run", interrupt)
    status, _, errors = run("prepare")
    assert status == 130 and "run the same command to go on" in errors[0]


def test_module_and_plain_import_are_cheap(tmp_path):
    """Listing the commands, help and a wrong flag load neither torch nor datasets."""
    code = "import sys, compdd_eval.__main__ as m; status = m.main(sys.argv[1:])\n"
    code += "assert not {'torch', 'datasets', 'matplotlib', 'rich'} & set(sys.modules); sys.exit(status)"
    assert python("-c", code, cwd=tmp_path).returncode == 0
    done = python("-c", code, "--category", "brid", "--subset", "easy", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "did you mean 'bird'" in done.stderr


def test_public_names():
    import compdd_eval

    for name in compdd_eval.__all__:
        assert getattr(compdd_eval, name) is not None
    assert callable(compdd_eval.evaluate)
    import compdd_eval.evaluation

    assert compdd_eval.evaluate is compdd_eval.evaluation.evaluate.evaluate
    with pytest.raises(AttributeError):
        compdd_eval.bogus  # noqa: B018


def test_exit_status_of_a_real_process(tmp_path):
    done = python("-m", "compdd_eval", "--category", "brid", "--subset", "easy", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1


ENDS_OF_A_PROCESS = """
import sys, threading
from pathlib import Path

from compdd_eval import __main__, commands
from compdd_eval.commands import methods
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import torch

group = torch.distributed


def end(outcome):
    def run(config):
        group.init_process_group("gloo", store=group.HashStore(), rank=0, world_size=1)
        import torch.distributed.nn.functional  # as torch does by itself where something is compiled
        if outcome:
            raise outcome
    return run


sys.argv[1:] = ["methods"]
for outcome in (None, InputError("bad"), KeyboardInterrupt(), ValueError("unexpected")):
    methods.run = end(outcome)
    try:
        __main__.script()
    except (SystemExit, ValueError) as error:
        print(repr(error))
    print("gloo" in "".join(task.joinpath("comm").read_text() for task in Path("/proc/self/task").iterdir()))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="the threads of C++ are in /proc")
def test_no_thread_of_the_process_group_outlives_a_command(tmp_path):
    """One that does can abort a process that has done its work, while the interpreter is taken down."""
    done = python("-c", ENDS_OF_A_PROCESS, cwd=tmp_path)
    ends = ["SystemExit(0)", "SystemExit(2)", "SystemExit(130)", "ValueError('unexpected')"]
    assert done.stdout.split("\n")[:-1] == [line for end in ends for line in (end, "False")], done.stderr


LAST_COLLECTIVES = """
import faulthandler, sys
import torch
import torch.distributed as group
from compdd_eval.__main__ import _leave_process_group

faulthandler.dump_traceback_later(60, exit=True)  # a process that waits for its own threads ends here
sys.setswitchinterval(1000)  # the process keeps Python's lock
for _ in range(10):
    group.init_process_group("gloo", store=group.HashStore(), rank=0, world_size=1)
    group.broadcast(torch.ones(1), 0, async_op=True)
    _leave_process_group(failed=False)
"""


def test_a_process_does_not_wait_for_its_own_threads(tmp_path):
    """A collective's thread gives its tensor back while the group is left: with torch 2.6 that never ended."""
    done = python("-c", LAST_COLLECTIVES, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [["accelerate.commands.launch", "-m"], ["torch.distributed.run", "--nproc_per_node", 2, "-m"]]
)
def test_under_a_launcher_our_line_is_the_first(tmp_path, launcher):
    command = [sys.executable, "-m", *map(str, launcher), "compdd_eval", "--category", "bird", "--subset", "easy"]
    command += ["--data_path", str(ROOT), "--data_dir", str(tmp_path / "nowhere")]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(ACCELERATE_USE_CPU="true", OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if "compdd_eval: error: " in line]
    assert len(errors) == 1 and "no such file or folder" in errors[0]
    before = done.stderr[: done.stderr.index(errors[0])]
    assert "Traceback" not in before and "Error" not in before


def test_a_value_that_is_called_like_a_flag(run):
    assert printed(run, "evaluate", "--output_dir", "published", "--data_dir", "dsa")["output_dir"] == "published"


def test_home_is_expanded(monkeypatch):
    from compdd_eval.config.prepare import PrepareConfig

    monkeypatch.setenv("HOME", "/home/me")
    assert PrepareConfig(cache_dir="~/c").cache_dir == "/home/me/c"
    assert EvaluateConfig(category="bird", subset="easy", output_dir="~/r").output_dir == "/home/me/r"


def test_an_error_of_the_system_is_one_line(run, monkeypatch):
    def full(config):
        raise OSError(28, "No space left on device", "/some/file")

    monkeypatch.setattr("compdd_eval.commands.prepare.run", full)
    one_line(run("prepare"), "/some/file", "No space left on device")


def test_output_that_nobody_reads(tmp_path):
    command = f"{sys.executable} -m compdd_eval --help | head -0"
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert "Traceback" not in done.stderr
