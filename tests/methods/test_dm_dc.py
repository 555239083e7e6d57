"""DM and DC/DSA on toy networks in float64: objectives, gradients, siamese augmentation, shared steps, resume."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compdd_eval.config.distill import DistillConfig
from compdd_eval.config.protocol import DSA_STRATEGY
from compdd_eval.methods import dc, dm
from compdd_eval.methods.dc import gradient_distance, match_gradients
from compdd_eval.methods.dm import match_distributions
from compdd_eval.methods.job import Job, Synthetic, TrainingImages
from compdd_eval.methods.learning_loop import Learning, read_checkpoint
from compdd_eval.methods.registry import fill_settings, find_method

STEPS = {"dm": match_distributions, "dc": match_gradients}
OPERATIONS = DSA_STRATEGY.split("_")
BASE = {"category": "bird", "subset": "easy", "model": "ConvNetD1", "res": 8, "batch_real": 6}


def smooth():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10))


def normed():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(144, 10))


def dropping():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 10))


class ToyJob(Job):
    build = staticmethod(smooth)

    def network(self, *purpose):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.generator(*purpose).initial_seed())
            return self.build().double()


def make_job(method, ipc=2, classes=3, rank=0, processes=1, build=smooth, real=None, **settings):
    """Make a job over random images of 8 px, 6 of each class."""
    config = DistillConfig(method=method, ipc=ipc, **{**BASE, **settings})
    images = TrainingImages.__new__(TrainingImages)
    shape = (6 * classes, 3, 8, 8)
    images.images = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    if real is not None:
        images.images = real.double().expand(shape).clone()
    images.labels, images._device = torch.arange(classes).repeat_interleave(6), torch.device("cpu")
    images.classes = images.labels.unique().tolist()
    team = SimpleNamespace(num_processes=processes, process_index=rank) if processes > 1 else None
    job = ToyJob(fill_settings(config, find_method(method)), images, torch.device("cpu"), team)
    job.build = build
    return job


def noise(job, seed=4):
    """Make synthetic images of noise, as many of each class as the settings say."""
    ipc, classes = job.config.ipc, len(job.real.classes)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((ipc * classes, 3, 8, 8), generator=generator, dtype=torch.float64)
    labels = torch.arange(classes).repeat_interleave(ipc)
    return Synthetic(images, labels, labels)


def test_dm_is_the_distance_of_mean_features():
    job = make_job("dm", dsa=False)
    synthetic = noise(job)
    loss = match_distributions(job, synthetic, 5)
    network = job.network("dm", 5)
    real = network[:4](job.real.images).detach().numpy()
    made = network[:4](synthetic.images).detach().numpy()
    expected = sum(((real[6 * c : 6 * c + 6].mean(0) - made[2 * c : 2 * c + 2].mean(0)) ** 2).sum() for c in range(3))
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-12)
    assert not loss.requires_grad


@pytest.mark.parametrize("method", STEPS)
def test_the_gradient_is_that_of_finite_differences(method):
    job = make_job(method, classes=2, dsa=False)
    synthetic = noise(job)
    STEPS[method](job, synthetic, 0)
    gradient = synthetic.images.grad.clone()
    assert gradient.abs().amax(dim=(1, 2, 3)).min() > 1e-6
    for place in [(0, 0, 0, 0), (1, 2, 3, 4), (2, 1, 7, 7), (3, 0, 5, 2)]:
        values = []
        for shift in (1e-5, -1e-5):
            moved = noise(job)
            with torch.no_grad():
                moved.images[place] += shift
            values.append(STEPS[method](job, moved, 0).item())
        assert gradient[place].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-9)


def test_dc_is_the_distance_of_gradients_row_by_row():
    shapes = [(4, 3, 3, 3), (4,), (5, 2, 3), (6, 7)]
    found, expected = ([torch.randn(shape, dtype=torch.float64) for shape in shapes] for _ in range(2))
    found[0][1] = 0  # a dead unit counts 1
    total = 0.0
    for a, b in zip(found, expected, strict=True):
        for row, other in zip(a.numpy(), b.numpy(), strict=True) if a.ndim > 1 else ():
            x, y = row.ravel(), other.ravel()
            total += 1 - x @ y / (np.sqrt(x @ x) * np.sqrt(y @ y) + 1e-6)
    np.testing.assert_allclose(gradient_distance(found, expected).item(), total, rtol=1e-12)


def test_dc_compares_the_gradients_of_each_class():
    job = make_job("dc", dsa=False)
    synthetic = noise(job)
    loss = match_gradients(job, synthetic, 0)
    network, expected = job.network("dc", 0), 0.0
    for label in range(3):
        gradients = []
        for images in (job.real.images[6 * label : 6 * label + 6], synthetic.images[2 * label : 2 * label + 2]):
            network.zero_grad()
            F.cross_entropy(network(images.detach()), torch.tensor([label] * len(images))).backward()
            gradients.append([network[0].weight.grad.view(4, 27), network[4].weight.grad.clone()])
        for a, b in zip(*gradients, strict=True):
            expected += (1 - (a * b).sum(1) / (a.square().sum(1).sqrt() * b.square().sum(1).sqrt() + 1e-6)).sum()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)


def test_the_gradients_of_real_images_keep_no_more_than_one_backward_pass_needs():
    """Three times as much memory is what gradients of gradients take, and real images need none."""
    job = make_job("dc")
    network, images = job.network("any"), job.real.at(range(6))

    def kept(work):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: sizes.append(tensor.nbytes) or tensor, lambda x: x
        ):
            work()
        return sum(sizes)

    wanted = kept(lambda: F.cross_entropy(network(images), torch.zeros(6, dtype=torch.long)))
    found = kept(lambda: dc._real_gradients(job, network, images, 0))
    assert wanted <= found <= wanted + 100  # and a few numbers


@pytest.mark.parametrize("settings", [{"method": "dm", "lr_img": 1.0}, {"method": "dc", "lr_img": 0.1}])
def test_the_loss_falls(settings):
    job = make_job(**settings, dsa=False, batch_real=4)
    learning = Learning(job, find_method(settings["method"]), noise(job))
    losses = [learning.step() for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_real_and_synthetic_images_are_augmented_alike(operation):
    """All images are one image: whatever is done to them, their features and gradients are the same."""
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(6))
    changed = 0
    for step in range(6):
        losses = {}
        for method in STEPS:
            job = make_job(method, real=image, dsa_strategy=operation, outer_loop=1 if method == "dc" else None)
            synthetic = Synthetic(image.double().repeat(6, 1, 1, 1), noise(job).labels, noise(job).labels)
            losses[method] = STEPS[method](job, synthetic, step).item()
            _, made = dm.siamese_pair(job, synthetic, step, 0)
            changed += not torch.equal(made, synthetic.of_class(0))
            other = STEPS[method](job, noise(job), step).item()
            assert losses[method] < 1e-3 * other
        assert losses["dm"] < 1e-24
    assert changed


@pytest.mark.parametrize("method", STEPS)
@pytest.mark.parametrize("build", [smooth, normed])
def test_the_parts_of_two_processes_add_up(method, build):
    network = {"outer_loop": 2, "inner_loop": 2, "batch_train": 4} if method == "dc" else {}
    jobs = [make_job(method, build=build, **network)]
    jobs += [make_job(method, build=build, rank=rank, processes=2, **network) for rank in range(2)]
    for step in range(2):
        losses, gradients = [], []
        for job in jobs:
            synthetic = noise(job, step)
            losses.append(STEPS[method](job, synthetic, step))
            gradients.append(synthetic.images.grad)
        torch.testing.assert_close(losses[1] + losses[2], losses[0], rtol=1e-12, atol=0)
        assert losses[1] > 0 and losses[2] > 0
        if build is smooth or method == "dc":
            assert torch.equal(gradients[1] + gradients[2], gradients[0])
            assert not gradients[1][2:4].any() and not gradients[2][:2].any()
        else:  # batch norm: every class changes the statistics
            torch.testing.assert_close(gradients[1] + gradients[2], gradients[0], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("method", STEPS)
def test_a_process_without_a_class_adds_nothing(method):
    job = make_job(method, classes=2, rank=2, processes=3)
    synthetic = noise(job)
    assert STEPS[method](job, synthetic, 0) == 0
    assert synthetic.images.grad is not None and not synthetic.images.grad.any()


@pytest.mark.parametrize("method", STEPS)
def test_a_real_batch_in_two_halves_is_one_batch(method, monkeypatch):
    found = []
    for part in (6, 3):
        for module in (dm, dc):
            monkeypatch.setattr(module, "images_at_a_time", lambda *arguments, part=part: part)
        job = make_job(method)
        synthetic = noise(job)
        found.append((STEPS[method](job, synthetic, 0), synthetic.images.grad))
    for whole, halves in zip(*found, strict=True):
        torch.testing.assert_close(halves, whole, rtol=1e-12, atol=1e-12)


def test_the_network_of_dc_is_trained_on_the_updated_images():
    """Two trainings of two passes over all images, by hand; momentum lasts from one to the next."""
    job = make_job("dc", dsa=False, outer_loop=4, inner_loop=2, lr_net=0.1)
    network = job.network("dc", 0)
    velocity = [torch.zeros_like(parameter) for parameter in network.parameters()]
    match_gradients(job, noise(job, 0), 0)
    for step in (1, 2):
        synthetic = noise(job, step)
        match_gradients(job, synthetic, step)
        for _ in range(2):
            network.zero_grad()
            F.cross_entropy(network(synthetic.images.detach()), synthetic.labels).backward()
            with torch.no_grad():
                for parameter, v in zip(network.parameters(), velocity, strict=True):
                    v.mul_(0.5).add_(parameter.grad)
                    parameter -= 0.1 * v
        for (name, parameter), v in zip(network.named_parameters(), velocity, strict=True):
            torch.testing.assert_close(job.memory["network." + name], parameter.detach(), rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(job.memory["velocity." + name], v, rtol=1e-10, atol=1e-12)
    match_gradients(job, noise(job), 3)
    assert not job.memory  # the last update of this network: the next step begins with a new one
    match_gradients(job, noise(job), 4)
    for name, parameter in job.network("dc", 1).named_parameters():
        assert torch.equal(job.memory["network." + name], parameter)


def test_training_in_batches_and_with_augmentation():
    """DSA's release has no momentum; each image has its own augmentation, each batch its update."""
    job = make_job("dc", outer_loop=3, inner_loop=1, batch_train=4, lr_net=0.1, dsa_strategy="flip")
    for step in range(2):
        synthetic = noise(job, step)
        match_gradients(job, synthetic, step)
    network, generator = job.network("dc", 0), job.generator("train", 1)
    order, images = torch.randperm(6, generator=generator), synthetic.images.detach()
    for places in (order[:4], order[4:]):
        torch.randint(0, 1, (1,), generator=generator)
        turned = torch.rand(len(places), 1, 1, 1, generator=generator) < 0.5
        network.zero_grad()
        inputs = torch.where(turned, images[places].flip(3), images[places])
        F.cross_entropy(network(inputs), synthetic.labels[places]).backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.1 * parameter.grad
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(job.memory["network." + name], parameter.detach(), rtol=1e-10, atol=1e-12)
    assert not any(name.startswith("velocity") for name in job.memory)


