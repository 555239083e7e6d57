"""Reports: every number is in the page, nothing is loaded from elsewhere, hostile files do no harm."""

import dataclasses
import html
import itertools
import json
import math
import os
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from matplotlib.figure import Figure
from PIL import Image

from compdd_eval import DistilledSet, EvaluateConfig, evaluate, load_comp_dd
from compdd_eval.data.transforms import denormalise
from compdd_eval.distilled.random_images import random_images
from compdd_eval.distilled.result_pictures import MOST_OF_A_CLASS, read_pictures, sheet_of
from compdd_eval.reports.charts import Line, Mark, draw_rows
from compdd_eval.reports.html import as_link, json_for_script, points, short
from compdd_eval.reports.learning_curves import loss_curve, read_students
from compdd_eval.reports.report.panels import named, panels_of
from compdd_eval.reports.report.run_section import section_of
from compdd_eval.reports.report.verdicts import against, verdicts_of
from compdd_eval.reports.report.write import report_of
from compdd_eval.reports.summaries import ONE_DRAW_NOTE, Group, parse_run, read_runs
from compdd_eval.utils.errors import InputError
from tests.conftest import FAST
from tests.support.browser import browser, open_page, sideways  # noqa: F401


@pytest.fixture(scope="module")
def results(drawn, tmp_path_factory):
    """Two real runs of two students: hard labels with IPC 1, soft ones with IPC 2."""
    root = tmp_path_factory.mktemp("reported")
    data = load_comp_dd(drawn, "bird", "easy", (32, 32), cache_dir=root / "none")
    hard, more = (random_images(data.dst_train, ipc, seed=3) for ipc in (1, 2))
    soft = torch.nn.functional.one_hot(more.labels, 10) * 0.7 + 0.03
    sets = {"hard": hard, "soft": DistilledSet(more.images, soft, label_kind="probabilities")}
    common = {**FAST, "data_path": str(drawn), "category": "bird", "subset": "easy", "num_eval": 2, "eval_every": 1}
    common |= {"model": "ConvNetD1,MLP", "baseline": "random,full", "full_epochs": 2}
    common |= {"baseline_dir": str(root / "baselines")}
    for name, distilled in sets.items():
        config = EvaluateConfig(**common, output_dir=str(root / "results" / name))
        evaluate(config, distilled, cache_dir=root / "cache", quiet=True)
    return root / "results"


@pytest.fixture
def copied(results, tmp_path):
    """A copy that a test may damage, as if it came from another machine."""
    shutil.copytree(results, tmp_path / "results")
    return tmp_path / "results"


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


