"""`select`, and subset files of a user's own in the builder and the commands."""

import csv
import json
import shutil

import datasets
import pytest

from comp_dd import CompDD
from compdd_eval.complexity.candidates import COLUMNS, ClassScore, Pool, read_pools, read_scores
from compdd_eval.complexity.published_lists import check
from compdd_eval.complexity.select import Selected, choose, select, subset_text
from compdd_eval.config.convert import ConvertConfig
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.select import SelectConfig
from compdd_eval.data.prepared import folder_name
from compdd_eval.data.splits import open_split
from compdd_eval.data.subsets import CATEGORIES, candidates, load_subset, selected_subset, subset_names
from compdd_eval.data.synsets import subsets_dir, synset_of, synsets
from compdd_eval.distilled.set import DistilledSet, read_distilled
from compdd_eval.evaluation.evaluate import evaluate
from compdd_eval.utils.errors import InputError
from tests.conftest import FAST
from tests.support.bad_input import one_line

EASY, HARD = load_subset("bird-easy"), load_subset("bird-hard")
BIRDS = [*EASY.wnids, *HARD.wnids]


def write_scores(folder, rows, header=COLUMNS):
    """Write classes.csv of (wnid, mean, half of the interval)."""
    folder.mkdir(exist_ok=True)
    with open(folder / "classes.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for wnid, mean, half in rows:
            synset = synset_of(wnid)
            ends = ("", "") if half is None else (mean - half, mean + half)
            writer.writerow((synset.index, wnid, synset.name, mean, 0.1, 40, *ends))
    return folder


@pytest.fixture
def birds(tmp_path):
    """Scores of the twenty published birds, 0.30 to 0.49, in the order of `BIRDS`."""
    return write_scores(tmp_path / "scores", [(wnid, 0.30 + 0.01 * k, 0.001) for k, wnid in enumerate(BIRDS)])


@pytest.fixture
def chosen(birds, tmp_path, run):
    """Subset files out of these scores: bird-easy as published, bird-hard in reversed order."""
    assert run("select", birds, "--output_dir", tmp_path / "own")[0] == 0
    return tmp_path / "own"


def pool(means, half=None):
    ends = [None if half is None else (mean - half, mean + half) for mean in means]
    return Pool(
        "x", tuple(ClassScore(k, "", f"c{k}", m, e) for k, (m, e) in enumerate(zip(means, ends, strict=True))), ()
    )


def test_the_candidates_of_the_benchmark():
    content = json.loads((subsets_dir() / "categories.json").read_text())
    assert content["rule"] and list(content["categories"]) == list(CATEGORIES) == list(candidates())
    assert all(entry["roots"] for entry in content["categories"].values())
    known = {synset.wnid for synset in synsets()}
    for category, wnids in candidates().items():
        assert list(wnids) == sorted(set(wnids)) and set(wnids) <= known
        for difficulty in ("easy", "hard"):
            for published in (False, True):
                assert set(load_subset(f"{category}-{difficulty}", published).wnids) <= set(wnids)
    numbers = {category: len(wnids) for category, wnids in candidates().items()}
    assert numbers == {
        "bird": 59, "car": 28, "dog": 119, "fish": 20, "snake": 28, "insect": 28, "round": 21, "music": 27
    }  # fmt: skip


def test_hard_and_easy_and_ties():
    hard, easy = choose(pool([0.5, 0.1, 0.9, 0.3, 0.7]), 2)
    assert [score.index for score in hard.classes] == [2, 4] and [score.index for score in easy.classes] == [1, 3]
    assert hard.complexity_percent == pytest.approx(80)
    hard, easy = choose(pool([0.5, 0.5, 0.5, 0.5, 0.5]), 2)  # no class is in both
    assert [score.index for score in hard.classes] == [0, 1] and [score.index for score in easy.classes] == [2, 3]
    hard, easy = choose(pool([0.2, 0.9, 0.2, 0.9, 0.5, 0.2]), 1)
    assert [score.index for score in (*hard.classes, *easy.classes)] == [1, 0]
    with pytest.raises(InputError, match="x: 3 of 3 candidates are scored, 4 are needed"):
        choose(pool([0.1, 0.2, 0.3]), 2)


def test_files_are_written_as_those_of_the_benchmark(chosen):
    for name in subset_names():
        subset = load_subset(name)
        scores = [ClassScore(c.imagenet_index, c.wnid, c.name, 0.5, None) for c in subset.classes]
        text = subset_text(Selected(subset.category, subset.difficulty, tuple(scores)))
        original = (subsets_dir() / f"{name}.json").read_text()
        percent = f'percent": {subset.published_complexity_percent},'
        if subset.erratum is None:
            assert text == original.replace(percent, 'percent": 50.0,')
    names = {path.name for path in chosen.iterdir()}
    assert names == {"bird-easy.json", "bird-hard.json", "selection.csv"}
    content = json.loads((chosen / "bird-hard.json").read_text())
    assert content["published_complexity_percent"] == 44.5 and content["splits"] == HARD.splits
    rows = list(csv.DictReader((chosen / "selection.csv").open()))
    assert len(rows) == 20 and [row["wnid"] for row in rows[:10]] == HARD.wnids[::-1]
    assert rows[0] | {"mean": "", "ci_low": "", "ci_high": ""} == {
        "category": "bird", "difficulty": "hard", "rank": "1", "imagenet_label": "12", "wnid": HARD.wnids[9],
        "name": "house finch", "mean": "", "ci_low": "", "ci_high": "",
    }  # fmt: skip
    assert float(rows[0]["mean"]) == pytest.approx(0.49)


def test_warnings(tmp_path, run):
    rows = [(wnid, 0.30 + 0.01 * k, 0.004) for k, wnid in enumerate(BIRDS)]
    rows[9] = (BIRDS[9], 0.39, 0.007)
    scores = write_scores(tmp_path / "scores", rows)
    status, out, errors = run("select", scores, "--output_dir", tmp_path / "out", "--json")
    overlaps = [line for line in errors if "overlap" in line]
    assert status == 0 and len(overlaps) == 1  # the same pair from both sides, once
    assert f"{HARD.label_names[0]} (40.0 %, 39.6 to 40.4)" in overlaps[0]
    assert f"{EASY.label_names[9]} (39.0 %, 38.3 to 39.7)" in overlaps[0]
    assert any("left out" in line and "car, dog, fish" in line for line in errors)
    assert any("bird: 39 of 59 candidates are not scored: cock, hen" in line for line in errors)
    found = json.loads(out)
    assert [subset["name"] for subset in found["subsets"]] == ["bird-hard", "bird-easy"]
    assert found["subsets"][1]["classes"][0]["interval"] == pytest.approx([0.296, 0.304])
    write_scores(scores, [(wnid, 0.5, None) for wnid in BIRDS])  # one image a class: no intervals
    errors = run("select", scores, "--output_dir", tmp_path / "out", "--overwrite")[2]
    assert not [line for line in errors if "overlap" in line]


def test_too_few_and_another_number(birds, tmp_path, run):
    lines = (birds / "classes.csv").read_text().splitlines()
    (birds / "classes.csv").write_text("\n".join(lines[:-1]))
    result = run("select", birds, "--output_dir", tmp_path / "out")
    one_line(result, "bird: 19 of 59 candidates are scored, 20 are needed")
    assert not (tmp_path / "out").exists()
    status, out, _ = run("select", birds, "--output_dir", tmp_path / "out", "--n", 9)
    assert status == 0 and "selection.csv alone" in out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["selection.csv"]
    one_line(run("select", birds, "--n", 0), "--n 0")
    one_line(run("select", birds, "--n", 3, "--check"), "--check")
    one_line(run("select"), "SCORES is missing")


def test_a_folder_that_is_not_empty(birds, tmp_path, run):
    out = tmp_path / "out"
    assert run("select", birds, "--output_dir", out)[0] == 0
    one_line(run("select", birds, "--output_dir", out), "holds a selection already", "--overwrite")
    assert run("select", birds, "--output_dir", out, "--n", 4, "--overwrite")[0] == 0
    assert [path.name for path in out.iterdir()] == ["selection.csv"]  # no subset file of before
    for name in ("notes.txt", "shore-hard.json"):
        (out / name).write_text("mine")
        one_line(run("select", birds, "--output_dir", out, "--overwrite"), name)
        (out / name).unlink()
    one_line(run("select", birds, "--output_dir", birds / "classes.csv"), "is a file")


@pytest.mark.parametrize("suffix", ["json", "yaml"])
@pytest.mark.parametrize("own_form", [True, False])
def test_categories_of_a_user(birds, tmp_path, suffix, own_form):
    import yaml

    listed = {"shore": [EASY.wnids[0], EASY.classes[1].imagenet_index, HARD.label_names[0], "tench", EASY.wnids[0]]}
    content = {"categories": {"shore": {"wnids": listed["shore"]}}} if own_form else listed
    path = tmp_path / f"mine.{suffix}"
    path.write_text(json.dumps(content) if suffix == "json" else yaml.safe_dump(content))
    (found,) = read_pools(str(path), read_scores(birds))
    assert [score.wnid for score in found.scored] == [EASY.wnids[0], EASY.wnids[1], HARD.wnids[0]]
    assert found.missing == ("tench",) and found.size == 4


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("{", ["not a JSON file"]),
        ("[1]", ["expected categories by name"]),
        ("{}", ["expected categories by name"]),
        ('{"../x": [1]}', ["'../x'", "letters"]),
        ('{"a": 5}', ["a: expected a list"]),
        ('{"a": []}', ["a: expected a list"]),
        ('{"a": {"roots": []}}', ["a: expected a list"]),
        ('{"a": [true]}', ["'True'", "a WordNet id, an index or a name"]),
        ('{"a": [1000]}', ["index 1000", "0 to 999"]),
        ('{"a": [-1]}', ["index -1"]),
        ('{"a": ["ostrch"]}', ["'ostrch'", "did you mean 'ostrich'"]),
        ('{"a": ["n00000000"]}', ["'n00000000'"]),
        ('{"a": ["crane"]}', ["crane is the name of 2 classes", "134", "517"]),
        ('{"a": ["tench"]}', ["none of the candidates of a is scored"]),
    ],
)
def test_bad_categories(birds, tmp_path, run, content, parts):
    (tmp_path / "mine.json").write_text(content)
    out = tmp_path / "out"
    one_line(run("select", birds, "--categories", tmp_path / "mine.json", "--output_dir", out), *parts)
    one_line(run("select", birds, "--categories", tmp_path / "none.json", "--output_dir", out), "none.json")
    assert not out.exists()


