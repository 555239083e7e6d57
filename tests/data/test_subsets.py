import json
import subprocess
import sys
from collections import Counter
from dataclasses import fields

import datasets
import numpy as np
import pytest
import torch

import comp_dd
from compdd_eval import load_comp_dd
from compdd_eval.complexity.images import _wanted
from compdd_eval.config.complexity import ComplexityConfig
from compdd_eval.config.distill import DistillConfig
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.export import ExportConfig
from compdd_eval.config.methods import MethodsConfig
from compdd_eval.config.prepare import PrepareConfig
from compdd_eval.config.reading import ReadConfig
from compdd_eval.config.subset import SubsetConfig
from compdd_eval.data import subsets
from compdd_eval.data.drawn_imagenet import DIFFICULTIES, draw_image
from compdd_eval.data.subsets import config_names, load_classes, load_subset, related_names, subset_name, subset_names
from compdd_eval.data.synsets import subsets_dir, synset_of, synsets
from compdd_eval.distilled.metadata import parse_record
from compdd_eval.distilled.random_images import random_images
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.utils.errors import InputError
from tests.conftest import FAST
from tests.support.forked import forked


def test_sixteen_configurations_of_ten_classes_and_no_class_in_two():
    names = subset_names()
    assert len(names) == 16
    all_classes = []
    for name in names:
        subset = load_subset(name)
        assert [c.label for c in subset.classes] == list(range(10))
        assert len(set(subset.label_names)) == 10
        all_classes += subset.wnids
    assert len(set(all_classes)) == 160


def test_every_class_is_in_the_synset_table():
    table = synsets()
    assert len(table) == 1000 and [s.wnid for s in table] == sorted(s.wnid for s in table)
    assert sum(s.train_images for s in table) == 1_281_167  # ILSVRC2012's training images
    for name in subset_names():
        for entry in load_subset(name).classes:
            assert table[entry.imagenet_index].wnid == entry.wnid
            assert table[entry.imagenet_index].train_images == entry.train_images


def test_facts_of_the_release(shared):
    facts = json.loads((shared / "comp_dd_facts.json").read_text())
    for name, published in facts["published_subsets"].items():
        subset = load_subset(name, published=True)
        indices = published["indices"]
        assert subset.class_map == {index: label for label, index in enumerate(indices)}
        assert subset.splits["train"] == published["figure_train_images"]
        assert subset.published_complexity_percent == published["figure_complexity_percent"]
    for entry, synset in zip(facts["synsets"], synsets(), strict=True):
        assert entry == vars(synset)


def test_music_hard_is_mended_and_kept_as_published():
    ours, published = load_subset("music-hard"), load_subset("music-hard", published=True)
    assert ours.label_names[0] == "bassoon" and ours.class_map[420] == 2 and ours.splits["train"] == 13000
    assert published == load_subset("music-hard-published")
    assert published.name == "music-hard-published"
    assert [c.label for c in published.classes] == list(range(1, 10))
    assert published.splits == {"train": 11700, "validation": 450}
    assert published.label_names == ["unused label 0", *ours.label_names[1:]]
    assert {k: v for k, v in ours.class_map.items() if v} == published.class_map
    assert ours.digest != published.digest


def test_published_changes_nothing_elsewhere():
    assert load_subset("bird-easy", published=True) == load_subset("bird-easy")
    with pytest.raises(InputError, match="no erratum"):
        load_subset("bird-easy-published")


