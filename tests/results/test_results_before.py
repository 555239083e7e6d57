"""Results that an earlier version wrote (tests/support/results_before): every command that reads results still does."""

import csv
import json
import re
from pathlib import Path

import pytest

from compdd_eval import load_comp_dd
from compdd_eval.config.protocol import LATER_FIELDS, Protocol
from compdd_eval.distilled.random_images import random_images
from compdd_eval.results.student_result import read_student

RESULTS = Path(__file__).parents[1] / "support/results_before"


@pytest.fixture
def printed(run):
    """Run a command with --json and return what it printed."""

    def call(*arguments: object) -> object:
        status, out, errors = run(*arguments, "--json")
        assert status == 0, errors
        return json.loads(out)

    return call


def test_compare(printed):
    found = printed("compare", RESULTS / "kc", RESULTS / "random")
    tell = "cannot tell k-center from random (one draw) on bird-easy, IPC 2, ConvNetD{} with 2 seeds: {} points "
    tell += "(95 % interval {})"
    assert [entry["sentence"] for entry in found["comparisons"]] == [
        tell.format(1, "-6.00", "-56.82 to +44.82"),
        tell.format(2, "+4.00", "-21.41 to +29.41"),
    ]
    assert [table["title"] for table in found["tables"]] == [
        f"ConvNetD{depth}, 32 px, protocol comp-dd with epoch_eval_train 3, labels given" for depth in (1, 2)
    ]
    cells = found["tables"][0]["cells"]
    assert [cell["method"] for cell in cells] == ["Random (a draw for each seed)", "k-center", "random (one draw)"]
    assert any(note.startswith("random (one draw) is one set") for note in found["tables"][0]["notes"])
    assert [cell["mean"] for cell in cells] == pytest.approx([0.43, 0.41, 0.47])
    assert [cell["std"] for cell in cells] == pytest.approx([0.0707107, 0.0707107, 0.0141421], rel=1e-5)
    assert cells[1]["recovery_ratio"]["ratio"] == pytest.approx(0.41 / 0.7)
    assert cells[1]["recovery_ratio"]["interval"] == pytest.approx([0, 1.4141824], rel=1e-5)
    assert cells[2]["recovery_ratio"] is None


def test_report(run, tmp_path):
    status, out, errors = run("report", RESULTS, "--output", tmp_path / "report.html")
    assert status == 0, errors
    page = (tmp_path / "report.html").read_text()
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert "(2 runs" in out
    assert "ConvNetD1 41.00 ± 7.07" in text and "4.8 to 90.6" in text, "the interval of the file went to 104.5 %"
    assert "Cannot be told from random images: k-center, ConvNetD1 (-2.00 points" in text and "58.6 %" in text
    assert "protocol comp-dd with epoch_eval_train 3 (4 passes)" in text
    assert "Loss of training" in text, "the files of the students lie beside the summary"


def test_leaderboard(printed, tmp_path):
    rows = printed("leaderboard", RESULTS, "--output", tmp_path / "site")["rows"]
    assert [(row["student"], row["method"]) for row in rows] == [
        *(("ConvNetD1", "random (one draw)"), ("ConvNetD1", "k-center")),
        *(("ConvNetD2", "k-center"), ("ConvNetD2", "random (one draw)")),
    ]
    assert rows[1]["over_random"] == pytest.approx(-0.02) and rows[1]["verdict"] == "cannot tell"
    assert all(row["marks"] == ["50 of 500 validation images"] for row in rows)
    with open(tmp_path / "site/results.csv") as file:
        assert [float(row["mean"]) for row in csv.DictReader(file)] == [row["mean"] for row in rows]
    page = (tmp_path / "site" / rows[1]["page"]).read_text()
    assert "--epoch_eval_train 3" in page and "--model ConvNetD1,ConvNetD2" in page


def test_status(printed):
    found = [(run["name"], run["state"], run["done"], run["students"]) for run in printed("status", RESULTS)]
    assert found == [("kc/bird-easy", "done", 12, 12), ("random/bird-easy", "done", 4, 4)]


def test_reproduce(run, drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the set was `sets/random-easy` where the command ran
    status, _, errors = run("reproduce", RESULTS / "random", "--data_path", drawn)
    assert status == 2 and "sets/random-easy: no such folder" in errors[-1]
    data = load_comp_dd(drawn, "bird", "easy", (32, 32), cache_dir=tmp_path / "cache")
    made = random_images(data.dst_train, 2)
    made.save(tmp_path / "set")
    record = json.loads(next((RESULTS / "random").rglob("ConvNetD1/*/seed0.json")).read_text())
    # another processor resizes the photographs with other last bits, and trains with others
    record["digests"]["distilled"] = made.sha256
    (tmp_path / "seed0.json").write_text(json.dumps(record))
    options = "--data_path", drawn, "--distilled", tmp_path / "set", "--json"
    status, out, _ = run("reproduce", tmp_path / "seed0.json", *options)
    found = json.loads(out)["students"][0]
    assert status == (0 if found["verdict"] == "equal" else 1)
    assert any(note.startswith("device was cpu, is cpu (") for note in found["notes"])
    recorded, now = found["recorded"], found["now"]
    assert (found["source"], found["predictions"], recorded["accuracy"]) == ("distilled", 50, 0.48)
    assert recorded["tested_digest"] == now["tested_digest"]
    assert now["accuracy"] == pytest.approx(recorded["accuracy"], abs=0.1)


def test_settings_that_came_later_are_what_was_done_then(run, tmp_path):
    """A result under `rded` of a version that shuffled nothing is told from one of today's preset."""
    old = {name: value for name, value in Protocol("rded").settings().items() if name not in LATER_FIELDS}
    path = next((RESULTS / "random").rglob("ConvNetD1/*/seed0.json"))
    record = json.loads(path.read_text())
    (tmp_path / "seed0.json").write_text(json.dumps(record | {"protocol": old, "config": record["config"] | old}))
    found = read_student(tmp_path / "seed0.json")
    assert Protocol(**found.protocol).in_words() == "rded with decay_all true, patches 1"
    assert Protocol(**{name: found.config[name] for name in old | LATER_FIELDS}).patches == 1
    summary = json.loads((RESULTS / "random/bird-easy/summary.json").read_text())
    for name, protocol in (("old", old), ("new", Protocol("rded").settings())):
        (tmp_path / name).mkdir()
        content = summary | {"protocol": protocol, "protocol_changes": {}}
        (tmp_path / name / "summary.json").write_text(json.dumps(content))
    status, _, (error,) = run("compare", tmp_path / "old", tmp_path / "new")
    assert status == 2 and "protocol rded with decay_all true, patches 1 against rded; evaluate both alike" in error
