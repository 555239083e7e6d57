"""RDED: the crops that a teacher finds most realistic, several in an image."""

import json
import re
import shlex
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from compdd_eval.config.distill import DistillConfig
from compdd_eval.data.drawn_imagenet import draw_imagenet
from compdd_eval.data.splits import load_comp_dd
from compdd_eval.data.transforms import normalise
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.evaluation.evaluate import evaluate
from compdd_eval.methods import rded
from compdd_eval.methods.distill import distill
from compdd_eval.methods.job import Job
from compdd_eval.methods.rded import most_realistic, pasted
from compdd_eval.methods.registry import find_method
from compdd_eval.models.registry import create_model
from compdd_eval.utils.errors import InputError

RES = 16


def test_the_best_crop_of_each_image_by_hand():
    """The cross-entropy of each crop in the middle of zeros, in a plain loop."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 7 * 7, 5)).double()
    crops = torch.randn(6, 4, 3, 4, 4, dtype=torch.float64)
    found, losses = most_realistic(network, crops, 2, 7)
    for image, crop, loss in zip(crops, found, losses, strict=True):
        own = []
        for one in image:
            given = torch.zeros(1, 3, 7, 7, dtype=torch.float64)
            given[0, :, 1:5, 1:5] = one
            logits = network(given)[0]
            own.append((logits.exp().sum().log() - logits[2]).item())
        assert torch.equal(crop, image[own.index(min(own))]) and loss.item() == pytest.approx(min(own), rel=1e-5)


def test_crops_are_pasted_row_by_row():
    crops = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 2, 2)
    first, second = pasted(crops, 2)
    rows = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [4, 4, 6, 6], [4, 4, 6, 6]])
    assert all(torch.equal(channel, rows) for channel in first)
    assert all(torch.equal(channel, rows + 1) for channel in second)
    assert torch.equal(pasted(crops, 1), crops)


@pytest.fixture
def teacher(run, drawn, cache, tmp_path):
    words = ("--category", "bird", "--subset", "easy", "--res", RES, "--model", "ConvNetD2", "--epochs", 3)
    words = (*words, "--data_path", drawn, "--threads", 1, "--output_dir", tmp_path / "teacher")
    status, _, lines = run("teacher", *words)
    assert status == 0, lines
    return str(tmp_path / "teacher")


@pytest.fixture
def make(drawn, teacher, tmp_path):
    def call(name="set", **changes):
        settings = {"category": "bird", "subset": "easy", "data_path": str(drawn), "res": RES, "threads": 1}
        settings |= {"teacher": teacher, "mipc": 10, "num_crop": 3, "output_dir": str(tmp_path / name)}
        return distill("rded", quiet=True, **settings | changes)

    return call


def job_of(**changes):
    settings = {"mipc": 10, "num_crop": 3, "factor": 2, "res": RES} | changes
    config = DistillConfig(method="rded", category="bird", subset="easy", teacher="x=y", **settings)
    return Job(config, None, torch.device("cpu"))


def test_a_set_by_hand(make, drawn, teacher, monkeypatch):
    """All crops are whole images: the images of the set are then known."""
    monkeypatch.setattr(rded, "draw_boxes", lambda size, number, *rest: [(0, 0, *size)] * number)
    found = make(ipc=2, factor=2)
    images, labels = load_comp_dd(drawn, "bird", "easy", RES // 2).dst_train.tensors()
    network = create_model("ConvNetD2", im_size=(RES, RES)).eval()
    network.load_state_dict(load_file(f"{teacher}/teacher.safetensors"))
    padded = torch.zeros(len(images), 3, RES, RES)
    padded[:, :, 4:12, 4:12] = images
    losses = -network(padded).double().log_softmax(1)[torch.arange(len(images)), labels].detach()
    for label in range(10):
        members = (labels == label).nonzero().flatten()
        looked_at = members[torch.randperm(12, generator=job_of().generator("images", label))[:10]]
        best = looked_at[losses[looked_at].argsort()[:8]]
        a, b, c, d = images[best].split(2)
        expected = torch.cat([torch.cat([a, b], 3), torch.cat([c, d], 3)], 2)
        torch.testing.assert_close(found.images[found.labels == label], expected, rtol=0, atol=1e-4)
    assert found.label_kind == "hard" and found.lr is None
    assert found.metadata["distillation"]["notes"]["teacher"]["name"] == "ConvNetD2"


def test_crops_are_those_of_torchvision(drawn):
    from torchvision.transforms import v2

    job, split = job_of(num_crop=20), load_comp_dd(drawn, "bird", "easy", 64).dst_train
    job.real = SimpleNamespace(split=split)
    original, found = split.original(5), rded._crops(job, 5)
    _, height, width = original.shape
    boxes = rded.draw_boxes((height, width), 20, 0.08, job.generator("crops", 5), (1.0, 1.0))
    for crop, (top, left, rows, columns) in zip(found, boxes, strict=True):
        assert rows == columns and rows**2 >= 0.07 * height * width
        image = v2.functional.to_dtype(original, torch.float32, scale=True)
        expected = v2.functional.resized_crop(image, top, left, rows, columns, (RES // 2, RES // 2), antialias=True)
        torch.testing.assert_close(crop, normalise(expected), rtol=0, atol=1e-5)
    assert len(set(boxes)) > 15


def test_it_is_repeatable_and_made_once(make, tmp_path, teacher):
    first, second, other = make("a", ipc=2), make("b", ipc=2), make("c", ipc=2, seed=1)
    assert first.sha256 == second.sha256 != other.sha256
    assert first.images.shape == (20, 3, RES, RES) and first.labels.tolist() == sorted(first.labels.tolist())
    saved = DistilledSet.load(tmp_path / "a")
    assert saved.sha256 == first.sha256 and saved.metadata["method"] == "rded"
    assert make("a", ipc=2).sha256 == first.sha256
    record = json.loads((tmp_path / "a/distilled.json").read_text())
    assert teacher not in json.dumps(record)  # no path of this machine
    with pytest.raises(InputError, match="made with other settings"):
        make("a", ipc=2, num_crop=4)


def test_it_is_evaluated_with_its_teacher(make, settings, teacher):
    distilled = make(ipc=1)
    summary = evaluate(settings(labels="soft+kd", teacher=teacher, res=RES, num_eval=1), distilled, quiet=True)
    assert summary["teacher"]["digest"] == distilled.metadata["distillation"]["notes"]["teacher"]["digest"]


@pytest.mark.parametrize(("factor", "flags"), [(2, []), (1, ["--patches", "1", "--rrc", "1"])])
def test_students_shuffle_as_many_parts_as_were_pasted(run, drawn, cache, tmp_path, teacher, factor, flags):
    """The command that is printed trains them so."""
    words = ["distill", "rded", "--category", "bird", "--subset", "easy", "--data_path", drawn, "--res", RES]
    words += ["--ipc", 1, "--mipc", 10, "--factor", factor, "--teacher", teacher, "--output_dir", tmp_path / "set"]
    status, out, errors = run(*words)
    assert status == 0, errors
    following = shlex.split(out.splitlines()[-1])
    start = following.index("--patches") if flags else len(following)
    assert following[start : start + 4] == flags and "--protocol" in following


@pytest.mark.slow
def test_the_sets_of_each_ipc_are_evaluated_as_the_release_does(run, cache, tmp_path, teacher):
    """Parts and crops go with the crops in an image, the batch with the images per class."""
    draw_imagenet(tmp_path / "imagenet", "bird", train_images=50, validation_images=1)
    words = ["distill", "rded", "--all", "--configs", "bird-easy", "--ipc", "1,10,50", "--teacher", teacher]
    words += ["--data_path", tmp_path / "imagenet", "--res", RES, "--output_dir", tmp_path / "sets"]
    status, out, errors = run(*words)
    assert status == 0, errors
    commands = re.findall(r"^evaluate those of IPC ([\d,]+): compdd-eval benchmark (.*)$", out, re.MULTILINE)
    words = {ipc: shlex.split(command) for ipc, command in commands}
    flags = [dict(zip(each[::2], each[1::2], strict=True)) for each in words.values()]
    assert [one["--ipc"] for one in flags] == list(words)
    of_release = [(one["--ipc"], *map(one.get, ("--batch_train", "--patches", "--rrc"))) for one in flags]
    assert of_release == [("1,10", None, None, None), ("50", "100", "1", "1")]
    assert flags[0]["--output_dir"] != flags[1]["--output_dir"] and {one["--protocol"] for one in flags} == {"rded"}


def test_bad_input(make, tmp_path):
    for changes, said in (
        ({"teacher": None}, "teacher is missing: rded needs a network .* `python -m compdd_eval teacher`"),
        ({"teacher": "ConvNetD2"}, "ConvNetD2: is no folder that `teacher` made, and a name alone has no"),
        ({"teacher": "ConvNetD2=nothing.pt"}, "nothing.pt: no such file"),
        ({"res": 8}, "a teacher of bird-easy at 16 px, expected one of bird-easy at 8 px"),
        ({"factor": 3}, "factor 3: expected a divisor of res, 16"),
        ({"ipc": 3}, "mipc 10: expected 12 images or more, ipc times factor squared"),
        ({"ipc": 4, "mipc": 20}, "label 0: 12 images are looked at, and 16 crops are needed"),
        ({"mipc": 0}, "mipc 0: expected a whole number from 1"),
        ({"steps": 3}, "steps: rded has no such setting"),
    ):
        with pytest.raises(InputError, match=said):
            make(**changes)
        assert not (tmp_path / "set").exists()


def test_settings_are_those_of_the_release():
    found = {ipc: find_method("rded").settings("published", ipc) for ipc in (1, 10, 50)}
    assert [found[ipc]["factor"] for ipc in found] == [2, 2, 1]
    assert {(values["mipc"], values["num_crop"]) for values in found.values()} == {(300, 5)}
