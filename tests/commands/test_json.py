"""Tables at a terminal, plain text elsewhere, and `--json` of every command that prints a table."""

import ast
import functools
import json
import os
import pty
import select
import time
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from compdd_eval.commands import COMMANDS
from compdd_eval.commands.bench.data import Figure
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.data.drawn_imagenet import draw_imagenet
from compdd_eval.evaluation.evaluate import evaluate
from compdd_eval.evaluation.plan import expected_students
from compdd_eval.utils import console
from tests.conftest import FAST, python, students
from tests.support.forked import Forked, forked, launched

BIRDS = ["--category", "bird", "--subset", "easy"]
QUICK = [part for name, value in FAST.items() for part in (f"--{name}", value)]
SCORED = ["--model", "efficientnet-lite0", "--method", "gradcam", "--images_per_class", 1, "--image_size", 64, *BIRDS]


# Which commands print tables: functions are followed from `run` of each, by the names that they use.


@functools.cache
def source_of(module: str) -> ast.Module:
    return ast.parse(Path(import_module(module).__file__).read_text(encoding="utf-8"))


@functools.cache
def imported(tree: ast.AST) -> dict[str, tuple[str, str]]:
    """Local name -> module of ours and the name there."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("compdd_eval"):
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return found


def followed(module: str, name: str, seen: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Collect the functions and classes of ours that one uses, directly or through others; too many, if anything."""
    if (module, name) in seen:
        return seen
    seen.add((module, name))
    tree = source_of(module)
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    if name not in defined:
        if name in (names := imported(tree)):  # handed on, as `__init__` does
            followed(*names[name], seen)
        return seen
    names = imported(tree) | imported(defined[name])
    for node in ast.walk(defined[name]):
        if isinstance(node, ast.Name) and node.id in names:
            followed(*names[node.id], seen)
        elif isinstance(node, ast.Name) and node.id in defined:
            followed(module, node.id, seen)
    return seen


def prints_tables(command: str) -> bool:
    used = followed(f"compdd_eval.commands.{command}", "run", set())
    for what in ("train", "scaling", "complexity", "data") if command == "bench" else ():  # files found by their names
        used |= followed(f"compdd_eval.commands.bench.{what}", "print_rows", set())
    return ("compdd_eval.utils.console", "print_table") in used


def has_json(command: str) -> bool:
    config = import_module(f"compdd_eval.config.{command}").CONFIG
    return "json" in {field.name for field in fields(config)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_prints_a_table_has_json(command):
    assert has_json(command) or not prints_tables(command)


def test_the_check_sees_tables():
    known = {"evaluate", "status", "reproduce", "prepare", "info", "export", "validate", "convert", "complexity"}
    assert all(map(prints_tables, known | {"select", "bench", "demo"}))
    assert not prints_tables("figure") and not prints_tables("pull")


# What each of them prints.


@pytest.fixture
def printed(run, monkeypatch):
    """Run a command with --json: returns the one document on stdout, where no table is made at all."""

    def no_table(*arguments):
        raise AssertionError("a table was made in spite of --json")

    def call(*arguments, status=0):
        with monkeypatch.context() as patch:
            patch.setattr(console, "_print_text", no_table)
            found, out, errors = run(*arguments, "--json")
        assert found == status, errors
        return json.loads(out, parse_constant=pytest.fail)

    return call


@pytest.fixture
def flags(drawn, my_set, tmp_path, cache):
    """What `evaluate` needs beside its settings."""
    return ["--data_path", drawn, *BIRDS, "--output_dir", tmp_path / "out", *QUICK, "--num_eval", 2]


def test_evaluate_and_status(printed, flags, my_set, tmp_path, run):
    plan = printed("evaluate", "--distilled", my_set, *flags, "--dry_run")
    assert plan["students"] == 2 and plan["models"] == ["ConvNetD1"] and plan["summary"] is None
    assert not (tmp_path / "out").exists()
    found = printed("evaluate", "--distilled", my_set, *flags)
    kept = json.loads((tmp_path / "out/summary.json").read_text())
    assert found == {"summary": str(tmp_path / "out/summary.json"), **kept}
    assert 0 <= found["results"][0]["accuracy_mean"] <= 1
    stamps = {path: path.stat().st_mtime_ns for path in students(tmp_path / "out")}
    assert len(stamps) == 2 and all(json.loads(path.read_text())["config"]["json"] is False for path in stamps)
    assert run("evaluate", "--distilled", my_set, *flags)[0] == 0
    again = {path: path.stat().st_mtime_ns for path in students(tmp_path / "out")}
    assert again == stamps, "they are found without --json"
    assert [state["state"] for state in printed("status", tmp_path / "out")] == ["done"]


def test_a_grid(printed, drawn, my_set, cache, tmp_path):
    content = {"data_path": str(drawn), "category": "bird", "subset": "easy", **FAST, "num_eval": 1}
    content |= {"distilled": [str(tmp_path / "absent"), str(my_set)]}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content))
    arguments = ["--grid", tmp_path / "grid.yaml", "--output_dir", tmp_path / "grid"]
    plan = printed(*arguments, "--dry_run")
    assert plan["index"] is None and [cell["students"] for cell in plan["cells"]] == [1, 1]
    found = printed(*arguments, status=2)
    assert [cell["state"] for cell in found["cells"]] == ["failed", "done"]
    kept = json.loads((tmp_path / "grid/index.json").read_text())
    assert found == {"index": str(tmp_path / "grid/index.json"), **kept}
    (accuracy,) = found["cells"][1]["accuracies"].values()
    assert 0 <= accuracy["accuracy_mean"] <= 1 and accuracy["accuracy_std"] is None and accuracy["students"] == 1
    assert "json" not in found["cells"][1]["settings"]


