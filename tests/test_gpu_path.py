"""The GPU path on a simulated GPU: a CPU's numbers, and in a step nothing that a GPU would wait for."""

import csv
import json
import shutil
import socket
import sys

import pytest
import torch

from compdd_eval.data.splits import load_comp_dd
from compdd_eval.distilled.random_images import random_images
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.models.registry import create_model
from tests.conftest import students
from tests.support.simulated_cuda import SimulatedGPU

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None or torch.cuda.is_available(),
    reason="simulates a GPU with a C compiler on Linux, where there is none",
)
SUBSET = ("--category", "bird", "--subset", "easy")
SMALL = ("--model", "ConvNetD1", "--threads", 1)
EVALUATE = ("evaluate", *SMALL, "--distilled", "set", "--compile", "never", "--num_eval", 2)
DISTILL = (*SUBSET, *SMALL, "--ipc", 2, "--res", 16)
# numbers that a step takes from a GPU on purpose: its loss; DATM and EDF, whether it is below the threshold; of an
# expert's epoch, its loss and weights
READS = {"herding": 1, "dm": 1, "dc": 1, "mtt": 1, "ftd": 1, "datm": 2, "edf": 2, "experts": 2}
READS |= {"sre2l": 1, "teacher": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory, drawn):
    """A folder with a set of two images a class."""
    folder = tmp_path_factory.mktemp("gpu")
    data = load_comp_dd(drawn, "bird", "easy", (16, 16), cache_dir=folder / "none")
    random_images(data.dst_train, 2).save(folder / "set")
    torch.save(create_model("ConvNetD1", im_size=(16, 16)).state_dict(), folder / "teacher.pt")
    return folder


@pytest.fixture(scope="module")
def gpu(place):
    process = SimulatedGPU(place)
    yield process
    process.stop()


@pytest.fixture
def per_step(gpu, drawn, place):
    """Run a command twice, with some and with more steps; return what each step more adds to the counts, by kind."""

    def call(words, flag, few, many):
        counts = []
        for steps in (few, many):
            shutil.rmtree(place / "gpu_results", ignore_errors=True)
            _, found = gpu(*words, flag, steps, "--data_path", drawn, "--output_dir", "gpu_results")
            counts.append(found)
        kinds = {kind for found in counts for kind in found}
        return {kind: (counts[1][kind] - counts[0][kind], many - few) for kind in kinds}

    return call


def assert_steps_do_not_wait(added, reads=0):
    """A step copies nothing that a GPU waits for, and reads as many numbers as it has to, wherever that is."""
    for kind, allowed in (("copies", 0), ("reads", reads), ("undetermined", 0), ("tf32", 0)):
        lines, steps = added.get(kind, ({}, 1))
        assert sum(lines.values()) <= allowed * steps, (kind, lines)


WAYS = {
    "one at a time": ("--students_per_device", 1),
    "together": (),
    "bfloat16": ("--precision", "bfloat16"),
    "average of weights": ("--ema", 0.9, "--students_per_device", 1),
    "mixup": ("--mix", "mixup"),
    "cutmix": ("--mix", "cutmix", "--rrc", 0.5, "--flip", "true"),
    "batch norm": ("--model", "ConvNetBN"),
    "soft labels of a teacher": ("--teacher", "ConvNetD1", "--labels", "soft+kd", "--full_epochs", 2),
    "labels of views": ("--protocol", "rded", "--batch_train", 20, "--distilled", "labelled", "--labels", "views"),
    "adamw": ("--optimizer", "adamw", "--schedule", "cosine", "--lr_net", 0.001),
}
PROTOCOLS = {
    "sre2l": ("--protocol", "sre2l", "--batch_train", 20, "--labels", "hard"),
    "rded": ("--protocol", "rded", "--batch_train", 20, "--teacher", "ConvNetD1", "--full_epochs", 2),
}


