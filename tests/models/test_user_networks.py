"""Networks of a user's own: files, classes and functions as students and teachers, told apart by their code."""

import argparse
import collections
import copy
import dataclasses
import enum
import functools
import hashlib
import inspect
import json
import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from compdd_eval import EvaluateConfig, create_model, evaluate, load_comp_dd, train_student
from compdd_eval.config.network_names import network_name, pinned
from compdd_eval.config.protocol import Protocol
from compdd_eval.config.push import PushConfig
from compdd_eval.methods.expert_files import network_shapes
from compdd_eval.models import registry
from compdd_eval.models.cost import count_flops
from compdd_eval.results.public_summary import public_summary
from compdd_eval.results.push_student import _read
from compdd_eval.results.student_result import read_student
from compdd_eval.training.predict import predict
from compdd_eval.utils.code_digest import code_digest
from compdd_eval.utils.errors import InputError
from tests.conftest import environment, students
from tests.support.forked import forked, launched


class Net(nn.Module):
    def __init__(self, num_classes, im_size):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(16, num_classes)

    def forward(self, images):
        return self.head(self.layers(images))


NET = f"""
from torch import nn


{inspect.getsource(Net)}

def create_model(num_classes, im_size):
    return Net(num_classes, im_size)
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A file with a network, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


def digits(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def flags(drawn, my_set, out, *more):
    given = ["--data_path", drawn, "--category", "bird", "--subset", "easy", "--distilled", my_set, "--output_dir", out]
    return [*map(str, given), "--epoch_eval_train", "2", "--num_eval", "2", "--threads", "1", *more]


def test_a_file_gives_the_numbers_of_its_network(run, net, drawn, my_set, cache, tmp_path):
    status, out, lines = run(*flags(drawn, my_set, "out", "--model", "net.py,LeNet"))
    assert status == 0, lines
    name = f"net@{digits(net)}"
    assert f"{name}, LeNet; seeds 0-1" in out
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert [entry["model"] for entry in summary["results"]] == [name, "LeNet"]
    assert summary["config"]["model"] == f"{net}@{digits(net)},LeNet"
    torch.set_num_threads(1)
    images, labels = load_comp_dd(drawn, "bird", "easy", (32, 32)).dst_test.tensors()
    torch.manual_seed(1)
    student = Net(10, (32, 32))
    distilled = [torch.load(my_set / f"{part}.pt") for part in ("images", "labels")]
    protocol = Protocol(epoch_eval_train=2)
    losses = train_student(student, *distilled, label_kind="hard", lr=0.01, protocol=protocol, seed=1)
    record = read_student(
        next(path for path in students(tmp_path / "out") if f"/{name}/" in str(path) and "1.j" in str(path))
    )
    assert record.losses == pytest.approx(losses, rel=1e-6)
    assert record.predictions == "".join(map(str, predict(student, images).tolist()))
    assert summary["results"][0]["accuracies"][1] == pytest.approx(record.accuracy)


def test_another_file_makes_other_results_beside_the_first(settings, net, tmp_path):
    first = evaluate(settings(model="net.py", num_eval=1), quiet=True)
    kept = {path: path.read_bytes() for path in students(tmp_path / "results")}
    net.write_text(NET + "# the same network\n")
    again = evaluate(settings(model="net.py", num_eval=1), quiet=True)
    assert again["results"][0]["accuracies"] == first["results"][0]["accuracies"]
    assert again["results"][0]["model"] != first["results"][0]["model"]
    assert again["digests"]["config"] != first["digests"]["config"]
    assert (
        len(students(tmp_path / "results")) == 2
        and kept.items() <= {path: path.read_bytes() for path in students(tmp_path / "results")}.items()
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/net.py").write_text(NET.replace("Conv2d(3, 4", "Conv2d(3, 4 * 1"))
    both = evaluate(settings(model="net.py,sub/net.py", num_eval=1), quiet=True)
    assert len({entry["model"] for entry in both["results"]}) == 2 and len(students(tmp_path / "results")) == 3


def test_reproduce_trains_it_again_or_says_what_is_another(run, settings, net):
    evaluate(settings(model="net.py,ConvNetD1", num_eval=1), quiet=True)
    status, text, _ = run("reproduce", "results/summary.json", "--model", "net.py")
    assert status == 0 and text.count(": equal") == 2, text
    record = students(net.parent / "results")
    record = next(path for path in record if "net@" in str(path))
    net.write_text(NET + "\n")
    status, _, lines = run("reproduce", record, "--model", "net.py")
    assert status == 2 and len(lines) == 1 and "net.py: has changed since it made net@" in lines[0], lines
    net.unlink()
    status, _, lines = run("reproduce", record, "--model", "net.py")
    assert status == 2 and "net.py: no such file; the network net@" in lines[0] and "put it back" in lines[0], lines


def test_classes_and_functions_in_python(settings, net, tmp_path):
    expected = evaluate(settings(model="net.py", num_eval=2), quiet=True)["results"][0]["accuracies"]
    for model in (Net, lambda classes, size: Net(classes, size), functools.partial(Net, im_size=(32, 32))):
        config = settings(model=model, num_eval=2)
        summary = evaluate(config, quiet=True)
        assert summary["results"][0]["accuracies"] == expected
        assert summary["config"]["model"] == summary["results"][0]["model"] == config.model
        assert json.loads((tmp_path / "results/summary.json").read_text()) == summary
    assert settings(model=[Net, "LeNet"]).models == [settings(model=Net).model, "LeNet"]
    assert len(students(tmp_path / "results")) == 8


def test_reproduce_knows_no_class_of_another_process(settings, net, tmp_path):
    evaluate(settings(model=Net, num_eval=1), quiet=True)
    done = forked("-m", "compdd_eval", "reproduce", "results/summary.json", cwd=tmp_path)
    assert done.returncode == 2 and "its code is not here; give its file, or its class" in done.stderr


WIDTH = 4


def _helper():
    return nn.Linear(WIDTH, 10)


def _made(width):
    def build(num_classes, im_size):
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(width), _helper())

    return build


def test_a_registered_network_is_known_by_its_code(settings, tmp_path, monkeypatch):
    """An edited one makes other results, experts and teachers; those of ours and of libraries keep theirs."""
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    digests = []
    for width in (4, 5):

        def small(num_classes, im_size, channel, width=width):
            return torch.nn.Sequential(
                torch.nn.AdaptiveAvgPool2d(1),
                torch.nn.Flatten(),
                torch.nn.Linear(channel, width),
                torch.nn.Linear(width, num_classes),
            )

        registry._BUILDERS.pop("Small", None)
        registry.register_model("Small")(small)
        digests.append(evaluate(settings(model="Small", num_eval=1), quiet=True)["digests"]["config"])
    assert digests[0] != digests[1] and registry.own_code("Small") is not None
    assert registry.own_code("ConvNetD3") is registry.own_code("torchvision:resnet18") is None
    registry.registered_code.cache_clear()


def test_the_digest_is_over_all_that_decides_a_network(monkeypatch):
    assert code_digest(_made(4)) == code_digest(_made(4)) != code_digest(_made(5))
    assert code_digest(functools.partial(Net, im_size=3)) != code_digest(functools.partial(Net, im_size=4))
    assert code_digest(lambda n, s: Net(n, s)) != code_digest(lambda n, s: Net(n, (8, 8)))
    before = code_digest(_made(4))
    monkeypatch.setattr(sys.modules[__name__], "WIDTH", 5)
    changed = code_digest(_made(4))
    assert changed != before
    monkeypatch.setattr(sys.modules[__name__], "_helper", lambda: nn.Linear(WIDTH, 10, bias=False))
    assert code_digest(_made(4)) not in (before, changed)


def test_the_digest_of_code_without_a_file_is_that_of_every_process():
    code = (
        "from compdd_eval.utils.code_digest import code_digest\n"
        "class Net:\n    sizes = {'a', 'b', 'c', 'd'}\n    def __init__(self, n, s): self.n = WIDTH\n"
        "WIDTH = %d\nprint(code_digest(Net), end='')"
    )
    found = [
        subprocess.run([sys.executable, "-c", code % width], env=environment(PYTHONHASHSEED=seed), capture_output=True)
        for width, seed in ((1, "1"), (1, "2"), (2, "1"))
    ]
    one, again, other = (done.stdout for done in found)
    assert len(one) == 64 and one == again != other


class OnlyClasses(Net):
    def __init__(self, num_classes=10, width=3):
        super().__init__(num_classes, None)


class WithChannels(Net):
    def __init__(self, channel, im_size, num_classes):
        super().__init__(num_classes, im_size)
        assert channel == 3 and im_size == (32, 32)


def of_other_names(classes, size, width=2):
    assert size == (32, 32) and width == 2
    return Net(classes, size)


def by_place_alone(classes, /, im_size=None):
    assert im_size == (32, 32)
    return Net(classes, im_size)


def of_anything(*args, **kwargs):
    return Net(*args, **kwargs)


@pytest.mark.parametrize("model", [OnlyClasses, WithChannels, of_other_names, by_place_alone, of_anything])
def test_what_a_class_or_function_is_given(model):
    name = EvaluateConfig(category="bird", subset="easy", model=model).model
    assert create_model(name, 7, (32, 32))(torch.randn(2, 3, 32, 32)).shape == (2, 7)


def test_functions_of_torchvision_and_lazy_layers():
    from torchvision.models import squeezenet1_1

    name = EvaluateConfig(category="bird", subset="easy", model=squeezenet1_1).model
    assert name.startswith("squeezenet1_1@")
    assert create_model(name, 7, (64, 64)).eval()(torch.randn(2, 3, 64, 64)).shape == (2, 7)
    name = EvaluateConfig(category="bird", subset="easy", model=_made(4)).model
    assert [tuple(p.shape) for p in create_model(name, 10, (8, 8)).parameters()][0] == (4, 192)


def test_weights_come_from_the_default_generator_and_nothing_is_drawn_beside(net):
    state = torch.get_rng_state()
    with torch.device("meta"):
        assert all(p.is_meta for p in create_model("net.py", 10, (32, 32)).parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert list(network_shapes(pinned("net.py"), 32).values())[0] == (4, 3, 3, 3)
    assert count_flops(pinned("net.py"), 10, (32, 32)) == 2 * (4 * 27 * 15 * 15 + 16 * 10)
    torch.manual_seed(3)
    ours = create_model("net.py", 10, (32, 32)).head.weight
    torch.manual_seed(3)
    assert torch.equal(ours, Net(10, (32, 32)).head.weight)


WRONG = {
    "def create_model(num_classes, im_size): return 3": "net.py: create_model() returned int, expected a torch.nn.Mod",
    "def create_model(num_classes, im_size): raise KeyError('x')": "net.py: create_model() failed ('x')",
    "def create_model(): return 3": "net.py: create_model(): takes no num_classes",
    "def build(num_classes, im_size): return 3": "net.py: has no function create_model(); expected FILE.py with",
    "import nowhere_at_all": "net.py: running it failed (ModuleNotFoundError",
    "def create_model(:": "net.py: running it failed (SyntaxError",
    "import torch\nMASK = torch.rand(3)" + NET: "net.py: draws random numbers, or seeds them, when it is run",
    "import numpy as np\nMASK = np.random.rand(3)" + NET: "net.py: draws random numbers",
    "import random\nMASK = random.random()" + NET: "net.py: draws random numbers",
    NET.replace("self.head(self", "self.head(self.layers(images)), (self"): "but 2 images to a tuple",
    NET.replace("return self.head", "return self.training or self.head"): "but 2 images to a bool",
    NET.replace("Linear(16, num_classes)", "Linear(16, 12)"): "to logits [N, 10], but 2 images to [2, 12]",
    NET.replace("Linear(16,", "Linear(17,"): "cannot take images of 32 x 32 pixels: ",
    NET.replace("return Net(", "import numpy as np; np.random.rand(); net = Net(").replace(
        "Net(num_classes, im_size)\n", "Net(num_classes, im_size); net.head.bias.data += np.random.rand(); return net\n"
    ): "two networks of one seed differ",
    NET.replace("def create_model", "net = nn.Linear(2, 2)\ndef create_model"): "draws random numbers, or seeds them",
    NET.replace("    return Net", "    return nn.Sequential(nn.Flatten()) or Net"): "has no parameters to train",
    NET.replace(
        "return Net(num_classes, im_size)",
        "cache.append(cache and cache[0] or Net(num_classes, im_size)); return cache[0]",
    )
    + "cache = []": "gives two students the same weights",
    NET.replace("        self.head =", "        import torch; self.mask = torch.rand(2)\n        self.head =").replace(
        "(images))", "(images)) * self.mask[0]"
    ): "keeps numbers that are neither parameters nor buffers",
    NET.replace("(self.layers(images))", "(self.layers(images)).detach()"): "do not depend on its parameters",
}


@pytest.mark.parametrize("code", WRONG, ids=WRONG.values())
def test_a_network_that_cannot_be_a_student(run, net, drawn, my_set, cache, tmp_path, code):
    net.write_text(code)
    status, _, lines = run(*flags(drawn, my_set, "out", "--model", "ConvNetD1,net.py"))
    assert status == 2 and len(lines) == 1 and WRONG[code] in lines[0], lines
    assert not (tmp_path / "out").exists()


def test_names_that_mean_no_network(run, net, drawn, my_set, cache, tmp_path):
    for given, message in (
        ("nowhere.py", "nowhere.py: no such file; expected FILE.py with a function create_model(num_classes, im_size)"),
        ("net.py@12345678", "net.py: has changed since it made net@12345678"),
        ("other.py@12345678", "other.py: no such file; the network other@12345678 was made by it"),
        ("net@12345678", "net@12345678: a network of a user's own, and its code is not here"),
        ("net.pyy", "unknown model 'net.pyy'"),
    ):
        status, _, lines = run(*flags(drawn, my_set, "out", "--model", given))
        assert status == 2 and len(lines) == 1 and message in lines[0], lines
    for given, message in ((Net(10, None), "an instance of Net"), (3, "model 3: expected a name, FILE.py, a class")):
        with pytest.raises(InputError, match=message):
            EvaluateConfig(category="bird", subset="easy", model=given)


@pytest.mark.slow
def test_two_processes_build_it(settings, net, drawn, my_set, tmp_path):
    alone = evaluate(settings(model="net.py", num_eval=3), quiet=True)
    command = flags(drawn, my_set, "both", "--model", "net.py", "--num_eval", "3")
    done = launched(2, "-m", "compdd_eval", *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "both/summary.json").read_text())["results"] == alone["results"]


def test_it_is_a_teacher(settings, run, net, tmp_path):
    options = {"model": "ConvNetD1", "num_eval": 1, "full_epochs": 2, "labels": "soft+kd"}
    first = evaluate(settings(teacher="net.py", **options), quiet=True)
    name = f"net@{digits(net)}"
    assert first["teacher"]["name"] == name and first["config"]["teacher"] == f"{net}@{digits(net)}"
    file = next((tmp_path / "results/baselines/teachers").glob(f"{name}-*.safetensors"))
    second = evaluate(settings(teacher=f"net.py={file}", **options, output_dir="other"), quiet=True)
    assert first["results"][0]["accuracies"] == second["results"][0]["accuracies"]
    assert first["digests"] == second["digests"]
    for place in ("results", "other"):
        assert run("reproduce", f"{place}/summary.json", "--teacher", "net.py")[0] == 0
    status, _, lines = run("reproduce", "other/summary.json")
    assert status == 2 and len(lines) == 1 and f"give --teacher {net}" in lines[0], lines
    net.write_text(NET + "# the same weights, but who knows\n")
    third = evaluate(settings(teacher=f"net.py={file}", **options, output_dir="other"), quiet=True)
    assert third["digests"] != second["digests"]


def test_grids_and_distillation_name_it(run, net, drawn, my_set, cache, tmp_path):
    name = f"net@{digits(net)}"
    content = {"distilled": str(my_set), "model": ["net.py", "LeNet"], "epoch_eval_train": 1, "num_eval": 1}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content))
    data = ["--data_path", drawn, "--category", "bird", "--subset", "easy"]
    status, _, lines = run("--grid", "grid.yaml", *data, "--output_dir", "grid")
    assert status == 0, lines
    cells = json.loads((tmp_path / "grid/index.json").read_text())["cells"]
    assert [cell["name"] for cell in cells] == ["net", "LeNet"] and list(cells[0]["accuracies"]) == [name]
    short = ["--model", "net.py", "--res", 16]
    status, _, lines = run("experts", *data, *short, "--num_experts", 1, "--epochs", 2, "--output_dir", "experts")
    assert status == 0 and json.loads((tmp_path / "experts/experts.json").read_text())["settings"]["model"] == name
    assert run("distill", "dm", *data, *short, "--preset", "smoke", "--steps", 1, "--output_dir", "set")[0] == 0
    text = (tmp_path / "set/distilled.json").read_text()
    assert json.loads(text)["metadata"]["distillation"]["model"] == name and str(tmp_path) not in text


def test_what_is_public_has_no_folders(settings, net, tmp_path):
    (tmp_path / "a folder").mkdir()
    net.rename(tmp_path / "a folder/net.py")
    summary = evaluate(settings(model="a folder/net.py,LeNet", num_eval=1, save_students=True), quiet=True)
    public = json.dumps(public_summary(summary))
    assert str(tmp_path) not in public and "a folder" not in public
    spec = f"net.py@{digits(tmp_path / 'a folder/net.py')}"
    assert json.loads(public)["config"]["model"] == f"{spec},LeNet"
    assert network_name(spec) == summary["results"][0]["model"]


def test_a_published_student_names_its_file(settings, net, tmp_path):
    evaluate(settings(model="net.py", num_eval=1, save_students=True), quiet=True)
    path = str(students(tmp_path / "results")[0])
    card = _read(PushConfig(student=path, repo_id="me/student")).card
    spec = f"net.py@{digits(net)}"
    assert f'create_model("{spec}", 10, (32, 32))' in card and f"--model {spec} " in card
    assert "whose code is not in this repository" in card and str(tmp_path) not in card


class Config:
    __slots__ = ("width", "depth")

    def __init__(self, width, depth):
        self.width, self.depth = width, depth


@dataclasses.dataclass
class Data:
    width: int


class Kind(enum.Enum):
    SMALL, LARGE = 1, 2


def _of(settings):
    return lambda n, s: Net(n, settings)


SETTINGS = types.SimpleNamespace(width=4)


def _of_settings(num_classes, im_size):
    return nn.LazyLinear(SETTINGS.width)


def test_the_digest_is_over_what_objects_hold(monkeypatch):
    pairs = [
        (argparse.Namespace(width=64), argparse.Namespace(width=8)),
        (types.SimpleNamespace(width=64), types.SimpleNamespace(width=8)),
        (Config(4, 1), Config(4, 2)),
        (Data(4), Data(5)),
        (Kind.SMALL, Kind.LARGE),
        (Path("a"), Path("b")),
        (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
        (torch.arange(2000), torch.arange(2000).index_fill(0, torch.tensor([1000]), 0)),
        (np.arange(2000), np.where(np.arange(2000) == 1000, 0, np.arange(2000))),
        ([[1], 2], [[1, 2]]),
        ({"a": [1]}.get, {"a": [2]}.get),
        (collections.OrderedDict(a=1), collections.OrderedDict(a=2)),
    ]
    for one, other in pairs:
        assert code_digest(_of(one)) == code_digest(_of(copy.deepcopy(one))) != code_digest(_of(other)), one
        models = EvaluateConfig(category="bird", subset="easy", model=[_of(one), functools.partial(Net, other)]).models
        assert len(set(models)) == 2
    before = code_digest(_of_settings)
    monkeypatch.setattr(SETTINGS, "width", 5)
    assert code_digest(_of_settings) != before
    with pytest.raises(InputError, match="an object of _thread.lock, whose content cannot be read .*keep settings in"):
        code_digest(_of(threading.Lock()))


def test_a_name_that_another_network_has(monkeypatch):
    def digest_of(model):
        return "12345678" + model.__qualname__

    monkeypatch.setattr("compdd_eval.config.network_names.code_digest", digest_of)
    first, second = Net, type("Net", (Net,), {"__qualname__": "other"})
    with pytest.raises(InputError, match="Net@12345678 is the name of another network"):
        EvaluateConfig(category="bird", subset="easy", model=[first, second])


@pytest.mark.parametrize(
    "code",
    [
        "import mypkg.blocks\ndef make(n, s): return mypkg.blocks.Net()",
        "import mypkg.blocks as b\ndef make(n, s): return b.Net()",
        "def make(n, s):\n    from mypkg.blocks import Net\n    return Net()",
        "def make(n, s):\n    from mypkg import blocks\n    return blocks.Net()",
        "def make(n, s):\n    import mypkg.blocks\n    return mypkg.blocks.Net()",
        "from mypkg import make",
        "from mypkg import inner\nmake = lambda n, s: inner.Net()",
    ],
)
def test_the_digest_is_over_the_files_of_imported_modules(tmp_path, code):
    package = tmp_path / "mypkg"
    package.mkdir()
    (package / "__init__.py").write_text("def make(n, s):\n    from .blocks import Net\n    return Net()\n")
    (package / "inner.py").write_text("def Net():\n    from .blocks import Net\n    return Net()\n")
    (package / "blocks.py").write_text("from .deep import WIDTH\nclass Net: width = 1\n")
    (package / "deep.py").write_text("WIDTH = 1\n")
    (tmp_path / "main.py").write_text(
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{code}\n"
        "from compdd_eval.utils.code_digest import code_digest\nprint(code_digest(make), end='')\n"
    )

    def digest(seed):
        env = environment(PYTHONHASHSEED=seed, PYTHONPATH=os.getcwd(), PYTHONDONTWRITEBYTECODE="1")
        return subprocess.run([sys.executable, "main.py"], cwd=tmp_path, env=env, capture_output=True, text=True).stdout

    first = digest("1")
    assert len(first) == 64 and digest("2") == first
    (package / "blocks.py").write_text("from .deep import WIDTH\nclass Net: width = 2\n")
    second = digest("1")
    assert second != first
    (package / "deep.py").write_text("WIDTH = 2\n")
    assert digest("1") != second


def test_the_digest_of_a_set_in_code_is_that_of_every_process():
    code = (
        "from compdd_eval.utils.code_digest import code_digest\nprint(code_digest(lambda n, s: 1 if n in {%s} else 2))"
    )
    found = [
        subprocess.run([sys.executable, "-c", code % names], env=environment(PYTHONHASHSEED=seed), capture_output=True)
        for names, seed in (("'a', 'b', 'c'", "1"), ("'a', 'b', 'c'", "2"), ("'a', 'b', 'd'", "1"))
    ]
    one, again, other = (done.stdout for done in found)
    assert len(one) == 65 and one == again != other


def test_no_file_that_only_a_result_names_is_run(run, settings, net, tmp_path):
    evaluate(settings(model="net.py", num_eval=1, save_students=True), quiet=True)
    path = students(tmp_path / "results")[0]
    net.write_text(NET + "open('was_run', 'w')\n")
    spec = f"{net}@{digits(net)}"
    content = json.loads(path.read_text().replace(f"net@{digits_of(NET)}", f"net@{digits(net)}"))
    content["config"]["model"] = spec
    path.write_text(json.dumps(content))
    status, _, lines = run("reproduce", path)
    assert status == 2 and len(lines) == 1 and f"give --model {net}" in lines[0], lines
    for changes in ({"model": str(net)}, {"model": spec}):
        path.write_text(json.dumps(content | changes))
        assert run("reproduce", path)[0] == 2
    path.write_text(json.dumps(content))
    assert _read(PushConfig(student=str(path), repo_id="me/student")).weights["head.weight"].shape == (10, 16)
    assert not (tmp_path / "was_run").exists()
    for flag, given, message in (
        ("--model", "LeNet", "--model LeNet: expected files of networks of your own"),
        ("--model", "other.py", f"give --model {net}"),
        ("--teacher", "ResNet18=w.pt", "--teacher ResNet18=w.pt: expected a network of your own"),
    ):
        status, _, lines = run("reproduce", path, flag, given)
        assert status == 2 and len(lines) == 1 and message in lines[0], lines
    assert run("reproduce", path, "--model", net)[0] == 0 and (tmp_path / "was_run").exists()


def digits_of(text):
    return hashlib.sha256(text.encode()).hexdigest()[:8]