def test_json_is_no_setting_of_a_cell(run, drawn, my_set, cache, tmp_path):
    content = {"data_path": str(drawn), "category": "bird", "subset": "easy", "json": [True, False]}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content))
    status, out, errors = run("--grid", tmp_path / "grid.yaml", "--output_dir", tmp_path / "grid", "--json")
    assert (status, out) == (2, "") and len(errors) == 1 and "give --json on the command line" in errors[0]


def test_reproduce(printed, settings, tmp_path):
    evaluate(settings(num_eval=1, json=True), quiet=True)
    found = printed("reproduce", tmp_path / "results/summary.json")
    (student,) = found["students"]
    assert found["equal"] and student["verdict"] == "equal" and student["differing"] == 0
    assert student["now"] == student["recorded"] and 0 <= student["now"]["accuracy"] <= 1
    path = students(tmp_path / "results")[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"losses": [1.0] * 3, "predictions": "0" * 50}))
    found = printed("reproduce", path, status=1)
    assert not found["equal"] and found["students"][0]["recorded"]["last_loss"] == 1.0


def test_prepare_and_export(printed, drawn, cache, tmp_path, run):
    found = printed("prepare", "--data_path", drawn, *BIRDS)
    (subset,) = found["subsets"]
    assert (subset["config"], subset["train"], subset["validation"], subset["state"]) == ("bird-easy", 120, 50, "built")
    assert Path(subset["folder"]).is_dir() and subset["expected"] == {"train": 13000, "validation": 500}
    assert found["partial"][0]["found"] == 12 and found["absent"] == {} and found["failed"] == {}
    status, out, errors = run("prepare", "--data_path", drawn, *BIRDS, "--strict", "--json")
    assert (status, out) == (2, "") and len(errors) == 1
    found = printed("export", *BIRDS, "--output_dir", tmp_path / "export")
    (subset,) = found["subsets"]
    assert (subset["config"], subset["train"], subset["state"]) == ("bird-easy", 120, "written")
    assert found["folder"] == str(tmp_path / "export") and found["prepared"] is None
    found = printed("export", "--data_path", drawn, "--category", "bird", "--output_dir", tmp_path / "export")
    assert [subset["state"] for subset in found["prepared"]["subsets"]] == ["current", "built"]


def test_prepare_says_what_failed(printed, drawn, cache, tmp_path):
    broken = tmp_path / "imagenet"
    for split in ("train", "val"):
        (broken / split).mkdir(parents=True)
        for folder in (drawn / split).iterdir():
            (broken / split / folder.name).symlink_to(folder)
    wnid = next((broken / "val").iterdir()).name
    (broken / "val" / wnid).unlink()
    (broken / "val" / wnid).mkdir()
    found = printed("prepare", "--data_path", broken, "--category", "bird", status=2)
    assert len(found["subsets"]) == 1 and wnid in next(iter(found["failed"].values()))


