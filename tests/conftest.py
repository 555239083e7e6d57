"""Small data that the tests make, in caches of their own, without a network."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# before `datasets` and `huggingface_hub` are imported: they read these once
_HOME = tempfile.TemporaryDirectory(prefix="compdd_tests_")
os.environ["HF_HOME"] = _HOME.name
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["XDG_CACHE_HOME"] = os.path.join(_HOME.name, "xdg")
for _name in ("HF_DATASETS_CACHE", "COMP_DD_IMAGENET", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
    os.environ.pop(_name, None)
# before torch is imported: on tiny networks two threads are slower than one, and tests run side by side
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# one for all processes of this run: what a killed process leaves half written in a cache fails every later one
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(_HOME.name, "inductor"))
os.environ["PET_STANDALONE"] = "1"  # `torchrun` takes a free port, for another test may run it at the same time
# a shell starts its background jobs with SIGINT ignored, and processes inherit that: tests that press Ctrl-C would wait
# for ever. What has a handler here is reset to the default in every process that a test starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda number, frame: None)

import numpy as np
import pytest
import torch
from PIL import Image

from compdd_eval.__main__ import main
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.data.drawn_imagenet import draw_imagenet
from compdd_eval.data.splits import load_comp_dd
from compdd_eval.data.subsets import load_subset
from compdd_eval.distilled.formats.published import save_published
from compdd_eval.distilled.random_images import random_images
from tests.support.browser import browser, open_page  # noqa: F401
from tests.support.hub_stand_in import FakeHub

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
FAST = {"model": "ConvNetD1", "res": 32, "epoch_eval_train": 2, "num_eval": 3, "threads": 1}


@pytest.fixture(scope="session")
def shared():
    """The folder of real photographs beside the project, where there is one."""
    if not (SHARED / "imagenet_tiny").is_dir():
        pytest.skip("no ../shared here")
    return SHARED


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """A stand-in for ImageNet with both bird subsets: 12 training and 5 validation images a class."""
    root = tmp_path_factory.mktemp("drawn") / "imagenet"
    draw_imagenet(root, "bird", train_images=12, validation_images=5)
    return root


@pytest.fixture(scope="session")
def odd(tmp_path_factory) -> Path:
    """A stand-in with fish-easy whose files are odd as ImageNet's are, and named as copies name them."""
    root = tmp_path_factory.mktemp("odd") / "imagenet"
    for number, wnid in enumerate(load_subset("fish-easy").wnids):
        save_image(root / f"train/{wnid}/{wnid}_10_{wnid}.JPEG", number)  # as the copy on the Hub names it
        save_image(root / f"train/{wnid}/{wnid}_9.jpg", number, mode="L")
        save_image(root / f"train/{wnid}/{wnid}_100.JPEG", number, mode="CMYK")
        save_image(root / f"train/{wnid}/{wnid}_2.JPEG", number, file_format="PNG")
        (root / f"train/{wnid}/.DS_Store").write_text("left by a file manager")
        save_image(root / f"validation/{wnid}/ILSVRC2012_val_{number + 1:08}.JPEG", number, padding=b"\0" * 20)
    return root


def save_image(path: Path, seed: int, mode: str = "RGB", file_format: str = "JPEG", padding: bytes = b"") -> None:
    """Write one image of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path, format=file_format)
    path.write_bytes(path.read_bytes() + padding)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of `datasets` for this test."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def my_set(drawn, tmp_path) -> Path:
    """A distilled set of 32 px with IPC 1, as .pt files."""
    data = load_comp_dd(drawn, "bird", "easy", (32, 32), cache_dir=tmp_path / "none")
    save_published(random_images(data.dst_train, 1), tmp_path / "my_set")
    return tmp_path / "my_set"


@pytest.fixture(autouse=True)
def keep_threads():
    """Whatever a test sets, the next one has the threads that there were."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def settings(drawn, my_set, cache, tmp_path):
    """Make settings of an evaluation of `my_set` that takes a second."""
    base = {"data_path": str(drawn), "category": "bird", "subset": "easy", "output_dir": str(tmp_path / "results")}

    def make(**changes: object) -> EvaluateConfig:
        return EvaluateConfig(**{**base, **FAST, "distilled": str(my_set), **changes})

    return make


def students(folder: Path) -> list[Path]:
    """Return all result files of students under a folder."""
    return sorted(folder.rglob("seed*.json"))


@pytest.fixture
def hub(tmp_path):
    """A stand-in for the Hub; `hub.environment` makes the real clients of another process use it."""
    yield from served(FakeHub(), tmp_path)


def served(server: FakeHub, place: Path, token: str = "hf_of_a_test", **more: str) -> Iterator[FakeHub]:
    """Run a stand-in for the Hub; its `environment` makes real clients use it, with their cache in a folder."""
    server.start()
    server.environment = {
        "HF_ENDPOINT": server.url,
        "HF_TOKEN": token,
        "HF_HOME": str(place / "hub_home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        **more,
    }
    yield server
    server.stop()


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command line in this process: returns exit status, stdout and the lines of stderr without bars."""

    def call(*arguments: object) -> tuple[int, str, list[str]]:
        threads = torch.get_num_threads()
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
        finally:
            torch.set_num_threads(threads)
        captured = capsys.readouterr()
        lines = [line.rpartition("\r")[2] for line in captured.err.splitlines()]
        return status, captured.out, [line for line in lines if line.startswith("compdd_eval:")]

    return call


def environment(**changes: str) -> dict[str, str]:
    """Environment for a process that finds this checkout from any folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def python(*arguments: object, cwd: Path, **changes: str) -> subprocess.CompletedProcess:
    """Run Python in another folder and collect what it prints."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment(**changes), capture_output=True, text=True, timeout=900)
