"""The leaderboard: rows, marks, commands, hostile files, the stand-in Hub, and the site in a real browser."""

import csv
import hashlib
import io
import json
import os
import shlex

import pytest

from compdd_eval.config import leaderboard
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.imagenet.hub_files import is_commit
from compdd_eval.data.subsets import config_names, subset_names
from compdd_eval.reports.leaderboard import build, pages, sources
from compdd_eval.reports.leaderboard.command import command_of
from compdd_eval.reports.leaderboard.methods import method_rows
from compdd_eval.reports.leaderboard.rows import (
    BY_MOST,
    BY_NONE,
    OTHER_IMAGES,
    OTHER_SET,
    UNKNOWN,
    Canonical,
    read_canonical,
    rows_of,
)
from compdd_eval.reports.summaries import parse_run
from compdd_eval.utils.errors import InputError
from tests.conftest import environment
from tests.support.browser import sideways
from tests.support.hub_client import Client
from tests.support.hub_stand_in import Blob, Err, Repo

VALIDATION = hashlib.sha256(b"the canonical images").hexdigest()
NETWORKS = ["ConvNetD3", "AlexNet", "ResNet18", "timm:resnet50"]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def group(mean: float, n: int = 3, spread: float = 0.01) -> dict:
    accuracies = [round(mean + spread * (number - (n - 1) / 2), 6) for number in range(n)]
    return {"seeds": list(range(n)), "accuracies": accuracies}


def entry(model="ConvNetD3", mean=0.3, random=0.25, full=0.6, teacher=None, n=3) -> dict:
    return {
        "model": model,
        **group(mean, n),
        "random": None if random is None else group(random, n, 0.012),
        "full": None if full is None else group(full, n, 0.02),
        "per_class_accuracy": [mean] * 10,
        "confusion": [[0] * 10 for _ in range(10)],
        "lr": 0.01,
        "lr_source": "--lr_net",
        "teacher": teacher and {"name": teacher},
    }


def summary(method="a method", subset="bird-easy", ipc=10, entries=None, protocol=None, **changes) -> dict:
    """A summary of `evaluate` as anybody could have written it."""
    category, difficulty = subset.split("-")[:2]
    asked = Protocol(**(protocol or {}))
    entries = entries or [entry()]
    config = {
        **dict.fromkeys(("data_dir", "label_dir", "teacher", "subsets_dir")),
        "category": category,
        "subset": difficulty,
        "data_path": "/secret/imagenet",
        "distilled": "/home/me/sets/mine",
        "model": ",".join(entry["model"] for entry in entries),
        "num_eval": 3,
        "baseline": "random,full",
        "output_dir": "/home/me/results",
        **asked.settings(),
    }
    content = {
        "schema_version": 3,
        "config_name": subset,
        "set": "set",
        "ipc": ipc,
        "resolution": 128,
        "images": 10 * ipc,
        "label_kind": "hard",
        "class_names": [f"bird {number}" for number in range(10)],
        "validation_images": 500,
        "validation_images_expected": 500,
        "protocol": asked.settings(),
        "protocol_changes": asked.changes(),
        "results": entries,
        "digests": {"distilled": digest(f"{method} {subset} {ipc}"), "validation": VALIDATION},
        "distilled": {"method": method},
        "config": config,
        "environments": [{"device": "cpu", "threads": 2, "versions": {"torch": "2.15.0"}}],
        "students": [],
    }
    for name, value in changes.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) and name in content else value
    return content


def write(folder, *summaries):
    for number, content in enumerate(summaries):
        place = folder / f"r{number}"
        place.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (place / "summary.json").write_text(text)
    return folder


def many(count: int) -> list[dict]:
    """Synthetic results of all sorts."""
    made = []
    subsets = config_names()
    for number in range(count):
        soft = number % 5 == 4
        protocol = {"protocol": ("comp-dd", "comp-dd", "comp-dd", "datm", "rded")[number % 5]}
        mean = 0.15 + (number * 7919 % 500) / 1000
        random = mean - 0.02 + number % 7 / 100
        made.append(
            summary(
                method=f"method {number % 23}, run {number}",
                subset=subsets[number % 16],
                ipc=(1, 10, 50)[number % 3],
                entries=[entry(NETWORKS[number % 4], mean, random, teacher="ResNet18" if soft else None)],
                protocol=protocol,
                config={"teacher": "ResNet18"} if soft else {},
                **({"digests": {"validation": "0" * 64}} if number % 41 == 40 else {}),
            )
        )
    return made


def built(tmp_path, *summaries, **changes):
    """Build a site of these results; return its folder."""
    write(tmp_path / "in", *summaries)
    config = leaderboard.LeaderboardConfig([str(tmp_path / "in")], output=str(tmp_path / "site"), **changes)
    build.build(config)
    return tmp_path / "site"


def rows_in(tmp_path, *summaries, given=None):
    write(tmp_path / "in", *summaries)
    return rows_of(sources.read_sources([str(tmp_path / "in")]).found, given)


def one_result(tmp_path, **changes):
    return rows_in(tmp_path, summary(**changes)).results[0]


def words(command: str) -> list[str]:
    return shlex.split(command.replace("\\\n", " "))