def test_sets(printed, my_set, tmp_path):
    found = printed("convert", my_set, tmp_path / "a.npz", *BIRDS)
    assert found["target"] == str(tmp_path / "a.npz") and found["format"] == "npz" and found["lost"] == []
    assert found["config_name"] == "bird-easy" and (found["images"], found["resolution"]) == (10, 32)
    assert printed("validate", tmp_path / "a.npz", *BIRDS)["passed"] is True
    assert printed("validate", tmp_path / "a.npz", *BIRDS, "--res", 64, status=2)["passed"] is False
    assert printed("convert", my_set, tmp_path / "pictures", "--format", "png", *BIRDS)["lost"]


def test_complexity_and_select(printed, drawn, my_set, tmp_path):
    found = printed("complexity", "--data_path", drawn, "--output_dir", tmp_path / "scores", *SCORED)
    assert len(found["classes"]) == 10 and all(0 <= row["mean"] <= 1 for row in found["classes"])
    assert found["scores"]["images"] == 10 and all(map(os.path.isfile, found["files"])) and found["subsets"] == []
    assert "json" not in found["scores"]
    found = printed("complexity", "--distilled", my_set, "--output_dir", tmp_path / "mine", *SCORED)
    assert len(found["classes"]) == 10 and os.path.isfile(found["file"])
    assert printed("select", tmp_path / "scores", "--check")["subsets"]


def test_subsets_of_complexity_are_fractions():
    from compdd_eval.commands.complexity import _subsets
    from compdd_eval.data.subsets import load_subset

    means = dict.fromkeys([*load_subset("bird-easy").class_map, *load_subset("bird-hard").class_map], 0.25)
    (row,) = _subsets(means)
    assert row["category"] == "bird" and row["easy"] == row["hard"] == 0.25
    assert row["published_hard"] == load_subset("bird-hard").published_complexity_percent / 100


def test_info(printed, drawn):
    assert len(printed("info")["subsets"]) == 16
    assert printed("info", "bird-easy", "--data_path", drawn)["subsets"][0]["found"]["status"] == "partial"


@pytest.mark.parametrize("what", ["data", "train", "scaling", "complexity"])
def test_bench(printed, what, monkeypatch):
    if what != "complexity":  # the others take long, and have tests of their own
        found = [Figure("copying", 0.5, "0.50 x", "at least 0.8 x", False)] if what == "data" else []
        found = {"rows": [], "grid": None} if what == "scaling" else found
        monkeypatch.setattr(f"compdd_eval.commands.bench.{what}.bench_{what}", lambda config: found)
    rows = printed("bench", what, "--images", 1, "--side", 32, "--repeats", 1, "--threads", 1)["rows"]
    if what == "data":
        assert rows == [
            {"name": "copying", "number": 0.5, "value": "0.50 x", "target": "at least 0.8 x", "reached": False}
        ]
    assert len(rows) == {"data": 1, "complexity": 4}.get(what, 0)


def test_demo(printed, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    few = functools.partial(draw_imagenet, train_images=2, validation_images=5)
    monkeypatch.setattr("compdd_eval.commands.demo.draw_imagenet", few)
    monkeypatch.setattr("compdd_eval.commands.demo.IPCS", (1,))
    monkeypatch.setattr("compdd_eval.commands.demo.DIFFICULTIES", ("easy",))
    flags = ["--output_dir", tmp_path / "demo", "--steps", 1, "--num_eval", 1, "--epoch_eval_train", 1, "--threads", 1]
    found = printed("demo", *flags)
    assert [summary["config_name"] for summary in found["summaries"]] == ["round-easy"]
    assert "not ImageNet" in found["note"] and "chart" not in found and os.path.isfile(found["report"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", *BIRDS, "--num_eval", 0],
        ["prepare", "--data_path", "/no/such/folder"],
        ["convert", "/no/such/folder", "target"],
        ["complexity", "--data_path", "/no/such/folder"],
        ["reproduce", "/no/such/file"],
        ["export", "--category", "cat"],
        ["demo", "--num_eval", 0],
    ],
)
def test_bad_input_is_one_line_on_stderr(run, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    status, out, errors = run(*arguments, "--json")
    assert (status, out) == (2, "") and len(errors) == 1 and errors[0].startswith("compdd_eval: error: ")


def test_what_libraries_print_goes_to_stderr(capsys):
    with console.stdout_to_stderr(True):
        print("from a library")
    with console.stdout_to_stderr(False):
        console.print_json({"mean": 0.5})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"mean": 0.5} and captured.err == "from a library\n"
    with pytest.raises(ValueError):
        console.print_json({"mean": float("nan")})


@pytest.mark.slow
def test_several_processes_print_one_document(drawn, my_set, tmp_path):
    command = ["evaluate", "--data_path", drawn, "--distilled", my_set, *BIRDS, *QUICK, "--json"]
    for arguments in (command, ["reproduce", "results/summary.json", "--json"]):
        done = launched(2, "-m", "compdd_eval", *arguments, cwd=tmp_path, HF_DATASETS_CACHE=str(tmp_path / "cache"))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)


