"""Every format of distilled sets: read as others save them, written so that nothing is lost unsaid."""

import itertools
import json
import logging
import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from compdd_eval import DistilledSet, read_distilled
from compdd_eval.config.reading import ReadConfig
from compdd_eval.data.subsets import load_subset
from compdd_eval.data.transforms import denormalise, normalise
from compdd_eval.distilled import limits
from compdd_eval.distilled.write import format_of, write_distilled
from compdd_eval.utils.errors import InputError
from tests.support.drawn_sets import HARD, IMAGES, LOGITS, PIXELS, image_folder

FACTS = {
    "category": "bird",
    "subset": "easy",
    "method": "EDF",
    "source_url": "https://example.org/edf",
    "paper": "a paper",
    "licence": "mit",
    "protocol": "comp-dd",
    "steps": [1, 2, 3],
}
SOFT = DistilledSet(IMAGES, LOGITS, lr=0.1 + 0.2, metadata=FACTS)
EXACT = ["ours", "published", "npy", "one.pt", "one.npz", "one.safetensors"]


def bird(**flags):
    return ReadConfig(category="bird", subset="easy", **flags)


def write(distilled, folder, name):
    form = {"published": "published", "npy": "npy", "png": "png"}.get(name, "auto")
    lost = write_distilled(distilled, folder / name, form)
    return folder / name, lost


def same(one, other):
    """Whether two sets are the same bits and facts."""
    return (
        (one.sha256, one.lr, one.label_kind, one.metadata) == (other.sha256, other.lr, other.label_kind, other.metadata)
        and torch.equal(one.images, other.images)
        and one.labels.dtype == other.labels.dtype
    )


@pytest.mark.parametrize("first, second", list(itertools.permutations(EXACT, 2)))
def test_from_any_exact_format_to_any_other(tmp_path, first, second):
    path, lost = write(SOFT, tmp_path, first)
    assert lost == []
    on_main_process = read_distilled(path)
    assert same(on_main_process, SOFT) and "guesses" not in on_main_process.origin
    twice = read_distilled(write(on_main_process, tmp_path, second)[0])
    assert same(twice, SOFT)


@pytest.mark.parametrize(
    "distilled",
    [
        DistilledSet(IMAGES, HARD, metadata=FACTS),
        DistilledSet(IMAGES, LOGITS.softmax(1), "logits", 1e-9),
        DistilledSet(IMAGES * 1e-30, LOGITS.softmax(1), lr=3e30),
        DistilledSet(IMAGES[2:], HARD[2:], metadata={"category": "music", "subset": "hard", "published": True}),
    ],
)
@pytest.mark.parametrize("name", EXACT)
def test_kinds_of_sets(tmp_path, distilled, name):
    assert same(read_distilled(write(distilled, tmp_path, name)[0]), distilled)


