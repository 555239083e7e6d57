"""The settings of EDF's release: whose they are, and what is said and recorded of that."""

import json

import pytest
import torch

from compdd_eval.config.distill import DistillConfig
from compdd_eval.data.subsets import load_subset
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.methods.registry import ByIPC, fill_settings, find_method
from compdd_eval.models.registry import create_model
from tests.conftest import ROOT

RELEASED = json.loads((ROOT / "tests/parity/edf_configs.json").read_text())
OURS = {  # names of the release -> ours
    "res": "res",
    "model": "model",
    "syn_steps": "syn_steps",
    "expert_epochs": "expert_epochs",
    "lr_img": "lr_img",
    "lr_teacher": "lr_student",
    "batch_syn": "batch_syn",
    "Iteration": "steps",
    "lr_y": "lr_label",
    "Momentum_y": "momentum_label",
    "threshold": "match_threshold",
    "min_start_epoch": "min_start_epoch",
    "current_max_start_epoch": "first_max_start_epoch",
    "max_start_epoch": "max_start_epoch",
    "expansion_end_epoch": "window_steps",
    "lr_lr": "lr_lr",
}
OF_EDF = {"interval": "interval", "loss_threshold": "loss_threshold", "beta": "beta"}
FIXED = {  # what is no setting of ours
    "pix_init": "samples_predicted_correctly",
    "Sequential_Generation": True,
    "batch_train": 128,
    "model_name": "ResNet18",
    "target_layer_deep": "layer4",
}


def filled(method, ipc, **subset):
    return fill_settings(DistillConfig(method=method, ipc=ipc, experts="x", **subset), find_method(method))


@pytest.mark.parametrize("method", ["datm", "edf"])
@pytest.mark.parametrize("subset", RELEASED)
def test_they_are_those_of_the_release(subset, method):
    names = OURS | OF_EDF if method == "edf" else OURS
    category, difficulty = subset.split("-")
    assert len(RELEASED) == 6 and set(RELEASED[subset]) == {"1", "10", "50"}
    for ipc, released in RELEASED[subset].items():
        assert set(released) == {*OURS, *OF_EDF, *FIXED} and released.items() >= FIXED.items()
        config = filled(method, int(ipc), category=category, subset=difficulty)
        assert {name: getattr(config, ours) for name, ours in names.items()} == {name: released[name] for name in names}


OWN = ",".join(reversed(load_subset("bird-hard").wnids))  # a list of a user's own


@pytest.mark.parametrize(
    ("subset", "whose"),
    [
        ({"category": "birds", "subset": "hard"}, "bird-hard"),
        ({"category": "fish", "subset": "easy"}, "bird-easy"),
        ({"category": "fish", "subset": "hard"}, "bird-hard"),
        ({"category": "music", "subset": "hard", "published": True}, "bird-hard"),
        ({"classes": "nette"}, "bird-easy"),
        ({"classes": OWN}, "bird-easy"),
    ],
)
def test_other_subsets_take_those_of_bird(subset, whose):
    category, difficulty = whose.split("-")
    for method in ("datm", "edf"):
        found, expected = filled(method, 50, **subset), filled(method, 50, category=category, subset=difficulty)
        assert found.given() == expected.given() and found.window_steps == RELEASED[whose]["50"]["expansion_end_epoch"]
    assert find_method("edf").whose_settings(found.load_subset().name) == whose
    assert filled("edf", 50, **subset, match_threshold=3.0).match_threshold == 3.0


def test_a_setting_by_ipc_and_subset():
    value = ByIPC({1: "a", 10: "b"}, {"car-hard": {10: "c", 50: "d"}})
    assert [value.at(ipc, "car-hard") for ipc in (1, 10, 49, 50)] == list("accd")
    assert [value.at(ipc, subset) for ipc in (1, 50) for subset in (None, "car-easy")] == list("aabb")


NONE_OF_ITS_OWN = "settings of bird-{0}: none are published for fish-{0}"


@pytest.mark.parametrize(
    ("words", "said", "threshold"),
    [
        ([], "settings of bird-easy", 1.7),
        (["--subset", "hard"], "settings of bird-hard", 1.5),
        (["--category", "dogs", "--subset", "hard"], "settings of dog-hard", 2.5),
        (["--category", "fish"], NONE_OF_ITS_OWN.format("easy"), 1.7),
        (["--category", "fish", "--subset", "hard"], NONE_OF_ITS_OWN.format("hard"), 1.5),
    ],
)
def test_methods_says_whose_they_are(run, words, said, threshold):
    status, out, _ = run("methods", "edf", *words)
    assert status == 0 and said in out.splitlines() and f"{threshold:g}  " in out
    (content,) = json.loads(run("methods", "datm", *words, "--json")[1])
    assert content["settings_of"] == said.split(":")[0].split()[-1]
    assert [content["presets"][preset]["match_threshold"] for preset in content["presets"]] == [threshold] * 2


def test_help_shows_those_of_the_subset(run):
    words = ["distill", "edf", "--category", "dog", "--ipc", 10, "--help"]
    text = " ".join(run(*words)[1].split())
    assert "IPC 10, settings of dog-easy)" in text and "[default: 250]" in text
    text = " ".join(run("distill", "edf", "--subset", "hard", "--category", "fish", "--help")[1].split())
    assert f"{NONE_OF_ITS_OWN.format('hard')})" in text
    assert "settings of" not in run("distill", "mtt", "--help")[1]


def test_methods_without_any_say_nothing(run):
    assert "settings of" not in run("methods", "mtt", "--category", "dog")[1].replace("settings of one", "")
    assert json.loads(run("methods", "mtt", "--json")[1])[0]["settings_of"] is None
    status, _, lines = run("methods", "edf", "--category", "fishes")
    assert status == 2 and "did you mean 'fish'" in lines[0]


@pytest.mark.parametrize(
    ("words", "whose", "said"),
    [
        (["--category", "bird", "--subset", "hard"], "bird-hard", "settings of bird-hard"),
        (["--classes", OWN], "bird-easy", "settings of bird-easy: none are published for own-"),
    ],
)
def test_the_set_records_whose_they_are(run, drawn, cache, tmp_path, words, whose, said):
    network = create_model("ConvNetD1", 10, (16, 16))
    epochs = [[p.detach() + 0.01 * epoch for p in network.parameters()] for epoch in range(13)]
    torch.save([epochs], tmp_path / "replay_buffer_0.pt")
    made = ["--res", 16, "--model", "ConvNetD1", "--experts", tmp_path, "--data_path", drawn, "--threads", 1]
    made += ["--steps", 1, "--syn_steps", 1, "--output_dir", tmp_path / "set"]
    status, _, lines = run("distill", "datm", *words, *made)
    assert status == 0 and any(f" {said}" in line for line in lines), lines
    found = DistilledSet.load(tmp_path / "set").metadata["distillation"]
    assert found["settings_of"] == whose
    assert found["settings"]["match_threshold"] == RELEASED[whose]["1"]["threshold"]