@pytest.mark.parametrize(
    ("given", "expected"),
    [(("birds", "easy"), "bird-easy"), (("Dog", "HARD"), "dog-hard"), (("cars", "easy"), "car-easy")],
)
def test_category_aliases(given, expected):
    assert subset_name(*given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [(("brid", "easy"), "did you mean 'bird'"), (("bird", "esy"), "did you mean 'easy'"), (("fishes", "x"), "'fish'")],
)
def test_unknown_names_suggest_the_nearest(given, message):
    with pytest.raises(InputError, match=message):
        subset_name(*given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["classes"][3].update(label=4), r"class 3 \(n02033041\): label 4, expected 3 \(dowitcher\)"),
        (lambda d: d["classes"][3].update(label=True), "class 3 .*: label true, expected 3"),
        (lambda d: d["classes"][3].update(d["classes"][2], label=3), r"class 3: n01798484 .* is class 2 already"),
        (
            lambda d: d["classes"][3].update(wnid="n00000000"),
            r"class 3 \(n00000000\): wnid .*, expected the WordNet id",
        ),
        (lambda d: d["classes"][3].update(wnid=[]), r"class 3: wnid \[\], expected the WordNet id"),
        (lambda d: d["classes"][3].update(imagenet_index=11), r"imagenet_index 11, expected 142 \(dowitcher\)"),
        (lambda d: d["classes"][3].update(name="crane"), r'name "crane", expected "dowitcher"'),
        (lambda d: d["classes"][3].update(train_images="1300"), r'train_images "1300", expected 1300 \(dowitcher\)'),
        (lambda d: d["classes"][3].update(lable=3), r"unknown field in .*class 3 \(n02033041\): 'lable'.*'label'"),
        (lambda d: d["classes"].insert(3, 1.5), "classes: 11 of them, expected a list of 10"),
        (lambda d: d["classes"].__setitem__(3, 1.5), "class 3: '1.5', expected a WordNet id, an index or a name"),
        (lambda d: d["classes"].__setitem__(3, "dowicher"), "class 3: 'dowicher'; did you mean 'dowitcher'"),
        (lambda d: d["splits"].update(train=1), "splits .*13000.* the sums over the classes"),
        (lambda d: d.update(name="bird-hard"), r'name "bird-hard", expected "bird-easy", as the file is called'),
        (lambda d: d.pop("classes"), "classes: no list, expected a list of 10"),
        (lambda d: d.update(bogus=1), "unknown field in .*bird-easy.json: 'bogus'"),
        (lambda d: d.update(paper=5), "paper 5, expected a text"),
        (lambda d: d.update(published_complexity_percent=float("nan")), "NaN, expected a number from 0 to 100"),
    ],
)
def test_a_damaged_subset_file_is_refused(change, message, tmp_path, monkeypatch):
    original = subsets_dir()
    data = json.loads((original / "bird-easy.json").read_text())
    change(data)
    (tmp_path / "bird-easy.json").write_text(json.dumps(data))
    (tmp_path / "synsets.tsv").write_text((original / "synsets.tsv").read_text())
    monkeypatch.setattr(subsets, "subsets_dir", lambda: tmp_path)
    with pytest.raises(InputError, match=message):
        subsets._load_ours.__wrapped__("bird-easy", False)


def test_builder_and_files_agree():
    configs = comp_dd.CompDD.BUILDER_CONFIGS
    assert [config.name for config in configs] == subset_names()
    assert {str(config.version) for config in configs} == {load_subset(name).version for name in subset_names()}


def test_reading_the_lists_needs_no_torch():
    lists = "import compdd_eval.data.subsets as s; s.load_subset('bird-easy')"
    for code, absent in (
        (lists, ("torch", "datasets", "numpy")),
        ("import compdd_eval.data.imagenet.open", ("torch", "scipy")),
    ):
        code += f"; import sys; assert not set({absent}) & set(sys.modules), sorted(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=subsets_dir().parent.parent)


def test_names_are_distinct_within_a_subset_only():
    """`crane` is a bird and a machine: names alone do not identify ImageNet classes."""
    assert {name for name, count in Counter(s.name for s in synsets()).items() if count > 1} == {"crane", "maillot"}


PUBLISHED = {  # as the releases of MTT (utils.py, Config) and of IDC (misc/class100.txt) list them
    "nette": [0, 217, 482, 491, 497, 566, 569, 571, 574, 701],
    "woof": [193, 182, 258, 162, 155, 167, 159, 273, 207, 229],
    "fruit": [953, 954, 949, 950, 951, 957, 952, 945, 943, 948],
    "meow": [281, 282, 283, 284, 285, 291, 292, 290, 289, 287],
    "squawk": [84, 130, 88, 144, 145, 22, 96, 9, 100, 89],
    "yellow": [309, 986, 954, 951, 987, 779, 599, 291, 72, 11],
    "idc10": [452, 64, 374, 236, 993, 176, 882, 904, 503, 74],
}
NETTE = load_subset("nette")
MINE = ["garbage truck", 0, "n02102040", "482", 491, 497, 566, 571, "Golf_Ball", 701]  # those of nette, otherwise
MINE_INDICES = [569, 0, 217, 482, 491, 497, 566, 571, 574, 701]