class Texts(HTMLParser):
    """All texts, addresses and elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.words, self.addresses, self.elements, self.ids, self.alts = [], [], [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.elements.append(tag)
        self.addresses += [found[name] for name in ("src", "href", "xlink:href", "action") if name in found]
        self.ids += [found["id"]] if "id" in found else []
        self.alts += [found.get("alt", "")] if tag == "img" else []

    def handle_data(self, data):
        self.words.append(data)


def t_on_the_logit_scale(accuracies):
    mean = accuracies.mean()
    center, error = scipy.special.logit(mean), scipy.stats.sem(accuracies) / (mean * (1 - mean))
    half = error * scipy.stats.t.ppf(0.975, len(accuracies) - 1)
    return 100 * scipy.special.expit(center - half), 100 * scipy.special.expit(center + half)


def test_the_report_has_every_number(run, results, tmp_path):
    status, out, lines = run("report", results, "--output", tmp_path / "r.html")
    assert status == 0 and f"report: {tmp_path}/r.html (2 runs" in out, lines
    page = Texts((tmp_path / "r.html").read_text())
    for name in ("hard", "soft"):
        summary = summary_of(results / name)
        for entry in summary["results"]:
            accuracies = np.array(entry["accuracies"])
            assert f"{100 * accuracies.mean():.2f} ± {100 * accuracies.std(ddof=1):.2f}" in page.text
            if accuracies.std() > 0:
                low, high = t_on_the_logit_scale(accuracies)
                assert f"{low:.1f} to {high:.1f}" in page.text
            difference = accuracies - np.array(entry["random"]["accuracies"])
            assert f"{round(100 * difference.mean(), 2) + 0.0:+.2f}" in page.text
            assert f"{100 * accuracies.mean() / entry['full']['accuracy_mean']:.1f} %" in page.text
            for seed, accuracy in enumerate(accuracies):
                assert f"seed {seed}: {100 * accuracy:.2f}" in page.text
            for label, value in enumerate(entry["per_class_accuracy"]):
                images = sum(entry["confusion"][label]) // 2
                assert f"{100 * value:.1f}" in page.text
                if (value * images).is_integer():
                    low, high = scipy.stats.binomtest(int(value * images), images).proportion_ci(method="wilson")
                    assert f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})" in page.text
        assert summary["digests"]["distilled"] in page.text and summary["digests"]["validation"] in page.text
        for class_name in summary["class_names"]:
            assert class_name in page.text
    assert page.elements.count("svg") == 1 + 2 * 3  # all runs; of each the classes, loss, accuracy
    assert page.elements.count("img") == 10 + 10 + 20  # the first of each class, and all of IPC 2
    assert all(alt.startswith("distilled image") for alt in page.alts)
    assert "soft label" in page.alts[-1] and "0.73" in page.alts[-1] and "soft label" not in page.alts[0]


def test_the_result_comes_first(run, results, tmp_path):
    """Title, verdict, one chart, one table; then images, classes, confusion, curves; settings and digests last."""
    assert run("report", results / "hard", "--output", tmp_path / "r.html")[0] == 0
    text = (tmp_path / "r.html").read_text()
    places = [text.index(part) for part in ('<ul class="verdicts">', "<svg", '<table class="numbers">', "<img")]
    places += [text.index(f"{part}</") for part in ("Accuracy of each class", "Which classes are taken for which")]
    places += [text.index(part) for part in ("Loss of training", "Settings, seeds and digests", "sha256 of the set")]
    assert places == sorted(places)
    assert text.count('<table class="numbers">') == 1
    titled = tmp_path / "titled.html"
    assert run("report", results / "hard", "--output", titled, "--title", "My title")[0] == 0
    assert "<h1>My title</h1>" in titled.read_text()


def test_the_report_needs_nothing_else(run, results, tmp_path):
    assert run("report", results, "--output", tmp_path / "r.html")[0] == 0
    text = (tmp_path / "r.html").read_text()
    page = Texts(text)
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert "script" not in page.elements and "link" not in page.elements and "@import" not in text
    assert "script-src 'none'" in html.unescape(text) and "default-src 'none'" in html.unescape(text)
    assert len(page.ids) == len(set(page.ids))
    targets = {address[1:] for address in page.addresses if address.startswith("#")}
    targets |= set(re.findall(r"url\(#(\w+)\)", text))
    assert targets <= set(page.ids)
    assert text.count("<svg") == text.count('role="img" aria-label="')
    again = tmp_path / "again.html"
    assert run("report", results, "--output", again)[0] == 0 and again.read_text() == text


def test_halves_of_characters_are_written(run, copied):
    """What a file's name that is no UTF-8 becomes in JSON."""
    summary = summary_of(copied / "hard")
    summary["distilled"] |= {"method": None, "paper": "a\udce9b", "files": {"images": "c\udce9"}}
    summary["config"]["distilled"] = "x/\udce9t\udce9"
    (copied / "hard/summary.json").write_text(json.dumps(summary))
    status, _, lines = run("report", copied)
    assert status == 0 and lines == []


def test_the_same_difference_for_every_seed_is_no_evidence(run, copied):
    summary = summary_of(copied / "hard")
    for entry in summary["results"]:
        entry["accuracies"] = [value + 0.25 for value in entry["random"]["accuracies"]]
    (copied / "hard/summary.json").write_text(json.dumps(summary))
    assert run("report", copied / "hard")[0] == 0
    text = Texts((copied / "hard/report.html").read_text()).text
    assert "Cannot be told from random images:" in text and "+25.00 points" in text and "Better than" not in text


def variant(one, folder, accuracies, method="dm", random=None, **changes):
    """A run with these accuracies of its first network alone, as if it lay in a folder of its own."""
    group = Group(tuple(range(len(accuracies))), tuple(accuracies))
    other = None if random is None else Group(tuple(range(len(random))), tuple(random))
    entry = dataclasses.replace(one.entries[0], students=group, random=other, full=None)
    file = one.file.parent / folder / "summary.json"
    return dataclasses.replace(
        one, entries=(entry,), file=file, place=str(file), origin={"method": method}, students=(), **changes
    )