def test_batch_norm_has_the_statistics_of_real_images():
    job = make_job("dc", build=normed, outer_loop=2, dsa=False)
    synthetic = noise(job)
    loss = match_gradients(job, synthetic, 0)
    network = job.network("dc", 0)
    maps = network[0](job.real.images).detach()
    mean, variance = 0.1 * maps.mean(dim=(0, 2, 3)), 0.9 + 0.1 * maps.var(dim=(0, 2, 3))
    torch.testing.assert_close(job.memory["network.1.running_mean"], mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(job.memory["network.1.running_var"], variance, rtol=1e-12, atol=0)
    one_image = make_job("dc", build=normed, ipc=1, outer_loop=2, dsa=False)
    assert 0 < match_gradients(one_image, noise(one_image), 0) != loss  # in training mode one image would say little


@pytest.mark.parametrize("method", STEPS)
@pytest.mark.parametrize("build", [smooth, normed, dropping])
@pytest.mark.parametrize("dsa", [True, False])
def test_a_run_goes_on_from_a_checkpoint_with_the_same_bits(method, build, dsa, tmp_path):
    network = {"outer_loop": 4, "inner_loop": 2, "batch_train": 4} if method == "dc" else {}

    def begin():
        job = make_job(method, build=build, dsa=dsa, lr_img=0.1, batch_real=4, **network)
        return Learning(job, find_method(method), noise(job))

    whole = begin()
    losses = [whole.step() for _ in range(6)]
    first = begin()
    for _ in range(3):
        first.step()
    assert bool(first.job.memory) == (method == "dc")
    first.save(tmp_path / "checkpoint", "digest")
    second = begin()
    second.go_on(*read_checkpoint(tmp_path / "checkpoint", "digest"))
    torch.rand(5)  # what else draws in a process changes nothing
    for _ in range(3):
        second.step()
    assert torch.equal(second.synthetic.images, whole.synthetic.images)
    assert second.progress.losses == losses


@pytest.mark.parametrize("ipc, steps, outer, inner", [(1, 1000, 1, 1), (10, 10_000, 10, 50), (50, 50_000, 50, 10)])
def test_settings_are_the_published_ones(ipc, steps, outer, inner):
    found = find_method("dc").settings("published", ipc)
    assert (found["steps"], found["outer_loop"], found["inner_loop"]) == (steps, outer, inner)
    assert (found["lr_img"], found["momentum_img"], found["lr_net"]) == (0.1, 0.5, 0.01)
    assert (found["batch_real"], found["batch_train"], found["crop_pad"]) == (256, 256, 0.125)
    found = find_method("dm").settings("published", ipc)
    assert (found["steps"], found["lr_img"], found["batch_real"], found["init"]) == (20_000, 1.0, 256, "real")
