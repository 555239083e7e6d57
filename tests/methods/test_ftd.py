"""FTD: the set is a moving average of what MTT's steps make."""

import pytest
import torch

from compdd_eval.config.distill import DistillConfig
from compdd_eval.methods import ftd
from compdd_eval.methods.job import Synthetic
from compdd_eval.methods.learning_loop import Learning, read_checkpoint
from compdd_eval.methods.registry import fill_settings, find_method
from compdd_eval.utils.errors import InputError
from tests.methods.test_trajectory_matching import (
    IPC,
    RES,
    Experts,
    Real,
    ToyJob,
    _experts,  # noqa: F401
    distance_by_hand,
    toy_synthetic,
)

DECAY, STEPS = 0.8, 4


def learning(**changes):
    settings = {"syn_steps": 3, "batch_syn": 4, "lr_img": 2.0, "lr_student": 0.3, "max_start_epoch": 3} | changes
    config = DistillConfig(
        method="ftd",
        category="insect",
        subset="easy",
        experts="here",
        ipc=IPC,
        res=RES,
        **{"ema_img": DECAY} | settings,
    )
    job = ToyJob(fill_settings(config, find_method("ftd")), Real(), torch.device("cpu"))
    return Learning(job, find_method("ftd"), toy_synthetic(job))


def test_the_set_is_the_average_of_the_images():
    found = learning(momentum_img=0.5, lr_lr=1e-3)
    images, lr = found.synthetic.images.detach().clone(), found.synthetic.lr.detach().clone()
    average, momentum = images.clone(), torch.zeros_like(images)
    momentum_lr = torch.zeros_like(lr)
    for step in range(STEPS):
        images, lr = images.requires_grad_(), lr.requires_grad_()
        loss = distance_by_hand(found.job, step, images, found.synthetic.labels, lr)
        slope, slope_lr = torch.autograd.grad(loss, (images, lr))
        momentum, momentum_lr = 0.5 * momentum + slope, 0.5 * momentum_lr + slope_lr
        images, lr = (images - 2.0 * momentum).detach(), (lr - 1e-3 * momentum_lr).detach()
        average = DECAY * average + (1 - DECAY) * images
        assert found.step() == pytest.approx(loss.item(), rel=1e-10)
    assert torch.allclose(found.synthetic.images, images, rtol=0, atol=1e-9)
    kept = found.synthetic.as_set({})
    assert torch.allclose(kept.images.double(), average, rtol=0, atol=1e-5) and kept.lr == pytest.approx(float(lr))
    assert not torch.allclose(average, images, atol=1e-3)


def test_a_run_goes_on_with_its_average(tmp_path):
    whole, first, second = learning(), learning(), learning()
    for _ in range(STEPS):
        whole.step()
    first.step()
    first.save(tmp_path / "checkpoint.safetensors", "same")
    second.go_on(*read_checkpoint(tmp_path / "checkpoint.safetensors", "same"))
    for _ in range(STEPS - 1):
        second.step()
    assert torch.equal(whole.synthetic.average, second.synthetic.average)
    assert torch.equal(whole.synthetic.images, second.synthetic.images)


def test_without_an_average_it_is_mtt():
    config = DistillConfig(method="mtt", category="insect", subset="easy", experts="here", ipc=IPC, res=RES)
    mtt, ours = (find_method(name).settings("published", 10) for name in ("mtt", "ftd"))
    assert ours == mtt | {"ema_img": 0.9995}
    with pytest.raises(InputError, match="--ema_img: mtt has no such setting"):
        fill_settings(
            DistillConfig(method="mtt", category="insect", subset="easy", experts="x", ema_img=0.9), find_method("mtt")
        )
    with pytest.raises(InputError, match="--ema_img 1.5"):
        DistillConfig(method="ftd", category="insect", subset="easy", ema_img=1.5)
    assert fill_settings(config, find_method("mtt")).ema_img is None


@pytest.mark.parametrize(("flat", "warns"), [(False, True), (True, False), (None, False)])
def test_experts_that_are_not_flat_are_warned_of(monkeypatch, caplog, flat, warns):
    monkeypatch.setattr(Experts, "flat", flat, raising=False)
    found = learning()
    monkeypatch.setattr(Synthetic, "begin", lambda job: found.synthetic)
    assert ftd.begin_on_flat_trajectories(found.job) is found.synthetic
    assert ("here: trained without --sam" in caplog.text) == warns
