"""Folders of labels of views as SRe2L's `generate_soft_label.py` saves them, written here by its own steps."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from compdd_eval.data.subsets import load_subset
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from compdd_eval.distilled.set import read_distilled

SIDE, BATCH, PASSES = 16, 8, 2
SUBSET = load_subset("bird-easy")
FLAGS = ("--category", "bird", "--subset", "easy")


@pytest.fixture
def images(tmp_path):
    """Two images a class, in folders by WordNet id; 10.png is before 2.png there."""
    for number, wnid in enumerate(SUBSET.wnids):
        for name in ("2.png", "10.png"):
            path = tmp_path / "images" / wnid / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(20 * number + int(name[:-4])).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(path)
    return tmp_path / "images"


def in_order(root):
    """The images as `ImageFolder` has them, normalised."""
    paths = [path for folder in sorted(root.iterdir()) for path in sorted(folder.iterdir())]
    change = v2.Compose(
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    )
    return torch.stack([change(Image.open(path)) for path in paths]), [SUBSET.wnids.index(p.parent.name) for p in paths]


def save(root, target, mix="cutmix", outputs=1000, half=True):
    """Save labels of views; return for each pass its batches: the indices, the views and the outputs."""
    images, _ = in_order(root)
    sampler = torch.utils.data.RandomSampler(range(len(images)), generator=torch.Generator().manual_seed(42))
    draws, made = np.random.default_rng(0), []
    for epoch in range(PASSES):
        order, batches = list(sampler), []
        for number, start in enumerate(range(0, len(order), BATCH)):
            indices = order[start : start + BATCH]
            boxes = []
            for _ in indices:
                height, width = draws.integers(3, SIDE + 1, 2)
                boxes.append([draws.integers(0, SIDE - height + 1), draws.integers(0, SIDE - width + 1), height, width])
            flips = torch.from_numpy(draws.random(len(indices)) < 0.5)
            views = []
            for index, place, flip in zip(indices, boxes, flips, strict=True):
                view = v2.functional.resized_crop(images[index], *map(int, place), [SIDE, SIDE])
                views.append(view.flip(2) if flip else view)
            views = torch.stack(views)
            partners, share, box = torch.from_numpy(draws.permutation(len(indices))), float(draws.beta(1, 1)), None
            if mix == "cutmix":
                first, last = np.sort(draws.integers(0, SIDE + 1, (2, 2)), axis=0)
                box = [first[0], first[1], last[0], last[1]]  # NumPy's numbers, as of np.clip
                before = views.clone()
                views[:, :, box[0] : box[2], box[1] : box[3]] = before[partners, :, box[0] : box[2], box[1] : box[3]]
            elif mix == "mixup":
                views = share * views + (1 - share) * views[partners]
            else:
                partners = share = None
            logits = torch.from_numpy(draws.normal(size=(len(indices), outputs))).float()
            logits = logits.half() if half else logits
            shares = torch.tensor(np.array(boxes) / SIDE, dtype=torch.float32)
            folder = target / f"epoch_{epoch}"
            folder.mkdir(parents=True, exist_ok=True)
            torch.save([shares, flips, partners, share, box, logits], folder / f"batch_{number}.tar")
            batches.append((indices, views, logits))
        made.append(batches)
    return made


@pytest.mark.parametrize(("mix", "outputs"), [("cutmix", 1000), ("mixup", 10), ("none", 1000)])
def test_they_are_replayed_as_they_were_made(images, tmp_path, run, mix, outputs):
    made = save(images, tmp_path / "fkd", mix, outputs)
    status, out, errors = run("convert", images, tmp_path / "set", *FLAGS, "--view_labels", tmp_path / "fkd")
    assert status == 0, errors
    assert "labels of views  2 passes in batches of 8, crops, flips" in out
    distilled = read_distilled(tmp_path / "set")
    expected, labels = in_order(images)
    assert distilled.labels.tolist() == labels
    assert torch.allclose(distilled.images, expected, atol=1e-6)
    places = sorted(SUBSET.wnids)
    for number, batches in enumerate(made):
        found, start = distilled.view_labels.read(number), 0
        for views, (indices, inputs, logits) in zip(found.views, batches, strict=True):
            own = slice(start, start := start + len(indices))
            assert found.order[own].tolist() == indices
            ours = views.mix_images(views.crop_and_flip(distilled.images[indices]))
            assert torch.allclose(ours, inputs, atol=1e-5)
            for label, entry in enumerate(SUBSET.classes):
                column = entry.imagenet_index if outputs == 1000 else places.index(entry.wnid)
                assert torch.equal(found.logits[own, label], logits[:, column].float())
    status, out, errors = run("validate", tmp_path / "set")
    assert status == 0 and "labels of views  passed" in out, out
    assert "2 passes in batches of 8, crops, flips" in out


def test_students_train_on_them(images, tmp_path, run, drawn, cache):
    save(images, tmp_path / "fkd")
    run("convert", images, tmp_path / "set", *FLAGS, "--view_labels", tmp_path / "fkd", "--view_seed", 42)
    base = ("evaluate", "--distilled", tmp_path / "set", "--data_path", drawn, "--model", "ConvNetD1", "--num_eval", 1)
    base += ("--epoch_eval_train", 4, "--threads", 1, "--output_dir", tmp_path / "results", "--labels", "views")
    status, out, errors = run(*base, "--protocol", "sre2l", "--batch_train", BATCH)
    assert status == 0, errors
    summary = json.loads((tmp_path / "results/summary.json").read_text())
    assert summary["teacher"]["name"] == "not stated" and "seed 42" in summary["teacher"]["recipe"]


def test_the_order_of_outputs_can_be_stated(images, tmp_path, run):
    made = save(images, tmp_path / "fkd", outputs=10)
    flags = ("--view_labels", tmp_path / "fkd", "--label_order", "subset")
    assert run("convert", images, tmp_path / "new/folder/set", *FLAGS, *flags)[0] == 0  # whose folder is made, too
    found = read_distilled(tmp_path / "new/folder/set").view_labels.read(0).logits
    assert torch.equal(found, torch.cat([logits for _, _, logits in made[0]]).float())


def change(folder, position, value, name="epoch_1/batch_0.tar"):
    content = torch.load(folder / name, weights_only=False)
    content[position] = value
    torch.save(content, folder / name)


def cut_off(file):
    file.write_bytes(file.read_bytes()[:-100])


class Code:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda fkd: shutil.rmtree(fkd / "epoch_0"), "no epoch_0/batch_0.tar in it"),
        (lambda fkd: (fkd / "epoch_1").rename(fkd / "epoch_2"), "epoch_1 is missing"),
        (lambda fkd: (fkd / "epoch_1/batch_2.tar").unlink(), "epoch_1/batch_2.tar: is missing"),
        (lambda fkd: shutil.copy(fkd / "epoch_0/batch_2.tar", fkd / "epoch_0/batch_3.tar"), "more than 3 batches"),
        (
            lambda fkd: shutil.copy(fkd / "epoch_0/batch_0.tar", fkd / "epoch_0/batch_2.tar"),
            "8 images with 1000 outputs, mixing cutmix, expected 4",
        ),
        (lambda fkd: change(fkd, 0, torch.full((8, 4), 0.9)), "crops reach beyond images of 16 px"),
        (lambda fkd: change(fkd, 0, torch.zeros(8, 3)), "six parts: crops, flips"),
        (lambda fkd: change(fkd, 2, torch.arange(8) + 1), "mixed with others than the 8 of their batch"),
        (lambda fkd: change(fkd, 5, torch.zeros(8, 77), "epoch_0/batch_0.tar"), "77: expected ten, or ImageNet's 1000"),
        (lambda fkd: change(fkd, 5, torch.full((8, 1000), 1e6)), "not finite"),
        (lambda fkd: change(fkd, 5, torch.zeros(8, 10)), "8 images with 10 outputs"),
        (lambda fkd: change(fkd, 4, [0, 0, float("inf"), 3]), "six parts: crops, flips"),
        (lambda fkd: change(fkd, 5, torch.zeros(8, 1000).to_sparse()), "six parts: crops, flips"),
        (lambda fkd: change(fkd, 3, 1.5), "epoch_1: labels of views, pass 1: the share of a mixture is 1.5"),
        (lambda fkd: change(fkd, 5, Code()), "could run code, so it is not opened"),
        (lambda fkd: cut_off(fkd / "epoch_0/batch_1.tar"), "damaged or cut short"),
        (lambda fkd: torch.save(torch.zeros(3), fkd / "epoch_0/batch_0.tar"), "six parts: crops, flips"),
    ],
)
def test_what_is_refused(images, tmp_path, run, damage, message):
    save(images, tmp_path / "fkd")
    (tmp_path / "fkd/epoch_²").mkdir()  # is left alone
    damage(tmp_path / "fkd")
    status, _, lines = run("convert", images, tmp_path / "set", *FLAGS, "--view_labels", tmp_path / "fkd")
    assert status == 2 and message in lines[-1], lines
    assert not (tmp_path / "set").exists()


def test_only_our_format_holds_them(images, tmp_path, run):
    save(images, tmp_path / "fkd")
    status, _, lines = run("convert", images, tmp_path / "one.pt", *FLAGS, "--view_labels", tmp_path / "fkd")
    assert status == 2 and "pt holds no labels of views" in lines[-1]
    assert not (tmp_path / "one.pt").exists()
    given = ("convert", images, tmp_path / "set", *FLAGS, "--view_labels", tmp_path / "fkd")
    status, _, lines = run(*given, "--res", 8)
    assert status == 2 and "--res" in lines[-1] and not (tmp_path / "set").exists()
