"""Networks, augmentation and training against numbers of the reference implementation (tests/parity)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from compdd_eval import accuracy, create_model, diff_augment, load_comp_dd, soft_cross_entropy, train_student
from compdd_eval.config.protocol import DSA_OPERATIONS, Protocol, parse_strategy
from compdd_eval.data.label_kinds import infer_label_kind
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.training.predict import predict
from compdd_eval.utils.errors import InputError
from tests.support.parity import NETWORKS, PARITY, RUNS, fill, normal


@pytest.mark.parametrize("key", NETWORKS)
def test_networks_equal_the_reference(key):
    name, size = key.split("@")
    model = create_model(name, im_size=(int(size), int(size)))
    assert [list(p.shape) for p in model.parameters()] == NETWORKS[key]["parameter_shapes"]
    logits = fill(model, 0)(normal(1, (2, 3, int(size), int(size))))
    expected = torch.tensor(NETWORKS[key]["logits"])
    # by the largest: a small one is a difference of large ones, and processors round these each in its way
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max().clamp_min(1)


def dsa_cases():
    with np.load(PARITY / "dsa.npz") as data:
        return [key for key in data.files if key != "input"]


@pytest.mark.parametrize("key", dsa_cases())
def test_augmentation_equals_the_reference(key):
    with np.load(PARITY / "dsa.npz") as data:
        images, expected = torch.from_numpy(data["input"]), torch.from_numpy(data[key])
    strategy, seed = key.split("/")
    torch.manual_seed(int(seed))
    assert torch.allclose(diff_augment(images, strategy), expected, atol=1e-5)
    from_generator = diff_augment(images, strategy, generator=torch.Generator().manual_seed(int(seed)))
    assert torch.allclose(from_generator, expected, atol=1e-5)


def loop_crop_cutout(images, operation, crop_pad, seed):
    """Crop and cutout as the definition reads, one image and one pixel after another."""
    torch.manual_seed(seed)
    torch.randint(0, 1, (1,))
    count, _, height, width = images.shape
    out = torch.zeros_like(images)
    if operation == "crop":
        pads = [int(size * crop_pad + 0.5) for size in (height, width)]
        shifts = [torch.randint(-pad, pad + 1, (count, 1, 1)).flatten() for pad in pads]
        for n in range(count):
            for i in range(height):
                for j in range(width):
                    row, column = i + int(shifts[0][n]), j + int(shifts[1][n])
                    if 0 <= row < height and 0 <= column < width:
                        out[n, :, i, j] = images[n, :, row, column]
        return out
    out = images.clone()
    sides = [int(size * 0.5 + 0.5) for size in (height, width)]
    drawn = [
        torch.randint(0, size + (1 - side % 2), (count, 1, 1)).flatten()
        for size, side in zip((height, width), sides, strict=True)
    ]
    for n in range(count):
        for i in range(sides[0]):
            for j in range(sides[1]):
                row = min(max(int(drawn[0][n]) - sides[0] // 2 + i, 0), height - 1)
                column = min(max(int(drawn[1][n]) - sides[1] // 2 + j, 0), width - 1)
                out[n, :, row, column] = 0
    return out


@pytest.mark.parametrize("operation", ["crop", "cutout"])
@pytest.mark.parametrize("shape", [(5, 3, 9, 14), (3, 2, 7, 7), (4, 1, 1, 2)])
@pytest.mark.parametrize("crop_pad", [0.125, 0.25, 1.0])
def test_crop_and_cutout_equal_a_plain_loop(operation, shape, crop_pad):
    images = normal(3, shape)
    for seed in range(5):
        torch.manual_seed(seed)
        result = diff_augment(images, operation, crop_pad)
        assert torch.equal(result, loop_crop_cutout(images, operation, crop_pad, seed))


def test_augmentation_keeps_shape_type_and_gradient():
    for operation in DSA_OPERATIONS:
        images = torch.randn(3, 3, 10, 12, dtype=torch.float64, requires_grad=True)
        result = diff_augment(images, operation, generator=torch.Generator().manual_seed(1))
        assert result.shape == images.shape and result.dtype == images.dtype
        result.sum().backward()
        assert images.grad.abs().sum() > 0
    assert diff_augment(images, "none") is images


def test_unknown_operations():
    assert parse_strategy("Color_Flip") == ["color", "flip"]
    with pytest.raises(InputError, match="'rotat'; did you mean 'rotate'"):
        diff_augment(torch.zeros(1, 3, 4, 4), "color_rotat")


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run["model"])
def test_training_equals_the_reference(run):
    size, seed, number = run["resolution"], run["seed"], run["images"]
    model = fill(create_model(run["model"], im_size=(size, size)), seed)
    losses = train_student(
        model,
        normal(seed + 1, (number, 3, size, size)),
        3 * normal(seed + 2, (number, 10)),
        label_kind="logits",
        lr=run["lr"],
        protocol=Protocol(epoch_eval_train=run["epochs"], batch_train=number, dsa=False),
    )
    assert losses == pytest.approx(run["losses"], rel=1e-4)
    logits = model.eval()(normal(seed + 3, (4, 3, size, size)))
    assert torch.allclose(logits, torch.tensor(run["final_logits"]), atol=1e-4)


def train_once(labels, kind, seed=0, **options):
    torch.manual_seed(0)
    model = create_model("ConvNetD1", im_size=(8, 8))
    how = Protocol(epoch_eval_train=4, **options)
    losses = train_student(model, normal(1, (20, 3, 8, 8)), labels, label_kind=kind, lr=0.05, protocol=how, seed=seed)
    return losses, model


def test_kinds_of_labels_agree_where_they_mean_the_same():
    hard = torch.arange(20) % 10
    one_hot = F.one_hot(hard, 10).float()
    expected, _ = train_once(hard, "hard")
    assert train_once(one_hot, "probabilities")[0] == pytest.approx(expected, rel=1e-5)
    logits = normal(5, (20, 10))
    soft, _ = train_once(logits, "logits")
    assert train_once(F.softmax(logits, 1), "probabilities")[0] == pytest.approx(soft, rel=1e-5)
    assert train_once(one_hot, "logits")[0] != pytest.approx(expected, rel=1e-2)  # softmaxed twice: another loss


def test_a_seed_fixes_training_and_leaves_the_global_generator():
    labels = torch.arange(20) % 10
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = train_student(
        create_model("ConvNetD1", im_size=(8, 8)),
        normal(1, (20, 3, 8, 8)),
        labels,
        label_kind="hard",
        lr=0.01,
        protocol=Protocol(epoch_eval_train=1),
    )
    torch.set_rng_state(state)
    model = create_model("ConvNetD1", im_size=(8, 8))
    after_model = torch.get_rng_state()
    again = train_student(
        model, normal(1, (20, 3, 8, 8)), labels, label_kind="hard", lr=0.01, protocol=Protocol(epoch_eval_train=1)
    )
    assert first == again and torch.equal(after_model, torch.get_rng_state())
    options = {"batch_train": 8, "seed": 1}
    assert train_once(labels, "hard", **options)[0] == train_once(labels, "hard", **options)[0]
    assert train_once(labels, "hard", **options)[0] != train_once(labels, "hard", batch_train=8, seed=2)[0]


def test_the_mean_loss_counts_every_image_once():
    """With a rate of nearly zero, the loss of a pass is the mean over all images whatever the batches are."""
    labels = torch.arange(20) % 10
    torch.manual_seed(0)
    model = create_model("ConvNetD1", im_size=(8, 8))
    images = normal(1, (20, 3, 8, 8))
    expected = F.cross_entropy(model(images), labels).item()
    how = Protocol(epoch_eval_train=2, batch_train=7, dsa=False)
    losses = train_student(model, images, labels, label_kind="hard", lr=1e-12, protocol=how)
    assert losses == pytest.approx([expected] * 3, rel=1e-5)


def test_soft_cross_entropy():
    inputs, logits = normal(1, (6, 10)), normal(2, (6, 10))
    probabilities = F.softmax(logits, dim=1)
    expected = F.cross_entropy(inputs, probabilities)
    assert torch.allclose(soft_cross_entropy(inputs, probabilities), expected)
    assert torch.allclose(soft_cross_entropy(inputs, logits), expected)
    assert torch.allclose(
        soft_cross_entropy(inputs, probabilities, "logits"), F.cross_entropy(inputs, probabilities.softmax(1))
    )


def test_soft_cross_entropy_refuses_hard_labels():
    for target in (torch.arange(10), torch.eye(10).long(), torch.rand(9, 10)):
        with pytest.raises(InputError, match="soft labels"):
            soft_cross_entropy(torch.zeros(10, 10), target)


def test_label_kinds():
    assert infer_label_kind(torch.tensor([1, 2])) == "hard"
    assert infer_label_kind(torch.full((2, 10), 0.1)) == "probabilities"
    assert infer_label_kind(torch.full((2, 10), 0.1002)) == "logits"
    assert infer_label_kind(torch.eye(10) * 1.5 - 0.05) == "logits"
    soft = torch.randn(500, 10).softmax(dim=1)
    assert infer_label_kind(soft.bfloat16()) == infer_label_kind(soft.half()) == "probabilities"
    kept = DistilledSet(torch.zeros(500, 3, 8, 8), soft.bfloat16())
    assert kept.label_kind == "probabilities" and torch.allclose(kept.labels.sum(dim=1), torch.ones(500))
    assert torch.allclose(kept.labels, soft, atol=5e-3)


def test_train_student_refuses_what_does_not_fit():
    model = create_model("ConvNetD1", im_size=(8, 8))
    with pytest.raises(InputError, match="did you mean 'logits'"):
        train_student(model, torch.zeros(1, 3, 8, 8), torch.zeros(1, 10), label_kind="logit", lr=0.1)
    for options in ({"epoch_eval_train": 0}, {"batch_train": 0}):
        with pytest.raises(InputError, match="expected a whole number"):
            Protocol(**options)
    how = Protocol(labels="soft+kd")
    with pytest.raises(InputError, match="no teacher"):
        train_student(model, torch.zeros(1, 3, 8, 8), torch.zeros(1).long(), label_kind="hard", lr=0.1, protocol=how)
    for images, labels in [(2, 1), (0, 0)]:
        with pytest.raises(InputError, match="as many of both"):
            train_student(model, torch.zeros(images, 3, 8, 8), torch.zeros(labels).long(), label_kind="hard", lr=0.1)


def test_predictions_do_not_depend_on_the_batch():
    model = create_model("ConvNetD1", im_size=(8, 8))
    images = normal(1, (23, 3, 8, 8))
    expected = [int(model(image[None]).argmax()) for image in images]
    for batch_size in (1, 5, 256):
        assert predict(model, images, batch_size).tolist() == expected


def test_accuracy_of_a_network(drawn, cache):
    split = load_comp_dd(drawn, "bird-easy", im_size=16).dst_test
    network = create_model("ConvNetD1BN", im_size=(16, 16)).train()
    images, labels = split.tensors()
    expected = (predict(network, images) == labels).double().mean().item()
    network.train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    assert accuracy(network, split) == accuracy(network, (images, labels)) == expected and network.training
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    with pytest.raises(InputError, match="50 images and 49 labels"):
        accuracy(network, (images, labels[1:]))