LOW, NEAR, HIGH = [0.10, 0.12, 0.11], [0.12, 0.11, 0.11], [0.20, 0.23, 0.21]


def shown_of(*runs):
    return named(runs, [str(run.file.parent) for run in runs])


def test_methods_stand_in_one_chart_in_the_order_given(results):
    (one,) = read_runs(str(results / "hard"))
    runs = [
        variant(one, f"{method}{ipc}", accuracies, method, LOW if method != "c" else None, ipc=ipc)
        for ipc in (10, 1)
        for method, accuracies in (("c", NEAR), ("a", HIGH), ("b", NEAR))
    ]
    shown = shown_of(*runs)
    (panel,) = panels_of(shown)
    assert [block.title for block in panel.blocks] == ["IPC 1", "IPC 10"]
    assert [[row.name for row in block.rows] for block in panel.blocks] == [["c", "a", "b", "random images"]] * 2
    colors = {row.name: {other.color for block in panel.blocks for other in block.rows if other.name == row.name}
              for row in panel.blocks[0].rows}  # fmt: skip
    assert all(len(found) == 1 for found in colors.values()) and len(set.union(*colors.values())) == 4
    verdicts = {verdict.lead: verdict.of for verdict in verdicts_of([panel])}
    assert verdicts["Better than random images"] == "a, IPC 1 (+10.33 points); a, IPC 10 (+10.33 points)"
    assert verdicts["Cannot be told from random images"].count("points") == 4, "also what has the baseline of others"
    assert verdicts["Better than every other method here"] == "a, IPC 1; a, IPC 10"
    page = report_of(shown)
    assert page.count('<table class="numbers">') == 1 and "<h1>c, a, b on bird-easy, IPC 1, 10</h1>" in page


@pytest.mark.parametrize("value", [0.5, 12, 99.5])
def test_the_axis_of_a_chart_holds_chance_and_stays_in_its_range(value):
    axes = Figure().add_subplot()
    draw_rows(axes, [Line("title"), Line("dm", [Mark(value, (0, 100) if value > 99 else None, [value])])], 10)
    low, high = axes.get_xlim()
    assert 0 <= low < 10 < high <= 100 and low <= value <= high
    assert [label.get_text() for label in axes.get_yticklabels()] == ["title", "dm"]


def test_what_cannot_be_compared_stands_apart(results):
    (one,) = read_runs(str(results / "hard"))
    other = dict(one.digests, validation="f" * 64)
    runs = [variant(one, "a", HIGH, random=LOW), variant(one, "b", HIGH, digests=other)]
    first, second = panels_of(shown_of(*runs))
    assert (first.name, second.name) == (one.digests["validation"][:8], "ffffffff")
    assert [row.name for panel in (first, second) for row in panel.blocks[0].rows] == ["dm", "random images", "dm"]


def test_the_same_method_twice_is_told_apart(results):
    (one,) = read_runs(str(results / "hard"))
    names = [shown.name for shown in shown_of(*(variant(one, folder, HIGH) for folder in ("x", "y")))]
    assert names == ["dm (x)", "dm (y)"]
    alone = shown_of(variant(one, "x", HIGH), variant(one, "y", HIGH, ipc=10))
    assert [shown.name for shown in alone] == ["dm", "dm"] and len({shown.color for shown in alone}) == 1
    runs = [variant(one, folder, HIGH) for folder in ("x/same", "y/same")]
    names = [shown.name for shown in named(runs, ["all", "all"])]
    assert names == [f"dm ({run.place})" for run in runs]


def test_a_fixed_draw_of_random_images_is_called_that(results):
    """Not the baseline, for which each seed draws anew; what is compared with it says so."""
    (one,) = read_runs(str(results / "hard"))
    for method in ("random", "random real images", "Random"):
        alone = panels_of(shown_of(variant(one, "a", HIGH), variant(one, "b", LOW, method)))
        assert [row.name for row in alone[0].blocks[0].rows] == ["dm", "random (one draw)"]
        (verdict,) = verdicts_of(alone)  # it is no rival: that nothing else is better says nothing more
        assert verdict.lead == "Better than one draw of random images" and verdict.of.startswith("dm (+10.33 points")
        assert ONE_DRAW_NOTE in alone[0].notes
    both = panels_of(shown_of(variant(one, "a", HIGH, random=NEAR), variant(one, "b", LOW, "random", random=NEAR)))
    rows = both[0].blocks[0].rows
    assert [row.name for row in rows] == ["dm", "random (one draw)", "random images"]
    assert [against(row) for row in rows[:2]] == ["better than random images", "cannot be told from random images"]
    assert panels_of(shown_of(variant(one, "a", HIGH, "random matching")))[0].notes == both[0].notes[:1]