def test_our_folder(tmp_path):
    SOFT.save(tmp_path / "a b" / "set")
    folder = tmp_path / "a b" / "set"
    names = ["README.md", "distilled.json", "distilled.safetensors", "preview.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    facts = json.loads((folder / "distilled.json").read_text())
    assert [entry["wnid"] for entry in facts["classes"]] == load_subset("bird-easy").wnids
    assert facts["sha256"] == SOFT.sha256 and facts["ipc"] == 2 and facts["resolution"] == 8
    assert facts["normalisation"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert facts["metadata"] == {"steps": [1, 2, 3]} and torch.__version__.startswith(facts["versions"]["torch"])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    DistilledSet.load(folder).save(folder)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert str(tmp_path) not in "".join(data.decode(errors="replace") for data in before.values())
    assert same(DistilledSet.load(folder / "distilled.safetensors"), SOFT)


def test_a_changed_file_is_told(tmp_path):
    SOFT.save(tmp_path / "set")
    DistilledSet(IMAGES + 1, LOGITS, metadata=FACTS).save(tmp_path / "other")
    os.replace(tmp_path / "other/distilled.safetensors", tmp_path / "set/distilled.safetensors")
    with pytest.raises(InputError, match="written for other tensors"):
        DistilledSet.load(tmp_path / "set")
    (tmp_path / "set/distilled.json").unlink()
    with pytest.raises(InputError, match=r"README.md: is there already, and no distilled.json"):
        SOFT.save(tmp_path / "set")


def test_stated_classes_in_another_order_are_mapped(tmp_path):
    """By their WordNet ids: hard labels and columns of soft ones."""
    for number, labels in enumerate((LOGITS, HARD)):
        folder = tmp_path / str(number)
        DistilledSet(IMAGES, labels, metadata=FACTS).save(folder)
        facts = json.loads((folder / "distilled.json").read_text())
        wnids = sorted(load_subset("bird-easy").wnids)
        facts["classes"] = [{"label": label, "wnid": wnid} for label, wnid in enumerate(wnids)]
        (folder / "distilled.json").write_text(json.dumps(facts))
        read = DistilledSet.load(folder)
        target = [load_subset("bird-easy").wnids.index(wnid) for wnid in wnids]
        if labels.ndim == 1:
            assert read.labels.tolist() == [target[label] for label in labels.tolist()]
        else:
            assert all(torch.equal(read.labels[:, target[k]], labels[:, k]) for k in range(10))
        with pytest.raises(InputError, match="made for bird-easy, not for dog-easy"):
            read_distilled(folder, ReadConfig(category="dog", subset="easy"))


def test_stated_normalisation_is_undone(tmp_path):
    DistilledSet(IMAGES, HARD, metadata=FACTS).save(tmp_path / "set")
    facts = json.loads((tmp_path / "set/distilled.json").read_text())
    facts["normalisation"] = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (tmp_path / "set/distilled.json").write_text(json.dumps(facts))
    expected = normalise(IMAGES * 0.25 + 0.5)
    assert torch.allclose(DistilledSet.load(tmp_path / "set").images, expected, atol=1e-6)
    torch.save(IMAGES, tmp_path / "images.pt")
    torch.save(HARD, tmp_path / "labels.pt")
    read = read_distilled(tmp_path / "images.pt", bird(mean="0.5,0.5,0.5", std="0.25,0.25,0.25"))
    assert torch.allclose(read.images, expected, atol=1e-6)


# ---- as others save them


def pt(tmp_path, value, **others):
    torch.save(value, tmp_path / "images.pt")
    for name, other in others.items():
        torch.save(other, tmp_path / f"{name}.pt")
    return tmp_path / "images.pt"


@pytest.mark.parametrize(
    "value",
    [
        {"images": IMAGES, "labels": HARD, "lr": torch.tensor([0.5])},
        {"Images": IMAGES, "Labels": HARD, "syn_lr": 0.5, "epoch": 3},
        {"image_syn": IMAGES, "label_syn": HARD, "lr": [torch.tensor(0.5)]},
        {"images": list(IMAGES), "labels": HARD.tolist(), "lr": 0.5},
        {"images": list(IMAGES.split(2)), "labels": list(HARD.split(2)), "lr": 0.5},
        {"x": IMAGES.double(), "y": HARD[:, None], "learned_lr": 0.5},
        {"data": [[IMAGES, HARD]], "lr": 0.5},
        {str(label): IMAGES[label == HARD] for label in range(10)},
        {wnid: IMAGES[label == HARD] for label, wnid in enumerate(load_subset("bird-easy").wnids)},
        (IMAGES, HARD),
        {"images": IMAGES.permute(0, 2, 3, 1), "labels": torch.nn.functional.one_hot(HARD), "lr": 0.5},
    ],
)
def test_one_pt_file(tmp_path, value):
    read = read_distilled(pt(tmp_path, value), bird())
    assert torch.equal(read.images, IMAGES) and read.lr in (0.5, None)
    assert torch.equal(read.classes, HARD)


def test_lists_of_soft_labels(tmp_path):
    for number, labels in enumerate((list(LOGITS), list(LOGITS.split(2)), LOGITS.tolist())):
        (tmp_path / str(number)).mkdir()
        path = pt(tmp_path / str(number), {"images": IMAGES, "labels": labels})
        if number == 2:
            with pytest.raises(InputError):  # nested lists of numbers are ambiguous with lists of classes
                read_distilled(path)
        else:
            assert torch.equal(read_distilled(path).labels, LOGITS)
    ten = LOGITS[:10]
    path = pt(tmp_path, {"images": IMAGES[:10], "labels": list(ten)})
    assert torch.equal(read_distilled(path).labels, ten), "ten rows of ten for ten images are soft labels"
    path = pt(tmp_path, {"images": torch.cat([IMAGES] * 5), "labels": [torch.full((10,), k) for k in range(10)]})
    assert torch.equal(read_distilled(path).labels, torch.arange(10).repeat_interleave(10))


def test_half_precision_and_parameters(tmp_path):
    for kind in (torch.float16, torch.bfloat16):
        read = read_distilled(pt(tmp_path, torch.nn.Parameter(IMAGES.to(kind)), labels=LOGITS.to(kind)))
        assert torch.equal(read.images, IMAGES.to(kind).float()) and read.labels.dtype == torch.float32


def test_tensors_of_a_gpu(tmp_path):
    """The file of a machine with a GPU, opened on one without."""
    pt(tmp_path, IMAGES.clone(), labels=HARD)
    with zipfile.ZipFile(tmp_path / "images.pt") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "images.pt", "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            if name.endswith("data.pkl"):
                assert b"X\x03\x00\x00\x00cpu" in data
                data = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            archive.writestr(name, data)
    assert torch.equal(read_distilled(tmp_path / "images.pt").images, IMAGES)


def test_labels_and_rate_are_called_as_the_images_are(tmp_path):
    """images_5000.pt goes with labels_5000.pt, whatever else lies there."""
    for step, rate in ((100, 0.1), (5000, 0.5)):
        torch.save(IMAGES * rate, tmp_path / f"images_{step}.pt")
        torch.save(LOGITS * rate, tmp_path / f"labels_{step}.pt")
        torch.save(rate, tmp_path / f"lr_{step}.pt")
    read = read_distilled(tmp_path / "images_5000.pt")
    assert read.lr == 0.5 and torch.equal(read.labels, LOGITS * 0.5)
    with pytest.raises(InputError, match=r"no images.pt .* here .*images_100.pt.*name the file"):
        read_distilled(tmp_path)


@pytest.mark.parametrize("kind", ["npz", "npy", "safetensors"])
@pytest.mark.parametrize(
    ("images", "labels"),
    [(IMAGES, LOGITS), (IMAGES.half(), HARD.int()), (PIXELS, HARD.to(torch.uint8)), (IMAGES.double(), LOGITS.double())],
)
def test_arrays_of_others(tmp_path, kind, images, labels):
    """Without our facts: the range of 8-bit images and the kind of labels are guessed, and the guess is told."""
    path = tmp_path / f"images.{kind}"
    if kind == "safetensors":
        save_file({"images": images, "labels": labels, "lr": torch.tensor(0.5)}, path)
    elif kind == "npz":
        np.savez_compressed(path, images=images.numpy(), labels=labels.numpy(), lr=0.5)
    else:
        np.save(path, images.numpy())
        np.save(tmp_path / "labels.npy", labels.numpy())
        np.save(tmp_path / "lr.npy", np.float64(0.5))
    read = read_distilled(path, bird())
    expected = normalise(images.float() / 255) if images.dtype == torch.uint8 else images.float()
    assert torch.equal(read.images, expected) and read.lr == 0.5
    assert torch.equal(read.labels, labels.float() if labels.ndim == 2 else labels.long())
    guesses = " ".join(read.origin["guesses"])
    assert "pixel range: " + ("[0, 255]" if images.dtype == torch.uint8 else "normalised") in guesses
    assert ("label kind: logits" in guesses) == (labels.ndim == 2)
    assert read_distilled(path, bird(lr_dir="none")).lr is None


def test_fortran_and_foreign_byte_orders(tmp_path):
    np.save(tmp_path / "images.npy", np.asfortranarray(IMAGES.numpy().astype(">f4")))
    np.save(tmp_path / "labels.npy", HARD.numpy().astype(">i2"))
    read = read_distilled(tmp_path)
    assert torch.equal(read.images, IMAGES) and torch.equal(read.labels, HARD)


def test_a_guess_of_the_pixel_range_is_a_warning(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("compdd_eval"), "propagate", True)
    path = pt(tmp_path, PIXELS.float() / 255, labels=HARD)
    read = read_distilled(path)
    assert torch.allclose(read.images, normalise(PIXELS.float() / 255), atol=1e-6)
    assert "look like [0, 1] and are taken so" in caplog.text
    caplog.clear()
    assert torch.equal(read_distilled(path, ReadConfig(pixel_range="normalised")).images, PIXELS.float() / 255)
    read_distilled(path, ReadConfig(pixel_range="0-1"))
    assert caplog.text == ""


# ---- image folders


BIRDS = load_subset("bird-easy")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([str(label) for label in range(10)], "labels 0-9"),
        ([f"{label:05}" for label in range(10)], "labels 0-9"),
        ([f"new{label:03}" for label in range(10)], "labels 0-9"),
        ([str(entry.imagenet_index) for entry in BIRDS.classes], "ImageNet indices"),
        ([f"{entry.imagenet_index:05}" for entry in BIRDS.classes], "ImageNet indices"),
        (BIRDS.wnids, "WordNet ids"),
        (BIRDS.label_names, "class names"),
        ([name.upper().replace(" ", "_") for name in BIRDS.label_names], "class names"),
    ],
)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_names_of_class_folders(tmp_path, names, kind, file_format):
    """Each name stands for its own class, in whatever order the folders are listed."""
    read = read_distilled(image_folder(tmp_path, names, file_format), bird())
    red = (denormalise(read.images)[:, 0, 0, 0] * 255).round().int()
    assert (red // 10).tolist() == read.labels.tolist() and sorted(red % 10) == [0] * 10 + [1] * 10
    assert read.label_kind == "hard" and read.origin["remarks"][0].startswith(f"classes taken as {kind}: ")


def test_jpeg_folders_decode_as_real_images_do(tmp_path):
    read = read_distilled(image_folder(tmp_path / "train", map(str, range(10)), "JPEG").parent)
    first = np.asarray(Image.open(tmp_path / "train/0/0.jpeg").convert("RGB"))
    assert torch.allclose(denormalise(read.images[0]).permute(1, 2, 0) * 255, torch.tensor(first).float(), atol=1e-3)


def test_folders_that_could_mean_two_things(tmp_path):
    """5 and 6 are labels of fish-easy, and electric ray and stingray are ImageNet's classes 5 and 6."""
    folder = image_folder(tmp_path, ["5", "6"])
    fish = {"category": "fish", "subset": "easy"}
    with pytest.raises(InputError, match="labels 0-9 or ImageNet indices; say --label_order subset or"):
        read_distilled(folder, ReadConfig(**fish))
    class_map = load_subset("fish-easy").class_map
    for order, expected in (("subset", [5, 6]), ("imagenet", [class_map[5], class_map[6]])):
        read = read_distilled(folder, ReadConfig(**fish, label_order=order))
        assert sorted(set(read.labels.tolist())) == sorted(expected)
    assert set(read_distilled(image_folder(tmp_path, map(str, range(10))), ReadConfig(**fish)).labels.tolist()) == set(
        range(10)
    )


def test_images_of_other_sizes_are_resized_as_real_ones(tmp_path):
    from compdd_eval.data.transforms import decode_rgb, preprocess

    folder = image_folder(tmp_path, map(str, range(10)), size=(12, 9))
    with pytest.raises(InputError, match="12 x 9 pixels, no squares of one size; give --res"):
        read_distilled(folder)
    read = read_distilled(folder, res=8)
    expected = preprocess(decode_rgb((tmp_path / "3/1.png").read_bytes(), "x"), (8, 8))
    assert torch.equal(read.images[7], expected) and "20 of 20 images are resized to 8 px" in str(
        read.origin["remarks"]
    )
    square = image_folder(tmp_path / "s", map(str, range(10)), size=(12, 12))
    assert read_distilled(square, res=8).resolution == 12
    assert read_distilled(square, res=8, resize_all=True).resolution == 8


def test_png_folders_say_what_is_lost(tmp_path):
    path, lost = write(SOFT, tmp_path, "png")
    pixels = denormalise(IMAGES)
    clipped = ((pixels < -0.5 / 255) | (pixels > 1 + 0.5 / 255)).float().mean().item()
    assert lost[0].startswith(f"8 bits: {100 * clipped:.2g} % of the values lie outside [0, 1] and are clipped")
    assert "the logits become hard labels" in lost[1]
    read = read_distilled(path)
    order = SOFT.classes.sort(stable=True).indices
    error = (denormalise(read.images) - pixels[order].clamp(0, 1)).abs().max()
    assert error <= 0.5 / 255 + 1e-6 and torch.equal(read.labels, SOFT.classes[order])
    assert read.lr == SOFT.lr and read.metadata == SOFT.metadata and read.label_kind == "hard"
    assert json.loads((path / "distilled.json").read_text())["sha256"] is None


# ---- label order


def test_the_order_that_a_set_states_is_not_overridden(tmp_path):
    distilled = DistilledSet(IMAGES, HARD, metadata={"category": "bird", "subset": "easy"})
    distilled.save(tmp_path / "set")
    assert torch.equal(read_distilled(tmp_path / "set", bird(label_order="subset")).labels, HARD)
    record = json.loads((tmp_path / "set/distilled.json").read_text())
    stated = record["classes"]
    by_wnid = sorted(stated, key=lambda entry: entry["wnid"])
    record |= {"sha256": None, "classes": [by_wnid[place] | {"label": place} for place in range(10)]}
    (tmp_path / "set/distilled.json").write_text(json.dumps(record))
    assert not torch.equal(read_distilled(tmp_path / "set", bird()).labels, HARD)
    with pytest.raises(InputError, match="--label_order: the set says it itself"):
        read_distilled(tmp_path / "set", bird(label_order="subset"))


def test_label_orders(tmp_path):
    subset = load_subset("bird-easy")
    by_wnid = [subset.wnids.index(wnid) for wnid in sorted(subset.wnids)]
    path = pt(tmp_path, IMAGES, labels=HARD)
    for order in ("sorted", ",".join(sorted(subset.wnids)), ",".join(str(subset.class_map_inv[k]) for k in by_wnid)):
        assert read_distilled(path, bird(label_order=order)).labels.tolist() == [by_wnid[k] for k in HARD]
    torch.save(LOGITS, tmp_path / "labels.pt")
    moved = read_distilled(path, bird(label_order="sorted")).labels
    assert all(torch.equal(moved[:, by_wnid[k]], LOGITS[:, k]) for k in range(10))
    torch.save(torch.tensor([subset.class_map_inv[label] for label in HARD.tolist()]), tmp_path / "labels.pt")
    for order in ("auto", "imagenet"):
        read = read_distilled(path, bird(label_order=order))
        assert torch.equal(read.labels, HARD)
        assert ("ImageNet indices" in str(read.origin.get("guesses"))) == (order == "auto")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("sortd", "unknown value of --label_order 'sortd'; did you mean 'sorted'"),
        ("0,1,2", "expected the 10 classes of bird-easy, each once"),
        (",".join(["flamingo"] * 10), "each once"),
        ("imagenet", "label 0 is no ImageNet index of bird-easy"),
    ],
)
def test_wrong_label_orders(tmp_path, order, message):
    path = pt(tmp_path, IMAGES, labels=HARD)
    with pytest.raises(InputError, match=message):
        read_distilled(path, bird(label_order=order))