@pytest.mark.parametrize("way", [*WAYS, *(pytest.param(way, marks=pytest.mark.slow) for way in PROTOCOLS)])
def test_students(way, per_step, run, drawn, place, monkeypatch):
    words = (*EVALUATE, *(WAYS | PROTOCOLS)[way])
    if way == "labels of views":
        label_views(run, place)
    added = per_step(words, "--epoch_eval_train", 1, 3)
    assert_steps_do_not_wait(added)
    # two students; a pass of one is some 90 launches, most of them augmentation
    assert sum(added["launches"][0].values()) / added["launches"][1] < 300
    monkeypatch.chdir(place)
    on_cpu = place / f"cpu {way}"
    words = (*words, "--epoch_eval_train", 3, "--data_path", drawn, "--output_dir", on_cpu)
    assert run(*words)[0] == 0
    assert_same_students(place / "gpu_results", on_cpu, 0.05 if way == "bfloat16" else 1e-3)


def label_views(run, place):
    teacher, folder = f"ConvNetD1={place / 'teacher.pt'}", place / "labelled"
    given = ("relabel", place / "set", "--teacher", teacher, "--batch_train", 20, "--passes", 3, "--output_dir", folder)
    assert run(*given, "--threads", 1)[0] == 0


def assert_same_students(ours, theirs, tolerance=1e-3):
    pairs = list(zip(students(ours), students(theirs), strict=True))
    assert pairs
    for pair in pairs:
        one, other = (json.loads(path.read_text()) for path in pair)
        assert one["losses"] == pytest.approx(other["losses"], rel=tolerance)
        differing = sum(a != b for a, b in zip(one["predictions"], other["predictions"], strict=True))
        assert differing <= len(one["predictions"]) * (0.1 if tolerance > 0.01 else 0.04)
        assert one["environment"]["device"] == "Simulated H200"


AUGMENTED = """
import torch
from compdd_eval import diff_augment
images = torch.zeros(4, 3, 16, 16).cuda()
diff_augment(images, "{}")
"""


@pytest.mark.parametrize(
    ("operation", "most"), {"color": 13, "crop": 10, "cutout": 14, "flip": 3, "scale": 15, "rotate": 18}.items()
)
def test_launches_of_augmentation(gpu, operation, most):
    """They are outside of the CUDA graphs of compiled steps."""
    _, counts = gpu.run(AUGMENTED.format(operation))
    assert 0 < sum(counts["launches"].values()) <= most


def test_tf32_is_used_where_it_is_asked_for(per_step):
    added = per_step((*EVALUATE, "--precision", "tf32"), "--epoch_eval_train", 1, 2)
    assert any("layers.py" in line for line in added["tf32"][0])


def test_baselines_searches_and_whitening(gpu, run, drawn, place, monkeypatch):
    """Real images, held-out ones, a rate that is searched: all reach the GPU."""
    monkeypatch.chdir(place)
    words = (*EVALUATE, "--epoch_eval_train", 1, "--baseline", "random,full", "--full_epochs", 2, "--zca", "true")
    words = (*words, "--lr_net", "auto", "--eval_every", 1, "--data_path", drawn)
    gpu(*words, "--output_dir", "whitened")
    assert run(*words, "--output_dir", place / "whitened cpu")[0] == 0
    assert_same_students(place / "whitened", place / "whitened cpu", 0.02)


def test_grid_and_reproduce(gpu, drawn, place):
    (place / "grid.yaml").write_text("model: [ConvNetD1, MLP]\n")
    words = [word for word in EVALUATE if word not in ("--model", "ConvNetD1")]  # a flag would win over the file
    gpu(*words, "--epoch_eval_train", 1, "--grid", "grid.yaml", "--data_path", drawn, "--output_dir", "grid")
    printed, _ = gpu("reproduce", "grid")
    assert printed.count(": equal") == 4, printed