def test_baselines_that_disagree_are_told_of(results):
    (one,) = read_runs(str(results / "hard"))
    same = panels_of(shown_of(variant(one, "a", HIGH, random=LOW), variant(one, "b", HIGH, "b", random=LOW)))
    (panel,) = panels_of(shown_of(variant(one, "a", HIGH, random=LOW), variant(one, "b", HIGH, "b", random=NEAR)))
    assert not any("not the same" in note for note in same[0].notes)
    assert any(note.startswith("With the same seeds, random images are not the same") for note in panel.notes)
    gains = [row.pairing.difference.mean for row in panel.blocks[0].methods]
    assert gains == pytest.approx([np.mean(HIGH) - np.mean(LOW), np.mean(HIGH) - np.mean(NEAR)])
    assert panel.title.endswith(", 3 seeds")


def test_one_student_and_nothing_to_compare_with(results):
    (one,) = read_runs(str(results / "hard"))
    verdicts = verdicts_of(panels_of(shown_of(variant(one, "a", [0.2]))))
    assert [verdict.lead for verdict in verdicts] == ["20.00 % accuracy", "Nothing to compare with"]
    assert "no interval" in verdicts[0].of and "chance is 10.0 %" in verdicts[0].of


def test_regimes_and_scores_are_shown(run, copied):
    summary = summary_of(copied / "hard")
    summary["regimes"] = [{"labels": "soft", "results": [], "lines": ["soft: MLP beats random: +1.00 points"]}]
    summary["scores"] = [{"model": "MLP", "lrs": 0.25, "ars": 0.5}]
    (copied / "hard/summary.json").write_text(json.dumps(summary))
    assert run("report", copied)[0] == 0
    text = Texts((copied / "report.html").read_text()).text
    assert "soft: MLP beats random: +1.00 points" in text and "MLP: LRS 0.250, ARS 0.500" in text


def test_a_summary_alone(run, copied):
    """The files of students and the pictures may lie on another machine."""
    for path in [*copied.rglob("seed*.json"), *copied.rglob("pictures.*")]:
        path.unlink()
    status, out, lines = run("report", copied / "hard/summary.json")
    assert status == 0 and lines == [] and f"{copied}/hard/report.html (1 run" in out
    text = (copied / "hard/report.html").read_text()
    assert "the files of the students do not lie beside the summary" in text
    assert "pictures of the set do not lie beside the summary" in text and "<img" not in text


def test_a_moved_folder_keeps_its_curves(copied):
    (one,) = read_runs(str(copied / "hard"))
    students = read_students(one)
    assert {model: len(members) for model, members in students.items()} == {"ConvNetD1": 2, "MLP": 2}
    curve = loss_curve(students["MLP"])
    losses = np.array([student.losses for student in students["MLP"]])
    assert curve.mean == pytest.approx(losses.mean(axis=0).tolist()) and curve.low == losses.min(axis=0).tolist()
    assert curve.passes == list(range(1, losses.shape[1] + 1))


def test_long_curves_are_put_in_blocks(copied):
    (one,) = read_runs(str(copied / "hard"))
    (first, second) = read_students(one)["MLP"]
    long = [type(s)(**{**vars(s), "losses": [float(n) for n in range(1001)]}) for s in (first, second)]
    curve = loss_curve(long)
    assert len(curve.mean) == 200 and curve.passes[-1] == 1001 and curve.mean[0] == pytest.approx(2.5, abs=0.6)
    assert math.isclose(np.mean(curve.mean), 500, rel_tol=0.01)
    assert loss_curve([first, type(first)(**{**vars(first), "losses": [None, 1.0]})]) is None


