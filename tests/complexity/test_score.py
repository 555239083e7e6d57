"""Complexity: the measure by hand, the pipeline against a few lines of its own, every kind of source, resuming."""

import csv
import json
import os
import shutil
import signal
import time
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from compdd_eval import complexity_from_maps, evaluate
from compdd_eval.complexity.classifier import load_classifier
from compdd_eval.complexity.maps import mapper_of, normalised
from compdd_eval.complexity.measure import class_complexity
from compdd_eval.config.complexity import ComplexityConfig
from compdd_eval.data.subsets import load_subset
from compdd_eval.evaluation.by_complexity import by_quartile
from compdd_eval.utils.errors import InputError
from tests.conftest import save_image
from tests.support import imagenet_layouts
from tests.support.forked import Forked, forked, launched

pytest.importorskip("torchcam", reason="TorchCAM is an extra")

TINY = '''
import torch
from torch import nn

def create_model():
    """Three channels of 4 x 4 means, then one linear layer over their means: maps that are known by hand."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 3, 4, stride=4, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10)
    network = nn.Sequential(*layers)
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 4, 4) / 16)
        network[3].weight.copy_(torch.eye(10, 3))
        network[3].bias.zero_()
    network.mean, network.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return network
'''


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    return path


def test_the_measure_by_hand():
    maps = torch.tensor([[[0.5, 0.49999997], [1.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]], [[0.0, 0.1], [0.2, 0.3]]])
    assert complexity_from_maps(maps).tolist() == [0.5, 0.0, 1.0]
    assert complexity_from_maps(maps, threshold=0.2).tolist() == [0.25, 0.0, 0.5]
    thirds = torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.float64)
    assert complexity_from_maps(thirds).tolist() == [1 - 1 / 3] and complexity_from_maps(thirds).dtype == torch.float64


@pytest.mark.parametrize(
    "maps",
    [torch.zeros(2, 2), torch.zeros(1, 0, 3), torch.zeros(1, 2, 2, dtype=torch.int64), torch.full((1, 1, 1), np.nan)],
)
def test_what_is_no_map(maps):
    with pytest.raises(InputError, match="maps"):
        complexity_from_maps(maps)


def test_a_class_is_the_mean_of_its_images():
    found = class_complexity([0.2, 0.4, 0.9])
    assert (
        found.mean == pytest.approx(0.5)
        and found.n == 3
        and found.std == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))
    )
    assert (found.ci_low + found.ci_high) / 2 == pytest.approx(0.5) and found.ci_low < 0.2
    assert class_complexity([0.3]).std is None
    with pytest.raises(InputError, match="no images"):
        class_complexity([])


def test_normalised_maps():
    found = normalised(torch.tensor([[[1.0, 3.0], [2.0, 5.0]], [[7.0, 7.0], [7.0, 7.0]]]))
    assert found[0].tolist() == [[0.0, 0.5], [0.25, 1.0]] and not found[1].any()


def classifier(tiny, **changes):
    return load_classifier(ComplexityConfig(model=str(tiny), image_size=8, **changes), torch.device("cpu"))


def test_a_network_whose_maps_are_known(tiny):
    """Predicted class k has weight 1 on channel k: Grad-CAM's map is that channel's 2 x 2 means, over its range."""
    images = torch.zeros(2, 3, 8, 8)
    images[0, 0, :4, :4], images[0, 0, :4, 4:], images[0, 0, 4:, :4] = 1.0, 0.5, 0.25
    images[1, 1, 4:], images[1, 1, :4, :4] = 0.8, 0.2
    with mapper_of(classifier(tiny), "gradcam") as mapper:
        maps, predicted, confidence = mapper(images, seed=0)
        assert predicted.tolist() == [0, 1] and (confidence > 0.1).all()
        assert torch.allclose(maps[0], torch.tensor([[1.0, 0.5], [0.25, 0.0]]), atol=1e-6)
        assert torch.allclose(maps[1], torch.tensor([[0.25, 0.0], [1.0, 1.0]]), atol=1e-6)
        assert complexity_from_maps(maps).tolist() == [0.5, 0.5]
        explained, _, _ = mapper(images, 0, torch.tensor([1, 1]))
        assert not explained[0].any()  # nothing of channel 1 in the first image: nothing is active
        assert complexity_from_maps(explained).tolist() == [1.0, 0.5]