METHODS = {
    "random": None,
    "k-center": None,
    "herding": ("--feature_epochs", 2, 4),
    "rded": None,
    "sre2l": ("--steps", 2, 4),
    "dm": ("--steps", 2, 4),
    "dc": ("--steps", 1, 2),
    "mtt": ("--steps", 2, 4),
    "ftd": ("--steps", 2, 4),
    "datm": ("--steps", 2, 4),
    "edf": ("--steps", 2, 4),
}
TRAJECTORY = ("--experts", "experts", "--syn_steps", 2, "--expert_epochs", 1, "--max_start_epoch", 2)
MORE = {
    "dm": ("--batch_real", 4),
    "dc": ("--batch_real", 2, "--outer_loop", 2, "--inner_loop", 1),
    "mtt": TRAJECTORY,
    "ftd": TRAJECTORY,
    "rded": ("--teacher", "teacher", "--factor", 1),
    "sre2l": ("--teacher", "teacher", "--lr_img", 0.01),
    "datm": (*TRAJECTORY, "--min_start_epoch", 0, "--first_max_start_epoch", 1, "--match_threshold", 9),
    "edf": (*TRAJECTORY, "--min_start_epoch", 0, "--first_max_start_epoch", 1, "--map_model", "expert"),
}


@pytest.fixture(scope="module")
def experts(gpu, drawn, place):
    words = ("experts", *SUBSET, *SMALL, "--res", 16, "--num_experts", 2, "--data_path", drawn)
    _, few = gpu(*words, "--epochs", 2, "--output_dir", "few")
    _, many = gpu(*words, "--epochs", 4, "--output_dir", "experts")
    return {kind: (many[kind] - few[kind], 2 * 2) for kind in many}


@pytest.fixture(scope="module")
def teacher(gpu, drawn, place):
    words = ("teacher", *SUBSET, "--model", "ConvNetD1BN", "--threads", 1, "--res", 16, "--data_path", drawn)
    _, few = gpu(*words, "--epochs", 2, "--output_dir", "early")
    _, many = gpu(*words, "--epochs", 4, "--output_dir", "teacher")
    return {kind: (many[kind] - few[kind], 2) for kind in many}


def test_teacher(teacher):
    assert_steps_do_not_wait(teacher, READS["teacher"])


def test_experts(experts):
    assert_steps_do_not_wait(experts, READS["experts"])


@pytest.mark.parametrize("method", METHODS)
def test_methods(method, per_step, experts, teacher, gpu, run, drawn, place, monkeypatch):
    words = ("distill", method, *DISTILL, *MORE.get(method, ()))
    steps = METHODS[method]
    if steps is None:
        shutil.rmtree(place / "gpu_results", ignore_errors=True)
        gpu(*words, "--data_path", drawn, "--output_dir", "gpu_results")
        shutil.rmtree(place / "gpu_results")
        return
    assert_steps_do_not_wait(per_step(words, *steps), READS[method])
    monkeypatch.chdir(place)
    assert run(*words, steps[0], steps[2], "--data_path", drawn, "--output_dir", place / f"cpu {method}")[0] == 0
    ours, theirs = (DistilledSet.load(place / folder).images for folder in ("gpu_results", f"cpu {method}"))
    assert torch.allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("method", ["dm", pytest.param("dc", marks=pytest.mark.slow), "mtt"])
def test_methods_in_bfloat16(method, per_step, experts):
    words = ("distill", method, *DISTILL, *MORE[method], "--precision", "bfloat16")
    assert_steps_do_not_wait(per_step(words, *METHODS[method]), READS[method])


def test_maps_of_a_classifier(experts, gpu, run, drawn, place, monkeypatch):
    monkeypatch.chdir(place)
    layers = "nn.Conv2d(3, 4, 4, stride=4), nn.Tanh(), nn.Flatten(), nn.Linear(64, 1000)"
    (place / "net.py").write_text(f"from torch import nn\ndef create_model():\n    return nn.Sequential({layers})\n")
    words = ("distill", "edf", *DISTILL, *MORE["edf"][:-1], "net.py", "--steps", 2, "--interval", 1)
    words = (*words, "--lr_img", 100, "--match_threshold", 9, "--data_path", drawn)
    gpu(*words, "--output_dir", "gpu maps")
    assert run(*words, "--output_dir", "cpu maps")[0] == 0
    ours, theirs = (DistilledSet.load(place / folder).images for folder in ("gpu maps", "cpu maps"))
    assert torch.allclose(ours, theirs, atol=1e-3)