def test_json_decides_nothing():
    """Neither what is trained nor the digests."""
    plain, asked = (EvaluateConfig(category="bird", subset="easy", json=json) for json in (False, True))
    assert plain.settings() == asked.settings() and plain.changes() == asked.changes()
    assert expected_students(plain) == expected_students(asked)


# Tables themselves.

ROW = '["a:car:", "1.0 ± 0.1", "x" * 150]'
TABLE = f'print_table("Accuracy [bold] in %", ["student", "mean ± std>", ""], [{ROW}])'
CODE = f"from compdd_eval.utils.console import print_table; {TABLE}"


def at_a_terminal(cwd, **changes):
    """Run the code with a pseudo-terminal as its stdout, and return what it writes there."""
    main, end = pty.openpty()
    terminal = f"import os; [os.dup2(os.open({os.ttyname(end)!r}, os.O_RDWR), number) for number in (0, 1)]; "
    size = {"TERM": "xterm-256color", "COLUMNS": "60", "LINES": "24", "NO_COLOR": None, "FORCE_COLOR": None}
    process = Forked("-c", terminal + CODE, cwd=cwd, **size | changes)
    text, deadline = b"", time.monotonic() + 60
    while process.poll() is None or select.select([main], [], [], 0)[0]:
        assert time.monotonic() < deadline
        if select.select([main], [], [], 0.05)[0]:
            text += os.read(main, 65536)
    assert process.wait() == 0, process.printed()
    os.close(main)
    os.close(end)
    return text.decode()


def test_at_a_terminal(tmp_path):
    text = at_a_terminal(tmp_path)
    assert "─" in text and "\x1b[1m" in text and "Accuracy [bold] in %" in text and "a:car:" in text
    assert "x" * 61 not in text and text.count("x") == 150, "folded"
    text = at_a_terminal(tmp_path, TERM="dumb")
    assert "\x1b" not in text and "1.0 ± 0.1" in text
    coloured = [f"\x1b[{code}" for code in (*range(30, 50), *range(90, 108))]
    assert not any(code in at_a_terminal(tmp_path, NO_COLOR="1") for code in coloured)


@pytest.mark.parametrize("changes", [{}, {"COLUMNS": "60"}, {"FORCE_COLOR": "1"}, {"PYTHONIOENCODING": "ascii"}])
def test_at_a_pipe(tmp_path, changes):
    start = python if "PYTHONIOENCODING" in changes else forked  # Python reads it when it starts
    text = start("-c", CODE, cwd=tmp_path, **changes).stdout
    sign, more = ("+-", "-") if "PYTHONIOENCODING" in changes else ("±", "")
    assert text.splitlines() == [
        "Accuracy [bold] in %",
        f"student  mean {sign} std",
        f"-------  ----------{more}  " + "-" * (99 - len(more)),
        f"a:car:    1.0 {sign} 0.1  " + "x" * 150,
        "",
    ]


def test_plain_text(capsys):
    console.print_table("Facts", ["", ""], [("name", "a\nb\x1b[31m"), ("longer name", "c")])
    assert capsys.readouterr().out == "Facts\nname         a b [31m\nlonger name  c\n\n"
    console.print_table("Nothing", ["class", "images>"], [])
    assert capsys.readouterr().out == "Nothing\nclass  images\n-----  ------\n\n"
    console.print_table("Wide", ["name", "n>"], [("金魚", 1), ("tench", 22)])
    assert capsys.readouterr().out.splitlines()[3:5] == ["金魚    1", "tench  22"]