def test_related_lists_are_as_published_and_no_configurations():
    assert set(related_names()) == set(PUBLISHED) and not set(related_names()) & set(config_names())
    for name, indices in PUBLISHED.items():
        subset = load_subset(name)
        assert [c.label for c in subset.classes] == list(range(10)) and list(subset.class_map) == indices
        assert len(set(subset.wnids)) == 10 and all(synset_of(c.wnid).name == c.name for c in subset.classes)
        assert subset.name == name and subset.category is None and subset.published_complexity_percent is None
        assert "arxiv.org" in subset.paper and subset.source.startswith("https://github.com/")
        assert name in SubsetConfig.__doc__ and name in PrepareConfig.__doc__


def test_ten_classes_by_id_index_and_name():
    subset = load_classes(MINE)
    assert list(subset.class_map) == MINE_INDICES and subset.splits == NETTE.splits
    assert load_classes(",".join(map(str, MINE))) == load_classes(MINE_INDICES) == subset
    assert subset.name == f"own-{subset.name[-8:]}" and subset.category is None
    assert load_classes(MINE_INDICES[::-1]).name not in (subset.name, NETTE.name)
    assert load_classes(subset.wnids, subset.name) == subset == subsets.selected_subset(subset.selection)


def test_classes_of_a_named_list_are_that_list():
    assert load_classes(NETTE.wnids) == load_classes("Nette") == load_classes(PUBLISHED["nette"]) == NETTE
    assert load_classes(load_subset("bird-easy").wnids) == load_subset("bird-easy")
    config = ReadConfig(classes=load_subset("bird-easy").wnids)
    assert (config.category, config.subset, config.classes) == ("bird", "easy", None)
    config = ReadConfig(classes="music-hard-published")
    assert config.published and config.load_subset().name == "music-hard-published"


TEN = ",".join(map(str, PUBLISHED["nette"]))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (TEN.rpartition(",")[0], "--classes: 9 classes, expected 10"),
        (f"{TEN},702", "--classes: 11 classes, expected 10"),
        (TEN.replace("217", "tench"), r"--classes: class 1: n01440764 \(tench\) is class 0 already"),
        (TEN.replace("217", "tenchh"), "unknown class in --classes: 'tenchh'; did you mean 'tench'"),
        (TEN.replace("217", "n99999999"), "unknown class in --classes: 'n99999999'"),
        (TEN.replace("217", "1000"), "--classes: index 1000, expected one from 0 to 999"),
        (TEN.replace("217", "crane"), r"crane is the name of 2 classes; give one of the indices \[134, 517\]"),
        (TEN.replace("217", "CARDIGAN"), "CARDIGAN is the name of 2 classes"),
        ("nete", "unknown list of --classes 'nete'; did you mean 'nette'"),
        ("tench", "--classes: 1 class, expected 10 joined by commas, or the name of a list .*nette"),
        ("", "--classes: 0 classes"),
    ],
)
def test_classes_that_are_none(classes, message, run):
    for config in (ReadConfig, PrepareConfig):
        with pytest.raises(InputError, match=message):
            config(classes=classes)


def test_classes_of_another_type():
    for classes in (5, {0: 1}, b"0123456789", set(range(10))):
        with pytest.raises(InputError, match="^--classes: .*expected ten classes in a list"):
            EvaluateConfig(classes=classes)
    images, labels = torch.zeros(10, 3, 32, 32), torch.arange(10)
    with pytest.raises(InputError, match="classes: 5, expected ten classes"):
        DistilledSet(images, labels, metadata={"classes": 5})
    with pytest.raises(InputError, match="subsets_dir: 5, expected a folder"):
        EvaluateConfig(category="bird", subset="easy", subsets_dir=5)


def test_a_stated_list_has_its_present_name():
    """Older versions counted the version of a list's file among the digits of its name."""
    own = load_classes(MINE)
    stated = [{"label": label, "wnid": wnid} for label, wnid in enumerate(own.wnids)]
    facts = {"schema_version": 1, "classes": stated}
    for name in ("own-00000000", "bird-00000000-easy"):
        read = parse_record(json.dumps(facts | {"config_name": name}), "x")
        subset = read.find_subset()
        assert subset.wnids == own.wnids and read.config_name == subset.name != name
        assert subset == load_classes(subset.wnids, subset.name)
    assert parse_record(json.dumps(facts | {"config_name": "nette"}), "x").config_name == "nette"
    with pytest.raises(InputError, match="^x: config_name: classes: 9 classes, expected 10"):
        parse_record(json.dumps(facts | {"config_name": "own-00000000", "classes": stated[:9]}), "x")