def test_dry_runs(gpu, drawn, place):
    printed, _ = gpu(*EVALUATE, "--data_path", drawn, "--dry_run", "--json", "--output_dir", "dry")
    (cost,) = json.loads(printed)["costs"]
    assert cost["students"] == 2 and cost["students_at_a_time"] in (1, 2), (
        "two only where that is measured to be faster"
    )
    printed, _ = gpu("distill", "dm", *DISTILL, *MORE["dm"], "--data_path", drawn, "--dry_run", "--output_dir", "dry")
    assert printed.startswith("dm: ") and not (place / "dry").exists()


def test_precision_of_methods_and_experts(gpu, drawn, place):
    data = ("--data_path", drawn)
    _, counts = gpu(
        "distill", "dm", *DISTILL, *MORE["dm"], *data, "--steps", 1, "--precision", "tf32", "--output_dir", "t"
    )
    assert sum(counts["tf32"].values()) > 10
    words = ("experts", *SUBSET, *SMALL, "--res", 16, "--num_experts", 1, "--epochs", 2, *data)
    _, counts = gpu(*words, "--precision", "bfloat16", "--output_dir", "half")
    assert not counts.get("tf32")
    assert json.loads((place / "half/experts.json").read_text())["settings"]["precision"] == "bfloat16"


@pytest.mark.parametrize("method", [pytest.param("smoothgradcampp", marks=pytest.mark.slow), "gradcam"])
def test_complexity(method, gpu, run, drawn, place, monkeypatch):
    monkeypatch.chdir(place)
    words = ("complexity", *SUBSET, "--data_path", drawn, "--model", "efficientnet-lite0", "--method", method)
    words = (*words, "--images_per_class", 1, "--threads", 1)
    _, counts = gpu(*words, "--output_dir", f"gpu {method}")
    assert not any("_batches" in line for line in counts["copies"]) and not counts.get("tf32")
    # ten batches: is every output finite, which class, is every map, and the results
    assert sum(number for line, number in counts["reads"].items() if "maps.py" in line or "score.py" in line) <= 60
    assert run(*words, "--output_dir", place / f"cpu {method}")[0] == 0
    ours, theirs = (mean_complexity(place / f"{kind} {method}/classes.csv") for kind in ("gpu", "cpu"))
    assert len(ours) == 10 and ours == pytest.approx(theirs, abs=0.01)


def mean_complexity(path):
    with path.open() as file:
        return [float(row["mean"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def two_gpus(place):
    """Two processes that are told of each other, each with a GPU, as on two machines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    processes = [SimulatedGPU(place, RANK=str(rank), MASTER_PORT=port, **world) for rank in range(2)]
    yield processes
    for process in processes:
        process.stop()


@pytest.mark.parametrize("parallel", ["students", "ddp"])
def test_two_processes(parallel, two_gpus, run, drawn, place, monkeypatch):
    """Collectives carry tensors of GPUs alone."""
    words = (*EVALUATE, "--epoch_eval_train", 3, "--data_path", drawn)
    for process in two_gpus:
        process.begin(*words, "--output_dir", f"two {parallel}", "--parallel", parallel)
    for process in two_gpus:
        process.end()
    monkeypatch.chdir(place)
    assert run(*words, "--output_dir", place / f"one {parallel}")[0] == 0
    assert_same_students(place / f"two {parallel}", place / f"one {parallel}")


def test_two_processes_distil(two_gpus, run, drawn, place, monkeypatch):
    words = ("distill", "dm", *DISTILL, *MORE["dm"], "--steps", 2, "--data_path", drawn)
    for process in two_gpus:
        process.begin(*words, "--output_dir", "two")
    for process in two_gpus:
        process.end()
    monkeypatch.chdir(place)
    assert run(*words, "--output_dir", place / "one")[0] == 0
    ours, theirs = (DistilledSet.load(place / folder).images for folder in ("two", "one"))
    assert torch.allclose(ours, theirs, atol=1e-3)
