import math
import threading
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compdd_eval import enhancement_factors
from compdd_eval.config.distill import DistillConfig
from compdd_eval.methods import edf, edf_maps, student_steps, trajectory_matching
from compdd_eval.methods.job import Job, Synthetic
from compdd_eval.methods.learning_loop import Learning, read_checkpoint
from compdd_eval.methods.registry import fill_settings, find_method
from compdd_eval.methods.student_steps import (
    Student,
    StudentSteps,
    draw_batches,
    match_trajectory,
    trajectory_distance,
)
from compdd_eval.training.augment import diff_augment
from compdd_eval.training.compiling import Compiler
from compdd_eval.utils.errors import InputError

RES, CLASSES, IPC, EPOCHS = 8, 3, 2, 6
STRATEGY = "color_crop_cutout_flip_scale_rotate"


def toy_network():
    """Smooth, so that finite differences are exact."""
    layers = [nn.Conv2d(3, 3, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(48, CLASSES)]
    return nn.Sequential(*layers).double()


def toy_logits(theta, images):
    """The same by hand."""
    kernel, bias, weight, offset = theta.split([81, 3, 144, 3])
    maps = F.avg_pool2d(torch.tanh(F.conv2d(images, kernel.view(3, 3, 3, 3), bias, padding=1)), 2)
    return maps.flatten(1) @ weight.view(CLASSES, 48).T + offset


class Experts:
    count, epochs, digest, origin = 2, EPOCHS, "experts", "here"

    def parameters(self, expert, epoch):
        generator, found = torch.Generator().manual_seed(expert), []
        for shape in ((3, 3, 3, 3), (3,), (CLASSES, 48), (CLASSES,)):
            first, drift = (torch.randn(shape, generator=generator) for _ in range(2))
            found.append(0.2 * first + 0.1 * epoch * drift)
        return found

    def check_images(self, digest):
        if digest != "images":
            raise InputError("other images")


class Real:
    def __init__(self, each=4):
        generator = torch.Generator().manual_seed(5)
        self.labels = torch.arange(CLASSES).repeat_interleave(each)
        self.images = torch.randn((len(self.labels), 3, RES, RES), generator=generator, dtype=torch.float64)
        self.classes, self.digest = list(range(CLASSES)), "images"

    def __len__(self):
        return len(self.labels)

    def indices_of(self, label):
        return (self.labels == label).nonzero().flatten()

    def at(self, places):
        return self.images[torch.as_tensor(places)]


class ToyJob(Job):
    def network(self, *purpose):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.generator(*purpose).initial_seed())
            return toy_network()


@pytest.fixture(autouse=True)
def _experts(monkeypatch):
    monkeypatch.setattr(trajectory_matching, "open_experts", lambda path, model, res: Experts())
    trajectory_matching._opened.cache_clear()
    yield
    trajectory_matching._opened.cache_clear()


def toy_job(method="mtt", kind=ToyJob, **settings):
    settings = {
        "syn_steps": 4,
        "batch_syn": 4,
        "lr_img": 1.0,
        "lr_student": 0.3,
        "expert_epochs": 2,
        "max_start_epoch": 3,
        "ipc": IPC,
        "res": RES,
    } | settings
    if method != "mtt":
        settings = {"first_max_start_epoch": 2, "window_steps": 4, "match_threshold": 1e6} | settings
    config = DistillConfig(method=method, category="insect", subset="easy", experts="here", **settings)
    return kind(fill_settings(config, find_method(method)), Real(), torch.device("cpu"))


def toy_synthetic(job, soft=False):
    real = job.real
    indices = [index for label in real.classes for index in real.indices_of(label)[:IPC].tolist()]
    logits = torch.randn((len(indices), CLASSES), generator=job.generator("logits"), dtype=torch.float64)
    labels = logits if soft else real.labels[indices]
    synthetic = Synthetic(real.at(indices), labels, real.labels[indices], 0.3)
    synthetic.lr = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    return synthetic


def theta_of(expert, epoch):
    return torch.cat([p.flatten() for p in Experts().parameters(expert, epoch)]).double()


