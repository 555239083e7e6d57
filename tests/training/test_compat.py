"""`evaluate_synset` of the releases: ours against parity data and a loop written as theirs."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from compdd_eval import create_model, diff_augment
from compdd_eval.compat import evaluate_synset
from compdd_eval.data.subsets import load_subset
from compdd_eval.utils.errors import InputError
from tests.support.parity import RUNS, fill, normal

STRATEGY = "color_crop_cutout_flip_scale_rotate"
IMAGES, HARD, TESTED = normal(1, (20, 3, 16, 16)), torch.arange(20) % 10, normal(2, (30, 3, 16, 16))
SOFT = 3 * normal(3, (20, 10))


def arguments(**changes):
    param = SimpleNamespace(aug_mode="S", ratio_crop_pad=0.125, ratio_scale=1.2, brightness=1.0)
    given = {"lr_net": torch.tensor(0.02), "epoch_eval_train": 5, "batch_train": 8, "dsa": True, "device": "cpu"}
    return SimpleNamespace(**given | {"dsa_strategy": STRATEGY, "dsa_param": param} | changes)


def loader(labels=None):
    labels = torch.arange(30) % 10 if labels is None else labels
    return DataLoader(TensorDataset(TESTED, labels), batch_size=7)


def network():
    return fill(create_model("ConvNetD1", im_size=(16, 16)), 0)


def soft_cross_entropy_of_the_releases(inputs, target, reduction="average"):
    return torch.sum(-F.log_softmax(inputs, dim=1) * F.softmax(target, dim=1)) / len(inputs)


def loop_of_the_releases(net, images, labels, args, criterion):
    """Every draw from the global generator: the seeds of a `DataLoader`, then DSA of each batch."""
    batches = DataLoader(TensorDataset(images, labels), batch_size=args.batch_train, shuffle=True)
    lr, accuracies, losses = float(args.lr_net), [], []
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    for epoch in range(args.epoch_eval_train + 1):
        net.train()
        right = loss_sum = 0
        for batch, targets in batches:
            if args.dsa:
                batch = diff_augment(batch, args.dsa_strategy, args.dsa_param.ratio_crop_pad)
            outputs = net(batch)
            loss = criterion(outputs, targets)
            classes = targets if targets.ndim == 1 else targets.argmax(1)
            right += (outputs.argmax(1) == classes).sum().item()
            loss_sum += loss.item() * len(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracies.append(right / len(images))
        losses.append(loss_sum / len(images))
        if epoch == args.epoch_eval_train // 2 + 1:
            optimizer = torch.optim.SGD(net.parameters(), lr=lr * 0.1, momentum=0.9, weight_decay=5e-4)
    net.eval()
    with torch.no_grad():
        outputs = torch.cat([net(batch) for batch, _ in loader()])
    labels = torch.arange(30) % 10
    return (
        accuracies,
        (outputs.argmax(1) == labels).float().mean().item(),
        losses,
        F.cross_entropy(outputs, labels).item(),
    )


@pytest.mark.parametrize("dsa", [True, False])
@pytest.mark.parametrize("labels", [HARD, SOFT], ids=["hard", "soft"])
def test_numbers_and_random_numbers_are_those_of_the_releases(labels, dsa):
    args, net, other, again = arguments(dsa=dsa), network(), network(), network()
    soft = None if labels is HARD else soft_cross_entropy_of_the_releases
    torch.manual_seed(5)
    expected = loop_of_the_releases(other, IMAGES, labels, args, soft or F.cross_entropy)
    left = torch.get_rng_state()
    torch.manual_seed(5)
    found = evaluate_synset(0, net, IMAGES, labels, loader(), args, return_loss=True, train_criterion=soft)
    assert found[0] is net and torch.equal(torch.get_rng_state(), left)
    for ours, theirs in zip(found[1:], expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    torch.manual_seed(5)
    assert evaluate_synset(0, again, IMAGES, labels, loader(), args, train_criterion=soft)[1:] == found[1:3]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run["model"])
def test_training_equals_the_reference(run):
    size, seed, number = run["resolution"], run["seed"], run["images"]
    net = fill(create_model(run["model"], im_size=(size, size)), seed)
    images, labels = normal(seed + 1, (number, 3, size, size)), 3 * normal(seed + 2, (number, 10))
    args = arguments(lr_net=run["lr"], epoch_eval_train=run["epochs"], batch_train=number, dsa="False")
    tested = normal(seed + 3, (4, 3, size, size))
    criterion = soft_cross_entropy_of_the_releases
    found = evaluate_synset(0, net, images, labels, [(tested, torch.arange(4))], args, True, train_criterion=criterion)
    assert len(found[1]) == run["epochs"] + 1 and found[3] == pytest.approx(run["losses"], rel=1e-4)
    logits = torch.tensor(run["final_logits"])
    assert torch.allclose(net.eval()(tested), logits, atol=1e-4)
    assert found[2] == (logits.argmax(1) == torch.arange(4)).float().mean()
    assert found[4] == pytest.approx(F.cross_entropy(logits, torch.arange(4)).item(), rel=1e-3)


def test_probabilities_are_not_softened_again():
    one_hot, args = F.one_hot(HARD, 10).float(), arguments()
    found = []
    for labels in (HARD, one_hot):
        torch.manual_seed(0)
        found.append(evaluate_synset(0, network(), IMAGES, labels, loader(), args, return_loss=True)[1:])
    assert found[0][2] == pytest.approx(found[1][2], rel=1e-5) and found[0][:2] == found[1][:2]
    torch.manual_seed(0)
    soft = soft_cross_entropy_of_the_releases  # softmaxes them, as it says
    softened = evaluate_synset(0, network(), IMAGES, one_hot, loader(), args, True, False, soft)[3]
    assert softened != pytest.approx(found[0][2], rel=1e-3)


def test_labels_of_imagenet_as_mtt_tests_them():
    args, raw = arguments(epoch_eval_train=1), list(load_subset("nette").class_map)
    torch.manual_seed(0)
    expected = evaluate_synset(0, network(), IMAGES, HARD, loader(), args)
    args.dataset, args.subset = "ImageNet", "imagenette"
    torch.manual_seed(0)
    labels = torch.tensor([raw[label % 10] for label in range(30)])
    assert evaluate_synset(0, network(), IMAGES, HARD, loader(labels), args)[1:] == expected[1:]
    with pytest.raises(InputError, match="labels of testloader .*: expected ImageNet's indices of args.subset"):
        evaluate_synset(0, network(), IMAGES, HARD, loader(), args)
    args.subset = "mine"
    with pytest.raises(InputError, match="args.subset mine: which classes of ImageNet"):
        evaluate_synset(0, network(), IMAGES, HARD, loader(labels), args)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"texture": True}, "texture True: expected False"),
        ({}, {"Preciser_Scheduler": True}, "Preciser_Scheduler True: expected False"),
        ({"dsa_param": SimpleNamespace(ratio_scale=1.5)}, {}, "args.dsa_param.ratio_scale 1.5: expected 1.2"),
        ({"dsa": False, "dc_aug_param": {"strategy": "crop_scale"}}, {}, "DC's own augmentation is not taken"),
        ({}, {"train_criterion": lambda outputs, labels: outputs.mean()}, "train_criterion: expected"),
    ],
)
def test_what_is_not_taken_is_refused(changes, options, message):
    labels = SOFT if "train_criterion" in options else HARD
    with pytest.raises(InputError, match=message):
        evaluate_synset(0, network(), IMAGES, labels, loader(), arguments(**changes), **options)


def test_losses_of_hard_labels():
    args, found = arguments(epoch_eval_train=1), []
    for criterion in (None, torch.nn.CrossEntropyLoss()):
        torch.manual_seed(0)
        found.append(evaluate_synset(0, network(), IMAGES, HARD, loader(), args, train_criterion=criterion)[1:])
    assert found[0] == found[1]
    with pytest.raises(InputError, match="train_criterion: expected cross-entropy for hard labels"):
        smooth = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
        evaluate_synset(0, network(), IMAGES, HARD, loader(), args, train_criterion=smooth)


def test_batches_of_the_testloader_may_hold_more_than_images_and_labels():
    args = arguments(epoch_eval_train=1)
    torch.manual_seed(0)
    expected = evaluate_synset(0, network(), IMAGES, HARD, loader(), args)[1:]
    indexed = [(*batch, None) for batch in loader()]
    torch.manual_seed(0)
    assert evaluate_synset(0, network(), IMAGES, HARD, indexed, args)[1:] == expected


@pytest.mark.slow
def test_compiled_steps_count_alike(monkeypatch):
    monkeypatch.setattr("compdd_eval.training.compiling._COMPILING_PAYS", 0)
    args, found = arguments(dsa=False), []
    for pays in (math.inf, 0):
        monkeypatch.setattr("compdd_eval.training.compiling._COMPILING_PAYS", pays)
        torch.manual_seed(0)
        found.append(evaluate_synset(0, network(), IMAGES, HARD, loader(), args, return_loss=True))
    assert found[0][1] == found[1][1] and found[0][3] == pytest.approx(found[1][3], rel=1e-4)
