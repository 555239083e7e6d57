"""`compare`: paired differences, verdicts and tables of papers, against numbers calculated independently."""

import contextlib
import csv
import hashlib
import io
import json
import os
import re
import shutil

import numpy as np
import pytest
from markdown_it import MarkdownIt
from scipy import stats

from compdd_eval import InputError, compare, report
from compdd_eval.config.protocol import Protocol
from compdd_eval.reports.checked_fields import clean
from compdd_eval.reports.compare.measured import Setting, read_methods
from compdd_eval.reports.compare.paper_tables import build_tables
from compdd_eval.reports.compare.table_formats import (
    escape_csv,
    escape_latex,
    escape_markdown,
    print_text,
    render_tables,
)
from compdd_eval.reports.summaries import ONE_DRAW_NOTE

SEEDS = [0, 1, 2, 3, 4]
LOW = [0.310, 0.322, 0.298, 0.318, 0.305]
HIGH = [0.352, 0.358, 0.346, 0.362, 0.341]  # above LOW for every seed
NEAR = [0.316, 0.312, 0.307, 0.330, 0.296]  # above and below LOW
FULL = [0.620, 0.604, 0.611]
EVIL = r"=cmd|'/c calc'! _a_ *b* `c` [d](e) <b>f</b> #1 50% $x$ ~h^i \input{k} & \\"


def group(accuracies, seeds=None):
    return {"seeds": list(range(len(accuracies)) if seeds is None else seeds), "accuracies": list(accuracies)}


def entry(model, accuracies, seeds=None, random=None, full=None, teacher=None):
    return {
        "model": model,
        **group(accuracies, seeds),
        "random": random and group(random),
        "full": full and group(full),
        "per_class_accuracy": [0.5] * 10,
        "confusion": [[1] * 10] * 10,
        "lr": 0.01,
        "lr_source": "--lr_net",
        "teacher": teacher and {"name": teacher},
    }


def write(folder, *entries, method=None, name="bird-easy", ipc=10, resolution=32, tested=500, images="", **changes):
    """Write a valid summary; `images` stands for the validation images, `changes` are those of the protocol."""
    preset = changes.pop("protocol", "comp-dd")
    protocol = Protocol(preset).settings() | changes
    content = {
        "schema_version": 3,
        "config_name": name,
        "ipc": ipc,
        "resolution": resolution,
        "images": max(1, round(10 * ipc)),
        "label_kind": "hard",
        "class_names": [f"class {label}" for label in range(10)],
        "validation_images": tested,
        "validation_images_expected": 500,
        "protocol": protocol,
        "protocol_changes": changes,
        "results": list(entries),
        "digests": {
            "distilled": hashlib.sha256(str(folder).encode()).hexdigest(),
            "validation": hashlib.sha256(f"{name} {images}".encode()).hexdigest(),
        },
        "distilled": {"method": method} if method else {},
        "config": {"distilled": f"sets/{folder.name}"},
    }
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def two(tmp_path):
    """EDF and DATM on two subsets and IPCs; EDF is better on one, worse on one, and not to be told on two."""
    for method, values in (("EDF", [HIGH, LOW, NEAR, NEAR]), ("DATM", [LOW, HIGH, LOW, LOW])):
        cells = [("bird-easy", 10), ("bird-easy", 1), ("bird-hard", 10), ("car-easy", 10)]
        for (name, ipc), accuracies in zip(cells, values, strict=True):
            students = entry("ConvNetD5", accuracies, full=FULL if name == "bird-easy" else None)
            write(tmp_path / method / f"{name}-{ipc}", students, method=method, name=name, ipc=ipc)
    return tmp_path / "EDF", tmp_path / "DATM"


def compared(run, *arguments):
    status, out, lines = run("compare", *arguments, "--json")
    assert status == 0, lines
    return json.loads(out)


def refused(run, *arguments):
    status, out, lines = run("compare", *arguments)
    assert status == 2 and out == "" and len(lines) == 1, (status, out, lines)
    return lines[0].removeprefix("compdd_eval: error: ")


def cells_of(found):
    return {(cell["method"], cell["config_name"], cell["ipc"]): cell for t in found["tables"] for cell in t["cells"]}


def test_differences_are_those_of_the_paired_t_test(two, run):
    found = compared(run, *two)
    assert [(method["name"], len(method["files"])) for method in found["methods"]] == [("EDF", 4), ("DATM", 4)]
    by_cell = {(entry["config_name"], entry["ipc"]): entry for entry in found["comparisons"]}
    assert list(by_cell) == [("bird-easy", 1), ("bird-easy", 10), ("bird-hard", 10), ("car-easy", 10)]
    for (ours, theirs), cell, verdict in [
        ((HIGH, LOW), ("bird-easy", 10), "better"),
        ((LOW, HIGH), ("bird-easy", 1), "worse"),
        ((NEAR, LOW), ("bird-hard", 10), "cannot tell"),
    ]:
        expected = stats.ttest_rel(ours, theirs)
        difference = by_cell[cell]["difference"]
        assert difference["interval"] == pytest.approx(list(expected.confidence_interval(0.95)))
        assert difference["p_value"] == pytest.approx(expected.pvalue)
        assert difference["mean"] == pytest.approx(np.mean(np.subtract(ours, theirs)))
        assert (by_cell[cell]["verdict"], by_cell[cell]["seeds"]) == (verdict, SEEDS)
    (total,) = found["totals"]
    assert {name: total[name] for name in ("better", "worse", "cannot_tell", "not_compared")} == {
        "better": 1,
        "worse": 1,
        "cannot_tell": 2,
        "not_compared": 0,
    }