def drawn(job, step):
    generator, config = job.generator("mtt", step), job.config
    expert = int(torch.randint(2, (1,), generator=generator))
    return expert, int(torch.randint(config.min_start_epoch, config.max_start_epoch, (1,), generator=generator))


def last_theta(job, step, theta, images, labels, lr):
    """The unrolled loop, by hand, as published."""
    config, chunks, order = job.config, [], job.generator("batch", step)
    for k in range(config.syn_steps):
        chunks = chunks or list(torch.randperm(len(images), generator=order).split(config.batch_syn))
        places = chunks.pop()
        inputs = images[places]
        if config.dsa:
            inputs = diff_augment(inputs, STRATEGY, config.crop_pad, job.generator("dsa", step, k), siamese=False)
        logs = toy_logits(theta, inputs).log_softmax(dim=1)
        shares = labels[places]
        shares = shares.softmax(dim=1) if shares.is_floating_point() else F.one_hot(shares, CLASSES)
        loss = -(shares * logs).sum() / len(places)
        (slope,) = torch.autograd.grad(loss, theta, create_graph=True)
        theta = theta - lr * slope
    return theta


def distance_by_hand(job, step, images, labels, lr):
    expert, start = drawn(job, step)
    first, target = theta_of(expert, start), theta_of(expert, start + job.config.expert_epochs)
    reached = last_theta(job, step, first.clone().requires_grad_(), images, labels, lr)
    return ((reached - target) ** 2).sum() / ((first - target) ** 2).sum()


def gradients(job, step=0, soft=False):
    synthetic = toy_synthetic(job, soft)
    loss = find_method("mtt").run(job, synthetic, step)
    return [loss, *[tensor.grad for tensor in synthetic.learned().values()]]


def assert_equal(found, expected, tolerance=1e-10):
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= tolerance * other.norm()
        assert other.norm() > 0


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_are_those_of_an_unrolled_loop(recompute, soft):
    job, step = toy_job(recompute=recompute), 1
    synthetic = toy_synthetic(job, soft)
    values = [tensor.detach() for tensor in synthetic.learned().values()]
    loss, *found = gradients(job, step, soft)

    def value(shift, which):
        moved = [tensor + (shift if place == which else 0) for place, tensor in enumerate(values)]
        images, *labels, lr = moved
        return distance_by_hand(job, step, images, labels[0] if soft else synthetic.labels, lr).detach()

    assert torch.isclose(loss, value(0, 0), rtol=1e-12)
    for which, gradient in enumerate(found):
        direction = torch.randn(gradient.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(which))
        small = 1e-5
        slope = (value(small * direction, which) - value(-small * direction, which)) / (2 * small)
        assert torch.isclose(slope, (gradient * direction).sum(), rtol=1e-6)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("step", range(4))  # other operations of DSA
def test_recomputing_changes_nothing(step, soft):
    assert_equal(gradients(toy_job(recompute=True), step, soft), gradients(toy_job(recompute=False), step, soft))


def test_nothing_is_differentiated_by_the_parameters_that_students_start_from():
    by = []

    def spy(function, *arguments, graphs=True):
        by.extend(arguments[-1:] if function is student_steps._back else [])
        return function(*arguments)

    network, images = toy_network(), Real().images[:4]
    labels, start = torch.randn(4, CLASSES, dtype=torch.float64), Student(network).flat(list(network.parameters()))
    batches = [torch.arange(4)] * 3
    for targets, learned in ((labels, (1, 2)), (labels.argmax(dim=1), (1,))):
        steps = StudentSteps(Student(network), images, targets, torch.tensor(0.1).double(), batches, call=spy)
        steps.match(start, start + 0.1)
        assert by == [(0, *learned), (0, *learned), learned], "from the last step to the first"
        by.clear()


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("distance", [math.nan, math.inf])
def test_a_student_that_diverges_is_skipped_where_a_threshold_is_given(monkeypatch, recompute, distance):
    """As one beyond the threshold: a distance that is not finite is no smaller."""
    network, images = toy_network(), Real().images[:4]
    start = Student(network).flat(list(network.parameters()))
    steps = StudentSteps(
        Student(network),
        images,
        torch.arange(4) % CLASSES,
        torch.tensor(0.1).double(),
        [torch.arange(4)],
        recompute=recompute,
    )
    monkeypatch.setattr(student_steps, "trajectory_distance", lambda theta, *rest: distance * theta.sum() ** 2)
    value, found = steps.match(start, start + 0.1, most=1.0)
    assert not value.isfinite() and found == {}