# ---- writing


def test_nothing_is_replaced_unasked(tmp_path):
    other = DistilledSet(IMAGES + 1, HARD)
    for name in [*EXACT, "png"]:
        form = {"published": "published", "npy": "npy", "png": "png"}.get(name, "auto")
        write(SOFT, tmp_path, name)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(InputError, match="--overwrite"):
            write_distilled(other, tmp_path / name, form)
        assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        write_distilled(other, tmp_path / name, form, overwrite=True)
        assert read_distilled(tmp_path / name).lr is None, "nothing of the set that lay there is left"
    (tmp_path / "ours/thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"ours: holds thesis.tex, and is no set that was written here"):
        write_distilled(other, tmp_path / "ours", overwrite=True)
    assert (tmp_path / "ours/thesis.tex").exists()


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    write_distilled(SOFT, tmp_path / "ours")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("compdd_eval.distilled.formats.comp_dd.save_preview", fail)
    monkeypatch.setattr("numpy.savez", fail)
    for name in ("ours", "other", "one.npz"):
        with pytest.raises(OSError, match="No space left"):
            write_distilled(DistilledSet(IMAGES, HARD), tmp_path / name, overwrite=True)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        ("a.npy", "auto", "give a folder and --format npy"),
        ("a", "pt", "wants a name that ends with .pt"),
        ("a.pt", "png", "wants a folder"),
        ("a.pt", "npz", "wants a name that ends with .npz"),
        ("a", "gif", "unknown format 'gif'"),
    ],
)
def test_names_and_formats(tmp_path, name, wanted, message):
    with pytest.raises(InputError, match=message):
        format_of(tmp_path / name, wanted)