@pytest.mark.parametrize("method", ["smoothgradcampp", "gradcam", "gradcampp", "layercam"])
def test_methods_repeat_and_stay_in_range(tiny, method):
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with mapper_of(classifier(tiny), method) as mapper:
        first, again, other = mapper(images, 1)[0], mapper(images, 1)[0], mapper(images, 2)[0]
    assert torch.equal(first, again) and first.min() == 0 and first.max() <= 1
    assert torch.equal(first, other) == (method != "smoothgradcampp") or torch.allclose(first, other, atol=0.5)


def test_gradients_stop_at_the_layer(tiny):
    """The maps are those of a backward pass through the whole network."""
    found = classifier(tiny)
    images = torch.rand(2, 3, 8, 8)
    with mapper_of(found, "gradcam") as mapper:
        maps = mapper(images, 0)[0]
    network, seen = found.network, {}
    handle = network[0].register_forward_hook(lambda module, inputs, output: seen.update(layer=output))
    logits = network(images.requires_grad_())
    handle.remove()
    best = logits.max(dim=1).values.sum()
    (gradient,) = torch.autograd.grad(best, seen["layer"])
    expected = F.relu((gradient.mean(dim=(2, 3), keepdim=True) * seen["layer"]).sum(dim=1)).detach()
    expected = expected - expected.amin(dim=(1, 2), keepdim=True)
    assert torch.allclose(maps, expected / expected.amax(dim=(1, 2), keepdim=True), atol=1e-6)


@pytest.fixture
def flags(tiny, drawn, tmp_path):
    """Flags that score the drawn birds with the tiny network."""

    def make(*more, data_path=drawn, output="scores"):
        base = ["complexity", "--model", tiny, "--image_size", 8, "--method", "gradcam"]
        base += [] if data_path is None else ["--data_path", data_path]
        return [*base, "--threads", 1, "--output_dir", tmp_path / output, *more]

    return make


def read(folder):
    with open(folder / "classes.csv", newline="") as file:
        return list(csv.DictReader(file)), pq.read_table(folder / "images.parquet").to_pylist()


def test_the_tables_against_a_few_lines(run, flags, drawn, tmp_path):
    """Read, resize and score again, with nothing of ours but the folder names."""
    status, out, lines = run(*flags("--batch_size", 5, "--category", "bird", "--subset", "easy"))
    assert status == 0, lines
    classes, images = read(tmp_path / "scores")
    subset = load_subset("bird-easy")
    assert {row["wnid"] for row in classes} == set(subset.wnids) and len(images) == 120
    by_key = {row["key"]: row for row in images}
    for row in classes:
        values = []
        for path in sorted((drawn / "train" / row["wnid"]).iterdir()):
            pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None].float() / 255
            small = F.interpolate(pixels, (8, 8), mode="bilinear", antialias=True)
            means = F.avg_pool2d(small, 4)[0]
            best = means.mean(dim=(1, 2)).argmax()
            found = means[best] - means[best].min()
            values.append(1 - (found / found.max() >= 0.5).float().mean().item())
            assert (
                by_key[path.name]["complexity"] == pytest.approx(values[-1]) and by_key[path.name]["predicted"] == best
            )
        assert float(row["mean"]) == pytest.approx(np.mean(values)) and float(row["std"]) == pytest.approx(
            np.std(values, ddof=1)
        )
        assert int(row["n"]) == 12 and float(row["ci_low"]) < float(row["mean"]) < float(row["ci_high"])
    facts = json.loads((tmp_path / "scores/scores.json").read_text())
    assert facts["images"] == 120 and facts["layer"] == "0" and facts["top1"] is None
    example = json.loads((tmp_path / "scores/examples.json").read_text())[f"{int(classes[0]['imagenet_label']):04d}"]
    assert example["key"] in by_key and Image.open(next((tmp_path / "scores/examples").glob("*_map.png"))).size == (
        8,
        8,
    )