GOOD = ["12", "n01532829", "house finch", "0.5", "0.1", "40", "0.4", "0.6"]


@pytest.mark.parametrize(
    ("column", "value", "part"),
    [
        ("imagenet_label", "x", "imagenet_label 'x'"),
        ("imagenet_label", "13", "12, the index of n01532829"),
        ("wnid", "n00000000", "n00000000"),
        ("wnid", "", "a wnid on every line"),
        ("name", "", "name ''"),
        ("name", "\x1b[31mred", "name"),
        ("mean", "nan", "mean 'nan'"),
        ("mean", "1.5", "mean '1.5'"),
        ("std", "-1", "std '-1'"),
        ("n", "0", "n '0'"),
        ("ci_low", "0.55", "ci_low '0.55'"),
        ("ci_high", "inf", "ci_high 'inf'"),
        ("ci_low", "", "both ends"),
    ],
)
def test_bad_lines(tmp_path, run, column, value, part):
    scores = write_scores(tmp_path / "scores", [(BIRDS[0], 0.5, 0.1)])
    bad = dict(zip(COLUMNS, GOOD, strict=True)) | {column: value}
    with open(scores / "classes.csv", "a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(bad.values())
    one_line(run("select", scores, "--output_dir", tmp_path / "out"), scores / "classes.csv, line 3", part)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "line 1: expected one column imagenet_label"),
        (b"imagenet_label,wnid,name\n", "expected one column mean"),
        (",".join(COLUMNS).encode(), "holds no classes"),
        (",".join(COLUMNS).encode() + b"\n1,2\n", "line 2: 2 fields, expected 8"),
        (",".join(COLUMNS).encode() + b'\n"1\n', "not CSV"),
        (b"\xff\xfe\x00", "UTF-8"),
        (f"{','.join(COLUMNS)}\n{','.join(GOOD)}\n{','.join(GOOD)}\n".encode(), "line 3: house finch has the label 12"),
    ],
)
def test_bad_files(tmp_path, run, content, part):
    (tmp_path / "classes.csv").write_bytes(content)
    one_line(run("select", tmp_path, "--output_dir", tmp_path / "out"), tmp_path / "classes.csv", part)
    one_line(run("select", tmp_path / "nowhere", "--output_dir", tmp_path / "out"), "nowhere", "complexity")


