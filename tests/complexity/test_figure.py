"""The pictures of complexity: whole, with their names and numbers, and one clear line for scores that are damaged."""

import csv
import json
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from compdd_eval.complexity.gallery import _wrapped
from compdd_eval.data.subsets import CATEGORIES, load_subset, subset_names
from compdd_eval.data.synsets import subsets_dir
from tests.support.bad_input import one_line

SETTINGS = {
    "model": "torchvision:resnet18",
    "method": "smoothgradcampp",
    "layer": "layer4",
    "target": "predicted",
    "image_size": 32,
    "threshold": 0.5,
    "split": "train",
    "source": "drawn",
    "images": 160 * 50,
    "top1": 0.698,
}
COLUMNS = ["imagenet_label", "wnid", "name", "mean", "std", "n", "ci_low", "ci_high"]
BARS = ["complexity.png", "complexity.svg"]


def write_scores(folder, rows, examples=()):
    """Write a folder as `complexity` does: rows of (label, wnid, name, mean), examples of these labels."""
    (folder / "examples").mkdir(parents=True)
    with open(folder / "classes.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([*row, 0.1, 50, row[3] - 0.02, row[3] + 0.02] for row in rows)
    (folder / "scores.json").write_text(json.dumps(SETTINGS))
    content, noise = {}, np.random.default_rng(0)
    for label, _, name, mean in [row for row in rows if row[0] in examples]:
        key = f"{label:04d}"
        Image.fromarray(noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"examples/{key}.png")
        small = Image.fromarray(noise.integers(0, 256, (7, 7), dtype=np.uint8))
        small.resize((32, 32)).save(folder / f"examples/{key}_map.png")
        content[key] = {"key": f"{key}.JPEG", "complexity": mean, "predicted": name}
    (folder / "examples.json").write_text(json.dumps(content))
    return folder


def rows_of(name, mean, number=10):
    """Return classes of a subset whose mean complexity is `mean`, with a spread."""
    classes = load_subset(name).classes[:number]
    steps = [0.01 * (place - (len(classes) - 1) / 2) for place in range(len(classes))]
    return [(c.imagenet_index, c.wnid, c.name, mean + step) for c, step in zip(classes, steps, strict=True)]


@pytest.fixture
def scores(tmp_path):
    rows = rows_of("bird-easy", 0.60) + rows_of("bird-hard", 0.685)
    return write_scores(tmp_path / "scores", rows, [row[0] for row in rows[:3]])


def sizes(folder):
    """Return the size of every picture; all have to be whole."""
    found = {}
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as picture:
            picture.load()
            found[path.name] = picture.size
    return found


def texts(path):
    """Return all texts of an SVG file."""
    return [text.strip() for text in ElementTree.parse(path).getroot().itertext() if text.strip()]


def test_all_classes(run, tmp_path):
    rows = [
        row for name in subset_names() for row in rows_of(name, load_subset(name).published_complexity_percent / 100)
    ]
    rows.append((999, "n15075141", "toilet tissue", 0.5))
    shown = [row[0] for row in rows[:42]]
    folder = write_scores(tmp_path / "scores", rows, shown)
    status, out, errors = run("figure", folder)
    figures = folder / "figures"
    assert (status, errors) == (0, [])
    assert out.split() == [str(figures / name) for name in [*BARS, "gallery.png", "gallery-2.png"]]
    assert sorted(path.name for path in figures.iterdir()) == sorted([*BARS, "gallery.png", "gallery-2.png"])
    found = sizes(figures)
    assert found["complexity.png"][0] > 2000 and found["gallery.png"][1] > found["gallery-2.png"][1]
    written = texts(figures / "complexity.svg")
    assert set(CATEGORIES) <= set(written)
    assert {"+8.5", "+7.0", "+6.0", "+6.5", "+5.1", "+4.7", "+4.6"} <= set(written)
    assert {"66.0", "74.5", "13,000", "12,108", "205,674"} <= set(written)
    assert "torchvision:resnet18, smoothgradcampp at layer4, 8,000 images (train), top-1 69.8 %" in written
    assert any("standard error over the classes" in text for text in written)


def test_partial_scores(run, tmp_path):
    rows = rows_of("fish-easy", 0.7, 3) + rows_of("fish-hard", 0.6) + rows_of("dog-hard", 0.7, 1)
    folder = write_scores(tmp_path / "scores", rows)
    (folder / "examples.json").unlink()
    status, out, errors = run("figure", folder, "--output_dir", tmp_path / "out")
    assert status == 0 and out.split() == [str(tmp_path / "out" / name) for name in BARS]
    assert len(errors) == 3
    assert "fish-easy 3 of 10 classes" in errors[0] and "dog-hard 1 of 10 classes" in errors[0]
    assert "left out" in errors[1] and "dog-easy" in errors[1] and "fish" not in errors[1]
    assert "no class has an example" in errors[2]
    written = texts(tmp_path / "out/complexity.svg")
    assert {"fish", "dog", "\u221210.0", "3/10", "1/10"} <= set(written) and "bird" not in written


def test_figures_are_replaced_and_the_same_each_time(run, scores):
    assert run("figure", scores)[0] == 0
    first = {path.name: path.read_bytes() for path in (scores / "figures").iterdir()}
    (scores / "figures/gallery-2.png").write_bytes(b"of a longer gallery")
    assert run("figure", scores)[0] == 0
    assert {path.name: path.read_bytes() for path in (scores / "figures").iterdir()} == first


def test_other_data_have_a_gallery(run, tmp_path):
    """Labels of other data are no ImageNet indices; names may hold anything."""
    names = ["$\\frac{a$ & <b>", "\u96ea\u8c79", "W" * 60, "x"]
    rows = [(label, "", name, 0.25 * label) for label, name in enumerate(names)]
    folder = write_scores(tmp_path / "scores", rows, range(len(names)))
    status, out, errors = run("figure", folder)
    assert status == 0 and out.split() == [str(folder / "figures/gallery.png")]
    assert len(errors) == 1 and "no class of the subsets is scored" in errors[0]
    shutil.rmtree(folder / "examples")
    one_line(run("figure", folder), folder / "classes.csv", "no class of the subsets", "no examples")


def test_published(run, tmp_path):
    status, out, errors = run("figure", "--published", "--output_dir", tmp_path / "out")
    assert (status, errors) == (0, []) and out.split() == [str(tmp_path / "out" / name) for name in BARS]
    assert list(sizes(tmp_path / "out")) == ["complexity.png"]
    written = texts(tmp_path / "out/complexity.svg")
    assert {*CATEGORIES, "+8.5", "66.0", "74.5"} <= set(written)
    assert not any("error bars" in text for text in written)


def test_subsets_of_ones_own(run, scores, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    content = json.loads((subsets_dir() / "bird-easy.json").read_text()) | {"name": "owl-easy", "category": "owl"}
    (own / "owl-easy.json").write_text(json.dumps(content))
    (own / "categories.json").write_text("{}")
    assert run("figure", scores, "--subsets_dir", own)[0] == 0
    written = texts(scores / "figures/complexity.svg")
    assert {"owl", "60.0"} <= set(written) and "bird" not in written and "hard" not in written
    (own / "owl-easy.json").write_text("{}")
    one_line(run("figure", scores, "--subsets_dir", own), own / "owl-easy.json")
    one_line(run("figure", scores, "--subsets_dir", tmp_path / "none"), tmp_path / "none")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["SCORES is missing"]),
        (["--published"], ["--output_dir is missing"]),
        (["scores", "--published"], ["give one of them"]),
        (["--published", "--output_dir", "x", "--subsets_dir", "y"], ["--subsets_dir"]),
        (["nowhere"], ["nowhere/classes.csv: cannot be read", "SCORES is what"]),
    ],
)
def test_wrong_flags(run, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    one_line(run("figure", *arguments), *parts)
    assert list(tmp_path.iterdir()) == []


def cell(column, value):
    """Change a value of the first row of classes.csv."""

    def change(folder):
        header, first, *rest = (folder / "classes.csv").read_text().splitlines()
        values = first.split(",")
        values[COLUMNS.index(column)] = value
        (folder / "classes.csv").write_text("\n".join([header, ",".join(values), *rest]))

    return change


def setting(name, value):
    return lambda folder: (folder / "scores.json").write_text(json.dumps(SETTINGS | {name: value}))


def first_example(folder, suffix=""):
    return folder / f"examples/{load_subset('bird-easy').classes[0].imagenet_index:04d}{suffix}.png"


def put(name, content):
    return lambda folder: (folder / name).write_bytes(content)


DAMAGES = [
    (lambda folder: (folder / "classes.csv").unlink(), ["classes.csv", "cannot be read"]),
    (put("classes.csv", b""), ["classes.csv, line 1", "one column imagenet_label"]),
    (put("classes.csv", b"\xff\xfe\x00"), ["classes.csv", "not a text file in UTF-8"]),
    (put("classes.csv", ",".join(COLUMNS).encode()), ["classes.csv", "holds no classes"]),
    (
        put("classes.csv", f"{','.join(COLUMNS)}\n1,n01443537,goldfish".encode()),
        ["classes.csv, line 2", "3 fields, expected 8"],
    ),
    (put("classes.csv", f'{",".join(COLUMNS)}\n1,"'.encode()), ["classes.csv, line 2", "not CSV"]),
    (cell("mean", "nan"), ["classes.csv, line 2", "mean 'nan'", "from 0 to 1"]),
    (cell("mean", "61"), ["classes.csv, line 2", "mean '61'"]),
    (cell("mean", ""), ["classes.csv, line 2", "mean ''"]),
    (cell("std", "wide"), ["classes.csv, line 2", "std 'wide'"]),
    (cell("n", "0"), ["classes.csv, line 2", "n '0'"]),
    (cell("imagenet_label", "../7"), ["classes.csv, line 2", "imagenet_label '../7'"]),
    (
        cell("imagenet_label", str(load_subset("bird-easy").classes[1].imagenet_index)),
        ["classes.csv, line 2", "the index of"],
    ),
    (cell("name", " "), ["classes.csv, line 2", "the name of a class"]),
    (lambda folder: (folder / "scores.json").unlink(), ["scores.json", "cannot be read"]),
    (put("scores.json", b"{"), ["scores.json", "not a JSON file"]),
    (put("scores.json", b"[" * 100_000), ["scores.json", "not a JSON file"]),
    (put("scores.json", b"[]"), ["scores.json", "by name"]),
    (setting("threshold", float("nan")), ["scores.json", "finite"]),
    (setting("threshold", "half"), ["scores.json", "threshold half"]),
    (setting("model", 3), ["scores.json", "model '3'"]),
    (setting("images", 1.5), ["scores.json", "images 1.5"]),
    (setting("top1", 70), ["scores.json", "top1 70"]),
    (put("examples.json", b"null"), ["examples.json", "by name"]),
    (put("examples.json", json.dumps({f"{n:04d}": 1 for n in range(1000)}).encode()), ["examples.json: 0", "by name"]),
    (put("examples.json", json.dumps({f"{n:04d}": {} for n in range(1000)}).encode()), ["examples.json", "complexity"]),
    (lambda folder: first_example(folder, "_map").unlink(), ["_map.png", "is missing"]),
    (lambda folder: first_example(folder).write_bytes(b"no picture"), [".png", "not a whole PNG"]),
    (lambda folder: shorten(first_example(folder)), [".png", "not a whole PNG"]),
    (lambda folder: Image.new("RGB", (32, 32)).save(first_example(folder, "_map")), ["_map.png", "expected L"]),
    (lambda folder: Image.new("L", (16, 32)).save(first_example(folder, "_map")), ["_map.png", "another size"]),
    (lambda folder: Image.new("RGB", (5000, 8)).save(first_example(folder)), [".png", "5000 x 8 pixels"]),
]


def shorten(path):
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(("change", "parts"), DAMAGES)
def test_damaged_scores(run, scores, change, parts):
    change(scores)
    one_line(run("figure", scores), scores, *parts)
    assert not (scores / "figures").exists()


def test_a_place_that_cannot_be_written(run, scores, tmp_path):
    (tmp_path / "file").write_text("")
    one_line(run("figure", scores, "--output_dir", tmp_path / "file"), tmp_path / "file", "is a file")


def test_long_names_are_wrapped():
    assert _wrapped("tench") == ["tench"]
    assert _wrapped("American Staffordshire terrier") == ["American Staffordshire", "terrier"]
    assert len(_wrapped("W" * 500)) == 3 and _wrapped("W" * 500)[-1].endswith("\u2026")
    assert _wrapped("\x00") == [""]