def test_every_layout_gives_the_same_numbers(run, flags, drawn, tmp_path):
    for split in ("train", "validation"):
        assert run(*flags("--split", split, output=split))[0] == 0
        for layout, shape in imagenet_layouts.SHAPES.items():
            if shape is None:
                continue
            place = tmp_path / layout
            root = place if place.exists() else shape(drawn, place)
            output = f"{layout}-{split}"
            status, _, lines = run(*flags("--split", split, data_path=root, output=output))
            assert status == 0 and read(tmp_path / output) == read(tmp_path / split), (layout, lines)


def test_two_processes_give_the_same_numbers(run, flags, tmp_path):
    assert run(*flags(output="one"))[0] == 0
    done = launched(2, "-m", "compdd_eval", *flags(output="two"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "one") == read(tmp_path / "two")


def test_finished_classes_are_kept(run, flags, tmp_path):
    assert run(*flags("--category", "bird", "--subset", "easy"))[0] == 0
    parts = tmp_path / "scores/parts"
    before = {path.name: path.stat().st_mtime_ns for path in parts.iterdir()}
    (parts / min(before)).unlink()
    status, out, _ = run(*flags())
    after = {path.name: path.stat().st_mtime_ns for path in parts.iterdir()}
    assert status == 0 and len(after) == 20  # bird-hard was added
    assert sum(after[name] == time for name, time in before.items()) == 9
    status, _, lines = run(*flags("--threshold", 0.3))
    assert status == 2 and "scores of other settings" in lines[-1] and len(list(parts.iterdir())) == 20
    assert run(*flags("--threshold", 0.3, "--overwrite"))[0] == 0
    classes, _ = read(tmp_path / "scores")
    assert len(classes) == 20


def test_an_interrupted_run_goes_on(flags, tmp_path):
    """SIGKILL once some classes are finished; the end is that of a whole run."""
    process = Forked("-m", "compdd_eval", *flags("--batch_size", 1), cwd=tmp_path)
    parts = tmp_path / "scores/parts"
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None and not list(parts.glob("0*.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = forked("-m", "compdd_eval", *flags("--batch_size", 1), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole = forked("-m", "compdd_eval", *flags("--batch_size", 1, output="whole"), cwd=tmp_path)
    assert whole.returncode == 0 and read(tmp_path / "scores") == read(tmp_path / "whole")


def test_images_per_class_are_drawn(run, flags, tmp_path):
    for seed in (0, 0, 1):
        assert run(*flags("--images_per_class", 3, "--seed", seed, output=f"seed{seed}"))[0] == 0
    (classes, zero), (_, one) = read(tmp_path / "seed0"), read(tmp_path / "seed1")
    assert {row["n"] for row in classes} == {"3"} and len(zero) == 60
    assert {row["key"] for row in zero} != {row["key"] for row in one}


def test_other_data(run, flags, tmp_path):
    """Class folders of any names, with and without splits."""
    for number, name in enumerate(("cats", "cups", "trees")):
        for image in range(3):
            save_image(tmp_path / f"other/{name}/{image}.png", 10 * number + image, file_format="PNG")
            save_image(tmp_path / f"splits/train/{name}/{image}.png", 10 * number + image, file_format="PNG")
    for place in ("other", "splits"):
        status, _, lines = run(*flags(data_path=tmp_path / place, output=place + "_scores"))
        assert status == 0, lines
        classes, images = read(tmp_path / f"{place}_scores")
        assert [row["name"] for row in classes] == ["cats", "cups", "trees"] and {row["wnid"] for row in classes} == {
            ""
        }
        assert len(images) == 9 and images[0]["key"].endswith("cats/0.png")
    assert run(*flags("--target", "true", data_path=tmp_path / "other", output="true"))[0] == 0
    for name in ("val", "valid", "validation"):
        shutil.copytree(tmp_path / "other", tmp_path / "splits" / name)
        status, _, lines = run(*flags("--split", name, data_path=tmp_path / "splits", output=f"{name}_scores"))
        assert status == 0 and len(read(tmp_path / f"{name}_scores")[1]) == 9, lines
        (tmp_path / "splits" / name).rename(tmp_path / "splits/validation")
        (tmp_path / "splits/val").mkdir()
        status, _, lines = run(*flags(data_path=tmp_path / "splits", output="both"))
        assert status == 2 and "holds both val/ and validation/; keep one of them" in lines[-1]
        shutil.rmtree(tmp_path / "splits/validation"), (tmp_path / "splits/val").rmdir()


@pytest.mark.parametrize("link", [[], ["--link"]])
def test_the_prepared_subsets(link, run, flags, drawn, cache, tmp_path, monkeypatch):
    """By their word, whatever the environment says, and where nothing is given; the scores are those of the source."""
    one = ["--category", "bird", "--subset", "easy"]
    assert run(*flags(*one, output="source"))[0] == 0
    status, _, lines = run(*flags(*one, data_path="prepared", output="none"))
    assert status == 2 and len(lines) == 1 and "nothing is prepared, and no images were given" in lines[0]
    assert run("prepare", "--data_path", drawn, *one, *link)[0] == 0
    monkeypatch.setenv("COMP_DD_IMAGENET", str(tmp_path / "nowhere"))
    status, _, lines = run(*flags(*one, data_path="prepared", output="word"))
    assert status == 0, lines
    monkeypatch.delenv("COMP_DD_IMAGENET")
    status, _, lines = run(*flags(*one, data_path=None, output="nothing"))
    assert status == 0, lines
    for name in ("word", "nothing"):
        assert read(tmp_path / name) == read(tmp_path / "source")
    status, _, lines = run(*flags(*one, data_path="prepared", output="source"))
    assert status == 0 and read(tmp_path / "source") == read(tmp_path / "word"), "it goes on with scores of the source"
    status, _, lines = run(*flags("--category", "bird", "--subset", "hard", data_path="prepared", output="hard"))
    assert status == 2 and "no train images of any class that is asked for" in lines[-1]


def test_a_distilled_set_beside_real_images(run, flags, my_set, tmp_path):
    one = ["--category", "bird", "--subset", "easy", "--distilled", my_set]
    status, out, lines = run(*flags(*one))
    assert status == 0 and "real (images)" in out, lines
    rows = json.loads((tmp_path / "scores/distilled.json").read_text())["classes"]
    assert len(rows) == 10 and {row["n"] for row in rows} == {1}
    assert all(row["difference"] == pytest.approx(row["mean"] - row["real_mean"]) for row in rows)


WRONG = [
    (["--threshold", 0], "--threshold 0"),
    (["--threshold", 1.5], "--threshold 1.5"),
    (["--layer", "layer9"], "unknown layer 'layer9'"),
    (["--category", "brid"], "unknown category 'brid'; did you mean 'bird'?"),
    (["--subset", "easy"], "--subset is given without --category"),
    (["--classes", "n99999999"], "unknown class in --classes: 'n99999999'"),
    (["--method", "gradcamm"], "unknown value of --method 'gradcamm'; did you mean 'gradcam'"),
    (["--split", "test"], "no test images; --split is one of"),
    (["--target", "true"], "--target true: the 10 outputs of"),
    (["--weights", "nowhere.pt"], "nowhere.pt: no such file"),
    (["--model", "nowhere.py"], "nowhere.py: no such file"),
    (["--model", "resnet18"], "--model resnet18: expected torchvision:NAME"),
    (["--model", "torchvision:resnet19"], "unknown torchvision model 'resnet19'; did you mean"),
    (["--data_path", "/nowhere/at/all"], "/nowhere/at/all: no such folder"),
    (["--images_per_class", 0], "--images_per_class 0"),
    (["--distilled", "my_set"], "--distilled needs its classes"),
]


@pytest.mark.parametrize(
    ("wrong", "message"), WRONG, ids=lambda value: str(value[0])[2:] if isinstance(value, list) else ""
)
def test_bad_input_is_one_line(run, flags, tmp_path, wrong, message):
    status, _, lines = run(*flags(*wrong))
    errors = [line for line in lines if "error" in line]
    assert status == 2 and len(errors) == 1 and message in errors[0], lines
    assert not (tmp_path / "scores/classes.csv").exists()


def test_weights_that_cannot_be_downloaded(run, flags, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    status, _, lines = run(*flags("--model", "torchvision:resnet18"))
    assert status == 2 and "--weights" in lines[-1] and "--model efficientnet-lite0" in lines[-1]


def test_weights_of_a_file(tiny, tmp_path):
    network = SimpleNamespace()
    network.path = tmp_path / "weights.pt"
    torch.save(
        {"state_dict": {"0.weight": torch.zeros(3, 3, 4, 4), "3.weight": torch.ones(10, 3), "3.bias": torch.zeros(10)}},
        network.path,
    )
    assert not classifier(tiny, weights=str(network.path)).network[0].weight.any()
    torch.save(nn.Linear(2, 2).state_dict(), network.path)
    with pytest.raises(InputError, match="weights of another network"):
        classifier(tiny, weights=str(network.path))


def test_scores_of_other_images_are_not_taken_over(run, flags, tmp_path):
    for number, name in enumerate(("cats", "cups")):
        for place in ("one", "two"):
            save_image(tmp_path / place / name / "0.png", number, file_format="PNG")
    assert run(*flags(data_path=tmp_path / "one"))[0] == 0
    status, _, lines = run(*flags(data_path=tmp_path / "two"))
    assert status == 2 and "other settings or data" in lines[-1]
    changed = tmp_path / "one/cats/0.png"
    changed.write_bytes(changed.read_bytes() + b"more")
    status, _, lines = run(*flags(data_path=tmp_path / "one"))
    assert status == 2 and "scores of cats from other images (1 such classes)" in lines[-1]
    before = (tmp_path / "scores/parts/0001.json").stat().st_mtime_ns
    assert run(*flags("--overwrite", data_path=tmp_path / "one"))[0] == 0
    assert (tmp_path / "scores/parts/0001.json").stat().st_mtime_ns == before


def test_what_a_killed_process_left_is_passed_over(run, flags, tmp_path):
    assert run(*flags())[0] == 0
    expected = read(tmp_path / "scores")
    (tmp_path / "scores/parts/.0005.abc.json").write_text("")
    assert run(*flags())[0] == 0 and read(tmp_path / "scores") == expected


BROKEN = [
    ("network[0].weight.fill_(float('nan'))", [], "outputs are not finite"),
    ("network[0] = nn.Identity()", [], "has no convolution"),
    ("pass", ["--layer", "2"], "--layer 2: gives [1, 3], expected maps"),
    ("network.idle = None; network.mean = 0.5", [], "its mean is no three numbers"),
    ("network.std = (0.0, 1.0, 1.0)", [], "its std is no three numbers above 0"),
    ("raise KeyError('x')", [], "create_model() failed"),
]


@pytest.mark.parametrize(("change", "more", "message"), BROKEN, ids=lambda value: str(value)[:20])
def test_a_model_that_cannot_be_meant(run, flags, tiny, tmp_path, change, more, message):
    tiny.write_text(
        TINY.replace("    return network", f"    with torch.no_grad():\n        {change}\n    return network")
    )
    status, _, lines = run(*flags(*more))
    assert status == 2 and message in lines[-1], lines
    assert not (tmp_path / "scores/classes.csv").exists()


def test_another_file_of_a_model_is_another_model(run, flags, tiny):
    assert run(*flags())[0] == 0
    tiny.write_text(TINY + "\n# changed\n")
    status, _, lines = run(*flags())
    assert status == 2 and "other settings or data" in lines[-1]


def test_a_damaged_image_is_named(run, flags, drawn, tmp_path):
    import shutil

    shutil.copytree(drawn, tmp_path / "copy")
    wnid = load_subset("bird-easy").wnids[0]
    victim = sorted((tmp_path / "copy/train" / wnid).iterdir())[0]
    victim.write_bytes(victim.read_bytes()[: os.path.getsize(victim) // 2])
    status, _, lines = run(*flags("--category", "bird", "--subset", "easy", data_path=tmp_path / "copy"))
    assert status == 2 and victim.name in lines[-1] and not (tmp_path / "scores/classes.csv").exists()


@pytest.mark.slow
def test_real_photographs(run, shared, tmp_path):
    """A real classifier on real photographs: hard classes are more complex than easy ones."""
    pytest.importorskip("efficientnet_lite_pytorch", reason="an extra")
    source = ["--data_path", shared / "imagenet_sample", "--model", "efficientnet-lite0", "--method", "gradcam"]
    status, out, lines = run("complexity", *source, "--output_dir", tmp_path / "scores")
    assert status == 0, lines
    classes, images = read(tmp_path / "scores")
    means = {int(row["imagenet_label"]): float(row["mean"]) for row in classes}
    assert 0.7 < json.loads((tmp_path / "scores/scores.json").read_text())["top1"] < 0.9
    higher = 0
    for category in ("bird", "car", "dog", "fish", "snake", "insect", "round", "music"):
        easy, hard = (load_subset(f"{category}-{level}").class_map for level in ("easy", "hard"))
        higher += np.mean([means[index] for index in hard]) > np.mean([means[index] for index in easy])
    assert higher >= 6


def test_accuracy_by_complexity(run, flags, settings, drawn, tmp_path):
    assert run(*flags("--split", "validation", "--category", "bird", "--subset", "easy"))[0] == 0
    summary = evaluate(settings(num_eval=2, complexity=str(tmp_path / "scores")))
    (entry,) = summary["results"]
    quarters = entry["accuracy_by_complexity"]
    assert [quarter["images"] for quarter in quarters] == [13, 13, 12, 12]
    assert all(a["high"] <= b["low"] for a, b in zip(quarters, quarters[1:], strict=False))
    mean = sum(quarter["images"] * quarter["accuracy"] for quarter in quarters) / 50
    assert mean == pytest.approx(entry["accuracy_mean"])
    with pytest.raises(
        InputError, match="has no complexity of 50 of 50 validation images.*--split validation --classes n0"
    ):
        evaluate(settings(subset="hard", complexity=str(tmp_path / "scores"), output_dir=str(tmp_path / "hard")))
    (tmp_path / "scores/images.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match="images.parquet: not a table of scores"):
        evaluate(settings(complexity=str(tmp_path / "scores"), output_dir=str(tmp_path / "damaged")))


def test_quarters_by_hand():
    students = [
        SimpleNamespace(right=[True, False, True, True, False]),
        SimpleNamespace(right=[True, True, False, True, False]),
    ]
    found = by_quartile([0.9, 0.1, 0.5, 0.5, 0.2], students)
    assert [quarter.images for quarter in found] == [2, 1, 1, 1]
    assert [quarter.accuracy for quarter in found] == [0.25, 0.5, 1.0, 1.0]
    assert (found[0].low, found[0].high, found[3].low) == (0.1, 0.2, 0.9)


def test_a_dataset_on_the_hub(tiny, my_set, hub, tmp_path):
    """Any dataset with a column of images and one of class labels."""
    one = ["--category", "bird", "--subset", "easy"]
    pushed = forked(
        "-m", "compdd_eval", "push", my_set, "--repo_id", "tester/birds", *one, cwd=tmp_path, **hub.environment
    )
    assert pushed.returncode == 0, pushed.stderr
    settings = ["--model", tiny, "--image_size", 8, "--method", "gradcam", "--output_dir", tmp_path / "scores"]
    command = ["-m", "compdd_eval", "complexity", "--data_path", "tester/birds", *settings]
    done = forked(*command, cwd=tmp_path, **hub.environment)
    assert done.returncode == 0, done.stderr
    classes, images = read(tmp_path / "scores")
    assert [row["name"] for row in classes] == load_subset("bird-easy").label_names and len(images) == 10
    wrong = forked(*command, "--split", "nothing", cwd=tmp_path, **hub.environment)
    assert wrong.returncode == 2 and "split 'nothing' cannot be loaded" in wrong.stderr.splitlines()[-1]