def test_data_that_is_not_imagenet(tmp_path, run):
    lines = [",".join(COLUMNS), *[f"{k},,class {k},0.{k + 1},,1,," for k in range(4)]]
    (tmp_path / "classes.csv").write_text("\n".join(lines))
    one_line(run("select", tmp_path), "--categories FILE")
    one_line(run("select", tmp_path, "--check"), "--check", "ImageNet")
    (tmp_path / "c.yaml").write_text("all: [0, '1', class 2, 3, class 9]")
    arguments = ("select", tmp_path, "--categories", tmp_path / "c.yaml", "--n", 2, "--output_dir", tmp_path / "out")
    status, out, errors = run(*arguments)
    assert status == 0 and any("1 of 5 candidates are not scored: class 9" in line for line in errors)
    rows = list(csv.DictReader((tmp_path / "out/selection.csv").open()))
    assert [row["imagenet_label"] for row in rows] == ["3", "2", "0", "1"]
    assert [row["ci_low"] for row in rows] == [""] * 4


def test_the_check_by_hand(tmp_path, run):
    """Birds as published but for two that changed places; music by its published lists and two more."""
    order = [*BIRDS]
    order[0], order[19] = order[19], order[0]  # the least and the most complex one
    music = [*load_subset("music-easy").wnids, *load_subset("music-hard", published=True).wnids]
    music += [synsets()[432].wnid, synsets()[699].wnid]  # bassoon, panpipe
    rows = [(wnid, 0.30 + 0.01 * k, None) for k, wnid in enumerate(order)]
    rows += [(wnid, 0.50 + 0.01 * k, None) for k, wnid in enumerate(music)]
    scores = write_scores(tmp_path / "scores", [*rows, (load_subset("car-easy").wnids[0], 0.1, None)])
    found = check(SelectConfig(scores=str(scores)))
    entries = {entry["name"]: entry for entry in found["subsets"]}
    assert len(entries) == 16
    assert (entries["bird-hard"]["overlap"], entries["bird-easy"]["overlap"]) == (9, 9)
    assert (entries["music-hard"]["overlap"], entries["music-hard"]["published_classes"]) == (8, 9)  # two are new
    assert entries["music-easy"]["overlap"] == 10 and entries["car-easy"]["overlap"] is None
    assert entries["bird-easy"]["measured_percent"] == pytest.approx(34.5 + 1.9)
    assert (entries["car-easy"]["scored"], entries["car-hard"]["measured_percent"]) == (1, None)
    # Spearman of 20 ranks with two groups: covariance over deviations, ranks 1-20, hard = 11 to 19 and 1
    hard = (sum(range(11, 20)) + 1) / 10
    bird = next(entry for entry in found["categories"] if entry["category"] == "bird")
    expected = 0.5 * (hard - 10.5) / (((20**2 - 1) / 12) ** 0.5 * 0.5)
    assert bird["rank_correlation"] == pytest.approx(expected) and bird["classes"] == 20
    assert (bird["candidates"], bird["scored"]) == (59, 20)
    car = next(entry for entry in found["categories"] if entry["category"] == "car")
    assert car["rank_correlation"] is None and car["scored"] == 1
    # car-easy, bird-easy, bird-hard, music-easy, music-hard: ours 1-5, published 57.4, 66.0, 74.5, 64.1, 68.7
    assert found["rank_correlation_subsets"] == 5
    assert found["rank_correlation"] == pytest.approx(1 - 6 * (0 + 1 + 4 + 4 + 1 - 0) / (5 * 24))
    assert [entry["name"] for entry in found["tenth"]["contenders"]] == ["panpipe", "bassoon"]
    assert (found["tenth"]["rank"], found["tenth"]["ours"]) == (2, "bassoon")
    status, out, _ = run("select", scores, "--check", "--output_dir", tmp_path / "out")
    assert status == 0 and "9 of 10" in out and not (tmp_path / "out").exists()
    assert "panpipe (70.0 %), the most complex" in out and "number 2 of 2 (69.0 %)" in out
    assert json.loads(run("select", scores, "--check", "--json")[1]) == found