def test_a_batch_in_parts_is_the_batch(monkeypatch):
    whole = gradients(toy_job(), 2, True)
    monkeypatch.setattr("compdd_eval.methods.student_steps.images_at_a_time", lambda *arguments: 2)
    assert_equal(gradients(toy_job(), 2, True), whole)


def test_gradients_are_added():
    job = toy_job()
    synthetic = toy_synthetic(job)
    find_method("mtt").run(job, synthetic, 0)
    on_main_process = [tensor.grad.clone() for tensor in synthetic.learned().values()]
    find_method("mtt").run(job, synthetic, 0)
    assert_equal([tensor.grad for tensor in synthetic.learned().values()], [2 * grad for grad in on_main_process])


def test_experts_are_read_while_the_step_before_is_made(monkeypatch):
    job, over, read = toy_job(), threading.Event(), []
    order = (0, 1, 2, 3, 1)  # the last one is not what was read ahead
    expected = [gradients(toy_job(), step)[0].item() for step in order]

    class Waiting(Experts):
        def parameters(self, expert, epoch):
            if len(read) == 2:  # of the second step, whose first snapshot is read before the first step is over
                assert over.wait(20), "the first step waits for it"
            read.append((expert, epoch))
            return super().parameters(expert, epoch)

    monkeypatch.setattr(trajectory_matching, "experts_of", lambda config: Waiting())
    synthetic = toy_synthetic(job)
    for step, value in zip(order, expected, strict=True):
        assert find_method("mtt").run(job, synthetic, step).item() == pytest.approx(value, rel=1e-12)
        over.set()
    parts = [trajectory_matching.draw_part(job, step) for step in (0, 1, 2, 3, 4, 1)]
    assert read[:12] == [(expert, epoch) for expert, start in parts for epoch in (start, start + 2)]


def test_a_damaged_expert_stops_the_step_that_needs_it(monkeypatch):
    job = toy_job()
    needed = [trajectory_matching.draw_part(job, step) for step in range(20)]
    last = next(step for step in range(2, 20) if needed[step] not in needed[:step])
    bad = needed[last]

    class Damaged(Experts):
        def parameters(self, expert, epoch):
            if (expert, epoch) == (bad[0], bad[1] + 2) and len(learning.progress.losses) >= last - 1:
                raise InputError("damaged")
            return super().parameters(expert, epoch)

    monkeypatch.setattr(trajectory_matching, "experts_of", lambda config: Damaged())
    learning = Learning(job, find_method("mtt"), toy_synthetic(job))
    for _ in range(last):
        learning.step()
    with pytest.raises(InputError, match="damaged"):
        learning.step()
    assert learning.progress.step == last


class RankJob(ToyJob):
    """One of three processes that are threads; their sums meet at a barrier."""

    processes, rank = 3, 0

    def sum(self, tensor):
        self.board[self.rank] = tensor
        self.barrier.wait(20)
        total = sum(self.board[rank] for rank in range(self.processes))
        self.barrier.wait(20)
        return total


@pytest.mark.parametrize("threshold", [1e6, 1e-6])
def test_processes_together_make_the_step_of_one(monkeypatch, threshold):
    monkeypatch.setattr(edf_maps, "activation_maps", None)
    monkeypatch.setattr(edf, "activation_maps", lambda *arguments: torch.rand((6, RES, RES)).double().fill_(0.5))
    settings = {"method": "edf", "match_threshold": threshold, "loss_threshold": 0.3, "batch_syn": 2}
    one = toy_job(**settings)
    alone = toy_synthetic(one, soft=True)
    loss = find_method("edf").run(one, alone, 0)
    board, barrier, results = [None] * 3, threading.Barrier(3), [None] * 3

    def work(rank):
        job = toy_job(kind=RankJob, **settings)
        job.rank, job.board, job.barrier = rank, board, barrier
        synthetic = toy_synthetic(job, soft=True)
        results[rank] = find_method("edf").run(job, synthetic, 0), synthetic, job.notes

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_equal([sum(result[0] for result in results)], [loss])
    assert all(result[2] == one.notes for result in results)
    for name, tensor in alone.learned().items():
        parts = [result[1].learned()[name].grad for result in results]
        if threshold < 1:
            assert parts == [None] * 3
            assert tensor.grad is None
        else:
            assert_equal([sum(parts)], [tensor.grad])