def test_sentences(two, run):
    status, out, lines = run("compare", *two)
    assert status == 0 and lines == []

    def said(ours, theirs):
        low, high = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
        mean = np.mean(np.subtract(ours, theirs))
        return f"{100 * mean:+.2f} points", f"95 % interval {100 * low:+.2f} to {100 * high:+.2f}"

    points, interval = said(HIGH, LOW)
    assert f"EDF is better than DATM on bird-easy, IPC 10, ConvNetD5: {points} ({interval}, 5 seeds)\n" in out
    points, interval = said(LOW, HIGH)
    assert f"EDF is worse than DATM on bird-easy, IPC 1, ConvNetD5: {points} ({interval}, 5 seeds)\n" in out
    points, interval = said(NEAR, LOW)
    assert f"cannot tell EDF from DATM on car-easy, IPC 10, ConvNetD5 with 5 seeds: {points} ({interval})\n" in out
    assert "EDF against DATM: 1 better, 1 worse, 2 cannot tell, of 4 settings; each is a test of its own" in out


def test_pairs_are_of_the_same_seed_in_any_order(tmp_path, run):
    write(tmp_path / "a", entry("MLP", [0.5, 0.4, 0.3, 0.9], seeds=[7, 3, 5, 1]))
    write(tmp_path / "b", entry("MLP", [0.28, 0.1, 0.49, 0.39], seeds=[5, 9, 7, 3]))
    (found,) = compared(run, tmp_path / "a", tmp_path / "b")["comparisons"]
    assert found["seeds"] == [7, 3, 5] and found["difference"]["n"] == 3
    assert found["difference"]["mean"] == pytest.approx(np.mean([0.01, 0.01, 0.02]))


def test_one_seed_and_none_in_common(tmp_path, run):
    write(tmp_path / "a", entry("MLP", LOW[:3]))
    write(tmp_path / "b", entry("MLP", [0.1, 0.2], seeds=[2, 6]))
    write(tmp_path / "c", entry("MLP", [0.1, 0.2], seeds=[5, 6]))
    status, out, _ = run("compare", *(tmp_path / name for name in "abc"))
    assert status == 0 and "*:" in out and out.count("*") == 1, "nothing is bold that cannot be compared"
    assert f"cannot tell a from b on bird-easy, IPC 10, MLP with 1 seed: {100 * (LOW[2] - 0.1):+.2f} points\n" in out
    assert "a and c are not compared on bird-easy, IPC 10, MLP: no seed in common (0, 1, 2 against 5, 6)\n" in out
    assert "a against c: 0 better, 0 worse, 0 cannot tell, 1 without a seed in common, of 1 setting\n" in out
    found = compared(run, *(tmp_path / name for name in "abc"))
    assert [entry["verdict"] for entry in found["comparisons"]] == ["cannot tell", "no seed in common"]
    assert found["comparisons"][1]["difference"] is None and found["comparisons"][0]["difference"]["interval"] is None


def test_a_method_and_itself_cannot_be_told_apart(two, run):
    found = compared(run, two[0], two[0])
    assert [method["name"] for method in found["methods"]] == [f"EDF (EDF) ({two[0]})", f"EDF (EDF) ({two[0]}) 2"]
    assert {entry["verdict"] for entry in found["comparisons"]} == {"cannot tell"}
    assert not any(cell["best"] for cell in cells_of(found).values())


def best_of(run, tmp_path, rows, **changes):
    for name, accuracies in rows.items():
        write(tmp_path / name, entry("MLP", accuracies, **changes))
    cells = cells_of(compared(run, *(tmp_path / name for name in rows)))
    return [name for (name, _, _), cell in cells.items() if cell["best"]]


def test_best_is_better_than_every_other(tmp_path, run):
    higher = [value + 0.05 + step for value, step in zip(HIGH, [0.01, 0, 0.005, 0, 0.002], strict=True)]
    assert best_of(run, tmp_path / "clear", {"a": LOW, "b": higher, "c": HIGH}) == ["b"]
    assert best_of(run, tmp_path / "two", {"a": LOW, "b": HIGH}) == ["b"]
    assert best_of(run, tmp_path / "close", {"a": LOW, "b": NEAR}) == []
    nearly = [value + step for value, step in zip(HIGH, [0.01, -0.01, 0.02, -0.005, 0.001], strict=True)]
    assert stats.ttest_rel(nearly, HIGH).pvalue > 0.05 > stats.ttest_rel(nearly, LOW).pvalue
    assert best_of(run, tmp_path / "tied", {"a": LOW, "b": HIGH, "c": nearly}) == [], "better than one is not enough"


def test_random_competes(tmp_path, run):
    assert best_of(run, tmp_path / "loses", {"a": LOW, "b": NEAR}, random=HIGH) == ["Random"]
    assert best_of(run, tmp_path / "wins", {"a": LOW, "b": HIGH}, random=NEAR) == ["b"]
    assert best_of(run, tmp_path / "near", {"a": NEAR, "b": [v - 0.1 for v in HIGH]}, random=LOW) == []