def test_a_row_has_numbers_made_anew(tmp_path):
    lying = entry() | {"accuracy_mean": 0.99, "accuracy_std": 0.0, "improvement": {"mean": 0.7}, "n": 1000}
    row = rows_in(tmp_path, summary(entries=[lying])).rows[0]
    assert row.mean == pytest.approx(0.3) and row.std == pytest.approx(0.01) and row.n == 3
    assert row.over_random == pytest.approx(0.05) and row.verdict == "better"
    assert row.recovery == pytest.approx(0.5) and row.random == pytest.approx(0.25)
    assert row.interval[0] < 0.3 < row.interval[1] and row.marks == []


def test_what_is_missing_is_none(tmp_path):
    alone = entry(random=None, full=None, n=1)
    apart = entry("AlexNet")
    apart["random"]["seeds"] = [7, 8, 9]
    rows = rows_in(tmp_path, summary(entries=[alone, apart])).rows
    assert rows[1].std is rows[1].interval is rows[1].over_random is rows[1].verdict is rows[1].recovery is None
    assert rows[0].student == "AlexNet" and rows[0].over_random is None, "no seed in common"
    one = entry()
    one["random"] = {"seeds": [2, 9], "accuracies": [0.1, 0.2]}
    assert one_result(tmp_path / "b", entries=[one]).rows[0].verdict == UNKNOWN


def test_the_protocol_is_what_it_does_not_what_it_is_called(tmp_path):
    """A file that says it changed nothing is still in the table of what it did."""
    hidden = summary("hidden", protocol={"epoch_eval_train": 5000}, protocol_changes={})
    hidden["protocol_changes"] = {}
    rows = rows_in(tmp_path, hidden, summary("plain"), summary("rate", protocol={"lr_net": 0.05})).rows
    names = {row.method: row.protocol for row in rows}
    assert names == {"plain": "comp-dd", "rate": "comp-dd", "hidden": "comp-dd with epoch_eval_train 5000"}


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "unheard of"},
        {"epoch_eval_train": "many"},
        {"epoch_eval_train": True},
        {"batch_train": 10**400},
        {"dsa": "<b>"},
        {"dsa_strategy": "color_<script>"},
        {"labels": ["given"]},
        {"momentum": 1e308},
        {"lr_net": None},
    ],
)
def test_a_protocol_that_is_none_is_left_out(tmp_path, changes, caplog):
    wrong = summary("wrong")
    wrong["protocol"] |= changes
    rows = rows_in(tmp_path, wrong, summary("right"))
    assert [row.method for row in rows.rows] == ["right"] and rows.left_out == 1


def test_the_same_result_is_one_row(tmp_path):
    rows = rows_in(tmp_path, summary(), summary(), summary("another name"))
    assert len(rows.rows) == 2 and rows.twice == 1 and len(rows.results) == 2


def test_a_copied_row_does_not_hide_that_of_another_repository(tmp_path):
    write(tmp_path / "in", summary())
    run = sources.read_sources([str(tmp_path / "in")]).found[0].run
    commits = [f"user{number}/set@{number:040x}" for number in range(2)]
    found = [sources.Found(run, commit) for commit in [*commits, commits[0], None]]
    rows = rows_of(found)
    assert [row.set_name for row in rows.rows] and {row.set_name for row in rows.rows} == {"user0/set", "user1/set"}
    assert rows.twice == 2 and len({result.rows[0].page for result in rows.results}) == 2


def test_marks_by_most_results(tmp_path):
    other = summary("other", digests={"validation": "0" * 64})
    part = summary("part", validation_images=50, digests={"validation": "1" * 64})
    lying = summary("lying", validation_images=50, validation_images_expected=50, digests={"validation": "2" * 64})
    rows = rows_in(tmp_path, summary("a"), summary("b"), other, part, lying)
    marks = {row.method: row.marks for row in rows.rows}
    assert marks["a"] == marks["b"] == [] and marks["other"] == [OTHER_IMAGES]
    assert marks["part"] == marks["lying"] == ["50 of 500 validation images"]
    assert rows.canonical["bird-easy"] == Canonical(VALIDATION, BY_MOST)


def test_a_tie_marks_none(tmp_path):
    rows = rows_in(tmp_path, summary("a"), summary("b", digests={"validation": "0" * 64}))
    assert rows.canonical["bird-easy"].digest is None and all(row.marks == [] for row in rows.rows)
    site = built(tmp_path / "site", summary("a"), summary("b", digests={"validation": "0" * 64}))
    assert "no result is marked for its images" in (site / "index.html").read_text()