def test_the_check_with_next_to_nothing(tmp_path, run):
    scores = write_scores(tmp_path / "scores", [(BIRDS[0], 0.5, None)])
    status, out, errors = run("select", scores, "--check")
    assert status == 0 and not errors and "no candidate that is in neither" in out
    (tmp_path / "c.json").write_text('{"shore": [1]}')
    one_line(run("select", scores, "--check", "--categories", tmp_path / "c.json"), "c.json", "bird, car")


def test_lists_of_a_user(chosen):
    own = load_subset("bird-hard", subsets_dir=chosen)
    assert own.wnids == HARD.wnids[::-1] and own.splits == HARD.splits
    assert own.name == f"{own.category}-hard" and own.category.startswith("bird-") and len(own.category) == 13
    assert selected_subset(own.selection).classes == own.classes and load_subset("bird-hard") == HARD
    content = json.loads((chosen / "bird-hard.json").read_text())
    for place, wnid in enumerate(HARD.wnids[:1] + HARD.wnids[1:][::-1]):
        content["classes"][place].update(vars(synset_of(wnid)) | {"imagenet_index": synset_of(wnid).index})
        content["classes"][place].pop("index")
    (chosen / "bird-hard.json").write_text(json.dumps(content))
    assert load_subset("bird-hard", subsets_dir=chosen).name != own.name  # not kept: the file has changed
    with pytest.raises(InputError, match="unknown subset in .*'brid-hard'; did you mean 'bird-hard'"):
        load_subset("brid-hard", subsets_dir=chosen)
    with pytest.raises(InputError, match="no published variant"):
        load_subset("bird-hard", published=True, subsets_dir=chosen)
    with pytest.raises(InputError, match="a list of a user's own"):
        load_subset("bird-00000000-hard")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda d: "{", "no JSON"),
        (lambda d: [1], "not a subset file"),
        (lambda d: d | {"classes": 5}, "classes: no list"),
        (lambda d: d | {"classes": d["classes"][:9]}, "classes: 9 of them, expected a list of 10"),
        (lambda d: d | {"classes": [{**c, "imagenet_index": 1000 + c["label"]} for c in d["classes"]]}, "class 0 (n"),
        (lambda d: d | {"classes": [{**c, "imagenet_index": []} for c in d["classes"]]}, "imagenet_index [], expected"),
        (lambda d: d | {"version": 1}, "version"),
        (lambda d: d | {"published_complexity_percent": "high"}, "expected a number"),
        (lambda d: d | {"category": "fish"}, 'category "fish", expected "bird"'),
        (lambda d: d | {"erratum": 5}, "erratum: expected"),
    ],
)
def test_bad_subset_files(chosen, run, drawn, change, part):
    content = change(json.loads((chosen / "bird-easy.json").read_text()))
    (chosen / "bird-easy.json").write_text(content if isinstance(content, str) else json.dumps(content))
    given = ["--category", "bird", "--subset", "easy", "--data_path", drawn, "--distilled", "x"]
    one_line(run("--subsets_dir", chosen, *given), "bird-easy.json", part)