@pytest.mark.parametrize("steps", [10, 20])
def test_parameters_taken_as_constants_give_other_gradients(monkeypatch, steps):
    exact = gradients(toy_job(syn_steps=steps))[1]
    backward = StudentSteps._backward
    monkeypatch.setattr(StudentSteps, "_backward", lambda *arguments: 0 * backward(*arguments))
    constant = gradients(toy_job(syn_steps=steps))[1]
    assert (constant - exact).norm() > 0.05 * exact.norm()


def test_batches_use_up_an_order_before_the_next():
    drawn = draw_batches(5, 2, 7, torch.Generator().manual_seed(3))
    assert [len(places) for places in drawn] == [1, 2, 2, 1, 2, 2, 1]
    for start in (0, 3):
        assert sorted(torch.cat(drawn[start : start + 3]).tolist()) == list(range(5))


def test_dropout_leaves_the_nearest_parameters_out():
    start, target, theta = (torch.randn(10, dtype=torch.float64) for _ in range(3))
    theta.requires_grad_()
    value = trajectory_distance(theta, start, target, 0.35)
    value.backward()
    differences = (theta - target).detach()
    order = sorted(range(10), key=lambda place: abs(differences[place].item()))
    kept = order[3:]
    norm = sum((start[place] - target[place]).item() ** 2 for place in kept)
    assert value.item() == pytest.approx(sum(differences[place].item() ** 2 for place in kept) / norm, rel=1e-12)
    expected = [2 * differences[place].item() / norm if place in kept else 0.0 for place in range(10)]
    assert theta.grad.tolist() == pytest.approx(expected, rel=1e-12)


def test_edf_drops_and_enhances(monkeypatch):
    maps = torch.rand((CLASSES * IPC, RES, RES), generator=torch.Generator().manual_seed(1)).double()
    monkeypatch.setattr(edf, "activation_maps", lambda *arguments: maps)
    job = toy_job("edf", loss_threshold=0.25, beta=0.5, first_max_start_epoch=3)
    synthetic = toy_synthetic(job, soft=True)
    loss = find_method("edf").run(job, synthetic, 0)
    images, labels = (tensor.detach().requires_grad_() for tensor in (synthetic.images, synthetic.labels))
    expert, start = drawn(job, 0)
    first, target = theta_of(expert, start), theta_of(expert, start + 2)
    reached = last_theta(job, 0, first.clone().requires_grad_(), images, labels, synthetic.lr.detach())
    squares = (reached - target) ** 2
    kept = squares.argsort()[int(len(squares) * 0.25) :]
    expected = squares[kept].sum() / ((first - target) ** 2)[kept].sum()
    assert_equal([loss], [expected])
    expected.backward()
    factors = torch.ones_like(images)
    for number, activation in enumerate(maps):
        for row in range(RES):
            for column in range(RES):
                if activation[row, column] >= activation.mean():
                    factors[number, :, row, column] = 0.5 + activation[row, column]
    assert_equal([synthetic.images.grad, synthetic.labels.grad], [images.grad * factors, labels.grad])


