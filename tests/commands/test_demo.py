import json

import numpy as np
import pytest
from PIL import Image

from compdd_eval import DistilledSet
from compdd_eval.data.drawn_imagenet import draw_imagenet
from compdd_eval.data.subsets import load_subset
from tests.support import gallery
from tests.support.forked import forked, launched


def test_drawing_is_the_same_every_time_and_done_once(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for root in (first, second):
        draw_imagenet(root, "fish", train_images=2, validation_images=1)
    files = sorted(path.relative_to(first) for path in first.rglob("*.JPEG"))
    assert len(files) == 20 * 3
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in files)
    assert "not ImageNet" in (first / "drawn.txt").read_text()
    stamp = (first / files[0]).stat().st_mtime_ns
    draw_imagenet(first, "fish", train_images=2, validation_images=1)
    assert (first / files[0]).stat().st_mtime_ns == stamp
    draw_imagenet(first, "fish", train_images=1, validation_images=1)
    assert len(list(first.rglob("*.JPEG"))) == 40
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".stage")] == []


def test_hard_images_are_busier(drawn):
    """Colours change more often from pixel to pixel where things lie behind a smaller object."""

    def business(name):
        files = [path for wnid in load_subset(name).wnids for path in (drawn / "train" / wnid).iterdir()]
        pixels = np.stack([np.asarray(Image.open(path), dtype=float) for path in files])
        return np.abs(np.diff(pixels, axis=2)).mean()

    assert business("bird-hard") > 1.2 * business("bird-easy")


@pytest.mark.slow
def test_demo_in_two_processes(tmp_path):
    places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_DATASETS_CACHE": str(tmp_path / "datasets")}
    done = launched(2, "-m", "compdd_eval", "demo", "--steps", 60, "--num_eval", 3, cwd=tmp_path, **places)
    assert done.returncode == 0, done.stderr
    assert "They are not ImageNet" in done.stdout
    gains = {}
    for difficulty in ("easy", "hard"):
        for ipc in (1, 10):
            folder = tmp_path / f"demo_results/round-{difficulty}-ipc{ipc}"
            assert DistilledSet.load(folder).metadata["distillation"]["steps"] == 60
            entry = json.loads((folder / "results/summary.json").read_text())["results"][0]
            assert len(entry["accuracies"]) == len(entry["random"]["accuracies"]) == 3
            gains[difficulty, ipc] = entry["improvement"]["mean"]
    assert gains["easy", 1] > 0 and gains["hard", 1] > 0
    assert done.stdout.splitlines()[-1].startswith("report: demo_results/report.html (4 runs")
    page = (tmp_path / "demo_results/report.html").read_text()
    assert page.count("<img ") == 2 * (10 + 10 + 100) and "random images" in page and "not ImageNet" in page
    gallery.make(tmp_path / "demo_results", tmp_path / "demo.png")
    assert Image.open(tmp_path / "demo.png").size[0] > 900
    code = "import datasets; datasets.load_dataset('comp_dd', 'round-easy')"
    looked = forked("-c", code, cwd=tmp_path, **places)
    assert looked.returncode != 0 and "comp_dd" in looked.stderr  # the demo's cache is its own