def test_bad_folders_of_subsets(chosen, tmp_path, run):
    given = ["--category", "bird", "--subset", "easy", "--distilled", "x"]
    one_line(run("--subsets_dir", tmp_path / "nowhere", *given), "nowhere: no such folder")
    (tmp_path / "empty").mkdir()
    one_line(run("--subsets_dir", tmp_path / "empty", *given), "no subset files")
    one_line(run("--subsets_dir", chosen, "--distilled", "x"), "--subsets_dir", "--category")
    one_line(run("--subsets_dir", chosen, "--category", "fish", "--subset", "easy"), "'fish-easy'", "bird-easy")
    one_line(run("--subsets_dir", chosen, *given, "--published"), "published")


def test_the_builder_with_lists_of_a_user(chosen, drawn, cache):
    before = folder_name()
    builder = CompDD(config_name="bird-hard", data_dir=str(drawn), subsets_dir=str(chosen))
    builder.download_and_prepare()
    train = builder.as_dataset("train")
    assert train.features["label"].names == HARD.label_names[::-1] and train[0]["wnid"] == HARD.wnids[9]
    with pytest.raises(ValueError, match="find cache"):
        datasets.load_dataset("comp_dd", "bird-hard")
    official = CompDD(config_name="bird-hard", data_dir=str(drawn))
    official.download_and_prepare()
    assert datasets.load_dataset("comp_dd", "bird-hard", split="train")[0]["wnid"] == HARD.wnids[0]
    assert folder_name() == before and {path.name for path in cache.glob("comp_dd/*")} >= {
        "bird-hard",
        builder.subset.name,
    }
    again = CompDD(config_name="bird-hard", subsets_dir=str(chosen))
    again.download_and_prepare()
    assert again.status == "current" and again.as_dataset("train")[0]["wnid"] == HARD.wnids[9]
    split = open_split(builder.subset, "train", drawn, (8, 8))
    assert "prepared from" in split.origin and builder.subset.name in split.origin
    with pytest.raises(InputError, match="unknown subset"):
        CompDD(config_name="fish-easy", subsets_dir=str(chosen))