def test_a_run_of_edf_is_a_loop_of_the_pure_functions(monkeypatch):
    """Fifty steps with momentum, soft labels and a learned rate."""
    generator = torch.Generator().manual_seed(1)
    maps = [torch.rand((CLASSES * IPC, RES, RES), generator=generator, dtype=torch.float64) for _ in range(5)]
    monkeypatch.setattr(edf, "activation_maps", lambda job, synthetic, step: maps[step // 10])
    rates = {"lr_img": 1.0, "lr_label": 0.5, "lr_lr": 1e-3}
    job = toy_job("edf", dsa=False, interval=10, loss_threshold=0.25, beta=0.5, momentum_label=0.9, **rates)
    learning = Learning(job, find_method("edf"), toy_synthetic(job, soft=True))
    losses = [learning.step() for _ in range(50)]

    learned = {name: tensor.detach().clone() for name, tensor in toy_synthetic(job, soft=True).learned().items()}
    momenta = {"images": 0.5, "labels": 0.9, "lr": 0.5}
    rates = {"images": 1.0, "labels": 0.5, "lr": 1e-3}
    velocities = {name: torch.zeros_like(tensor) for name, tensor in learned.items()}
    network, expected = toy_network(), []
    shapes = [parameter.shape for parameter in network.parameters()]
    for step in range(50):
        expert, start = trajectory_matching.draw_part(job, step)
        weights = [
            [part.view(shape) for part, shape in zip(theta.split([s.numel() for s in shapes]), shapes, strict=True)]
            for theta in (theta_of(expert, start), theta_of(expert, start + job.config.expert_epochs))
        ]
        order = draw_batches(CLASSES * IPC, job.config.batch_syn, job.config.syn_steps, job.generator("batch", step))
        options = {"batches": order, "dropped": 0.25, "recompute": step % 2 == 0}
        distance, gradients = match_trajectory(network, **learned, start=weights[0], target=weights[1], **options)
        expected.append(distance.item())
        gradients["images"] = gradients["images"] * edf_maps.enhancement_factors(maps[step // 10], 0.5)
        for name, gradient in gradients.items():
            velocities[name] = momenta[name] * velocities[name] + gradient
            learned[name] = learned[name] - rates[name] * velocities[name]
    assert losses == pytest.approx(expected, rel=1e-9)
    assert_equal([tensor.detach() for tensor in learning.synthetic.learned().values()], list(learned.values()), 1e-9)
    assert (learned["images"] - toy_synthetic(job, soft=True).images).norm() > 0.01 * learned["images"].norm()


def test_factors_with_a_threshold():
    maps = torch.tensor([[[0.1, 0.5], [0.7, 1.0]]])
    assert enhancement_factors(maps, 1.0, 0.5).tolist() == [[[[1.0, 1.5], [pytest.approx(1.7), 2.0]]]]
    assert enhancement_factors(maps).tolist() == [[[[1.0, 1.0], [pytest.approx(1.7), 2.0]]]], "the mean is 0.575"


@pytest.mark.parametrize("method", ["datm", "edf"])
def test_a_step_above_the_threshold_moves_nothing(monkeypatch, method):
    monkeypatch.setattr(edf, "activation_maps", lambda *arguments: torch.full((6, RES, RES), 0.5))
    job = toy_job(method, lr_img=5.0, max_start_epoch=3)
    learning = Learning(job, find_method(method), toy_synthetic(job, soft=True))
    learning.step()
    before = {name: tensor.detach().clone() for name, tensor in learning.synthetic.learned().items()}
    job.config = replace(job.config, match_threshold=1e-9)
    assert learning.step() > 1e-9
    assert all(torch.equal(tensor, before[name]) for name, tensor in learning.synthetic.learned().items())
    assert job.notes["skipped_steps"] == 1
    job.config = replace(job.config, match_threshold=1e9)
    learning.step()
    assert all(not torch.equal(tensor, before[name]) for name, tensor in learning.synthetic.learned().items())
    assert job.notes["skipped_steps"] == 1


def test_the_window_of_start_epochs_grows():
    job = toy_job("datm", first_max_start_epoch=1, max_start_epoch=4, min_start_epoch=0, window_steps=10)
    for step in range(25):
        assert trajectory_matching.window_end(job.config, step) == min(4, 1 + int((4 - 1) * step / 10))
    starts = [[trajectory_matching.draw_part(job, step)[1] for step in range(first, first + 60)] for first in (0, 100)]
    assert set(starts[1]) == {0, 1, 2, 3}
    assert set(starts[0][:4]) == {0}
    assert {trajectory_matching.draw_part(job, step)[0] for step in range(60)} == {0, 1}
    assert trajectory_matching.window_end(toy_job(max_start_epoch=3).config, 0) == 3


@pytest.mark.slow
@pytest.mark.parametrize("soft", [False, True])
def test_compiled_steps_have_the_same_gradients(soft):
    job = toy_job(batch_syn=4)  # six images: a batch of four, one of two
    eager = gradients(job, 1, soft)
    job._compiler = Compiler("always", "steps")
    job._compiler.choose({job.config.model: 0})
    assert job.compiled
    assert_equal(gradients(job, 1, soft), eager, 1e-9)
    assert job.compiled  # it did not fall back


@pytest.mark.parametrize("method", ["mtt", "datm"])
def test_the_loss_falls(method):
    job = toy_job(
        method, lr_img=30.0, lr_lr=1e-3, max_start_epoch=1, first_max_start_epoch=None, batch_syn=6, dsa=False
    )
    if method == "datm":
        job.config = replace(job.config, first_max_start_epoch=1, lr_label=1.0)
    learning = Learning(job, find_method(method), toy_synthetic(job, method == "datm"))
    losses = [learning.step() for _ in range(40)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_soft_labels_begin_as_the_logits_of_the_experts_that_are_right():
    job = toy_job("datm")
    drawn_expert = int(torch.randint(2, (1,), generator=job.generator("expert", "begin")))
    logits = torch.stack([toy_logits(theta_of(expert, EPOCHS), job.real.images) for expert in range(2)])
    right = logits.argmax(dim=2) == job.real.labels
    synthetic = find_method("datm").begin(job)
    missing = 0
    for label in range(CLASSES):
        members = job.real.indices_of(label).tolist()
        good = [place for place in members if right[drawn_expert][place]]
        own = logits[drawn_expert]
        sure = sorted(set(members) - set(good), key=lambda place: -own[place].softmax(0)[label])
        missing += max(0, IPC - len(good))
        chosen = [
            next(place for place in members if torch.equal(job.real.images[place], image))
            for image in synthetic.of_class(label)
        ]
        assert len(set(chosen)) == IPC
        assert set(chosen) <= set(good) or set(chosen) == set(good + sure[: IPC - len(good)])
        for place, found in zip(chosen, synthetic.labels[synthetic.classes == label], strict=True):
            experts = [expert for expert in range(2) if right[expert][place]] or [0, 1]
            assert torch.allclose(found.double(), logits[experts, place].mean(dim=0), rtol=1e-5)
    assert job.notes["filled_up"] == missing
    assert 0 < missing < CLASSES * IPC  # both ways are seen
    assert synthetic.labels.requires_grad
    job.config = replace(job.config, ipc=5)
    with pytest.raises(InputError, match="label 0 has 4 training images, fewer than the IPC of 5"):
        trajectory_matching.begin_with_soft_labels(job)


def smooth_grad_cam_pp(convolve, score, images, seed):
    """By hand, from the first convolution of a network on; the map is that of the last noisy images, as TorchCAM's."""
    generator = torch.Generator().manual_seed(seed)
    slopes = []
    for _ in range(4):
        noise = torch.randn(images.shape, generator=generator)
        layer = convolve(images + 0.3 * noise).detach().requires_grad_()
        slopes += torch.autograd.grad(score(layer).sum(), layer)
    second, third = (torch.stack([slope**power for slope in slopes]).mean(dim=0) for power in (2, 3))
    first = convolve(images)
    shares = second / (2 * second + (third * first).sum(dim=(2, 3), keepdim=True) + 1e-8)
    weights = (shares * slopes[-1].relu()).sum(dim=(2, 3), keepdim=True)
    maps = (weights * layer.detach()).sum(dim=1).relu()
    least, most = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - least) / (most - least)


def test_maps_are_smooth_grad_cam_pp_of_an_expert():
    pytest.importorskip("torchcam", reason="TorchCAM is an extra")
    job = toy_job("edf", map_model="expert")
    synthetic = toy_synthetic(job)
    maps = edf_maps.activation_maps(job, synthetic, 7)
    theta = theta_of(int(torch.randint(2, (1,), generator=job.generator("expert", "maps", 7))), EPOCHS)
    kernel, bias, weight, offset = theta.split([81, 3, 144, 3])

    def convolve(images):
        return F.conv2d(images, kernel.view(3, 3, 3, 3), bias, padding=1)

    def score(layer):
        logits = F.avg_pool2d(torch.tanh(layer), 2).flatten(1) @ weight.view(CLASSES, 48).T + offset
        return logits[range(len(logits)), synthetic.classes]

    seed = job.generator("maps", 7, 0).initial_seed()
    expected = smooth_grad_cam_pp(convolve, score, synthetic.images.detach(), seed)
    assert torch.allclose(maps.double(), expected, atol=1e-6)


OWN_CLASSIFIER = """
import torch
from torch import nn

def create_model():
    network = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(64, 1000))
    network.mean, network.std = (0.4, 0.5, 0.6), (0.5, 0.4, 0.3)
    return network
"""


@pytest.fixture
def classifier(tmp_path):
    """A file with a classifier of ImageNet's classes that normalises otherwise."""
    edf_maps.map_classifier.cache_clear()
    file = tmp_path / "own.py"
    file.write_text(OWN_CLASSIFIER)
    yield file
    edf_maps.map_classifier.cache_clear()


def classifier_maps(job, step=0):
    classes = torch.arange(CLASSES).repeat_interleave(IPC)
    return edf_maps.activation_maps(job, Synthetic(job.real.images.float()[: len(classes)], classes, classes), step)


def test_a_classifier_sees_the_images_at_their_own_size(classifier):
    pytest.importorskip("torchcam", reason="TorchCAM is an extra")
    job = toy_job("edf", map_model=str(classifier))
    maps = classifier_maps(job, 5)
    network = edf_maps.map_classifier(str(classifier), RES, job.device).network
    known = [entry.imagenet_index for entry in job.config.load_subset().classes]
    assert known[:CLASSES] != list(range(CLASSES))
    images = job.real.images.float()[: CLASSES * IPC]
    mean, std, own_mean, own_std = (
        torch.tensor(values).view(3, 1, 1)
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), network.mean, network.std)
    )
    images = (images * std + mean - own_mean) / own_std

    def score(layer):
        logits = network[1:](layer)
        return torch.stack([row[known[place // IPC]] for place, row in enumerate(logits)])

    found = smooth_grad_cam_pp(network[0], score, images, job.generator("maps", 5, 0).initial_seed())
    expected = F.interpolate(found[:, None], (RES, RES), mode="bilinear", align_corners=False)[:, 0]
    assert maps.shape == (CLASSES * IPC, RES, RES)
    assert torch.allclose(maps, expected, atol=1e-5)


def test_noise_goes_with_seed_step_and_images(classifier, monkeypatch):
    pytest.importorskip("torchcam", reason="TorchCAM is an extra")
    job = toy_job("edf", map_model=str(classifier))
    first = classifier_maps(job)
    torch.rand(5)  # what else draws in a process changes nothing
    assert torch.equal(classifier_maps(job), first)
    assert not torch.equal(classifier_maps(job, 1), first)
    assert not torch.equal(classifier_maps(toy_job("edf", map_model=str(classifier), seed=1)), first)
    job.real.images = job.real.images[:1].repeat(CLASSES * IPC, 1, 1, 1)  # the same images: parts have other noise
    monkeypatch.setattr(edf_maps, "_AT_A_TIME", 1)
    same, other = classifier_maps(job)[:2]
    assert not torch.equal(same, other)


def test_classifiers_without_maps_of_these_images_are_refused(classifier):
    pytest.importorskip("torchcam", reason="TorchCAM is an extra")
    job = toy_job("edf", map_model=str(classifier))
    assert len(find_method("edf").inputs(job.config)) == 2
    for change, message in (
        (("1000", "7"), "has 7 outputs, expected the 1000 classes of ImageNet or the 10"),
        (("64,", "65,"), "cannot take images of 8 x 8 pixels.*; or give --map_model expert"),
    ):
        classifier.write_text(OWN_CLASSIFIER.replace(*change))
        edf_maps.map_classifier.cache_clear()
        with pytest.raises(InputError, match=message):
            find_method("edf").inputs(job.config)
    classifier.write_text(OWN_CLASSIFIER.replace("2, stride=2", "8").replace("64,", "4,"))
    edf_maps.map_classifier.cache_clear()
    with pytest.raises(InputError, match="layer 0 is 1 x 1 at --res 8.*give a larger --res or another --map_model"):
        classifier_maps(job)


def test_edf_says_what_else_gives_maps_where_weights_cannot_be_downloaded(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    job = toy_job("edf")
    assert job.config.map_model == "torchvision:resnet18"
    with pytest.raises(InputError, match="^--map_model torchvision:resnet18: .*no network") as failure:
        find_method("edf").inputs(job.config)
    assert "use --map_model efficientnet-lite0" in str(failure.value)
    assert "or give --map_model expert" in str(failure.value) and "--weights" not in str(failure.value)
    smoke = DistillConfig(method="edf", category="bird", subset="easy", experts="x", preset="smoke")
    assert fill_settings(smoke, find_method("edf")).map_model == "expert", "needs no network"


def test_maps_of_a_resnet_are_those_of_its_last_stage(monkeypatch):
    """As the published default, without its weights."""
    torchvision = pytest.importorskip("torchvision")
    get_model = torchvision.models.get_model
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: get_model(name, weights=None))
    edf_maps.map_classifier.cache_clear()
    found = edf_maps.map_classifier("torchvision:resnet18", 64, torch.device("cpu"))
    edf_maps.map_classifier.cache_clear()
    assert (found.layer, found.outputs, found.mean) == ("layer4", 1000, (0.485, 0.456, 0.406))


def test_a_run_goes_on_bit_for_bit_with_its_maps(tmp_path):
    pytest.importorskip("torchcam", reason="TorchCAM is an extra")
    method = find_method("edf")

    def started():
        job = toy_job("edf", interval=3, lr_img=3.0, match_threshold=2.0, map_model="expert")
        return Learning(job, method, toy_synthetic(job, soft=True))

    straight, first, second = started(), started(), started()
    for _ in range(5):
        straight.step()
    first.step()
    first.step()
    first.save(tmp_path / "checkpoint", "digest")
    second.go_on(*read_checkpoint(tmp_path / "checkpoint", "digest"))
    assert set(second.job.memory) == {"maps"}
    for _ in range(3):
        second.step()
    assert second.progress.losses == straight.progress.losses
    assert second.job.notes == straight.job.notes
    for name, tensor in straight.synthetic.learned().items():
        assert torch.equal(tensor, second.synthetic.learned()[name])
    assert torch.equal(second.job.memory["maps"], straight.job.memory["maps"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_start_epoch": 6}, r"--max_start_epoch 6 and --expert_epochs 2 need experts of 7 epochs; .* have 6"),
        ({"min_start_epoch": 3}, r"--min_start_epoch 3: expected an epoch below .* start epochs, 3"),
    ],
)
def test_a_window_that_cannot_be_drawn_is_refused(settings, message):
    job = toy_job(**settings)
    with pytest.raises(InputError, match=message):
        find_method("mtt").inputs(job.config)


def test_the_last_epoch_can_be_a_target():
    job = toy_job(max_start_epoch=5)
    assert find_method("mtt").inputs(job.config) == "experts"
    assert {trajectory_matching.draw_part(job, step)[1] for step in range(50)} == {0, 1, 2, 3, 4}


def test_experts_of_other_images_are_refused():
    for method in ("mtt", "datm", "edf"):
        job = toy_job(method)
        job.real.digest = "others"
        with pytest.raises(InputError, match="other images"):
            find_method(method).begin(job)


@pytest.mark.parametrize(
    ("layer", "message"), [(nn.BatchNorm2d(3), "has batch norm"), (nn.Dropout(0.5), "has dropout")]
)
def test_networks_whose_steps_are_no_function_of_their_parameters_are_refused(layer, message):
    with pytest.raises(InputError, match=message):
        Student(nn.Sequential(layer))


def test_a_network_without_convolutions_has_no_maps():
    with pytest.raises(InputError, match="--map_model expert: Linear has no convolution"):
        edf_maps._of_expert(nn.Linear(2, 2), torch.device("cpu"))
