"""`benchmark`: all subsets in one pool, and the table of a paper, whose numbers are computed here once more."""

import json
import re
import shutil
import signal
import statistics
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from compdd_eval.data.drawn_imagenet import draw_imagenet
from compdd_eval.data.splits import load_comp_dd
from compdd_eval.data.subsets import subset_names
from compdd_eval.distilled.random_images import random_images
from compdd_eval.reports.benchmark import benchmark_tables
from compdd_eval.reports.paired import BETTER, UNCLEAR, Pairing
from compdd_eval.reports.report.panels import ShownBlock, ShownPanel, ShownRow
from compdd_eval.reports.report.verdicts import verdicts_of
from compdd_eval.reports.summaries import Entry, Group
from compdd_eval.utils.errors import InputError
from tests.conftest import students
from tests.support.forked import launched, ranks

QUICK = ("--model", "MLP", "--epoch_eval_train", 2, "--threads", 1, "--compile", "never")
SETS = "sets/{config}-ipc{ipc}"


def save_sets(root, imagenet, names, ipcs, side=8):
    """Save a set of random images for each subset and IPC."""
    for name in names:
        train = load_comp_dd(imagenet, name, im_size=(side, side)).dst_train
        for ipc in ipcs:
            random_images(train, ipc, seed=ipc).save(root / f"sets/{name}-ipc{ipc}")


@pytest.fixture
def place(tmp_path, drawn, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_sets(tmp_path, drawn, ["bird-easy", "bird-hard"], (1, 2))
    return tmp_path


def percent(values):
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}"


def test_the_table_of_two_subsets(place, drawn, run):
    words = ("benchmark", "--sets", SETS, "--method", "EDF_x", "--data_path", drawn, *QUICK, "--num_eval", 3)
    words += ("--baseline", "random,full", "--full_epochs", 2, "--configs", "bird-easy,bird-hard", "--ipc", "1,2")
    status, text, errors = run(*words)
    assert status == 0, errors
    found = {}
    for path in Path("results").glob("*/summary.json"):
        summary = json.loads(path.read_text())
        (found[summary["config_name"], int(summary["ipc"])],) = summary["results"]
    assert len(found) == 4

    def row(name, values):
        """What a row has to hold: accuracies, gains over random, recovery ratios, for IPC 1 and 2."""
        return [name, *map(percent, values)]

    def seeds(what, *weighted):
        return [sum(weight * what(found[key])[seed] for key, weight in weighted) for seed in range(3)]

    def accuracies(entry):
        return entry["accuracies"]

    def gains(entry):
        return [a - b for a, b in zip(entry["accuracies"], entry["random"]["accuracies"], strict=True)]

    def ratios(entry):
        return [a / entry["full"]["accuracy_mean"] for a in entry["accuracies"]]

    expected = []
    for name, easy, hard in (
        ("bird-easy", 1, 0),
        ("bird-hard", 0, 1),
        ("mean of easy", 1, 0),
        ("mean of hard", 0, 1),
        ("mean of all", 0.5, 0.5),
        ("drop from easy to hard", 1, -1),
    ):
        columns = [
            seeds(what, (("bird-easy", ipc), easy), (("bird-hard", ipc), hard))
            for what in (accuracies, gains, ratios)
            for ipc in (1, 2)
        ]
        expected.append(row(name, columns))
    markdown = Path("results/benchmark.md").read_text()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if "|" in line]
    kinds = ["", "gain over random, ", "recovery ratio, "]
    assert lines[0] == ["EDF\\_x", *[f"{kind}IPC {ipc}" for kind in kinds for ipc in (1, 2)]]
    assert lines[2:] == expected
    latex = Path("results/benchmark.tex").read_text()
    assert r"EDF\_x & IPC 1" in latex and latex.count(r"\\") == 7 and latex.count(r"\midrule") == 2
    assert f"$ & ${expected[0][2].replace('±', chr(92) + 'pm')}$ &" in latex
    assert Path("results/benchmark.txt").read_text() in text
    content = json.loads(Path("results/benchmark.json").read_text())
    (table,) = content["tables"]
    (drop,) = [
        each for each in table["averages"] if (each["ipc"], each["over"], each["kind"]) == (2, "drop", "accuracy")
    ]
    assert f"{100 * drop['mean']:.1f} ± {100 * drop['std']:.1f}" == expected[-1][2]
    assert table["missing"] == content["missing_sets"] == []

    status, text, _ = run(*words, "--across", "configs", "--json")
    assert status == 0 and json.loads(text)["tables"] == content["tables"]
    head = Path("results/benchmark.txt").read_text().splitlines()[1]
    assert re.split(r"  +", head) == ["EDF_x", *[line[0] for line in expected]]