def test_pictures_are_the_set(tmp_path):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(23, 3, 8, 8, generator=generator) * 4 - 2
    labels = torch.tensor([7] * 12 + [0] * 11)
    sheet_of(DistilledSet(images, labels)).write(tmp_path)
    found = read_pictures(tmp_path)
    assert [picture.label for picture in found] == [0] * MOST_OF_A_CLASS + [7] * MOST_OF_A_CLASS
    expected = (denormalise(images[12]).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    assert np.array_equal(np.asarray(found[0].image), expected)
    assert np.array_equal(np.asarray(found[10].image)[0, 0], (denormalise(images[0]).clamp(0, 1) * 255).byte()[:, 0, 0])
    logits = torch.randn(23, 10, generator=generator)
    sheet_of(DistilledSet(images, logits, label_kind="logits")).write(tmp_path)
    probabilities = logits.softmax(dim=1)
    first = next(place for place in range(23) if probabilities[place].argmax() == read_pictures(tmp_path)[0].label)
    assert read_pictures(tmp_path)[0].soft_label == pytest.approx(probabilities[first].tolist(), abs=1e-4)


@pytest.mark.parametrize(
    "damage",
    [
        lambda facts: facts | {"side": 10**6},
        lambda facts: facts | {"side": 9},
        lambda facts: facts | {"images": facts["images"] * 30},
        lambda facts: facts | {"images": [{"label": 11, "soft_label": None}] * 3},
        lambda facts: facts | {"images": [{"label": 1, "soft_label": [1]}] * 3},
        lambda facts: facts | {"images": "abc"},
        lambda facts: [facts],
    ],
)
def test_damaged_pictures(tmp_path, damage):
    sheet_of(DistilledSet(torch.zeros(3, 3, 8, 8), torch.tensor([1, 1, 1]))).write(tmp_path)
    facts = json.loads((tmp_path / "pictures.json").read_text())
    (tmp_path / "pictures.json").write_text(json.dumps(damage(facts)))
    with pytest.raises(InputError, match="no pictures of a set"):
        read_pictures(tmp_path)


def test_damaged_pictures_do_not_stop_a_report(run, copied):
    (sheet,) = copied.glob("hard/*/pictures.png")
    sheet.write_bytes(b"not a picture")
    status, _, _ = run("report", copied)
    text = (copied / "report.html").read_text()
    assert status == 0 and "The pictures cannot be read" in text and text.count("<img") == 10 + 20


def test_hostile_texts_are_only_texts(run, copied):
    evil = '</style></title><script>alert(1)</script><img src=x onerror="alert(2)">'
    path = copied / "hard/summary.json"
    summary = summary_of(copied / "hard")
    summary["distilled"] |= {"method": evil, "paper": "javascript:alert(3)", "source_url": f"https://a.b/{evil}"}
    summary["distilled"]["repository"], summary["distilled"]["revision"] = evil, evil
    summary["class_names"][0], summary["class_names"][1] = evil, "$\\frac{"
    summary["results"][0]["model"] = '"><svg onload=alert(4)>'
    summary["protocol_changes"] = {evil: evil}
    path.write_text(json.dumps(summary))
    status, _, lines = run("report", copied, "--title", evil)
    assert status == 0, lines
    page = Texts((copied / "report.html").read_text())
    assert "script" not in page.elements
    assert not any("javascript:" in address or "alert" in address for address in page.addresses)
    assert "alert(1)" in page.text  # it is shown


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s.pop("results"), "results is no list"),
        (lambda s: s.update(schema_version=99), "schema version 99, expected"),
        (lambda s: s.update(config_name="a\nb"), "config_name is no text"),
        (lambda s: s.update(class_names=["a"] * 9), "class_names is no list of 10"),
        (lambda s: s["results"][0].update(accuracies=[2.0, 0.1]), "accuracies has 2.0, expected a number from 0 to 1"),
        (lambda s: s["results"][0].update(accuracies=[0.1]), "accuracies is no list of 2"),
        (lambda s: s["results"][0].update(seeds=[1, 1]), "a seed is there twice"),
        (lambda s: s["results"][0].update(seeds=[True, 1]), "seeds has True"),
        (lambda s: s["results"][0]["confusion"][0].__setitem__(0, -1), "confusion has -1"),
        (lambda s: s.update(validation_images=10**400), "validation_images has"),
        (lambda s: s["digests"].update(distilled="../../x"), "digests: distilled is no SHA-256"),
        (lambda s: s.update(set="..", students=["a"]) or s.update(students=3), "students is no list"),
        (lambda s: s.update(regimes=[{"labels": "hard", "results": [], "lines": [1]}]), "regimes is no text"),
        (lambda s: s.update(regimes=[{"labels": 3, "results": [], "lines": []}]), "regimes is no text"),
        (lambda s: s.update(regimes=[{"labels": "hard", "lines": []}]), "regimes is no list of 0 to 1000"),
        (lambda s: s.update(scores=[{"model": "MLP", "lrs": 7}]), "scores has 7"),
        (lambda s: s.update(protocol=[]), "protocol is missing or no table"),
        (lambda s: s.update(distilled={"a": {"b": [[[[[[[[[[]]]]]]]]]]}}), "distilled is too deep"),
        (lambda s: s["results"][0].update(random={"seeds": [0]}), "accuracies is no list"),
    ],
)
def test_what_cannot_be_is_refused(results, change, expected):
    summary = summary_of(results / "hard")
    change(summary)
    with pytest.raises(InputError, match=re.escape(expected)):
        parse_run(summary, "x", results)


