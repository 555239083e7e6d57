import json
import subprocess
import sys
from collections import Counter

import pytest

import comp_dd
from compdd_eval import subsets
from compdd_eval.errors import InputError
from compdd_eval.subsets import load_subset, subset_name, subset_names, synsets


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
    original = subsets.subsets_dir()
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
    lists = "import compdd_eval.subsets as s; s.load_subset('bird-easy')"
    for code, absent in ((lists, ("torch", "datasets", "numpy")), ("import compdd_eval.sources", ("torch", "scipy"))):
        code += f"; import sys; assert not set({absent}) & set(sys.modules), sorted(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=subsets.subsets_dir().parent.parent)


def test_names_are_distinct_within_a_subset_only():
    """`crane` is a bird and a machine: names alone do not identify ImageNet classes."""
    assert {name for name, count in Counter(s.name for s in synsets()).items() if count > 1} == {"crane", "maillot"}
