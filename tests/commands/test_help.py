"""What `--help` and `--print_config` show."""

import re
from dataclasses import fields
from importlib import import_module

import pytest
import yaml

from compdd_eval.commands import COMMANDS, GROUPS
from compdd_eval.config.distill import MatchingConfig
from compdd_eval.methods.registry import list_methods
from tests.conftest import ROOT, python


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def shown(run, *arguments):
    status, text, errors = run(*arguments)
    assert (status, errors) == (0, []) and all(len(line) <= 100 for line in text.splitlines())
    return text


def flags(text):
    return re.findall(r"^  --(\w+)", text, re.MULTILINE)


def settings_of(command):
    """The names of all settings, those that need no flag, and those that are common."""
    module = import_module(f"compdd_eval.config.{command}")
    positional = {name.removesuffix("...") for name in getattr(module, "POSITIONAL", ())}
    common = [name for names in getattr(module, "COMMON", {}).values() for name in names]
    return {field.name for field in fields(module.CONFIG)}, positional, common


def test_the_commands_in_groups(run):
    text = shown(run)
    assert [line for line in text.splitlines() if re.fullmatch(r"\w.*:", line)] == [f"{head}:" for head in GROUPS]
    assert re.findall(r"^  (\w+) ", text, re.MULTILINE) == [*COMMANDS], "a line each"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_once(run, command):
    names, positional, common = settings_of(command)
    short, everything = shown(run, command, "--help"), shown(run, command, "--help", "all")
    for text in (short, everything):
        assert "type:" not in text and "null" not in text and "None" not in text
        assert len(flags(text)) == len(set(flags(text)))
        assert all(re.search(rf"^  {name.upper()}\b", text, re.MULTILINE) for name in positional)
    assert set(flags(everything)) == names - positional | {"config", "print_config"}
    assert len(common) == len(set(common)) and set(common) <= names - positional
    assert set(flags(short)) == {*(common or names - positional), "config", "print_config"}
    assert ("--help all" in short) == bool(common)
    assert shown(run, command, "-h") == short and shown(run, command, "--help=all") == everything
    assert len(names) < 18 or common, "who has many flags says which are common"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("asking", [["--help", "al"], ["-h", "al"], ["--help=al"]])
def test_what_help_takes(run, command, asking):
    status, out, (error,) = run(command, *asking)
    assert (status, out) == (2, "") and "--help al: expected all" in error
    assert ("or a method" in error) == (command == "distill")


def test_help_takes_one_method(run):
    assert shown(run, "distill", "--help", "dm", "--ipc", "10") == shown(run, "distill", "dm", "--ipc", "10", "--help")
    for arguments in (["distill", "dm", "--help", "al"], ["--category", "bird", "--help", "al"]):
        status, out, (error,) = run(*arguments)
        assert (status, out) == (2, "") and "--help al: expected all" in error


def test_common_flags_of_evaluate_take_two_lines(run):
    text = shown(run, "evaluate", "--help")
    assert all(block.count("\n") <= 1 for block in re.findall(r"^  --\w+ .*(?:\n {24}.*)*", text, re.MULTILINE)[:-1])
    assert 12 <= len(flags(text)) <= 22


def test_choices_and_defaults(run):
    text = " ".join(shown(run, "evaluate", "--help", "all").split())
    assert "[one of auto, imagefolder, cls-loc, archives, parquet, webdataset; default: auto]" in text
    assert "Weight decay. [default: 0.0005]" in text
    assert "Distilled images in a batch. [default: 128]" in text
    text = " ".join(shown(run, "evaluate", "--protocol", "rded", "--help", "all").split())
    assert "Distilled images in a batch. [default: 50]" in text
    assert shown(run, "complexity", "--classes", "all", "--help") == shown(run, "complexity", "--help")
    assert shown(run, "evaluate", "--bogus", "--help") == shown(run, "evaluate", "--help")


@pytest.mark.parametrize("method", [method for method in list_methods() if "pixel" not in method.name])
def test_a_method_has_its_settings_alone(run, method):
    matching = {field.name for field in fields(MatchingConfig)}
    for rest in ([], ["all"]):
        text = shown(run, "distill", method.name, "--help", *rest)
        assert matching & set(flags(text)) == set(method.settings("published", 1))
        assert ("eval_every" in flags(text)) != method.selects and "category" in flags(text)
        assert ("options" in flags(text)) == bool(method.options)