def test_a_subset_is_said_once(run, tmp_path):
    for command in (["evaluate", "--distilled", "x"], ["prepare"], ["export"], ["validate", "x"]):
        for more in ("--category bird --subset easy", "--subset easy", f"--subsets_dir {tmp_path}", "--published"):
            status, _, (line,) = run(*command, "--classes", "nette", *more.split())
            assert status == 2 and f"--classes and {more.split()[0]}: give one of them" in line
    with pytest.raises(InputError, match="^classes and category: give one of them"):
        load_comp_dd("x", "bird", "easy", classes="nette")
    with pytest.raises(InputError, match="^bird-easy: classes make another list, nette"):
        comp_dd.CompDD(config_name="bird-easy", classes="nette")
    with pytest.raises(InputError, match="category is missing"):
        load_comp_dd("./x")
    name = load_classes(MINE).name
    for command in (["info", name], ["evaluate", "--category", name, "--subset", "easy", "--distilled", "x"]):
        status, _, (line,) = run(*command)
        assert status == 2 and "a list of a user's own; give its ten classes" in line


@pytest.fixture(scope="module")
def nette(tmp_path_factory):
    """A stand-in for ImageNet with the classes of nette: 4 training and 2 validation images a class."""
    root = tmp_path_factory.mktemp("nette") / "imagenet"
    for entry in NETTE.classes:
        rng = np.random.default_rng(entry.imagenet_index)
        paths = [f"train/{entry.wnid}/{entry.wnid}_{number}.JPEG" for number in range(4)]
        numbers = range(2 * entry.imagenet_index + 1, 2 * entry.imagenet_index + 3)
        for path in [*paths, *(f"val/{entry.wnid}/ILSVRC2012_val_{number:08}.JPEG" for number in numbers)]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            draw_image(entry.label, DIFFICULTIES["easy"], rng).save(root / path)
    return root


@pytest.mark.parametrize("classes", ["nette", MINE_INDICES], ids=["related", "free"])
def test_from_the_classes_to_a_report(classes, nette, cache, tmp_path, run):
    """prepare, load_dataset in another process, a set, evaluate it without a flag, reproduce, reports."""
    subset, flag = load_classes(classes), classes if isinstance(classes, str) else ",".join(map(str, classes))
    status, out, _ = run("prepare", "--data_path", nette, "--classes", flag)
    assert status == 0 and f'load_dataset("comp_dd", "{subset.name}") now works' in out
    code = f"import datasets; d = datasets.load_dataset('comp_dd', {subset.name!r}); t = d['train']"
    code += "; print([t.features['label'].names, t['imagenet_label'][::4], t['label'][::4], len(d['validation'])])"
    done = forked("-c", code, cwd=tmp_path, HF_DATASETS_CACHE=str(cache))
    expected = [subset.label_names, list(subset.class_map), list(range(10)), 20]
    assert done.stdout.strip() == str(expected), done.stderr

    train = load_comp_dd(None, classes=classes, im_size=32).dst_train
    random_images(train, 1).save(tmp_path / "set")
    facts = json.loads((tmp_path / "set/distilled.json").read_text())
    assert (facts["config_name"], facts["category"], facts["subset"]) == (subset.name, None, None)
    assert DistilledSet.load(tmp_path / "set").definition == subset
    fast = [part for name, value in (FAST | {"num_eval": 2}).items() for part in (f"--{name}", value)]
    results = ["--distilled", tmp_path / "set", *fast, "--output_dir", tmp_path / "results"]
    status, _, errors = run("evaluate", *results)
    assert status == 0, errors
    summary = json.loads((tmp_path / "results/summary.json").read_text())
    assert (summary["config_name"], summary["category"], summary["subset"]) == (subset.name, None, None)
    assert summary["class_names"] == subset.label_names and EvaluateConfig(**summary["config"]).load_subset() == subset
    assert len(list((tmp_path / "results").glob(f"*/{subset.name}/*/*/seed*.json"))) == 2
    status, out, errors = run("reproduce", tmp_path / "results/summary.json")
    assert status == 0 and out.count(": equal") == 2, errors
    status, out, _ = run("status", tmp_path / "results")
    assert status == 0 and "2 of 2" in out
    assert run("report", tmp_path / "results", "--output", tmp_path / "r.html")[0] == 0
    assert subset.name in (tmp_path / "r.html").read_text()
    assert run("leaderboard", tmp_path / "results", "--output", tmp_path / "board")[0] == 0
    (row,) = json.loads((tmp_path / "board/results.json").read_text())["rows"]
    assert row["subset"] == subset.name and row["protocol"].endswith("other classes than Comp-DD's")
    assert f"--classes {subset.selection['classes']}" in (tmp_path / "board" / row["page"]).read_text()

    status, _, (line,) = run("evaluate", *results, "--classes", "woof")
    assert status == 2 and f"was made for {subset.name}, not for woof" in line
    assert run("export", "--classes", flag, "--output_dir", tmp_path / "out")[0] == 0
    assert datasets.load_dataset(str(tmp_path / "out"), subset.name, split="train").num_rows == 40
    assert not (tmp_path / "out/eval.yaml").exists()  # no task of the benchmark
    assert f"no subset of Comp-DD: {subset.name}." in (tmp_path / "out/README.md").read_text()