def test_marks_by_a_file(tmp_path):
    (tmp_path / "canonical.json").write_text(json.dumps({"bird-easy": "0" * 64}))
    given = read_canonical(str(tmp_path / "canonical.json"))
    rows = rows_in(tmp_path, summary("a"), summary("b"), summary("c", subset="dog-easy"), given=given)
    marks = {row.method: row.marks for row in rows.rows}
    assert marks == {"a": [OTHER_IMAGES], "b": [OTHER_IMAGES], "c": []}
    assert rows.canonical["dog-easy"] == Canonical(None, BY_NONE)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bird-easy": "9f"}', '{"bird-easy": 3}', "[" * 10**5, "\udcff"])
def test_a_canonical_file_that_is_none(tmp_path, text):
    (tmp_path / "c.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="c.json.*SHA-256"):
        read_canonical(str(tmp_path / "c.json"))
    with pytest.raises(InputError, match="none.json: the --canonical file cannot be read"):
        read_canonical(str(tmp_path / "none.json"))
    with pytest.raises(InputError, match=r"^\S+: is no regular file of at most 1 MB; expected JSON"):
        read_canonical(str(tmp_path))


def test_the_command_makes_the_same_settings(tmp_path):
    protocol = {"protocol": "datm", "lr_net": 0.0123456789, "dsa": False, "ema": 0.999}
    asked = {"model": "ConvNetD3,AlexNet", "res": 64, "seed": 5, "baseline": "random", "threads": 7, "nonsense": 1}
    result = one_result(tmp_path, protocol=protocol, config=asked)
    command = command_of(result.run, result.protocol, None)
    parsed = words(command)
    assert parsed[:4] == ["accelerate", "launch", "-m", "compdd_eval"] and "\\\n" in command
    given = dict(zip(parsed[4::2], parsed[5::2], strict=True))
    assert given["--distilled"] == "path/to/mine" and given["--data_path"] == "/path/to/imagenet"
    assert not {"--threads", "--nonsense", "--output_dir"} & set(given) and "/home" not in command
    assert "secret" not in command
    from compdd_eval.commands.parser import parse

    config = parse(EvaluateConfig, parsed[4:])
    assert config.settings() == result.protocol.settings()
    assert (config.model, config.res, config.seed, config.baseline) == ("ConvNetD3,AlexNet", 64, 5, "random")


@pytest.mark.parametrize("protocol", [{"protocol": "dc-bench", "dsa": True}, {"protocol": "dc-bench"}])
def test_the_command_of_a_preset_that_depends_on_a_flag(tmp_path, protocol):
    from compdd_eval.commands.parser import parse

    for epochs in (None, 300, 7):
        result = one_result(tmp_path / str(epochs), protocol={**protocol, "epoch_eval_train": epochs})
        parsed = words(command_of(result.run, result.protocol, None))
        assert parse(EvaluateConfig, parsed[4:]).settings() == result.protocol.settings()


def test_the_command_of_a_set_on_the_hub(tmp_path):
    commit = "0123456789" * 4
    asked = {"distilled": "/x/y", "label_dir": "/x/labels", "pixel_range": "0-255", "lr_dir": "none"}
    result = one_result(tmp_path, config=asked)
    parsed = words(command_of(result.run, result.protocol, f"me/set@{commit}"))
    assert parsed[5] == f"me/set@{commit}" and parsed[parsed.index("--lr_dir") + 1] == "none"
    assert not {"--label_dir", "--pixel_range"} & set(parsed)
    result = one_result(tmp_path / "b", distilled={"repository": "me/set", "revision": commit})
    assert result.rows[0].set_link == f"https://huggingface.co/datasets/me/set/tree/{commit}"
    assert f"me/set@{commit}" in words(command_of(result.run, result.protocol, None))
    folder = {"repository": "me/set", "revision": commit, "folder": "ipc10/my edf"}
    result = one_result(tmp_path / "c", distilled=folder, config={"distilled": f"me/set/ipc10/my edf@{commit}"})
    assert result.rows[0].set_link == f"https://huggingface.co/datasets/me/set/tree/{commit}/ipc10/my%20edf"
    assert result.rows[0].set_name == "me/set/ipc10/my edf"
    assert f"me/set/ipc10/my edf@{commit}" in words(command_of(result.run, result.protocol, None))
    for folder in ("../x", "a/../b", "a/..", "x\ny", "a//b", "$(x)"):
        assert not is_commit(f"me/set/{folder}@{commit}")


@pytest.mark.parametrize(
    "asked",
    [
        {"model": "$(touch /tmp/harm); `id` | 'x' && \"y\""},
        {"model": "--overwrite"},
        {"model": "x\n--output_dir /"},
        {"res": "--output_dir"},
        {"res": 1e308},
        {"num_eval": {"a": [1]}},
        {"teacher": "ResNet18=../../../etc/passwd"},
        {"distilled": "../.."},
        {"distilled": "a/b@--x"},
        {"subsets_dir": "/etc"},
        {"baseline": "unheard of"},
        {"data_dir": "/etc/passwd"},
        {"mean": "\u202e0.5,0.5,0.5"},
        {"model": "A" * 10**5},
    ],
)
def test_a_hostile_command_is_quoted_or_none(tmp_path, asked):
    result = one_result(tmp_path, config=asked)
    command = command_of(result.run, result.protocol, None)
    if command is None:
        return
    parsed = words(command)
    assert all(name.startswith("--") and name[2:] in EvaluateConfig.__dataclass_fields__ for name in parsed[4::2])
    assert not any(value.startswith("--") for value in parsed[5::2]) and command.isprintable() is ("\n" not in command)
    assert "etc/" not in command and "/home" not in command and ".." not in command and len(command) < 1000


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "__proto__",
    '"><svg onload=alert(1)>',
    "<!--<script>",
    "=HYPERLINK(1)",
    "../../etc",
    "\u05e9\u05dc\u05d5\u05dd",
    "a" + "\u0301" * 60,
]


def hostile(text: str) -> dict:
    made = summary(text, entries=[entry(text[:200], teacher=None)], subset="bird-easy")
    said = {"source_url": "javascript:alert(1)", "paper": text, "licence": text, "repository": f"{text}/x"}
    made["distilled"] |= said | {"revision": "../../.."}
    made["config"] |= {"model": text, "distilled": text, "data_path": text, text: text}
    made["environments"] = [{"device": text, "versions": {text: text}, "students": [[text] * 100] * 100}]
    made["class_names"] = [text[:200]] * 10
    return made


def test_hostile_texts_do_no_harm(tmp_path, open_page):
    site = built(tmp_path, *map(hostile, HOSTILE), summary("plain"), title=HOSTILE[0])
    page = open_page(site / "index.html")
    shown = page.locator("#rows th").all_inner_texts()
    assert len(shown) == len(HOSTILE) + 1 and HOSTILE[0] in shown and HOSTILE[1] in shown
    assert page.evaluate("document.querySelectorAll('img, svg, iframe').length") == 0
    links = page.eval_on_selector_all("a", "links => links.map(link => link.href)")
    assert all(link.startswith("file:") for link in links), "javascript: is no link"
    assert not page.problems
    for path in sorted((site / "runs").iterdir()):
        page = open_page(path)
        assert page.evaluate("document.querySelectorAll('img, svg, script').length") == 0 and not page.problems
    assert {path.name for path in tmp_path.iterdir()} == {"in", "site"}
    cells = [cell for row in csv.reader(io.StringIO((site / "results.csv").read_text())) for cell in row]
    assert "'=HYPERLINK(1)" in cells and "=HYPERLINK(1)" not in cells
    page = open_page(
        site / "index.html", fragment="protocol=__proto__&subset=<img>&sort=__proto__-&teacher=x&student=%"
    )
    assert page.locator("#rows tr").count() == len(HOSTILE) + 1 and not page.problems


@pytest.mark.parametrize("text", ["\u202eevil", "\x00\x1b[31m", "\ud800", "a\u2028b", "zero\u200bwidth"])
def test_letters_that_cannot_be_seen_are_not_in_the_site(tmp_path, text):
    made = summary("x")
    made["distilled"] |= {"method": text, "paper": text}
    made["config"] |= {"distilled": text, "model": text}
    made["environments"] = [{"device": text}]
    site = built(tmp_path, made)
    for path in [site / "index.html", *(site / "runs").iterdir(), site / "results.json"]:
        assert not set(text) & set("\u202e\x00\x1b\ud800\u2028\u200b") & set(path.read_text())


HARMFUL = {
    "deep": "[" * 100_000,
    "deep settings": json.dumps(summary(config={"a": json.loads("[" * 30 + "]" * 30)})),
    "not a number": json.dumps(summary()).replace("0.25", "NaN"),
    "huge number": json.dumps(summary()).replace("0.3", "1e400"),
    "huge whole number": json.dumps(summary()).replace('"ipc": 10', '"ipc": ' + "9" * 5000),
    "above one": json.dumps(summary()).replace("0.3", "1.5"),
    "half": json.dumps(summary())[:500],
    "a list": "[]",
    "nothing": "",
    "no text": "\udcff\udcfe",
}


def test_damaged_files_are_left_out(tmp_path, caplog, run):
    folder = write(tmp_path / "in", summary("good"))
    for name, text in HARMFUL.items():
        (folder / name).mkdir()
        (folder / name / "summary.json").write_bytes(text.encode(errors="surrogateescape"))
    os.mkfifo(folder / "summary.json")
    (folder / "big").mkdir()
    with open(folder / "big/summary.json", "wb") as file:
        file.truncate(2**30)
    outside = write(tmp_path / "outside", summary("secret"))
    (folder / "link").mkdir()
    (folder / "link/summary.json").symlink_to(outside / "r0/summary.json")
    (folder / "folder").symlink_to(outside)
    status, printed, lines = run("leaderboard", folder, "--output", tmp_path / "site", "--json")
    assert status == 0, lines
    content = json.loads(printed)
    assert [row["method"] for row in content["rows"]] == ["good"]
    assert content["left_out"] == len(HARMFUL) + 3 == len(lines) and all("left out" in line for line in lines)
    for words in ("not a regular file", "1,024 MB", "is a link that leaves"):
        assert sum(words in line for line in lines) == 1, lines


ODD = [None, True, -1, 0, 1e308, 10**400, "", "x" * 400, "</script>", "\ud800", [], {}, [[[]]], {"a": {"b": 1}}]


def places(content: object, path: tuple = ()) -> list[tuple]:
    """Paths to all parts of JSON, but for those that are alike."""
    parts = (
        content.items() if isinstance(content, dict) else enumerate(content[:1]) if isinstance(content, list) else ()
    )
    return [found for name, part in parts for found in [(*path, name), *places(part, (*path, name))]]


def with_odd(path: tuple, value: object) -> dict:
    made = json.loads(json.dumps(summary(entries=[entry(teacher="ResNet18")])))
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return made


def test_every_odd_value_in_every_place_does_no_harm(tmp_path):
    """Whatever stands where: the result is left out, or shown in a page without a script."""
    shown = 0
    for path in places(with_odd(("set",), "set")):
        for value in ODD:
            try:
                run = parse_run(with_odd(path, value), "x.json", tmp_path / "x.json")
                rows = rows_of([sources.Found(run)])
                page = pages.run_page("title", rows.results[0])
                index = pages.index_page("title", rows)
            except InputError:
                continue
            shown += 1
            assert "<script" not in page and "</script>" not in page and index.count("</script>") == 2, (path, value)
            page.encode(), index.encode(), pages.as_csv(rows).encode()
            json.dumps(pages.site_json("title", rows), allow_nan=False)
    assert shown > 100, "many of them decide nothing"


def test_nothing_left_is_one_error(tmp_path, run):
    write(tmp_path / "in", "{}")
    status, printed, lines = run("leaderboard", tmp_path / "in", "--output", tmp_path / "site")
    assert status == 2 and not printed and len(lines) == 1 and "schema version" in lines[0]
    assert not (tmp_path / "site").exists()
    status, _, lines = run("leaderboard", tmp_path / "no/such/place")
    assert status == 2 and "no such file or folder" in lines[-1] and len(lines) == 1


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else than a leaderboard"):
        built(tmp_path, summary())
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["mine.txt"]
    (tmp_path / "b/site").mkdir(parents=True)
    assert (built(tmp_path / "b", summary()) / "index.html").is_file(), "an empty folder is taken"
    (tmp_path / "c").mkdir()
    (tmp_path / "c/site").write_text("a file")
    with pytest.raises(InputError, match="expected a folder"):
        built(tmp_path / "c", summary())


def test_a_site_is_replaced_and_what_else_is_there_stays(tmp_path):
    site = built(tmp_path, summary("before"))
    (site / ".git").mkdir()
    (site / ".git/config").write_text("mine")
    before = {path.name for path in (site / "runs").iterdir()}
    texts = (site / "index.html").read_bytes()
    assert (built(tmp_path, summary("before")) / "index.html").read_bytes() == texts, "the same again is the same"
    built(tmp_path, summary("after"))
    after = {path.name for path in (site / "runs").iterdir()}
    assert len(after) == 1 and not before & after and (site / ".git/config").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"in", "site"}
    assert set(build.MARKER.split()) <= {path.name for path in site.iterdir()}