def test_a_better_one_that_looks_worse_is_not_bold(tmp_path, run):
    """On the seeds in common b is better, but the mean that is printed is lower."""
    write(tmp_path / "a", entry("MLP", [*LOW, 0.9, 0.9]))
    write(tmp_path / "b", entry("MLP", HIGH))
    found = compared(run, tmp_path / "a", tmp_path / "b")
    assert found["comparisons"][0]["verdict"] == "worse"
    assert not any(cell["best"] for cell in cells_of(found).values())


def test_numbers_of_cells(tmp_path, run):
    write(tmp_path / "a", entry("MLP", LOW, full=FULL, random=NEAR))
    write(tmp_path / "b", entry("MLP", HIGH[:1]))
    cells = cells_of(compared(run, tmp_path / "a", tmp_path / "b"))
    assert [name for name, _, _ in cells] == ["Random", "a", "b"]
    for name, values in (("a", LOW), ("Random", NEAR)):
        cell = cells[name, "bird-easy", 10]
        assert cell["mean"] == pytest.approx(np.mean(values)) and cell["std"] == pytest.approx(np.std(values, ddof=1))
        assert cell["recovery_ratio"]["ratio"] == pytest.approx(np.mean(values) / np.mean(FULL))
        assert cell["full"]["accuracies"] == FULL
    single = cells["b", "bird-easy", 10]
    assert single["std"] is None and single["recovery_ratio"] is None and single["n"] == 1
    out = run("compare", tmp_path / "a", tmp_path / "b")[1]
    assert re.search(r"^b +35\.2 +-$", out, re.MULTILINE), "a single student has no deviation"
    assert "over 1 to 5 seeds; in brackets: % of Full" in out


def test_markdown_is_a_table(two, run):
    status, out, _ = run("compare", *two, "--format", "markdown")
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("|")]
    assert status == 0 and {len(row) for row in rows} == {6}
    ratio, other = 100 * np.mean(HIGH) / np.mean(FULL), 100 * np.mean(LOW) / np.mean(FULL)
    assert rows[0] == [
        *("| method", "bird-easy, IPC 1", "bird-easy, IPC 10", "bird-easy, Full", "bird-hard, IPC 10"),
        "car-easy, IPC 10 |",
    ]
    low, high, near, full = (f"{100 * np.mean(v):.1f} ± {100 * np.std(v, ddof=1):.1f}" for v in (LOW, HIGH, NEAR, FULL))
    assert rows[2] == ["| EDF", f"{low} ({other:.1f})", f"**{high}** ({ratio:.1f})", full, near, f"{near} |"]
    assert rows[3] == ["| DATM", f"**{high}** ({ratio:.1f})", f"{low} ({other:.1f})", full, low, f"{low} |"]
    html = MarkdownIt().enable("table").render(out)
    assert html.count("<table>") == 1 and html.count("<strong>") == 2 and html.count("<li>") == 5
    assert "Bold: better than every other method of its column" in html


def test_latex(two, run):
    status, out, _ = run("compare", *two, "--format", "latex")
    lines = [line for line in out.splitlines() if not line.startswith("%")]
    assert status == 0 and sum(line.startswith("%") for line in out.splitlines()) == 9
    rows = [line for line in lines if line.endswith(r"\\")]
    assert lines[0] == r"\begin{tabular}{lccccc}" and [row.count("&") for row in rows] == [3, 5, 5, 5]
    assert rows[0].startswith(r"Subset & \multicolumn{3}{c}{bird-easy} & \multicolumn{1}{c}{bird-hard} &")
    assert r"\cmidrule(lr){2-4} \cmidrule(lr){5-5} \cmidrule(lr){6-6}" in lines
    assert rows[1] == r"IPC & 1 & 10 & Full & 10 & 10 \\"
    mean, std, ratio = 100 * np.mean(HIGH), 100 * np.std(HIGH, ddof=1), 100 * np.mean(HIGH) / np.mean(FULL)
    assert rf"$\mathbf{{{mean:.1f} \pm {std:.1f}}}$ ({ratio:.1f})" in rows[2]
    assert out.count(r"\mathbf") == 2 and balanced("\n".join(lines))
    assert re.search(r"^% .*protocol comp-dd, labels given$", out, re.MULTILINE)
    assert re.search(r"^% bold: better than every other", out, re.MULTILINE)


def balanced(latex):
    plain = re.sub(r"\\[{}\\&%$#_]", "", latex)
    return plain.count("{") == plain.count("}") and plain.count("$") % 2 == 0