def test_lists_of_the_same_classes_never_mix(nette, cache):
    for classes in ("nette", MINE, NETTE.wnids[::-1]):
        builder = comp_dd.CompDD(classes=classes, data_dir=str(nette))
        builder.download_and_prepare()
        assert builder.status == "built"
    for classes, first in (("nette", 0), (MINE, 569), (NETTE.wnids[::-1], 701)):
        builder = comp_dd.CompDD(config_name=load_classes(classes).name, classes=classes)
        builder.download_and_prepare()
        assert builder.status == "current" and builder.as_dataset("train")[0]["imagenet_label"] == first
    data = load_comp_dd(nette, classes=MINE, im_size=8)
    assert list(data.class_map) == MINE_INDICES and "/comp_dd/own-" in data.dst_test.origin
    by_name = comp_dd.CompDD(config_name="nette")
    by_name.download_and_prepare()
    assert by_name.as_dataset("train").features["label"].names == NETTE.label_names
    assert (
        "no subset of it but ten other classes" in by_name.info.description and NETTE.paper in by_name.info.description
    )


def test_files_of_ones_own_with_next_to_nothing(nette, cache, tmp_path, run):
    lists = tmp_path / "lists"
    lists.mkdir()
    entries = [MINE[0], {"wnid": "n01440764"}, *MINE[2:]]
    (lists / "mine-easy.json").write_text(json.dumps({"classes": entries}))
    (lists / "mine-hard.json").write_text(json.dumps({"classes": load_subset("woof").wnids}))
    own = load_subset("mine-easy", subsets_dir=lists)
    assert own.classes == load_classes(MINE).classes and own.splits == NETTE.splits
    assert own.published_complexity_percent is None and own.name not in (load_classes(MINE).name, "mine-easy")
    flags = ["--subsets_dir", lists]
    status, out, _ = run("prepare", "--data_path", nette, *flags)  # of woof nothing is there
    assert status == 0 and own.name in out and "not built: mine-" in out
    assert datasets.load_dataset("comp_dd", own.name, split="train")[0]["imagenet_label"] == 569
    status, out, _ = run("export", *flags, "--category", "mine", "--subset", "easy", "--output_dir", tmp_path / "out")
    assert status == 0 and own.name in out
    data = load_comp_dd(None, "mine", "easy", 8, subsets_dir=lists)
    assert data.dst_train.subset == own
    status, _, (line,) = run("prepare", *flags, "--category", "other")
    assert status == 2 and "no subset file other-*.json; there are mine-easy, mine-hard" in line


def test_info_of_lists(run):
    status, out, _ = run("info", "nette")
    assert status == 0 and "complexity" not in out and "Config.imagenette" in out
    assert [entry.wnid for entry in NETTE.classes] == [line.split()[1] for line in out.splitlines() if " n0" in line]
    status, out, _ = run("info", ",".join(map(str, MINE_INDICES)))
    assert status == 0 and load_classes(MINE).name in out
    assert all(name in run("info")[1].splitlines()[-1] for name in related_names())
    (found,) = json.loads(run("info", "idc10", "--json")[1])["subsets"]
    assert {field.name for field in fields(NETTE)} == set(found) and found["splits"]["train"] == 12854