def test_a_failure_leaves_the_old_site(tmp_path, monkeypatch):
    site = built(tmp_path, summary("before"))
    before = (site / "index.html").read_bytes()
    monkeypatch.setattr(build, "run_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        built(tmp_path, summary("after"))
    assert (site / "index.html").read_bytes() == before and {path.name for path in tmp_path.iterdir()} == {"in", "site"}


def test_what_is_printed(tmp_path, run):
    write(tmp_path / "in", summary("a"), summary("a"), summary("b", digests={"validation": "0" * 64}), summary("c"))
    status, printed, lines = run("leaderboard", tmp_path / "in", "--output", tmp_path / "site")
    assert status == 0 and not lines and "results                  3" in printed and str(tmp_path / "site") in printed
    status, printed, _ = run("leaderboard", tmp_path / "in", "--output", tmp_path / "site", "--json")
    content = json.loads(printed)
    assert (content["twice"], content["marked"], len(content["rows"])) == (1, 1, 3)
    assert json.loads((tmp_path / "site/results.json").read_text())["rows"] == content["rows"]


def test_no_folders_of_this_machine_are_in_the_site(tmp_path):
    site = built(tmp_path, summary())
    for path in [path for path in site.rglob("*") if path.is_file()]:
        text = path.read_text()
        assert "/home/me" not in text and "/secret" not in text and str(tmp_path) not in text


@pytest.fixture
def client(hub, tmp_path):
    client = Client(tmp_path, environment(**hub.environment))
    yield client
    client.stop()


def repository(hub, name, files, private=False):
    """Put files into a dataset repository; return its commit."""
    repo = hub.repos["dataset", name] = Repo("dataset", name, private)
    return repo.add({path: Blob(text.encode(), False) for path, text in files.items()}, "main", "results")


def test_results_of_repositories(hub, client, tmp_path):
    mine, moved = summary("mine"), summary("moved", ipc=1)
    files = {
        "distilled.json": json.dumps({"sha256": mine["digests"]["distilled"]}),
        "results/aaaa.json": json.dumps(mine),
        "results/moved.json": json.dumps(moved),
        "results/broken.json": "[" * 10**5,
        "results/big.json": " " * (8 * 2**20 + 1),
        "results/deep/er.json": json.dumps(summary("not looked at")),
        "summary.json": json.dumps(summary("not looked at")),
    }
    commit = repository(hub, "me/set", files)
    repository(hub, "me/old", {"README.md": "no results"})
    write(tmp_path / "local", mine, summary("local"))
    status, printed, lines = client("leaderboard", "me/set", "local", "me/old", "--json")
    assert status == 0, lines
    content = json.loads(printed)
    rows = {row["method"]: row for row in content["rows"]}
    assert set(rows) == {"mine", "moved", "local"} and content["left_out"] == 3 and content["twice"] == 1
    assert rows["mine"]["set_link"] == f"https://huggingface.co/datasets/me/set/tree/{commit}"
    assert rows["mine"]["marks"] == [] and rows["moved"]["marks"] == [OTHER_SET]
    assert rows["local"]["set_link"] is None and len(lines) == 3, lines
    page = (tmp_path / "site" / rows["mine"]["page"]).read_text()
    assert f"--distilled me/set@{commit}" in page
    assert not any("big.json" in path for method, path, _ in hub.log if method == "GET"), "it is not downloaded"
    status, _, lines = client("leaderboard", "me/set@nowhere")
    assert status == 2 and len(lines) == 1 and "no such revision" in lines[0]
    status, _, lines = client("leaderboard", "me/none")
    assert status == 2 and len(lines) == 1 and "me/none" in lines[0]
    (tmp_path / "me/set").mkdir(parents=True)
    status, _, lines = client("leaderboard", "me/set")
    assert status == 2 and "no result that can be read" in lines[-1], "a folder wins"


def test_names_and_sizes_of_a_repository():
    sizes = {f"results/{number:05}.json": 2**20 for number in range(300)}
    sizes |= {
        "results/../x.json": 1,
        "results/x.txt": 1,
        "results/.json": 1,
        "/results/y.json": 1,
        "results/z.json": None,
    }
    names, left_out = sources._allowed(sizes, "me/set")
    assert len(names) == 256 and len(left_out) == 45 and len(set(left_out)) == 1
    names, left_out = sources._allowed({f"results/{number:05}.json": 9 for number in range(2500)}, "me/set")
    assert len(names) == sources.MOST_FILES and len(left_out) == 500


def test_nobody_fills_the_table_alone(tmp_path, monkeypatch, run):
    monkeypatch.setattr(sources, "MOST_ROWS", 3)
    write(tmp_path / "a", *many(9))
    write(tmp_path / "b", summary("other"))
    status, printed, lines = run("leaderboard", tmp_path / "a", tmp_path / "b", "--output", tmp_path / "c", "--json")
    assert status == 0 and len(json.loads(printed)["rows"]) == 4 and "more than 3 rows" in lines[0]


def test_a_space(hub, client, tmp_path):
    write(tmp_path / "in", *many(4))
    ask = ["leaderboard", "in", "--push", "tester/board", "--private"]
    status, printed, lines = client(*ask)
    assert status == 0 and "pushed to https://huggingface.co/spaces/tester/board (private)" in printed, lines
    space = hub.repos["space", "tester/board"]
    tree = space.commits[space.refs["main"]]
    pages = {path for path in tree if path.startswith("runs/")}
    assert len(pages) == 4 and {"index.html", "results.json", "README.md", build.MARKER} <= set(tree)
    header = tree["README.md"].data.decode().split("---\n")[1]
    assert "sdk: static" in header and "app_file: index.html" in header and space.private
    commits = len(space.commits)
    status, printed, _ = client(*ask)
    assert status == 0 and "nothing has changed in" in printed and len(space.commits) == commits
    for place in (tmp_path / "in").iterdir():
        (place / "summary.json").unlink()
    write(tmp_path / "in", summary("new"))
    status, printed, lines = client(*ask)
    tree = space.commits[space.refs["main"]]
    now = {path for path in tree if path.startswith("runs/")}
    assert status == 0 and len(now) == 1 and not now & pages and len(space.commits) == commits + 1


def test_what_the_hub_says_is_passed_on(hub, client, tmp_path):
    write(tmp_path / "in", summary())
    hub.refusals = [("POST", "/commit/", Err(429, None, "You have exceeded our hourly quotas for action: commit."))]
    status, _, lines = client("leaderboard", "in", "--push", "tester/board")
    assert status == 2 and len(lines) == 1
    assert "tester/board: the Hub refuses so many requests: You have exceeded our hourly quotas" in lines[0]


def test_a_space_with_something_else_is_refused(hub, client, tmp_path):
    write(tmp_path / "in", summary())
    other = hub.repos["space", "tester/app"] = Repo("space", "tester/app")
    other.add({"app.py": Blob(b"mine", False), "index.html": Blob(b"mine", False)}, "main", "mine")
    status, _, lines = client("leaderboard", "in", "--push", "tester/app")
    assert status == 2 and "holds app.py, index.html and no leaderboard" in lines[-1] and len(other.commits) == 2
    other.add({"index.html": Blob(b"mine", False)}, "main", "a site of somebody's own")
    assert client("leaderboard", "in", "--push", "tester/app")[0] == 2
    hub.repos["space", "tester/public"] = Repo("space", "tester/public")
    status, _, lines = client("leaderboard", "in", "--push", "tester/public", "--private")
    assert status == 2 and "is public" in lines[-1]
    status, printed, _ = client("leaderboard", "in", "--push", "tester/public")
    assert status == 0 and "(public)" in printed
    status, _, lines = client("leaderboard", "in", "--push", "tester/x", HF_TOKEN="")
    assert status == 2 and "hf auth login" in lines[-1] and len(lines) == 1


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    place = tmp_path_factory.mktemp("board")
    write(place / "in", *many(300))
    linked = summary("linked", protocol={"ema": 0.5}, distilled={"repository": "me/set", "revision": "0" * 40})
    write(place / "more", linked, summary("source", protocol={"ema": 0.5}, distilled={"source_url": "https://a.org/x"}))
    sources = [str(place / "in"), str(place / "more")]
    build.build(leaderboard.LeaderboardConfig(sources, output=str(place / "site")))
    return place / "site"


def column(page, place: int) -> list[str]:
    return page.locator(f"#rows tr > :nth-child({place})").all_inner_texts()


def numbers(texts: list[str]) -> list[float]:
    return [float(text.split()[0]) for text in texts]


def test_sort(site, open_page):
    page = open_page(site / "index.html")
    assert page.locator("#rows tr").count() == 100 and "180 of 180 results" in page.inner_text("#count")
    page.click("button[data-key=mean]")
    means = numbers(column(page, 2))
    assert means == sorted(means, reverse=True) and means[0] > means[-1]
    assert page.get_attribute("th:has(button[data-key=mean])", "aria-sort") == "descending"
    page.focus("button[data-key=mean]")
    page.keyboard.press("Enter")
    means = numbers(column(page, 2))
    assert means == sorted(means) and "sort=mean" in page.url
    page.click("button[data-key=student]")
    assert column(page, 5) == sorted(column(page, 5))
    assert page.locator("th[aria-sort=ascending]").count() == 1
    page.click("#next")
    assert page.locator("#rows tr").count() == 180 and page.is_hidden("#more")
    assert not page.problems


def test_filter_and_share(site, open_page):
    page = open_page(site / "index.html")
    page.select_option("#subset", "car-easy")
    page.select_option("#ipc", "10")
    assert set(column(page, 3)) == {"car-easy"} and set(column(page, 4)) == {"10"}
    page.fill("#method", "METHOD 1")
    assert column(page, 1) and all("method 1" in text for text in column(page, 1))
    page.check("#canonical")
    page.click("button[data-key=recovery]")
    shown = column(page, 1)
    again = open_page(site / "index.html", fragment=page.url.split("#")[1])
    assert column(again, 1) == shown and again.input_value("#subset") == "car-easy" and again.is_checked("#canonical")
    again.click("#reset")
    assert again.locator("#rows tr").count() == 100 and "#" not in again.url
    again.check("#canonical")
    assert again.locator("tr.doubtful").count() == 0
    again.uncheck("#canonical")
    again.click("#next")
    assert again.locator("tr.doubtful .note").count() > 0
    assert "not canonical: other validation images" in again.inner_text("tr.doubtful >> nth=0")
    assert not page.problems and not again.problems


def benchmark(method, means, ipc=10, **changes):
    """Results of a method on subsets, by their means."""
    return [summary(method, subset, ipc, [entry(mean=mean)], **changes) for subset, mean in means.items()]


@pytest.fixture(scope="module")
def entries():
    """Two complete methods, one that lacks a subset, one with a result on other images."""
    first = {name: 0.2 + number / 100 for number, name in enumerate(subset_names())}
    higher = {name: mean + 0.1 for name, mean in first.items()}
    made = benchmark("EDF", higher) + benchmark("DATM", first) + benchmark("DM", dict(list(higher.items())[:15]))
    odd = benchmark("odd", higher)
    odd[0]["digests"] = {**odd[0]["digests"], "validation": "0" * 64}
    # a second try of the same: more students count, not the higher mean; then the lower of as many
    return (
        made
        + odd
        + [
            summary("EDF", "bird-easy", 10, [entry(mean=0.9, n=2)]),
            summary("EDF", "bird-hard", 10, [entry(mean=0.9)]),
            summary("EDF", "car-easy", 10, [entry(mean=0.31, n=4)]),
        ]
    )


def test_one_row_a_method(tmp_path, entries):
    rows = method_rows(rows_in(tmp_path, *entries).rows)
    assert [row.method for row in rows] == ["EDF", "DATM", "odd", "DM"], "complete ones first, the best of them on top"
    edf, datm, odd, dm = rows
    names = subset_names()
    assert edf.cells["bird-easy"].mean == pytest.approx(0.3) and edf.cells["bird-hard"].mean == pytest.approx(0.31)
    assert edf.cells["car-easy"].mean == pytest.approx(0.31) and len(edf.cells) == 16 and len(dm.cells) == 15
    easy = [0.2 + number / 100 for number, name in enumerate(names) if name.endswith("-easy")]
    assert datm.average("easy") == pytest.approx(sum(easy) / 8)
    assert datm.average("all") == pytest.approx(sum(0.2 + number / 100 for number in range(16)) / 16)
    hard = dm.average("hard") is None
    assert hard and dm.average("easy") == pytest.approx(sum(easy) / 8 + 0.1), "the last one, music-hard, is missing"
    assert odd.average("all") is odd.average("easy") is None and odd.average("hard") is not None


def test_the_view_of_methods(tmp_path, entries, open_page):
    folder = built(tmp_path, *entries)
    found = json.loads((folder / "results.json").read_text())["methods"]
    assert [row["method"] for row in found] == ["EDF", "DATM", "odd", "DM"] and found[3]["means"]["all"] is None
    assert found[1]["accuracies"]["bird-easy"] == pytest.approx(0.2)
    page = open_page(folder / "index.html")
    assert page.is_hidden("#methods") and page.is_visible("#table")
    page.select_option("#view", "methods")
    assert page.is_visible("#methods") and page.is_hidden("#table") and page.is_disabled("#subset")
    texts = page.eval_on_selector_all(
        "#methods tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert [row[0] for row in texts] == ["EDF", "DATM", "odd", "DM"] and "4 of 4 methods" in page.inner_text("#count")
    heads = page.locator("#methods thead button").all_inner_texts()
    assert heads == [
        "Method",
        "IPC",
        "Student",
        "px",
        "Teacher",
        *map("Mean of {}".format, ("easy", "hard", "all")),
        *subset_names(),
    ]
    assert texts[1][5:9] == [
        *[f"{100 * found[1]['means'][over]:.1f}" for over in ("easy", "hard", "all")],
        "20.0 ± 1.0",
    ]
    assert texts[3][5:8] == [f"{100 * found[3]['means']['easy']:.1f}", "–", "–"] and texts[3][-1] == "–"
    assert texts[2][8].endswith("not canonical") and page.locator("#methods td.doubtful").count() == 1
    page.check("#canonical")
    assert page.locator("#methods td.doubtful").count() == 0
    page.click("#methods button[data-key=music-hard]")
    assert [text.strip() for text in page.locator("#methods tbody th").all_inner_texts()][-2:] == ["DATM", "DM"]
    again = open_page(folder / "index.html", fragment=page.url.split("#")[1])
    assert (
        again.is_visible("#methods") and again.get_attribute("#methods th[aria-sort=descending]", "class") == "number"
    )
    again.click("#methods tbody tr >> nth=0 >> td a >> nth=0")
    assert "/runs/" in again.url and not page.problems and not again.problems
    still = open_page(folder / "index.html", scripts=False)
    assert still.locator("#methods tbody tr").count() == 4
    phone = open_page(folder / "index.html", width=390, fragment="view=methods")
    assert not sideways(phone)


def test_protocols_and_teachers_are_apart(site, open_page):
    page = open_page(site / "index.html")
    options = page.locator("#protocol option").all_inner_texts()
    assert options[0] == "comp-dd" and set(options) == {"comp-dd", "datm", "rded", "comp-dd with ema 0.5"}
    pages = {}
    for name in options:
        page.select_option("#protocol", name)
        if page.is_visible("#more"):
            page.click("#all")
        pages[name] = set(page.eval_on_selector_all("#rows th a", "links => links.map(link => link.href)"))
        assert page.inner_text("#caption") == f"Protocol: {name}" and pages[name]
        assert page.input_value("#teacher") == ("with" if name == "rded" else "without")
    assert sum(map(len, pages.values())) == len(set.union(*pages.values())) == 302
    page.select_option("#protocol", "rded")
    page.select_option("#teacher", "without")
    assert page.locator("#rows tr").count() == 0 and "0 of 60 results" in page.inner_text("#count")
    assert not page.problems


def test_links(site, open_page):
    page = open_page(site / "index.html", fragment="protocol=comp-dd+with+ema+0.5")
    links = {link.inner_text(): link for link in page.locator("#rows td a").all()}
    assert links["me/set"].get_attribute("href") == f"https://huggingface.co/datasets/me/set/tree/{'0' * 40}"
    assert links["source"].get_attribute("href") == "https://a.org/x"
    assert all("noopener nofollow" in link.get_attribute("rel") for link in links.values())
    page.click("text=linked")
    assert "/runs/" in page.url and f"--distilled me/set@{'0' * 40}" in page.inner_text("pre")
    assert "--ema 0.5" in page.inner_text("pre") and "weight_decay" in page.inner_text("main")
    page.click("nav a")
    page.wait_for_load_state()  # the address is there before the end of the page
    assert page.url.endswith("index.html") and not page.problems
    for name in ("results.csv", "results.json"):
        assert page.locator(f"a[href='{name}']").count() == 1 and (site / name).is_file()
    hrefs = {path.name for path in (site / "runs").iterdir()}
    assert {
        row["page"].removeprefix("runs/") for row in json.loads((site / "results.json").read_text())["rows"]
    } == hrefs


def test_looks(site, open_page):
    grounds = {}
    for dark in (False, True):
        for width in (390, 1280):
            for path in (site / "index.html", min((site / "runs").iterdir())):
                page = open_page(path, width=width, dark=dark)
                assert sideways(page) == 0 and not page.problems, f"{path.name} at {width} pixels"
                grounds[dark] = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert grounds == {False: "rgb(255, 255, 255)", True: "rgb(20, 23, 26)"}


def test_names_for_those_who_do_not_see(site, open_page):
    page = open_page(site / "index.html")
    unnamed = "all => all.filter(one => !one.labels.length).length"
    assert page.eval_on_selector_all("select, input", unnamed) == 0
    assert page.locator("table caption").count() == page.locator("table").count() == 3
    assert page.locator("thead th:not([scope])").count() == 0 and page.get_attribute("#count", "role") == "status"


CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = numbers(color).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const opaque = (color) => numbers(color).length === 3 || numbers(color)[3] === 1;
  const ground = (one) => {
    const color = getComputedStyle(one).backgroundColor;
    return opaque(color) || !one.parentElement ? color : ground(one.parentElement);
  };
  const texts = [...document.body.querySelectorAll("*")].filter((one) =>
    [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && one.checkVisibility());
  return texts.map((one) => {
    const [a, b] = [luminance(getComputedStyle(one).color), luminance(ground(one))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.textContent.slice(0, 40)];
  }).sort((one, other) => one[0] - other[0]);
}"""


def test_contrast(site, open_page):
    """All texts against what lies behind them, at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    for dark in (False, True):
        for path in (site / "index.html", min((site / "runs").iterdir())):
            page = open_page(path, dark=dark)
            if path.name == "index.html":
                page.click("#next")
                assert page.locator("tr.doubtful").count()
            found = page.evaluate(CONTRAST)
            assert len(found) > 50 and found[0][0] >= 4.5, found[:3]


def test_without_scripts(site, open_page):
    page = open_page(site / "index.html", scripts=False)
    assert page.locator("#rows tr").count() == 100 and "need JavaScript" in page.inner_text("body")
    assert len(set(page.eval_on_selector_all("#rows th a", "links => links.map(link => link.href)"))) == 100
    served = page.locator("#rows tr").all_inner_texts()
    assert open_page(site / "index.html").locator("#rows tr").all_inner_texts() == served, "scripts draw the same"


def test_many_results(tmp_path, open_page):
    site = built(tmp_path, *many(1200))
    page = open_page(site / "index.html")
    assert page.locator("#rows tr").count() == pages.FIRST
    page.click("button[data-key=over_random]")
    shown = numbers(column(page, 9))
    assert shown == sorted(shown, reverse=True) and not page.problems