def test_a_set_in_a_folder_of_the_hub(results):
    commit = "0123456789" * 4
    said = {"repository": "me/sets", "revision": commit, "folder": "ipc1/edf"}
    run = parse_run(summary_of(results / "hard") | {"distilled": said}, "x", results / "hard/summary.json")
    assert run.repository == f"me/sets/ipc1/edf@{commit}" and run.method == "me/sets/ipc1/edf"
    page = f"https://huggingface.co/datasets/me/sets/tree/{commit}/ipc1/edf"
    assert ("set from", run.repository, page) in section_of(shown_of(run)[0], 0).facts


def test_names_never_lead_out_of_the_folder(results):
    summary = summary_of(results / "hard")
    good = "x/results/ipc1-abc/bird-easy/MLP/0123456789ab/seed0.json"
    summary |= {"set": "ipc1-abc", "students": [good, good.replace("MLP", ".."), "../../etc/passwd", 5]}
    assert parse_run(summary, "x", results).students == ("ipc1-abc/bird-easy/MLP/0123456789ab/seed0.json",)
    own = good.replace("MLP", "my+net@1a2b3c4d")  # a network of a user's own
    assert len(parse_run(summary | {"students": [good, own]}, "x", results).students) == 2
    for name in ("..", "../x", "/etc", "", ".hidden", 4):
        found = parse_run(summary | {"set": name}, "x", results)
        assert found.set_name is None and found.students == ()


def test_damaged_summaries(run, copied, tmp_path):
    """One that is given by name is refused; in a folder it is left out and named."""
    path = copied / "hard/summary.json"
    for content in (b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}', b"[]", b"1" * 5000):
        path.write_bytes(content)
        status, out, lines = run("report", path)
        assert status == 2 and len(lines) == 1 and str(path) in lines[0] and out == ""
        status, out, lines = run("report", copied)
        assert status == 0 and "(1 run" in out and "left out" in lines[0] and str(path) in lines[0]
        for command in (["report"], ["leaderboard", "--output", tmp_path / "site"]):
            status, out, lines = run(*command, copied / "hard")
            assert status == 2 and len(lines) == 1 and str(path) in lines[0] and out == ""
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(summary_of(copied / "soft")).encode())
    assert run("report", path)[0] == 0  # as editors of Windows write it
    path.unlink()
    path.symlink_to(path)
    status, _, lines = run("leaderboard", copied, "--output", tmp_path / "site")
    assert status == 0 and str(path) in lines[0]
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**30)  # a gigabyte that takes no room
    status, _, lines = run("report", path)
    assert status == 2 and "1,024 MB; a summary of evaluate has at most 8 MB" in lines[0]
    path.unlink()
    os.mkfifo(path)
    status, _, lines = run("report", copied)
    assert status == 0 and "not a regular file" in lines[0]


def test_bad_input(run, results, tmp_path):
    status, _, lines = run("report")
    assert status == 2 and "RESULTS is missing" in lines[0]
    status, _, lines = run("report", tmp_path / "nowhere")
    assert status == 2 and "no such file or folder" in lines[0]
    (tmp_path / "empty").mkdir()
    status, _, lines = run("report", tmp_path / "empty")
    assert status == 2 and "holds no summary.json" in lines[0]
    (tmp_path / "page.html").mkdir()
    status, _, lines = run("report", results, "--output", tmp_path / "page.html")
    assert status == 2 and "is a folder" in lines[0]
    (tmp_path / "page.html").rmdir()
    status, _, lines = run("report", results, "--output", results / "hard/summary.json")
    assert status == 2 and "the name of a file that ends with .html" in lines[0]
    os.mkfifo(tmp_path / "pipe.html")
    status, _, lines = run("report", results, "--output", tmp_path / "pipe.html")
    assert status == 2 and "is no file" in lines[0]
    (tmp_path / "pipe.html").unlink()
    for empty in (["report", ""], ["report", results, "--output", ""], ["leaderboard", "", results]):
        status, _, lines = run(*empty)
        assert status == 2 and len(lines) == 1, lines
    (tmp_path / "file").write_text("")
    status, _, lines = run("report", results, "--output", tmp_path / "file/r.html")
    assert status == 2 and "is a file, expected a folder" in lines[0]
    assert list(tmp_path.rglob("*.html")) == []