@pytest.mark.parametrize(
    ("word", "selection"),
    [
        ("bird-easy", {"category": "bird", "subset": "easy"}),
        ("Birds-HARD", {"category": "bird", "subset": "hard"}),
        ("music-hard-published", {"category": "music", "subset": "hard", "published": True}),
        ("nette", {"classes": "nette"}),
    ],
)
def test_one_word_says_a_subset(word, selection):
    """As the two words do: settings, and so the digests of results, are the same."""
    for place in ("category", "subset"):
        assert subsets.selected_subset({place: word}).selection == selection
        assert EvaluateConfig(**{place: word}) == EvaluateConfig(**selection)
    assert EvaluateConfig(word) == EvaluateConfig(**selection) and ReadConfig(word) == ReadConfig(**selection)
    assert DistillConfig(word, method="random") == DistillConfig(**selection, method="random")
    for config in (PrepareConfig(subset=word), ExportConfig(subset=word)):
        assert [subset.name for subset in config.subsets()] == [load_subset(word.lower().replace("birds", "bird")).name]
    assert (
        MethodsConfig(subset=word).subset_name
        == MethodsConfig(category=word).subset_name
        == EvaluateConfig(word).load_subset().name
    )


def test_one_word_beside_another_that_says_the_same():
    for category, subset in (("bird", "bird-easy"), ("birds", "bird-easy"), ("bird-easy", "easy"), ("bird-easy",) * 2):
        assert EvaluateConfig(category, subset) == EvaluateConfig("bird", "easy")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"category": "bird", "subset": "dog-easy"}, "--category bird and --subset dog-easy are two subsets; give one"),
        ({"category": "bird-easy", "subset": "hard"}, "--category bird-easy and --subset hard are two subsets"),
        ({"category": "bird", "subset": "nette"}, "--category bird and --subset nette are two subsets"),
        ({"subset": "nette", "classes": "woof"}, "--classes and --subset nette: give one of them"),
        ({"subset": "bird-easy", "classes": "woof"}, "--classes and --category: give one of them"),
        ({"subset": "brid-easy"}, "unknown category 'brid'; did you mean 'bird'"),
        ({"subset": "birdeasy"}, "unknown subset 'birdeasy'; did you mean 'bird-easy'"),
        ({"category": "bird-esy"}, "unknown category 'bird-esy'; did you mean 'bird-easy'"),
        ({"category": "nete"}, "unknown category 'nete'; did you mean 'nette'"),
        ({"subset": "dog-hard-published"}, "dog-hard has no erratum"),
        ({"subset": "own-1a2b3c4d"}, "own-1a2b3c4d: a list of a user's own"),
        ({"category": 5}, "--category 5: expected a text, for example 'bird-easy'"),
    ],
)
def test_words_that_are_no_subset(given, message):
    for config in (EvaluateConfig, PrepareConfig):
        with pytest.raises(InputError, match=message):
            config(**given)


def test_one_word_for_a_list_of_a_users_own(tmp_path):
    for name in ("bird-easy", "garden-hard"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"classes": PUBLISHED["nette"][::-1]}))
        category, subset = name.split("-")
        config = EvaluateConfig(subset=name, subsets_dir=str(tmp_path))
        assert config == EvaluateConfig(category, subset, str(tmp_path))
        assert config.load_subset().name == f"{config.category}-{subset}" and config.category.startswith(f"{category}-")
        assert EvaluateConfig(config.load_subset().name, classes=config.classes) == config
        asked = PrepareConfig(subset=name, subsets_dir=str(tmp_path))
        assert [subset.name for subset in asked.subsets()] == [config.load_subset().name]
    with pytest.raises(InputError, match="unknown subset 'garden'; did you mean 'garden-hard'"):
        EvaluateConfig(subset="garden", subsets_dir=str(tmp_path))


def test_one_word_for_what_complexity_measures():
    config = ComplexityConfig(subset="birds-easy")
    assert (config.category, config.subset, config.classes) == ("bird", "easy", "published")
    config = ComplexityConfig(subset="music-hard-published")
    assert config == ComplexityConfig(classes="music-hard-published") and len(_wanted(config)) == 9
    with pytest.raises(InputError, match="--classes and --subset nette"):
        ComplexityConfig(subset="nette", classes="woof")
