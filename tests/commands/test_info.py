"""What `info` shows."""

import json
import shutil

import pytest

from compdd_eval.commands.info import describe_subsets
from compdd_eval.config.info import InfoConfig
from compdd_eval.data.choices import LAYOUTS
from compdd_eval.data.subsets import load_subset, subset_names
from tests.support import imagenet_layouts


def test_the_sixteen(run):
    status, out, errors = run("info")
    assert status == 0 and not errors
    for name in subset_names():
        subset = load_subset(name)
        line = next(line for line in out.splitlines() if line.strip().startswith(name))
        assert f"{subset.splits['train']:,}" in line and f"{subset.published_complexity_percent} %" in line
        assert all(entry.name in line for entry in subset.classes)


def test_one_subset(run):
    for arguments in (["bird-hard"], ["--name", "bird-hard"], ["BIRD-HARD"]):
        status, out, _ = run("info", *arguments)
        assert status == 0
        for entry in load_subset("bird-hard").classes:
            assert entry.wnid in out and entry.name in out
    assert "erratum: The published list holds 420" in run("info", "music-hard")[1]
    assert "unused" not in run("info", "music-hard-published")[1]


def test_json(run):
    description = json.loads(run("info", "--json")[1])
    assert [subset["name"] for subset in description["subsets"]] == subset_names()
    for arguments in (["--json", "fish-hard"], ["fish-hard", "--json"], ["fish-hard", "--json", "true"]):
        (subset,) = json.loads(run("info", *arguments)[1])["subsets"]
        assert subset["classes"][0]["name"] == "tench" and subset["published_complexity_percent"] == 66.4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_of_imagenet(drawn, tmp_path, run, layout):
    shape = imagenet_layouts.SHAPES[layout]
    root = shape(drawn, tmp_path / "i") if shape else drawn
    status, out, _ = run("info", "--data_path", root)
    assert status == 0 and f"layout {layout}, splits train, validation" in out
    assert "120 / 13,000" in out and "50 / 500" in out and out.count("absent") == 14 and out.count("partial") == 2
    status, out, _ = run("info", "bird-easy", "--data_path", root)
    assert "12 / 1,300" in out and "5 / 50" in out


def test_a_whole_copy_and_a_bad_one(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "compdd_eval.data.completeness.expected_images", lambda entry, split: 12 if split == "train" else 5
    )
    found = [subset["found"] for subset in describe_subsets(InfoConfig(data_path=str(drawn)))["subsets"]]
    assert [entry["status"] for entry in found] == ["whole", "whole", *["absent"] * 14]
    shutil.copytree(drawn, tmp_path / "i")
    folder = tmp_path / "i/train" / load_subset("bird-hard").wnids[3]
    next(folder.iterdir()).rename(folder / "n00000001_1.JPEG")
    found = describe_subsets(InfoConfig("bird-hard", str(tmp_path / "i")))["subsets"][0]["found"]
    assert found["status"] == "bad" and "n00000001_1.JPEG: an image of class n00000001" in found["reason"]
    for entry in folder.iterdir():
        entry.unlink()
    found = describe_subsets(InfoConfig("bird-hard", str(tmp_path / "i")))["subsets"][0]["found"]
    assert found["status"] == "bad" and "is empty" in found["reason"] and found["images"]["train"] == 108


def test_bad_input(run, tmp_path):
    for arguments, message in [
        (["brid-easy"], "unknown subset 'brid-easy'; did you mean 'bird-easy'?"),
        (["bird-easy", "more"], "more: every value needs its flag"),
        (["--data_path", tmp_path / "nowhere"], "no such folder"),
        (["--data_path", tmp_path], "no ImageNet here"),
    ]:
        status, _, errors = run("info", *arguments)
        assert status == 2 and len(errors) == 1 and message in errors[0]