def test_defaults_of_a_method(run):
    text = shown(run, "distill", "dm", "--help")
    assert {"lr_img", "steps", "ipc"} <= set(flags(text)) and "lr_lr" not in flags(text)
    assert "[default: 20000]" in text
    text = shown(run, "distill", "dm", "--preset", "smoke", "--ipc", "10", "--help")
    assert "(preset smoke, IPC 10)" in text and "[default: 200]" in text and "[default: 10]" in text
    status, _, (error,) = run("distill", "dmm", "--help")
    assert status == 2 and "did you mean 'dm'" in error
    text = shown(run, "distill", "pixel-means", "--plugin", ROOT / "tests/support/own_method.py", "--help")
    assert "Settings of pixel-means" in text


def test_help_imports_no_torch(tmp_path):
    code = "import sys, compdd_eval.__main__ as m\nfor command in m.COMMANDS: m.main([command, '--help', 'all'])\n"
    code += "assert not {'torch', 'datasets', 'matplotlib', 'rich', 'jsonargparse'} & set(sys.modules)"
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["evaluate", "--help"], ["distill", "--print_config"], []])
def test_one_process_prints(run, monkeypatch, arguments):
    monkeypatch.setenv("RANK", "1")
    assert run(*arguments)[:2] == (0, "")


EVALUATE = ["evaluate", "--category", "birds", "--subset", "easy"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([*EVALUATE, "--num_eval", 5, "--lr_net", 0.01], {"category": "birds", "subset": "easy"}),
        (
            [*EVALUATE, "--protocol", "mtt", "--crop_pad", 0.25, "--batch_train", 256],
            {"protocol": "mtt", "crop_pad": 0.25},
        ),
        ([*EVALUATE, "--protocol", "dc-bench", "--dsa", "--epoch_eval_train", 300], {"epoch_eval_train": 300}),
        ([*EVALUATE, "--scores", "lrs", "--json"], {"scores": "lrs", "json": True}),
        (["evaluate", "--classes", "nette", "--output_dir", "~/x"], {"classes": "nette", "output_dir": "~/x"}),
        (["distill", "dm", *EVALUATE[1:], "--ipc", 10], {"method": "dm", "ipc": 10}),
        (["distill", "rded", "--all", "--ipc", "1,10", "--teacher", "t/{config}"], {"all": True, "ipc": "1,10"}),
        (
            ["distill", "rded", "--all", "--teacher", "torchvision:resnet18=w.pt"],
            {"teacher": "torchvision:resnet18=w.pt"},
        ),
        (["benchmark", "--sets", "x/{config}-{ipc}", "--teacher", "t/{config}"], {"teacher": "t/{config}"}),
        (["report", "a", "b", "--title", "T"], {"results": ["a", "b"], "title": "T"}),
        (["demo"], {}),
        (["distill", "--ipc", 1, "--steps", 3], {"steps": 3}),  # what is needed may be missing
    ],
)
def test_what_differs_from_the_defaults(run, tmp_path, arguments, expected):
    status, text, _ = run(*arguments, "--print_config=skip_default")
    settings = yaml.safe_load(text)
    assert status == 0 and settings.items() >= expected.items() and "num_eval" not in settings
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    everything = run(*arguments, "--print_config")[1]
    assert run(arguments[0], "--config", file, "--print_config")[1] == everything
    file.write_text(everything)
    shorter = yaml.safe_load(run(arguments[0], "--config", file, "--print_config=skip_default")[1])
    assert len(shorter) <= len(settings) + 1, "what all settings say is shortened again"


def test_what_print_config_takes(run):
    status, out, (error,) = run("evaluate", "--print_config=skip_unset")
    assert (status, out) == (2, "") and "'skip_unset'" in error and "skip_default" in error


def test_help_before_its_command(run):
    assert run("--help", "experts") == run("experts", "--help")
    status, out, errors = run("--help", "expert")
    assert (status, out) == (2, "") and errors == [
        "compdd_eval: error: unknown command 'expert'; did you mean 'experts'?"
    ]