def test_sets_that_are_missing_are_named_and_no_mean_is_taken(place, drawn, run):
    words = ("benchmark", "--sets", SETS, "--data_path", drawn, *QUICK, "--num_eval", 1, "--ipc", "1")
    status, text, errors = run(*words)
    assert status == 0, errors
    missing = [f"sets/{name}-ipc1" for name in subset_names() if not name.startswith("bird")]
    assert f"14 sets of 16 not there: {', '.join(missing[:3])}, ..." in errors[0]
    assert "incomplete: 14 of 16 are missing" in text
    rows = [line for line in Path("results/benchmark.md").read_text().splitlines() if line.startswith("| mean of")]
    assert len(rows) == 3 and all(row.endswith("| - |") for row in rows)
    content = json.loads(Path("results/benchmark.json").read_text())
    assert content["missing_sets"] == missing and content["tables"][0]["averages"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--sets is missing; give where the sets lie, as in distilled/{config}-ipc{ipc}"),
        (("--sets", "x"), "--sets x: expected a name with {config}, which tells 16 sets apart"),
        (("--sets", "x/{config}"), "--sets x/{config}: expected a name with {ipc}, which tells 3 sets apart"),
        (("--sets", SETS, "--ipc", ","), "--ipc ,: expected whole numbers from 1 joined by commas"),
        (("--sets", SETS, "--ipc", "²"), "--ipc ²: expected whole numbers"),
        (("--sets", SETS, "--ipc", "one"), "--ipc one: expected whole numbers from 1 joined by commas, as in 1,10,50"),
        (("--sets", SETS, "--category", "bird", "--subset", "easy"), "--category: benchmark goes over the subsets"),
        (("--sets", SETS, "--distilled", "x"), "--distilled names one set, and benchmark evaluates many"),
        (("--sets", SETS, "--configs", "bird-esy"), "did you mean 'bird-easy'?"),
        (("--sets", "./none/{config}-{ipc}"), "none of 48 sets is there; the first would be ./none/bird-easy-1"),
        (("--sets", SETS, "--num_eval", 0), "--num_eval 0: expected"),
    ],
)
def test_bad_input(run, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    status, _, errors = run("benchmark", *words)
    assert status == 2 and len(errors) == 1 and message in errors[0]
    assert not list(tmp_path.iterdir())


def test_a_set_of_another_ipc_is_refused_and_older_results_are_not_read(place, drawn, run):
    words = ("benchmark", "--sets", SETS, "--data_path", drawn, *QUICK, "--num_eval", 1, "--configs", "bird-easy")
    assert run(*words, "--ipc", "1,2")[0] == 0
    (place / "sets/bird-easy-ipc2").rename(place / "sets/bird-easy-ipc3")
    status, text, errors = run(*words, "--ipc", "1,2,3")
    assert status == 2 and "sets/bird-easy-ipc3: has 2 images per class, expected 3" in errors[-1]
    assert "incomplete: 2 of 3 are missing" in text
    assert run("report", "results", "--output", "report.html")[0] == 0
    assert "incomplete: 2 of 3 are missing" in Path("report.html").read_text(), "the old set's numbers are no cell"


@pytest.mark.slow
def test_all_sixteen_killed_once_and_resumed(tmp_path, run, monkeypatch):
    """Two processes, killed while they train; the end is that of an undisturbed run."""
    monkeypatch.chdir(tmp_path)
    for category in dict.fromkeys(name.partition("-")[0] for name in subset_names()):
        draw_imagenet(tmp_path / category, category, train_images=3, validation_images=2)
        shutil.copytree(tmp_path / category, tmp_path / "imagenet", dirs_exist_ok=True)
    save_sets(tmp_path, tmp_path / "imagenet", subset_names(), (1, 2))
    words = ("benchmark", "--sets", SETS, "--data_path", tmp_path / "imagenet", *QUICK, "--num_eval", 2)
    words += ("--ipc", "1,2", "--baseline", "random")
    assert run(*words, "--output_dir", "calm")[0] == 0
    killed = ranks(2, "-m", "compdd_eval", *words, "--output_dir", "killed", cwd=tmp_path)
    deadline = time.time() + 240
    while len(students(tmp_path / "killed")) < 20 and killed[0].poll() is None and time.time() < deadline:
        time.sleep(0.02)
    for process in killed:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    kept = {path: path.stat().st_mtime_ns for path in students(tmp_path / "killed")}
    assert 20 <= len(kept) < 16 * 2 * 4
    resumed = launched(2, "-m", "compdd_eval", *words, "--output_dir", "killed", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    for name in ("benchmark.txt", "benchmark.md", "benchmark.tex"):
        assert (tmp_path / "calm" / name).read_text() == (tmp_path / "killed" / name).read_text()
    (table,) = json.loads((tmp_path / "killed/benchmark.json").read_text())["tables"]
    assert not table["missing"] and len(table["cells"]) == 32
    assert {each["over"] for each in table["averages"]} == {"easy", "hard", "all", "drop"}


def test_a_report_opens_with_the_table(place, drawn, run):
    quick = ("--data_path", drawn, *QUICK, "--num_eval", 2, "--configs", "bird-easy,bird-hard", "--ipc", "1,2")
    for method, baseline in (("EDF", ("--baseline", "random")), ("DATM", ())):
        assert run("benchmark", "--sets", SETS, "--method", method, *quick, *baseline, "--output_dir", method)[0] == 0
    for path in Path().glob("*/*/summary.json"):  # as sets of methods say it: random images keep their name
        path.write_text(path.read_text().replace('"method": "random real images"', '"method": "made by hand"'))
    status, _, errors = run("report", "EDF", "DATM/benchmark.json", "--output", "both.html")
    assert status == 0, errors
    page = Path("both.html").read_text()
    opening = page[page.index('<main id="main">') : page.index('<ul class="verdicts">')]
    cells = [
        [re.sub("<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in re.findall(r"<tr.*?</tr>", opening, re.DOTALL)
    ]
    tables = {name: Path(name, "benchmark.txt").read_text().splitlines()[3:] for name in ("EDF", "DATM")}
    rows = {name: [re.split(r"  +", line.strip()) for line in lines[:6]] for name, lines in tables.items()}
    assert cells[:2] == [["accuracy in %", "IPC 1", "IPC 2"], ["", "EDF", "DATM", "EDF", "DATM"]]
    assert cells[2:8] == [
        [edf[0], edf[1], datm[1], edf[2], datm[2]] for edf, datm in zip(rows["EDF"], rows["DATM"], strict=True)
    ]
    gains = cells[cells.index(["gain over random in %", "IPC 1", "IPC 2"]) + 2 :]
    assert gains[0] == ["bird-easy", rows["EDF"][0][3], "-", rows["EDF"][0][4], "-"]
    assert "<h1>EDF, DATM on bird-easy, bird-hard, IPC 1, 2</h1>" in page

    Path("EDF/benchmark.json").write_text('{"config_names": ["x"]}')
    status, _, errors = run("report", "EDF")
    assert status == 2 and "EDF/benchmark.json: config_names has names that are no subsets; expected" in errors[-1]


def test_each_subset_has_a_teacher_of_its_own():
    """One table; the notes tell the teachers."""

    def run_of(number, name, ipc, teacher="ResNet18"):
        entry = Entry("ConvNetD5", Group((0, 1), (0.3, 0.4)), None, None, (None,) * 10, (), 0.01, "x", None)
        entry = replace(entry, teacher=f"{teacher} ({40 + number}.0 %, {number:08x})")
        facts = {"config_name": name, "ipc": float(ipc), "resolution": 128, "entries": (entry,), "labels": "soft+kd"}
        facts |= {"protocol_name": "rded", "digests": {"validation": name.ljust(64)}, "whole": True}
        return SimpleNamespace(place=f"{name}-{ipc}", **facts)

    names = subset_names()
    runs = [run_of(number, name, ipc) for number, name in enumerate(names) for ipc in (1, 10)]
    (table,) = benchmark_tables("RDED", runs, names, [1, 10])
    assert table.title == "ConvNetD5, 128 px, protocol rded, labels soft+kd, teacher ResNet18"
    assert not table.missing and table.average("accuracy", "all", 10).mean == pytest.approx(0.35)
    assert "16 teachers: ResNet18 (40.0 %, 00000000), ResNet18 (41.0 %, 00000001), " in " ".join(table.notes)
    assert len(benchmark_tables("RDED", [*runs[:2], run_of(0, names[0], 1, "VGG11")], names, [1, 10])) == 2
    with pytest.raises(InputError, match=f"{names[0]}-1 and {names[0]}-1: .* under two teachers; give one of them"):
        benchmark_tables("RDED", [*runs, run_of(9, names[0], 1)], names, [1, 10])


def test_verdicts_on_many_settings_are_counted():
    def row(name, verdict, mean, best=False):
        group = SimpleNamespace(mean=mean)
        return ShownRow(name, 0, group, anchor="run1", pairing=Pairing([], None, verdict), best=best)

    def panel(number):
        first = row("EDF", BETTER if number < 15 else UNCLEAR, 0.5 if number < 9 else 0.3, best=number < 3)
        block = ShownBlock("", [first, row("DATM", UNCLEAR, 0.4)])
        return ShownPanel("", f"subset {number}", [block], None, 0.1, [])

    told = {verdict.lead: verdict.of for verdict in verdicts_of([panel(number) for number in range(16)])}
    assert told == {
        "Better than random images": "EDF 15 of 16",
        "Cannot be told from random images": "EDF 1 of 16, DATM 16 of 16",
        "Better than every other method here": "EDF 3 of 16",
        "No method is better than every other": "EDF highest in 6 of 16, DATM highest in 7 of 16",
    }
    assert verdicts_of([panel(3)])[0].of == "EDF, subset 3"