def test_convert_on_the_command_line(run, tmp_path):
    soft = torch.nn.functional.one_hot(HARD, 10).float() * 5
    write_distilled(DistilledSet(IMAGES, soft, lr=0.5), tmp_path / "in", "published")
    (tmp_path / "in/distilled.json").unlink()
    arguments = ["convert", tmp_path / "in", tmp_path / "out", "--category", "bird", "--subset", "easy"]
    status, out, errors = run(*arguments, "--method", "EDF", "--licence", "cc-by-4.0", "--paper", "a paper")
    assert (status, errors) == (0, []) and "nothing: all is kept exactly as it was read" in out
    assert "guessed" in out and "label kind: logits" in out
    read = DistilledSet.load(tmp_path / "out")
    assert read.metadata == {
        "method": "EDF", "licence": "cc-by-4.0", "paper": "a paper", "category": "bird", "subset": "easy"
    }  # fmt: skip
    assert "license: cc-by-4.0" in (tmp_path / "out/README.md").read_text()
    status, out, errors = run("convert", tmp_path / "out", tmp_path / "png", "--format", "png")
    assert status == 0 and "are clipped" in out and "become hard labels" in out
    status, _, errors = run(*arguments)
    assert status == 2 and len(errors) == 1 and "--overwrite" in errors[0]