def test_a_category_that_the_benchmark_does_not_have(birds, drawn, cache, tmp_path, run):
    """Select it, prepare it, make a set for it, convert, check and evaluate that."""
    (tmp_path / "c.json").write_text(json.dumps({"shore": BIRDS}))
    own = tmp_path / "own"
    assert run("select", birds, "--categories", tmp_path / "c.json", "--output_dir", own)[0] == 0
    builder = CompDD(config_name="shore-easy", data_dir=str(drawn), subsets_dir=str(own))
    builder.download_and_prepare()
    assert len(builder.as_dataset("train")) == 120
    subset = load_subset("shore-easy", subsets_dir=own)
    train = open_split(subset, "train", drawn, (32, 32))
    from compdd_eval.distilled.formats.published import save_published
    from compdd_eval.distilled.random_images import random_images

    save_published(random_images(train, 1), tmp_path / "set")
    flags = ["--category", "shore", "--subset", "easy", "--subsets_dir", own]
    assert run("convert", tmp_path / "set", tmp_path / "ours", *flags)[0] == 0
    assert json.loads((tmp_path / "ours/distilled.json").read_text())["config_name"] == subset.name
    assert DistilledSet.load(tmp_path / "ours").definition.digest == subset.digest
    status, out, errors = run("validate", tmp_path / "ours", *flags, "--data_path", drawn)
    assert status == 0, (out, errors)
    one_line(run("validate", tmp_path / "ours", "--category", "bird", "--subset", "easy"), "was made for shore-")
    settings = EvaluateConfig(
        **{**FAST, "num_eval": 1}, distilled=str(tmp_path / "ours"), category="shore", subset="easy",
        subsets_dir=str(own), data_path=str(drawn), output_dir=str(tmp_path / "results"), baseline="random",
    )  # fmt: skip
    summary = evaluate(settings, quiet=True)
    assert (summary["category"], summary["subset"]) == (subset.category, "easy")
    assert list((tmp_path / "results").glob(f"*/{subset.name}/*/*/seed0.json"))
    shutil.rmtree(own)  # the set states its classes, and so do the results
    assert run("validate", tmp_path / "ours")[0] == 0
    status, out, errors = run("reproduce", tmp_path / "results/summary.json")
    assert status == 0 and "equal" in out, errors
    facts = json.loads((tmp_path / "ours/distilled.json").read_text())
    facts["classes"][:2] = [facts["classes"][1] | {"label": 0}, facts["classes"][0] | {"label": 1}]
    (tmp_path / "ours/distilled.json").write_text(json.dumps(facts))
    other = DistilledSet.load(tmp_path / "ours").definition  # another list, by its own name
    assert other.wnids == [subset.wnids[1], subset.wnids[0], *subset.wnids[2:]]
    assert other.name.startswith("shore-") and other.name.endswith("-easy") and other.name != subset.name
    one_line(run("validate", tmp_path / "ours", "--classes", ",".join(subset.wnids)), f"was made for {other.name}")
    (tmp_path / "ours/distilled.json").write_text(json.dumps(facts | {"classes": None}))
    one_line(run("validate", tmp_path / "ours"), "a list of a user's own", "subsets_dir")