def test_csv_is_for_programs(two, run):
    status, out, lines = run("compare", *two, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0 and len(rows) == 8 and len(lines) == 5, "sentences are on stderr"
    row = next(row for row in rows if (row["method"], row["subset"], row["ipc"]) == ("EDF", "bird-easy", "10"))
    assert float(row["mean"]) == pytest.approx(np.mean(HIGH), rel=1e-5)
    assert float(row["std"]) == pytest.approx(np.std(HIGH, ddof=1), rel=1e-5)
    assert float(row["recovery_ratio"]) == pytest.approx(np.mean(HIGH) / np.mean(FULL), rel=1e-5)
    assert (row["n"], row["best"], row["protocol"], row["model"]) == ("5", "true", "comp-dd", "ConvNetD5")
    assert float(row["full_mean"]) == pytest.approx(np.mean(FULL), rel=1e-5)
    assert [row["best"] for row in rows].count("true") == 2
    assert {row["recovery_ratio"] for row in rows if row["subset"] == "car-easy"} == {""}


def test_text(two, run):
    out = run("compare", *two)[1]
    row = next(line for line in out.splitlines() if line.startswith("EDF "))
    assert f"{100 * np.mean(HIGH):.1f} ± {100 * np.std(HIGH, ddof=1):.1f}* (" in row and row.count("*") == 1


@pytest.mark.parametrize(("ending", "form"), [("md", "markdown"), ("tex", "latex"), ("csv", "csv"), ("txt", "text")])
def test_output_is_what_is_printed(two, run, tmp_path, ending, form):
    file = tmp_path / "new" / f"table.{ending}"
    status, out, lines = run("compare", *two, "--output", file)
    assert status == 0 and lines == []
    assert "EDF is better than DATM" in out and "bird-hard IPC" not in out and "\\toprule" not in out
    assert out.endswith(f"table: {file} ({form})\n")
    written = file.read_text(encoding="utf-8")
    assert written.endswith("\n") and run("compare", *two, "--format", form)[1].startswith(written.rstrip("\n"))
    status, out, _ = run("compare", *two, "--output", file, "--format", "csv", "--json")
    assert status == 0 and json.loads(out)["totals"] and file.read_text().startswith("method,subset,")


def test_different_protocols_never_mix(tmp_path, run):
    for name in "ab":
        write(tmp_path / name / "1", entry("MLP", LOW, random=LOW), epoch_eval_train=60)
    write(tmp_path / "a/2", entry("MLP", LOW), ipc=50)
    write(tmp_path / "b/2", entry("MLP", HIGH), ipc=50, protocol="mtt")
    write(tmp_path / "a/3", entry("MLP", LOW), ipc=1)
    write(tmp_path / "b/3", entry("MLP", HIGH), ipc=1, images="others")
    write(tmp_path / "b/4", entry("MLP", HIGH), name="car-hard")
    status, out, lines = run("compare", tmp_path / "a", tmp_path / "b")
    assert status == 0 and len(lines) == 2
    assert lines[0] == (
        "compdd_eval: warning: a and b are not compared on bird-easy, IPC 50, MLP: protocol comp-dd against mtt"
    )
    assert re.search("not compared on bird-easy, IPC 1, MLP: validation images [0-9a-f]{8} against", lines[1])
    found = compared(run, tmp_path / "a", tmp_path / "b")
    assert [entry["ipc"] for entry in found["comparisons"]] == [10]
    for table in found["tables"]:
        keys = {(cell["protocol"], cell["labels"], cell["model"], cell["resolution"]) for cell in table["cells"]}
        images = {(cell["config_name"], cell["validation"]) for cell in table["cells"]}
        assert len(keys) == 1 and len(images) == len({name for name, _ in images})
    assert len(found["tables"]) == 4 and not any(cell["best"] for cell in cells_of(found).values())


def test_a_protocol_is_what_its_settings_say(tmp_path, run):
    write(tmp_path / "a", entry("MLP", LOW))
    place = write(tmp_path / "b", entry("MLP", LOW), epoch_eval_train=60) / "summary.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"protocol_changes": {}}))
    assert "protocol comp-dd against comp-dd with epoch_eval_train 60" in refused(run, tmp_path / "a", tmp_path / "b")


def test_learning_rates_may_differ(tmp_path, run):
    write(tmp_path / "a", entry("MLP", LOW), lr_net=0.1)
    write(tmp_path / "b", entry("MLP", HIGH))
    assert len(compared(run, tmp_path / "a", tmp_path / "b")["comparisons"]) == 1


@pytest.mark.parametrize(
    ("changes", "students", "message"),
    [
        ({"epoch_eval_train": 60}, {}, "protocol comp-dd against comp-dd with epoch_eval_train 60"),
        ({"name": "car-hard", "images": "x"}, {}, "subset bird-easy against car-hard, validation images"),
        ({"ipc": 0.5}, {}, "IPC 10 against 0.5"),
        ({"resolution": 128}, {}, "resolution 32 px against 128 px"),
        ({"images": "others"}, {}, "validation images"),
        ({"labels": "soft"}, {}, "protocol comp-dd against comp-dd with labels soft;"),
        ({}, {"teacher": "ResNet18"}, "teacher none against ResNet18"),
        ({}, {"model": "LeNet"}, "network MLP against LeNet"),
    ],
)
def test_nothing_in_common(tmp_path, run, changes, students, message):
    write(tmp_path / "a", entry("MLP", LOW))
    write(tmp_path / "b", entry(**{"model": "MLP", "accuracies": LOW} | students), **changes)
    found = refused(run, tmp_path / "a", tmp_path / "b")
    assert found.startswith(f"{tmp_path / 'a'} and {tmp_path / 'b'} have nothing in common: ") and message in found
    assert found.endswith("; evaluate both alike") and "labels given against" not in found


def test_the_nearest_settings_are_named(tmp_path, run):
    write(tmp_path / "a/1", entry("MLP", LOW), name="car-hard", resolution=64)
    write(tmp_path / "a/2", entry("MLP", LOW))
    write(tmp_path / "b", entry("MLP", LOW), ipc=1)
    assert "nothing in common: IPC 10 against 1;" in refused(run, tmp_path / "a", tmp_path / "b")


def test_order_is_that_of_the_benchmark(tmp_path, run):
    """Neither that of the alphabet nor that of the folders; Full is that of the first IPC of each method."""
    order = [("snake-hard", 2), ("snake-hard", 10), ("insect-easy", 5), ("my-own", 1)]
    for method in "ab":
        for name, ipc in order:
            full = [0.7, 0.8] if ipc == 10 else FULL
            write(tmp_path / f"{method}/{ipc} {name}", entry("MLP", LOW, full=full), name=name, ipc=ipc)
    found = compared(run, tmp_path / "a", tmp_path / "b")
    assert [(entry["config_name"], entry["ipc"]) for entry in found["comparisons"]] == order
    (table,) = found["tables"]
    assert [(cell["config_name"], cell["ipc"]) for cell in table["cells"]] == order * 2
    assert any(note.startswith("Full of snake-hard is not the same in all results") for note in table["notes"])
    out = run("compare", tmp_path / "a", tmp_path / "b", "--format", "markdown")[1]
    row = next(line for line in out.splitlines() if line.startswith("| a |")).split(" | ")
    assert row[3].startswith(f"{100 * np.mean(FULL):.1f} ±") and f"({100 * np.mean(LOW) / 0.75:.1f})" in row[2]


def test_what_tells_settings_apart_is_said(tmp_path, run):
    for name in "ab":
        write(tmp_path / name / "1", entry("MLP", LOW))
        write(tmp_path / name / "2", entry("MLP", LOW), protocol="mtt")
        write(tmp_path / name / "3", entry("MLP", LOW), ipc=1)
    out = run("compare", tmp_path / "a", tmp_path / "b")[1]
    assert "bird-easy, IPC 10, MLP, protocol comp-dd, labels given with 5 seeds" in out
    assert "bird-easy, IPC 10, MLP, protocol mtt, labels hard with 5 seeds" in out
    assert "bird-easy, IPC 1, MLP with 5 seeds" in out


def test_twice_the_same(tmp_path, run):
    write(tmp_path / "a/1", entry("MLP", LOW))
    write(tmp_path / "a/2", entry("MLP", HIGH))
    write(tmp_path / "b", entry("MLP", LOW))
    found = refused(run, tmp_path / "b", tmp_path / "a")
    assert str(tmp_path / "a/1/summary.json") in found and str(tmp_path / "a/2/summary.json") in found
    assert "bird-easy, IPC 10, MLP twice" in found
    write(tmp_path / "c", entry("MLP", LOW), entry("MLP", LOW))
    assert refused(run, tmp_path / "b", tmp_path / "c").startswith(f"{tmp_path / 'c/summary.json'}: the same method")


def test_names(tmp_path, run):
    write(tmp_path / "x/results/1", entry("MLP", LOW), method="EDF")
    write(tmp_path / "x/results/2", entry("MLP", LOW), method="EDF", ipc=1)
    write(tmp_path / "y/mixed/1", entry("MLP", LOW), method="EDF", ipc=1)
    write(tmp_path / "y/mixed/2", entry("MLP", LOW), method="DM")
    write(tmp_path / "z/results", entry("MLP", LOW), method="EDF")
    places = [tmp_path / "x/results", tmp_path / "y/mixed", tmp_path / "z/results/summary.json"]
    assert [method.name for method in read_methods(list(map(str, places[:2])))] == ["EDF", "mixed"]
    assert [method.name for method in read_methods(list(map(str, places)))] == [
        f"EDF (results) ({places[0]})",
        "mixed",
        f"EDF (results) ({places[2]})",
    ]
    found = compared(run, *places, "--names", "A, B,C")
    assert [method["name"] for method in found["methods"]] == ["A", "B", "C"]
    assert "3 different names" in refused(run, *places, "--names", "A,B")


def test_a_method_that_is_called_random(tmp_path, run):
    for name in ("Random", "b"):
        write(tmp_path / name, entry("MLP", LOW, random=HIGH))
    found = compared(run, tmp_path / "b", tmp_path / "Random")
    names = ["Random (a draw for each seed)", "b", "random (one draw)"]
    assert [name for name, _, _ in cells_of(found)] == names
    assert "b from random (one draw) on bird-easy" in found["comparisons"][0]["sentence"], "the verdict names it"
    assert ONE_DRAW_NOTE in found["tables"][0]["notes"]
    found = compared(run, tmp_path / "b", tmp_path / "Random", "--names", "ours,chosen blindly")
    assert [method["name"] for method in found["methods"]] == ["ours", "chosen blindly (one draw)"]


def test_notes(tmp_path, run):
    write(tmp_path / "a", entry("MLP", LOW, random=LOW, full=FULL), tested=50)
    write(tmp_path / "b", entry("MLP", LOW, random=NEAR, full=FULL), tested=50)
    (table,) = compared(run, tmp_path / "a", tmp_path / "b")["tables"]
    assert any("bird-easy was tested on 50 of 500 validation images" in note for note in table["notes"])
    assert any(note.startswith("Random of bird-easy, IPC 10 is not the same") for note in table["notes"])
    assert not any(note.startswith("Full of") for note in table["notes"])
    assert table["cells"][0]["accuracies"] == LOW, "that of the first method"


def test_names_from_anybody_are_escaped(tmp_path, run):
    write(tmp_path / "a", entry(EVIL, LOW, teacher=EVIL), method=f"[m] {EVIL}", name=f"*s* {EVIL}")
    write(tmp_path / "b", entry(EVIL, HIGH, teacher=EVIL), method=f"-m {EVIL}", name=f"*s* {EVIL}")
    for form in ("text", "markdown", "latex", "csv"):
        status, out, _ = run("compare", tmp_path / "a", tmp_path / "b", "--format", form)
        assert status == 0
        if form == "markdown":
            html = MarkdownIt().enable("table").render(out)
            assert html.count("<td") == 4 and not re.search("<(a|b|em|code)[ >]", html) and html.count("<strong>") == 1
            assert html.count("[d](e)") == out.count("\\[d\\]"), "shown as it is"
        if form == "latex":
            lines = [line for line in out.splitlines() if not line.startswith("%")]
            assert balanced("\n".join(lines)) and "\\input" not in "\n".join(lines)
            rows = [re.sub(r"\\&", "", line) for line in lines if line.endswith(r"\\")]
            assert [row.count("&") for row in rows] == [1, 1, 1, 1]
            assert not any(line.startswith(("[", "*")) for line in lines)
        if form == "csv":
            rows = list(csv.reader(io.StringIO(out)))
            assert {len(row) for row in rows} == {17}
            assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


def test_escapes():
    assert escape_latex("a_b & 5% of #1 {x} $y$ ~ ^ \\ [*]") == (
        r"a\_b \& 5\% of \#1 \{x\} \$y\$ \textasciitilde{} \textasciicircum{} \textbackslash{} {[}{*}]"
    )
    assert MarkdownIt().enable("table").render(escape_markdown(EVIL)) == (
        "<p>=cmd|'/c calc'! _a_ *b* `c` [d](e) &lt;b&gt;f&lt;/b&gt; #1 50% $x$ ~h^i \\input{k} &amp; \\\\</p>\n"
    )
    assert [escape_csv(text) for text in ("=1", "+1", "-1", "@a", " =1", "a-b")] == [
        *("'=1", "'+1", "'-1", "'@a", "' =1", "a-b"),
    ]
    assert clean("a\x1b[31m\nb\u202ec\u2066") == "a [31m b c"


def test_protocols_from_anybody_are_one_line(tmp_path, run):
    write(tmp_path / "a", entry("MLP", LOW), optimizer="x\n\\input{y}\x1b[31m" + "z" * 1000)
    write(tmp_path / "b", entry("MLP", LOW))
    found = refused(run, tmp_path / "a", tmp_path / "b")
    assert "\x1b" not in found and len(found) < 700
    write(tmp_path / "c", entry("MLP", LOW), optimizer="x\n\\input{y}\x1b[31m" + "z" * 1000)
    out = run("compare", tmp_path / "a", tmp_path / "c", "--format", "latex")[1]
    assert "\x1b" not in out and not any(line.startswith("\\input") for line in out.splitlines())


def test_bad_input(tmp_path, run, two):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "empty").mkdir()
    damaged = write(tmp_path / "damaged", entry("MLP", [1.5]))
    for arguments, message in [
        ([], "RESULTS is missing"),
        ([two[0]], "RESULTS has 1, expected 2 or more"),
        ([two[0], tmp_path / "nowhere"], f"{tmp_path / 'nowhere'}: no such file or folder"),
        ([two[0], tmp_path / "empty"], "holds no summary.json;"),
        ([two[0], damaged / "summary.json"], "accuracies has 1.5"),
        ([*two, "--format", "latx"], "did you mean 'latex'"),
        ([*two, "--names", "A,A"], "2 different names"),
        ([*two, "--output", tmp_path / "table.doc"], "expected a name that ends with .md, .tex, .csv, .txt"),
        ([*two, "--output", tmp_path / "empty", "--format", "csv"], "is a folder"),
        ([*two, "--output", tmp_path / "file/table.md"], "is a file, expected a folder"),
        ([*two, "--output", two[0] / "bird-hard-10/summary.json", "--format", "csv"], "is one of the results"),
    ]:
        assert message in refused(run, *arguments)
    assert json.loads((two[0] / "bird-hard-10/summary.json").read_text())["ipc"] == 10


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs a folder in which nobody can write")
def test_a_folder_that_cannot_be_written(run, two):
    assert "/proc/none: cannot write there" in refused(run, *two, "--output", "/proc/none/table.md")