def test_preview_of_a_set_is_labelled(tmp_path):
    DistilledSet(IMAGES, HARD, metadata=FACTS).save(tmp_path)
    picture = Image.open(tmp_path / "preview.png")
    assert picture.size[0] > 2 * 64 and picture.size[1] > 10 * 64


def test_limits_are_checked_before_memory_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 4 * IMAGES.numel() - 1)
    for name in EXACT:
        with pytest.raises(InputError, match="a distilled set has at most"):
            read_distilled(write(SOFT, tmp_path, name)[0])


def test_a_rate_from_elsewhere(tmp_path):
    """For every format; and a lost lr.pt is made good by what distilled.json says."""
    (tmp_path / "rate").mkdir()
    torch.save(torch.tensor(0.25), tmp_path / "rate/lr.pt")
    for name in [*EXACT, "png"]:
        path, _ = write(SOFT, tmp_path, name)
        assert read_distilled(path, ReadConfig(lr_dir=str(tmp_path / "rate"))).lr == 0.25
        assert read_distilled(path, ReadConfig(lr_dir="none")).lr is None
    (tmp_path / "published/lr.pt").unlink()
    assert read_distilled(tmp_path / "published").lr == SOFT.lr


def test_labels_from_elsewhere(tmp_path):
    """Where a set has none of its own, or as an other kind for the same images; never ignored."""
    torch.save(HARD, tmp_path / "labels.pt")
    elsewhere = ReadConfig(label_dir=str(tmp_path))
    for name in ("published", "npy", "one.pt", "one.npz", "one.safetensors"):
        read = read_distilled(write(SOFT, tmp_path, name)[0], elsewhere)
        assert torch.equal(read.labels, HARD) and read.label_kind == "hard" and read.metadata == SOFT.metadata
    with pytest.raises(InputError, match="has labels of its own; leave --label_dir out"):
        read_distilled(write(SOFT, tmp_path, "ours")[0], elsewhere)