def test_many_pictures_are_left_out(results):
    (one,) = read_runs(str(results / "hard"))
    section = section_of(shown_of(one)[0], 9)
    assert section.pictures == [] and "many pictures already" in section.pictures_note


def test_texts_of_pages():
    assert json_for_script({"a": "</script><!-- \u2028"}) == '{"a":"\\u003c/script\\u003e\\u003c!-- \\u2028"}'
    assert as_link("https://a.b/c") and not as_link("javascript:x") and not as_link('https://a"b') and not as_link(1)
    assert short("a\n b", 10) == "a b" and len(short("x" * 500, 60)) <= 60
    assert points(-0.00001) == "+0.00" and points(-0.01) == "-1.00"


@pytest.fixture
def page_file(run, results, tmp_path):
    assert run("report", results, "--output", tmp_path / "r.html")[0] == 0
    return tmp_path / "r.html"


def test_in_a_browser(open_page, page_file):  # noqa: F811
    """Both colour schemes, phone and desktop, links and soft labels by keyboard; nothing is complained about."""
    grounds = {}
    for dark in (False, True):
        for width in (390, 1280):
            page = open_page(page_file, width=width, dark=dark)
            assert sideways(page) == 0
            boxes = "[...document.querySelectorAll('.scroll')]"  # tables fit a phone, too
            assert page.evaluate(f"{boxes}.every(box => box.scrollWidth <= box.clientWidth)")
            assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 32)")
            grounds[dark] = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            text = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
            assert text == page.evaluate("getComputedStyle(document.documentElement).color")
            assert page.problems == []
    assert grounds[False] != grounds[True]
    page = open_page(page_file)
    assert not page.locator("#run2").is_visible()
    page.locator('a[href="#run2"]').first.click()  # the browser opens what is folded around the target
    assert page.evaluate("location.hash") == "#run2" and page.locator("#run2").is_visible()
    tile = page.locator("#run2 .tile").first
    assert not tile.locator(".tip").is_visible()
    tile.focus()
    assert tile.locator(".tip").is_visible() and "0.73" in tile.locator(".tip").inner_text()
    page.locator("#run2 summary", has_text="MLP").press("Enter")
    assert page.locator("#run2 table.confusion").nth(1).is_visible()
    digests = page.locator("#run1 dl.facts")
    assert not digests.is_visible()
    page.emulate_media(media="print")
    assert digests.is_visible(), "nothing is folded on paper"
    assert page.problems == []


def test_contrast_in_a_browser(open_page, page_file):  # noqa: F811
    """Text against what lies behind it, at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""

    def luminance(color):
        parts = [float(part) for part in re.findall(r"[\d.]+", color)[:3]]
        parts = parts if color.startswith("color(srgb") else [part / 255 for part in parts]  # a mixed colour
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for dark in (False, True):
        page = open_page(page_file, dark=dark)
        ground = luminance(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
        tints = []
        for selector in ("h1", ".soft", "section a", "dt", "summary", *(f".scale .t{level}" for level in range(10))):
            style = f"getComputedStyle(document.querySelector('{selector}'))"
            text, own = luminance(page.evaluate(f"{style}.color")), page.evaluate(f"{style}.backgroundColor")
            behind = ground if own == "rgba(0, 0, 0, 0)" else luminance(own)
            tints += [behind] if ".t" in selector else []
            high, low = max(text, behind), min(text, behind)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (selector, dark)
        # each tint can be told from the one before, and mistakes of a few percent from the ground
        assert all(abs(first - second) > 0.004 for first, second in itertools.pairwise(tints)), (tints, dark)


def test_evaluate_writes_the_pictures(results):
    summary = summary_of(results / "soft")
    folder = results / "soft" / summary["set"]
    assert Image.open(folder / "pictures.png").size == (320, 64)
    assert len(read_pictures(folder)) == 20
