"""SRe2L: the objective of its recovery, its views, its updates; runs that are stopped, and bad input."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compdd_eval.config.distill import DistillConfig
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.methods import sre2l
from compdd_eval.methods.distill import distill
from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.learning_loop import Learning, read_checkpoint
from compdd_eval.methods.registry import fill_settings, find_method
from compdd_eval.methods.sre2l import draw_view, recovery_loss
from compdd_eval.utils.errors import InputError

RES, CLASSES = 8, 3


def toy_teacher():
    """Two batch norms, whose inputs can be made by hand."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(5 * (RES - 4) ** 2, CLASSES)).double()
    for norm in (network[1], network[4]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return network.eval().requires_grad_(False)


def by_hand(network, images, labels, r_bn, first, tv_l2, l2_scale):
    """The loss, channel by channel and pixel by pixel."""
    maps, parts = images, []
    for convolution, norm in ((network[0], network[1]), (network[3], network[4])):
        inputs = F.conv2d(maps, convolution.weight, convolution.bias)
        columns = inputs.transpose(0, 1).flatten(1)
        means = torch.stack([column.sum() / len(column) for column in columns])
        squares = torch.stack([((column - column.sum() / len(column)) ** 2).sum() / len(column) for column in columns])
        off = ((means - norm.running_mean) ** 2).sum().sqrt(), ((squares - norm.running_var) ** 2).sum().sqrt()
        parts.append(sum(off))
        scaled = (inputs - norm.running_mean.view(1, -1, 1, 1)) / (norm.running_var + norm.eps).sqrt().view(1, -1, 1, 1)
        maps = torch.tanh(scaled)
    logits = scaled.flatten(1) @ network[6].weight.T + network[6].bias
    entropy = sum(row.exp().sum().log() - row[label] for row, label in zip(logits, labels, strict=True)) / len(labels)
    statistics = first * parts[0] + parts[1]
    variation = 0
    for rows, columns in ((0, 1), (1, 0), (1, 1), (1, -1)):
        squares = [
            (images[:, :, i, j] - images[:, :, i + rows, j + columns]) ** 2
            for i in range(RES - rows)
            for j in range(max(0, -columns), RES - max(0, columns))
        ]
        variation = variation + torch.stack(squares).sum().sqrt()
    size = sum((image**2).sum().sqrt() for image in images) / len(images)
    return entropy + r_bn * statistics + tv_l2 * variation + l2_scale * size, statistics


def test_the_objective_by_hand():
    network, generator = toy_teacher(), torch.Generator().manual_seed(2)
    images = torch.randn(6, 3, RES, RES, dtype=torch.float64, generator=generator).requires_grad_()
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    weights = {"r_bn": 0.3, "first_bn_multiplier": 7.0, "tv_l2": 0.01, "l2_scale": 0.02}
    expected = by_hand(network, images, labels, *weights.values())
    found = recovery_loss(network, images, labels, **weights)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    slopes = [torch.autograd.grad(loss, images)[0] for loss, _ in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-12)
    alone = by_hand(network, images, labels, 0.01, 10.0, 0.0, 0.0)
    torch.testing.assert_close(recovery_loss(network, images, labels), alone, rtol=1e-10, atol=0)


def test_statistics_made_by_hand():
    """The first channel is 1 and 3 in turns, the others are 0: mean 2, variance 1."""
    norm = nn.BatchNorm2d(3).double().eval()
    network = nn.Sequential(norm, nn.Flatten(), nn.Linear(3 * 4, CLASSES).double())
    images = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
    images[:, 0] = torch.tensor([[1.0, 3], [3, 1]])
    norm.running_mean.copy_(torch.tensor([2.0, 0, 0]))
    norm.running_var.copy_(torch.tensor([1.0, 0, 0]))

    def distance():
        return recovery_loss(network, images, torch.zeros(2).long(), first_bn_multiplier=1.0)[1].item()

    assert distance() == 0
    norm.running_mean.copy_(torch.tensor([2.0, 3, 4]))
    assert distance() == pytest.approx(5)
    norm.running_var.copy_(torch.tensor([1.0, 0, 12]))
    assert distance() == pytest.approx(17)
    assert not norm._forward_pre_hooks


def test_a_view_is_one_crop_flipped_and_shifted():
    images = torch.rand(4, 3, 14, 14, dtype=torch.float64)
    seen = set()
    for seed in range(40):
        found = draw_view(images, torch.Generator().manual_seed(seed))
        generator = torch.Generator().manual_seed(seed)
        ((top, left, rows, columns),) = sre2l.draw_boxes((14, 14), 1, 0.08, generator)
        part = images[:, :, top : top + rows, left : left + columns]
        sized = F.interpolate(part, (14, 14), mode="bilinear", align_corners=False)
        expected = [
            (flip, down, right, (sized.flip(3) if flip else sized).roll((down, right), (2, 3)))
            for flip in (False, True)
            for down in range(3)
            for right in range(3)
        ]
        (same,) = [drawn for *drawn, view in expected if torch.allclose(found, view, atol=1e-6)]
        seen |= {(name, value) for name, value in zip(("flip", "down", "right"), same, strict=True)}
    assert len(seen) == 2 + 3 + 3, "all of them are drawn"


def job_of(**changes):
    settings = {"steps": 5, "ipc": 2, "res": RES, "batch_syn": 3, "r_bn": 0.1, "lr_img": 0.3} | changes
    config = DistillConfig(method="sre2l", category="insect", subset="easy", teacher="x=y", **settings)
    return Job(fill_settings(config, find_method("sre2l")), None, torch.device("cpu"))


def learning(monkeypatch, **changes):
    """A run on a toy teacher, in float64."""
    teacher = toy_teacher()
    monkeypatch.setattr(sre2l, "teacher_of", lambda job: teacher)
    images = torch.randn(2 * CLASSES, 3, RES, RES, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    classes = torch.arange(CLASSES).repeat_interleave(2)
    monkeypatch.setattr(Synthetic, "begin", classmethod(lambda cls, job: cls(images, classes, classes)))
    job = job_of(**changes)
    synthetic = sre2l.begin_with_teacher(job)
    return Learning(job, find_method("sre2l"), synthetic)


def test_steps_are_those_of_adam_by_hand(monkeypatch):
    found = learning(monkeypatch)
    images, labels = found.synthetic.images.detach().clone(), found.synthetic.labels
    low, high = (
        torch.tensor([(colour - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]) for colour in (0, 1)
    )
    first, second, batches = 0, 0, [[0, 2, 4], [1, 3, 5]]  # one image of each class
    for step in range(5):
        images.requires_grad_()
        losses = [
            recovery_loss(
                toy_teacher(), draw_view(images[batch], found.job.generator("view", step, k)), labels[batch], r_bn=0.1
            )[0]
            for k, batch in enumerate(batches)
        ]
        (slope,) = torch.autograd.grad(sum(losses), images)
        assert found.step() == pytest.approx(sum(losses).item() / 2, rel=1e-6)
        first, second = 0.5 * first + 0.5 * slope, 0.9 * second + 0.1 * slope**2
        rate = 0.3 * (1 + math.cos(math.pi * step / 5)) / 2
        change = (first / (1 - 0.5 ** (step + 1))) / ((second / (1 - 0.9 ** (step + 1))).sqrt() + 1e-8)
        images = (images.detach() - rate * change).clamp(low.view(3, 1, 1), high.view(3, 1, 1))
        torch.testing.assert_close(found.synthetic.images.detach(), images, rtol=0, atol=1e-6)  # limits are float32
    assert (images == high.view(3, 1, 1)).any() and len(found.job.notes["batch_statistics"]) == 2


def test_a_run_that_is_stopped_goes_on(monkeypatch, tmp_path):
    whole, first, second = (learning(monkeypatch) for _ in range(3))
    for _ in range(5):
        whole.step()
    for _ in range(2):
        first.step()
    first.save(tmp_path / "checkpoint.safetensors", "same")
    second.go_on(*read_checkpoint(tmp_path / "checkpoint.safetensors", "same"))
    for _ in range(3):
        second.step()
    assert torch.equal(whole.synthetic.images, second.synthetic.images)
    assert whole.job.notes == second.job.notes


@pytest.fixture
def make(run, drawn, cache, tmp_path):
    """Distil with the teacher of a folder, which is trained first."""

    def teacher(model):
        words = ("--category", "bird", "--subset", "easy", "--res", 16, "--model", model, "--epochs", 5)
        words = (*words, "--data_path", drawn, "--threads", 1, "--output_dir", tmp_path / model)
        assert run("teacher", *words)[0] == 0

    def call(name="set", model="ConvNetD2BN", **changes):
        if not (tmp_path / model).exists():
            teacher(model)
        settings = {"category": "bird", "subset": "easy", "data_path": str(drawn), "res": 16, "threads": 1}
        settings |= {"teacher": str(tmp_path / model), "output_dir": str(tmp_path / name), "steps": 30}
        return distill("sre2l", quiet=True, **settings | changes)

    return call


def test_a_set(make):
    one, again, other = make("a", r_bn=1.0), make("b", r_bn=1.0), make("c", r_bn=1.0, seed=1)
    assert one.sha256 == again.sha256 != other.sha256
    made = one.metadata["distillation"]
    first, last = made["notes"]["batch_statistics"]
    assert last < 0.8 * first and made["notes"]["teacher"]["name"] == "ConvNetD2BN"
    assert one.images.shape == (10, 3, 16, 16) and one.labels.tolist() == list(range(10)) and one.label_kind == "hard"
    pixels = one.images * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    assert pixels.min() >= -1e-6 and pixels.max() <= 1 + 1e-6


def test_a_run_goes_on_with_as_many_steps(make, monkeypatch):
    whole = make("whole", save_every=4)
    step, after = Learning.step, SimpleNamespace(steps=0)

    def stopped(learning):
        after.steps += 1
        if after.steps == 11:
            raise KeyboardInterrupt
        return step(learning)

    monkeypatch.setattr(Learning, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        make("stopped", save_every=4)
    monkeypatch.setattr(Learning, "step", step)
    with pytest.raises(InputError, match="checkpoint.safetensors: was made with other settings"):
        make("stopped", save_every=4, steps=40)  # its rate would have fallen otherwise
    assert make("stopped", save_every=4).sha256 == whole.sha256


def test_bad_input(make, tmp_path):
    for changes, said in (
        ({"teacher": None}, "teacher is missing: sre2l needs a network .* `python -m compdd_eval teacher`"),
        ({"model": "ConvNetD2"}, "ConvNetD2: has no batch norm, .* train one of ConvNetBN, ConvNetD1BN, .*ResNet18BN"),
        ({"r_bn": -1.0}, "r_bn -1.0: expected a finite number from 0"),
        ({"precision": "bfloat16"}, "sre2l runs no network in it"),
    ):
        with pytest.raises(InputError, match=said):
            make(**changes)
        assert not (tmp_path / "set").exists()