def test_a_wide_table_at_a_terminal_is_split_between_subsets(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("bird-easy", "bird-hard", "car-easy"):
        for ipc in (1, 10, 50) if name == "bird-easy" else (1,):
            write(tmp_path / f"a/{name}-{ipc}", entry("MLP", LOW, full=FULL), name=name, ipc=ipc, method="EDF")
    tables = build_tables(read_methods([str(tmp_path / "a")]))

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    with contextlib.redirect_stdout(Terminal()) as terminal:
        print_text(tables)
    rows = [line for line in terminal.getvalue().splitlines() if "EDF" in line]
    cell = f"{100 * np.mean(LOW):.1f} ± {100 * np.std(LOW, ddof=1):.1f} ({100 * np.mean(LOW) / np.mean(FULL):.1f})"
    assert [row.count(cell) for row in rows] == [3, 2] and "(2 of 2)" in terminal.getvalue()
    assert render_tables(tables, "text").count(cell) == 5 and "of 2)" not in render_tables(tables, "text")


def test_in_python(two, run, tmp_path):
    found = compare(two, names=["A", "B"])
    assert found.to_dict() == compared(run, *two, "--names", "A,B")
    assert str(found).splitlines() == found.sentences and repr(found) == "Comparison(A, B: 1 table, 4 differences)"
    written = report([*two], output=tmp_path / "page.html", title="T")
    assert written.path == tmp_path / "page.html" and written.runs == 8 and "<title>T" in written.path.read_text()
    with pytest.raises(InputError, match="^names A: expected 2 different names"):
        compare(two, names="A")
    with pytest.raises(InputError, match="^unknown setting 'name'; did you mean 'names'"):
        compare(two, name="A")
    with pytest.raises(InputError, match="^RESULTS '.*': expected a list"):
        compare(str(two[0]))
    with pytest.raises(InputError, match="^output 'x.txt': expected the name of a file that ends with .html"):
        report(two, output="x.txt")


def with_regimes(folder, method, under, teacher="ResNet18BN", **settings):
    """Write a summary with regimes: labels -> accuracies of the set and of random images."""
    path = write(folder, entry("ConvNetD5", LOW), method=method, **settings)
    path = path / "summary.json" if path.is_dir() else path
    content = json.loads(path.read_text())
    content["regimes"] = [
        {
            "labels": labels,
            "lines": [],
            "results": [entry("ConvNetD5", ours, random=random, teacher=teacher if labels != "hard" else None)],
        }
        for labels, (ours, random) in under.items()
    ]
    path.write_text(json.dumps(content))
    return str(folder)


def test_methods_under_regimes(tmp_path, run):
    shared = {"hard": LOW, "soft": NEAR, "soft+kd": HIGH}
    rded = {labels: (HIGH, random) for labels, random in shared.items()}
    dm = {"hard": (HIGH, LOW), "soft": (LOW, NEAR), "soft+kd": (LOW, HIGH)}
    folders = [with_regimes(tmp_path / "rded", "RDED", rded), with_regimes(tmp_path / "dm", "DM", dm)]
    status, text, errors = run("compare", *folders, "--regimes")
    assert status == 0, errors
    title = "bird-easy, ConvNetD5, 32 px, protocol comp-dd"
    title += ", soft by the teacher ResNet18BN, soft+kd by the teacher ResNet18BN"
    assert title in text and "each regime has random images under the same labels" in text
    rows = {line.split("  ")[0]: re.findall(r"[\d.]+ ± [\d.]+\*?", line) for line in text.splitlines() if "±" in line}

    def shown(values):
        return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"

    assert rows["Random"] == [shown(LOW), shown(NEAR), shown(HIGH)]
    assert [cell.rstrip("*") for cell in rows["RDED"]] == [shown(HIGH)] * 3
    assert [cell.rstrip("*") for cell in rows["DM"]] == [shown(HIGH), shown(LOW), shown(LOW)]
    assert re.search(r"method +hard IPC 10 +soft IPC 10 +soft\+kd IPC 10", text)
    assert "RDED is better than random images on bird-easy, IPC 10, ConvNetD5, labels hard: +" in text
    assert "DM is worse than random images on bird-easy, IPC 10, ConvNetD5, labels soft+kd, teacher ResNet18BN" in text
    assert "cannot tell DM from random images on bird-easy, IPC 10, ConvNetD5, labels soft, teacher ResNet18BN" in text
    assert "DM against random images: 1 better, 1 worse, 1 cannot tell, of 3 settings" in text

    status, text, _ = run("compare", *folders, "--regimes", "--json")
    content = json.loads(text)
    cells = {(cell["method"], cell["labels"]): cell for cell in content["tables"][0]["cells"]}
    assert len(content["tables"]) == 1 and len(cells) == 9 and len(content["comparisons"]) == 6
    assert cells["DM", "soft+kd"]["config_name"] == "bird-easy" and cells["DM", "soft+kd"]["teacher"] == "ResNet18BN"
    assert cells["Random", "soft"]["accuracies"] == NEAR
    status, text, _ = run("compare", folders[0], "--regimes", "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert status == 0 and {(line["subset"], line["labels"]) for line in lines} == {
        ("bird-easy", name) for name in shared
    }
    latex = run("compare", *folders, "--regimes", "--format", "latex")[1]
    assert r"Labels & \multicolumn{1}{c}{hard} & \multicolumn{1}{c}{soft} & \multicolumn{1}{c}{soft+kd}" in latex

    other = {labels: (NEAR, random) for labels, random in shared.items()}
    edf = with_regimes(tmp_path / "edf", "EDF", other, teacher="ConvNetD3BN")
    content = json.loads(run("compare", *folders, edf, "--regimes", "--json")[1])
    for table, (teacher, methods) in zip(
        content["tables"], {"ResNet18BN": {"RDED", "DM"}, "ConvNetD3BN": {"EDF"}}.items(), strict=True
    ):
        assert teacher in table["title"] and {cell["teacher"] for cell in table["cells"]} == {teacher, None}
        for labels in shared:
            assert {cell["method"] for cell in table["cells"] if cell["labels"] == labels} == methods | {"Random"}
    hard = with_regimes(tmp_path / "dc", "DC", {"hard": (NEAR, LOW)}, labels="soft")
    content = json.loads(run("compare", *folders[:2], hard, "--regimes", "--json")[1])
    (table,) = content["tables"]
    assert {cell["method"] for cell in table["cells"] if cell["labels"] == "hard"} == {"RDED", "DM", "DC", "Random"}
    own = with_regimes(tmp_path / "own", "own", {"soft": (HIGH, NEAR), "soft+kd": (LOW, HIGH)})
    content = json.loads((tmp_path / "own/summary.json").read_text())
    content["regimes"][0]["results"][0]["teacher"] = None  # the labels are the set's
    (tmp_path / "own/summary.json").write_text(json.dumps(content))
    (table,) = json.loads(run("compare", folders[1], own, "--regimes", "--json")[1])["tables"]
    soft = {cell["method"]: cell["teacher"] for cell in table["cells"] if cell["labels"] == "soft"}
    assert soft == {"DM": "ResNet18BN", "own": None, "Random": "ResNet18BN"}
    kd = {"soft+kd": (NEAR, HIGH)}
    with_regimes(tmp_path / "dm" / "again", "DM", kd, teacher="ConvNetD3BN", labels="soft")
    content = json.loads(run("compare", *folders[:2], "--regimes", "--json")[1])
    cells = [cell for table in content["tables"] for cell in table["cells"]]
    found = [(cell["method"], cell["labels"], cell["teacher"]) for cell in cells]
    assert [sorted(each for each in found if each[:2] == ("DM", labels)) for labels in ("hard", "soft+kd")] == [
        [("DM", "hard", None)] * 2,
        [("DM", "soft+kd", "ConvNetD3BN"), ("DM", "soft+kd", "ResNet18BN")],
    ]
    shutil.rmtree(tmp_path / "dm" / "again")
    with_regimes(tmp_path / "rded" / "again", "RDED", rded, labels="soft")
    status, _, errors = run("compare", *folders[:2], "--regimes")
    assert status == 2 and "the same method has bird-easy, IPC 10, ConvNetD5 twice" in errors[-1]
    shutil.rmtree(tmp_path / "rded" / "again")

    without = str(write(tmp_path / "plain", entry("ConvNetD5", LOW), method="plain"))
    status, _, errors = run("compare", folders[0], without, "--regimes")
    assert status == 2 and "plain: was evaluated under no regimes of labels; run evaluate --regimes" in errors[-1]
    assert run("compare", folders[0])[0] == 2


@pytest.mark.parametrize(
    ("protocol", "teacher", "expected"),
    [
        ("rded with labels views", "T", ["protocol rded with labels views", "teacher T"]),
        ("rded", "T", ["protocol rded", "labels views", "teacher T"]),
        ("comp-dd with ema 0.5", None, ["protocol comp-dd with ema 0.5", "labels views"]),
    ],
)
def test_labels_are_said_once(protocol, teacher, expected):
    assert Setting("bird-easy", 1, 32, "MLP", protocol, "views", teacher, "0" * 64).trained_how == expected


def test_teachers_of_one_name_are_told_apart(tmp_path, run):
    """By accuracy and digest: numbers under two of them are not compared."""
    for name, accuracy, digest in (("one", 0.375, "ab" * 32), ("two", 0.2, "cd" * 32)):
        students = entry("MLP", LOW, teacher="ResNet18BN")
        students["teacher"] |= {"accuracy": accuracy, "digest": digest}
        write(tmp_path / name, students)
    found = refused(run, tmp_path / "one", tmp_path / "two")
    assert "teacher ResNet18BN (37.5 %, abababab) against ResNet18BN (20.0 %, cdcdcdcd)" in found


def test_a_table_has_the_teacher_of_each_subset(tmp_path, run):
    """One of a network; two teachers of one subset have tables of their own."""

    def evaluated(folder, name, accuracies, number):
        students = entry("MLP", accuracies, teacher="ResNet18BN")
        students["teacher"] |= {"accuracy": number / 10, "digest": str(number) * 64}
        return write(folder, students, name=name, method=folder.parent.name)

    for method, accuracies in (("one", LOW), ("two", HIGH)):
        for number, name in enumerate(("bird-easy", "bird-hard"), start=1):
            evaluated(tmp_path / method / name, name, accuracies, number)
    (table,) = compared(run, tmp_path / "one", tmp_path / "two")["tables"]
    assert table["title"] == "MLP, 32 px, protocol comp-dd, labels given, teacher ResNet18BN"
    assert "2 teachers: ResNet18BN (10.0 %, 11111111), ResNet18BN (20.0 %, 22222222)" in table["notes"]
    assert [cell["best"] for cell in table["cells"]] == [False, False, True, True]
    evaluated(tmp_path / "two/again", "bird-hard", HIGH, 3)
    tables = compared(run, tmp_path / "one", tmp_path / "two")["tables"]
    assert [len(table["cells"]) for table in tables] == [4, 1]
    assert tables[1]["title"].endswith(", bird-hard under ResNet18BN (30.0 %, 33333333)")