def test_evaluate_with_lists_of_a_user(chosen, drawn, cache, my_set, tmp_path, run):
    """The same classes in another order: the images are the same, the labels are not."""
    flags = ["--category", "bird", "--subset", "easy", "--data_path", drawn, "--distilled", my_set]
    fast = [part for name, value in {**FAST, "num_eval": 1}.items() for part in (f"--{name}", value)]
    status, out, errors = run(*flags, *fast, "--subsets_dir", chosen, "--output_dir", tmp_path / "results")
    assert status == 0, errors
    name = load_subset("bird-easy", subsets_dir=chosen).name
    assert [path.parts[-4] for path in (tmp_path / "results").rglob("seed*.json")] == [name]
    one_line(run(*flags, *fast, "--output_dir", tmp_path / "results"), name, "give another --output_dir")
    record = next((tmp_path / "results").rglob("seed*.json"))
    settings = json.loads(record.read_text())["config"]
    assert f"{settings['category']}-{settings['subset']}" == name and settings["subsets_dir"] is None
    shutil.rmtree(chosen)
    status, out, _ = run("reproduce", record)
    assert status == 0 and "equal" in out
    given = {name: settings[name] for name in ("category", "subset", "classes")}
    config = ConvertConfig(**given, source=str(my_set), target=str(tmp_path / "t"))
    assert read_distilled(my_set, config).definition.name == name


def test_select_in_python(birds, tmp_path):
    selection = select(SelectConfig(scores=str(birds), output_dir=str(tmp_path / "out")))
    assert [subset.name for subset in selection.subsets] == ["bird-hard", "bird-easy"]
    assert selection.files == ["bird-hard.json", "bird-easy.json", "selection.csv"]