def test_two_rates(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("compdd_eval"), "propagate", True)
    path, _ = write(SOFT, tmp_path, "published")
    torch.save(0.5, path / "lr.pt")
    assert read_distilled(path).lr == 0.5 and "says rate 0.3, the rate beside it is 0.5 and is taken" in caplog.text


def test_flags_that_contradict_a_set(tmp_path):
    """What is stated is not changed a second time."""
    for name in EXACT:
        path, _ = write(SOFT, tmp_path, name)
        for flags in (
            {"label_order": "sorted"},
            {"mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5"},
            {"pixel_range": "0-1"},
            {"label_kind": "probabilities"},
        ):
            with pytest.raises(InputError, match="the set says it itself .distilled.json., and otherwise"):
                read_distilled(path, bird(**flags))
        same_as_stated = {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225", "label_kind": "logits"}
        assert same(read_distilled(path, bird(**same_as_stated, label_order="subset")), SOFT)


def test_the_order_of_a_published_list(tmp_path):
    """Nine classes: what does not fit is refused, never passed over."""
    music = {"category": "music", "subset": "hard", "published": True, "label_order": "sorted"}
    wnids = load_subset("music-hard", published=True).wnids
    order = [sorted(wnids)[k] for k in range(9)]
    path = pt(tmp_path, IMAGES[:18], labels=HARD[:18])
    labels = read_distilled(path, ReadConfig(**music)).labels
    assert labels.tolist() == [1 + wnids.index(order[k]) for k in HARD[:18]]
    for wrong in (HARD[2:], LOGITS[2:]):
        torch.save(wrong, tmp_path / "labels.pt")
        with pytest.raises(InputError, match="the order of 9 classes is for"):
            read_distilled(path, ReadConfig(**music))
    torch.save(LOGITS[:18, :9].softmax(1), tmp_path / "labels.pt")
    read = read_distilled(path, ReadConfig(**music))
    assert read.label_kind == "probabilities" and not read.labels[:, 0].any()


def test_labels_of_a_dict_of_classes_may_lie_elsewhere(tmp_path):
    (tmp_path / "labels").mkdir()
    torch.save(HARD, tmp_path / "labels/labels.pt")
    path = pt(tmp_path, {str(9 - label): IMAGES[label == HARD] for label in range(10)})
    assert torch.equal(read_distilled(path, bird()).labels, 9 - HARD)
    assert torch.equal(read_distilled(path, bird(label_dir=str(tmp_path / "labels"))).labels, HARD)


def test_files_of_other_steps(tmp_path):
    """A rate that lies beside is not taken into a file that has all parts; other names are told."""
    torch.save(0.5, tmp_path / "lr.pt")
    for name in ("one.pt", "one.npz", "one.safetensors"):
        path, _ = write(DistilledSet(IMAGES, HARD), tmp_path, name)
        assert read_distilled(path).lr is None
    torch.save(IMAGES, tmp_path / "images_500.pt")
    torch.save(HARD, tmp_path / "labels.pt")
    read = read_distilled(tmp_path / "images_500.pt")
    assert read.lr == 0.5 and read.origin["guesses"][:2] == [
        "labels: labels.pt goes with images_500.pt (--label_dir)", "lr: lr.pt goes with images_500.pt (--lr_dir)"
    ]  # fmt: skip


def test_parts_in_a_tuple_and_empty_rates(tmp_path):
    assert read_distilled(pt(tmp_path, (IMAGES, HARD, 0.5))).lr == 0.5
    assert read_distilled(pt(tmp_path, {"images": IMAGES, "labels": HARD, "lr": None})).lr is None


def test_rare_types(tmp_path):
    """Types that torch does little with hold the same numbers."""
    for kind in (torch.uint16, torch.uint32, torch.int8, torch.int16, torch.float64):
        for order in ("auto", "sorted"):
            read = read_distilled(pt(tmp_path, IMAGES, labels=HARD.to(kind)), bird(label_order=order))
            assert read.labels.dtype == torch.int64 and (order == "sorted" or torch.equal(read.labels, HARD))
    small = IMAGES.to(torch.float8_e4m3fn)
    assert torch.equal(read_distilled(pt(tmp_path, small, labels=HARD)).images, small.float())
    read = read_distilled(pt(tmp_path, IMAGES.double(), labels=HARD))
    assert "images are rounded from float64 to float32" in read.origin["remarks"]
    pixels = PIXELS.to(torch.uint16)
    assert torch.equal(read_distilled(pt(tmp_path, pixels, labels=HARD)).images, normalise(PIXELS.float() / 255))


def test_what_lies_behind_a_link_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    write_distilled(SOFT, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and same(read_distilled(tmp_path / "disk"), SOFT)


def test_only_a_set_is_replaced(tmp_path):
    """Folders that look a little like one are left alone, --overwrite or not."""
    for number, name in enumerate(("README.md", "images.pt", "00001/photo.jpg", "train/1.png")):
        folder = tmp_path / f"folder{number}"
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("years of work")
        for overwrite in (False, True):
            with pytest.raises(InputError, match="is no set that was written here; give another folder"):
                write_distilled(SOFT, folder, overwrite=overwrite)
        assert (folder / name).read_text() == "years of work"
    with pytest.raises(InputError, match="is a folder, expected the name of a file"):
        (tmp_path / "dir.pt").mkdir()
        write_distilled(SOFT, tmp_path / "dir.pt", "pt", overwrite=True)
    with pytest.raises(InputError, match="is a file, expected the name of a folder"):
        write_distilled(SOFT, tmp_path / "folder0/README.md", overwrite=True)


def test_a_failure_in_the_last_moment_brings_the_old_set_back(tmp_path, monkeypatch):
    write_distilled(SOFT, tmp_path / "set")
    replace, calls = os.replace, []

    def fail_the_second_time(source, target):
        calls.append(source)
        if str(source).endswith("/new"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_the_second_time)
    with pytest.raises(OSError, match="No space left"):
        write_distilled(DistilledSet(IMAGES, HARD), tmp_path / "set", overwrite=True)
    monkeypatch.undo()
    assert same(read_distilled(tmp_path / "set"), SOFT) and [path.name for path in tmp_path.iterdir()] == ["set"]


def test_out_in_in(run, tmp_path):
    image_folder(tmp_path / "in", [str(label) for label in range(10)])
    status, _, errors = run("convert", tmp_path / "in", tmp_path / "in/out")
    assert status == 2 and "lies in SOURCE itself" in errors[0] and not (tmp_path / "in/out").exists()
    status, _, errors = run("convert", pt(tmp_path, IMAGES, labels=HARD), tmp_path / "out", "--res", "16")
    assert status == 2 and "--res 16: only image files are resized" in errors[0]


def test_negative_numbers_are_values(run, tmp_path):
    path = pt(tmp_path, IMAGES, labels=HARD)
    arguments = ["convert", path, tmp_path / "out", "--mean", "-0.5,0,0", "--std", "1,1,1"]
    assert run(*arguments)[0] == 0
    expected = normalise(IMAGES + torch.tensor([-0.5, 0, 0])[:, None, None])
    assert torch.allclose(read_distilled(tmp_path / "out").images, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_splits_of_image_folders(tmp_path, name):
    """Training images are taken where there are validation images, too."""
    image_folder(tmp_path / "train", [str(label) for label in range(10)])
    (tmp_path / name).mkdir()
    assert len(read_distilled(tmp_path).images) == 20


def test_transparent_images(tmp_path):
    folder = image_folder(tmp_path, [str(label) for label in range(10)])
    Image.fromarray(np.full((8, 8, 4), 128, np.uint8)).save(folder / "0/0.png")
    assert (
        "1 of 20 images are transparent in places; only their colours are taken"
        in read_distilled(folder).origin["remarks"]
    )


def test_what_a_set_is_in_one_line():
    text = repr(SOFT)
    assert text.startswith("DistilledSet(bird-easy, images [20, 3, 8, 8], logits labels, rate 0.3, sha256 ")
    assert "subset not stated" in repr(DistilledSet(IMAGES, HARD)) and len(text) < 120


def test_a_set_without_a_subset_is_told(run, tmp_path):
    status, _, errors = run("convert", pt(tmp_path, IMAGES, labels=HARD), tmp_path / "out")
    assert status == 0 and len(errors) == 1 and "does not say which subset it is for" in errors[0]
    status, _, errors = run("convert", tmp_path / "out", tmp_path / "out.zip")
    assert status == 2 and ".zip is no format of sets" in errors[0]


def test_random_images_know_their_subset(drawn, tmp_path):
    from compdd_eval import load_comp_dd, random_images

    data = load_comp_dd(drawn, "bird", "hard", (16, 16), cache_dir=tmp_path / "none")
    random_images(data.dst_train, 1).save(tmp_path / "set")
    read = DistilledSet.load(tmp_path / "set")
    assert read.definition.name == "bird-hard" and read.label_names == load_subset("bird-hard").label_names
    assert str(drawn) not in (tmp_path / "set/distilled.json").read_text()
