"""Sets as the field's code writes them, and what people do with them: each means what it was meant to."""

import json
import re
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate, one_hot

from compdd_eval import DistilledSet, read_distilled
from compdd_eval.config.reading import ReadConfig
from compdd_eval.data.subsets import load_subset
from compdd_eval.data.transforms import denormalise, normalise
from compdd_eval.data.zca import Whitening
from compdd_eval.distilled.checks import RealSample, normalisation, whitening
from compdd_eval.distilled.mosaics import cut_mosaics, looks_like_mosaics
from compdd_eval.distilled.pixel_range import guess_pixel_range
from compdd_eval.utils.errors import InputError
from tests.support.bad_input import one_line
from tests.support.forked import forked

BIRDS = load_subset("bird-easy")
HARD = torch.arange(10).repeat_interleave(2)


def scenes(number, side=32, seed=0):
    """Images with the spectrum, mean and standard deviation of photographs, in [0, 1]: `[number, 3, side, side]`."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(number, 1, side, side, generator=generator)
    noise = noise + 0.5 * torch.randn(number, 3, side, side, generator=generator)
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)) + 0.5 / side
    images = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency**1.2, s=(side, side))
    return denormalise(images / images.std()).clamp(0, 1)


PIXELS = scenes(20)
IMAGES = normalise(PIXELS)


def bird(**flags):
    return ReadConfig(category="bird", subset="easy", **flags)


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)
    return path


def notes(distilled):
    return " ".join([*distilled.origin.get("guesses", []), *distilled.origin.get("remarks", [])])


# ---- DC, DSA, DM: runs in one file, with NumPy's numbers beside them


def runs(number):
    scores = {"ConvNet": [np.float64(0.31), np.float32(0.3)], "steps": np.int64(20), "kind": np.dtype("float64")}
    return {"data": [[IMAGES + run, HARD] for run in range(number)], "accs_all_exps": scores}


def test_runs_of_dc_dsa_and_dm(tmp_path):
    put(tmp_path / "res_DM_ImageNet_ConvNet_2ipc.pt", runs(5))
    for place in (tmp_path, tmp_path / "res_DM_ImageNet_ConvNet_2ipc.pt"):
        first = read_distilled(place, bird())
        assert torch.equal(first.images, IMAGES) and "run: the first of 5 (--run 0)" in notes(first)
        for run in (0, 3):
            chosen = read_distilled(place, bird(run=run, pixel_range="normalised"))
            assert torch.equal(chosen.images, IMAGES + run) and f"run {run} of 5 (from 0) is taken" in notes(chosen)
    with pytest.raises(InputError, match="--run 5: it holds 5 runs, expected 0 to 4"):
        read_distilled(tmp_path, bird(run=5))
    with pytest.raises(InputError, match="--run 1: it holds one run; leave the flag out"):
        read_distilled(put(tmp_path / "single/set.pt", runs(1)), bird(run=1))
    single = read_distilled(put(tmp_path / "one/res_DC_ImageNet_ConvNet_2ipc.pt", runs(1)), bird())
    assert torch.equal(single.images, IMAGES) and "run" not in notes(single)


@pytest.mark.parametrize("core", ["core", "_core"])
def test_numbers_of_numpy_1_and_2(tmp_path, core):
    """Files name the function after where the NumPy of their day kept it."""
    path = put(tmp_path / "set.pt", {"images": IMAGES, "labels": HARD, "lr": np.float32(0.5)})
    with ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(path, "w", ZIP_STORED) as archive:
        for name, part in parts.items():
            archive.writestr(name, re.sub(rb"numpy\._?core\.multiarray", f"numpy.{core}.multiarray".encode(), part))
    assert read_distilled(path, bird()).lr == 0.5


@pytest.mark.parametrize("claim", ["V400000000", "S400000000", "U100000000", "O", "(100000000,)f8", "M8"])
def test_types_that_claim_memory_are_refused(tmp_path, claim):
    """A file of a kilobyte may not ask NumPy for gigabytes."""
    put(tmp_path / "set.pt", {"data": [[IMAGES, HARD]], "accs": [np.float64(1), np.dtype("f4")]})
    with ZipFile(tmp_path / "set.pt") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(tmp_path / "set.pt", "w", ZIP_STORED) as archive:
        for name, part in parts.items():
            for code in (b"f8", b"f4"):
                old = b"X" + len(code).to_bytes(4, "little") + code
                part = part.replace(old, b"X" + len(claim).to_bytes(4, "little") + claim.encode())
            archive.writestr(name, part)
    with pytest.raises(InputError, match="could run code"):
        read_distilled(tmp_path, bird())


def test_a_set_without_runs(tmp_path):
    put(tmp_path / "pt/data.pt", [IMAGES, HARD])
    DistilledSet(IMAGES, HARD).save(tmp_path / "ours")
    for name in ("pt", "ours"):
        with pytest.raises(InputError, match="holds no runs to choose from.*leave --run out"):
            read_distilled(tmp_path / name, bird(run=0))


# ---- IDC, DANCE, NCFM: several images in one


def mosaics(factor, side, number=20):
    """Mosaics, and their parts in the order in which they are read row by row."""
    parts = scenes(number * factor**2, side // factor)
    tiles = parts.view(number, factor, factor, 3, side // factor, side // factor)
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(number, 3, side, side), parts


@pytest.mark.parametrize("made", [{}, {"distillation": {"settings": {"factor": 2}}}])
def test_what_distill_pasted_together_is_no_mosaic(tmp_path, run, made):
    """As rded's images, whose parts are seen together."""
    images = normalise(mosaics(2, 32)[0])
    metadata = {"category": "bird", "subset": "easy", **made}
    DistilledSet(images, HARD, metadata=metadata).save(tmp_path / "set")
    assert ("look like mosaics" in run("validate", tmp_path / "set")[1]) == (not made)


@pytest.mark.parametrize(("factor", "side"), [(2, 32), (2, 64), (3, 48), (4, 64)])
def test_mosaics_are_cut(tmp_path, caplog, run, factor, side):
    whole, parts = mosaics(factor, side)
    path = put(tmp_path / "data.pt", [whole, HARD])
    cut = read_distilled(tmp_path, bird(factor=factor))
    expected = normalise(interpolate(parts, (side, side), mode="bilinear"))
    assert torch.allclose(cut.images, expected, atol=1e-5)
    assert torch.equal(cut.labels, HARD.repeat_interleave(factor**2))
    assert (cut.ipc, cut.decoded_ipc, cut.factor) == (2, 2 * factor**2, factor)
    status, out, errors = run("validate", path, "--category", "bird", "--subset", "easy", "--factor", factor)
    assert status == 0 and f"2, {2 * factor**2} decoded ({20 * factor**2} images)" in out, errors
    assert looks_like_mosaics(normalise(whole)) == factor
    status, out, errors = run("validate", path, "--category", "bird", "--subset", "easy")
    assert f"look like mosaics of {factor} x {factor} images" in out and f"give --factor {factor}" in out
    assert (
        "look like mosaics" not in run("validate", path, "--category", "bird", "--subset", "easy", "--factor", "1")[1]
    )


def test_sides_that_are_no_multiple():
    """Filled up with grey at the right and at the bottom, as published."""
    images = normalise(scenes(2, 8))
    cut = cut_mosaics(images, 3)
    assert cut.shape == (18, 3, 8, 8)
    grey = normalise(torch.full((1, 3, 9, 9), 0.5))
    grey[:, :, :8, :8] = images[:1]
    expected = interpolate(grey[:, :, 6:, 6:], (8, 8), mode="bilinear")
    assert torch.allclose(cut[8:9], expected, atol=1e-6)


def test_mosaics_with_labels_that_do_not_fit(tmp_path, run):
    for labels, expected in ((HARD[:9], "20 images but 9 labels"), (torch.tensor(3), "labels have shape []")):
        path = put(tmp_path / "data.pt", {"images": mosaics(2, 32)[0], "labels": labels})
        status, out, _ = run("validate", path, "--category", "bird", "--subset", "easy", "--factor", "2")
        assert status == 2 and expected in out


def test_images_without_seams_are_no_mosaics():
    for side in (32, 64, 128):
        images = normalise(scenes(10, side))
        for candidate in (images, images + torch.randn_like(images), torch.randn_like(images), images * 0):
            assert looks_like_mosaics(candidate) is None


def test_a_set_that_was_cut_keeps_its_ipc(tmp_path, run):
    """Through every format; and it is not cut again."""
    put(tmp_path / "data.pt", [mosaics(2, 32)[0], HARD])
    arguments = ["--category", "bird", "--subset", "easy", "--pixel_range", "0-1", "--factor", "2"]
    for target in ("ours", "one.npz"):
        assert run("convert", tmp_path / "data.pt", tmp_path / target, *arguments)[0] == 0
        read = read_distilled(tmp_path / target)
        assert (read.ipc, read.decoded_ipc, read.metadata["factor"], len(read.images)) == (2, 8, 2, 80)
        with pytest.raises(InputError, match="was cut already"):
            read_distilled(tmp_path / target, ReadConfig(factor=2))
    facts = json.loads((tmp_path / "ours/distilled.json").read_text())
    assert facts["ipc"] == 2 and facts["images"] == 80
    assert "mosaics of 2 x 2 images" in (tmp_path / "ours/README.md").read_text()
    for value in (0, "2", 2.0, True, 3, 10**400):
        with pytest.raises(InputError, match="factor"):
            DistilledSet(IMAGES, HARD, metadata={"factor": value})


def test_students_of_mosaics(run, settings, my_set, tmp_path):
    """Students see the parts; random images are as many as are stored; both numbers are in the results."""
    read = read_distilled(my_set, bird())
    torch.save(read.images, my_set / "images.pt")
    base = settings()
    arguments = ["--data_path", base.data_path, "--category", "bird", "--subset", "easy", "--distilled", my_set]
    arguments += ["--model", "ConvNetD1", "--res", 32, "--epoch_eval_train", 1, "--num_eval", 1, "--threads", 1]
    arguments += ["--factor", 2, "--baseline", "random", "--output_dir", tmp_path / "out"]
    status, out, errors = run("evaluate", *arguments)
    assert status == 0 and "IPC 1 (4 decoded)" in out, errors
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["ipc"], summary["decoded_ipc"], summary["images"]) == (1, 4, 40)
    students = {json.loads(path.read_text())["source"]: path for path in (tmp_path / "out").rglob("seed0.json")}
    assert {name: json.loads(path.read_text())["images"] for name, path in students.items()} == {
        "distilled": 40,
        "random": 10,
    }


# ---- pixel ranges


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2, 0.4])
def test_images_in_unit_range_without_clamping(tmp_path, noise):
    images = PIXELS + noise * torch.randn(PIXELS.shape, generator=torch.Generator().manual_seed(1))
    put(tmp_path / "data.pt", [images, HARD])
    read = read_distilled(tmp_path, bird())
    assert torch.allclose(read.images, normalise(images), atol=1e-5)
    assert "pixel range: [0, 1] (--pixel_range 0-1)" in notes(read)


def test_the_guess_is_doubted_before_training(tmp_path, run):
    put(tmp_path / "set/data.pt", [PIXELS + 0.05 * torch.randn_like(PIXELS), HARD])
    _, _, errors = run("convert", tmp_path / "set", tmp_path / "out", "--category", "bird", "--subset", "easy")
    assert any("look like [0, 1] and are taken so; --pixel_range 0-1 states it" in line for line in errors)


def test_normalised_images_stay_normalised():
    """Also where they are averaged, smooth, noisy, of high or low contrast."""
    averages = normalise(scenes(200)).view(10, 20, 3, 32, 32).mean(1)
    smooth = interpolate(interpolate(IMAGES, 4, mode="area"), 32, mode="bilinear")
    noise = torch.randn_like(IMAGES)
    for images in (IMAGES, averages, smooth, IMAGES + noise, 2.5 * IMAGES, 0.5 * IMAGES, noise, 0.25 * noise):
        assert guess_pixel_range(images) == "normalised"
    assert guess_pixel_range(PIXELS * 255 + 20 * noise) == guess_pixel_range(PIXELS * 255) == "0-255"


def test_averaged_images_are_not_far_apart():
    """A small standard deviation alone is no other normalisation; with the mean of one it is."""
    real = normalise(scenes(400, seed=2))
    labels = torch.arange(10).repeat_interleave(40)
    averages = real.view(10, 40, 3, 32, 32)[:, :10].mean(1)
    known = RealSample(real, labels)

    def result(images):
        return normalisation(DistilledSet(images, torch.arange(10)), known).result

    assert (averages.std((0, 2, 3)) / real.std((0, 2, 3))).max() < 0.5
    assert result(averages) == "passed" and result(normalise(scenes(10))) == "passed"
    assert result(denormalise(averages)) == result(scenes(10)) == "warning"
    assert result(real[::40] / 20) == result(real[::40] * 4) == "warning"


# ---- whitened sets


def test_whitened_images_are_known():
    real = normalise(scenes(300, 16, seed=3))
    whiten = Whitening.fit(real)

    def result(images, zca):
        return whitening(DistilledSet(images, torch.arange(10)), zca).result

    own = normalise(scenes(10, 16, seed=4))
    for images, whitened in ((own, False), (own + torch.randn_like(own), False), (whiten(own), True)):
        assert (result(images, whitened), result(images, not whitened)) == ("passed", "warning")


def test_evaluate_says_it_before_training(run, settings, my_set, tmp_path):
    """Whitening that is not said, and an order of the labels that does not fit, before the first student."""
    base = settings()
    arguments = ["--data_path", base.data_path, "--category", "bird", "--subset", "easy", "--distilled", my_set]
    arguments += ["--model", "ConvNetD1", "--res", 32, "--epoch_eval_train", 1, "--num_eval", 1, "--threads", 1]
    status, _, errors = run("evaluate", *arguments, "--dry_run")
    assert status == 0 and not any("whitening" in line for line in errors)
    torch.save(0.3 * torch.randn(10, 3, 32, 32), my_set / "images.pt")
    status, _, errors = run("evaluate", *arguments, "--dry_run", "--pixel_range", "normalised")
    assert status == 0 and any("whitening: looks whitened, or like noise" in line for line in errors)


def test_a_wrong_order_is_told_before_training(run, shared, tmp_path):
    """On real photographs, with the order that mends it, and nothing trained."""
    from compdd_eval import load_comp_dd, random_images, save_published

    source = shared / "imagenet_tiny"
    data = load_comp_dd(source, "insect", "easy", (32, 32), cache_dir=tmp_path / "none")
    good = random_images(data.dst_train, 20, seed=3)
    order = torch.tensor([3, 7, 1, 9, 0, 8, 2, 5, 4, 6])
    arguments = ["--data_path", source, "--category", "insect", "--subset", "easy", "--res", 32, "--dry_run"]
    arguments += ["--model", "MLP"]  # a dry run measures its steps
    for name, labels in (("right", good.labels), ("wrong", order[good.labels])):
        save_published(DistilledSet(good.images, labels), tmp_path / name)
        _, _, errors = run("evaluate", "--distilled", tmp_path / name, *arguments)
        told = [line for line in errors if "label order: looks permuted" in line]
        assert bool(told) == (name == "wrong")


# ---- image folders: a thousand classes, labels beside them


def folders(root, names, per_class=2, side=16):
    for number, name in enumerate(names):
        for index in range(per_class):
            path = root / name / f"class{number:03}_id{index:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((side, side, 3), (number % 250, index, number // 250), np.uint8)).save(path)
    return root


def test_of_a_thousand_classes_only_the_ten_are_read(tmp_path, run, monkeypatch):
    """As SRe2L, CDA, DWA and G-VBSM save them; images of the others are not even opened."""
    root = folders(tmp_path / "syn", [f"new{index:03}" for index in range(1000)], per_class=1)
    for index in range(1000):
        if index not in BIRDS.class_map:
            next((root / f"new{index:03}").iterdir()).write_bytes(b"no image")
    read = read_distilled(root, bird())
    colours = (denormalise(read.images)[:, :, 0, 0] * 255).round().int()
    indices = (colours[:, 0] + 250 * colours[:, 2]).tolist()
    assert [BIRDS.class_map[index] for index in indices] == read.labels.tolist()
    assert sorted(read.labels.tolist()) == list(range(10))
    assert "only the folders of the subset are read, 10 of 1000" in notes(read)
    one_line(run("convert", root, tmp_path / "out"), "has 1000 classes", "--category and --subset")
    labels = put(tmp_path / "labels.pt", torch.randn(10, 1000) + 20 * one_hot(torch.tensor(sorted(indices)), 1000))
    soft = read_distilled(root, bird(label_dir=str(labels)))
    rows = torch.load(labels)[:, [BIRDS.class_map_inv[label] for label in range(10)]]
    assert torch.equal(soft.labels, rows) and torch.equal(soft.classes, read.labels)


def test_numbers_of_a_shorter_list_are_no_indices(tmp_path):
    """Of 100 classes, folder new017 is the 17th of that list, and no class of ImageNet; WordNet ids are clear."""
    folders(tmp_path / "numbers", [f"new{index:03}" for index in range(150)], per_class=1)
    with pytest.raises(InputError, match="where numbers are ImageNet indices, say --label_order imagenet"):
        read_distilled(tmp_path / "numbers", bird())
    read = read_distilled(tmp_path / "numbers", bird(label_order="imagenet"))
    assert sorted(read.labels.tolist()) == list(range(10))
    others = [f"n{number:08}" for number in range(30)]
    folders(tmp_path / "wnids", [*others, *BIRDS.wnids], per_class=1)
    assert read_distilled(tmp_path / "wnids", bird()).labels.tolist() == [
        BIRDS.wnids.index(wnid) for wnid in sorted(BIRDS.wnids)
    ]
    folders(tmp_path / "nine", [*others, *BIRDS.wnids[1:]], per_class=1)
    with pytest.raises(InputError, match="has 39 classes, a subset has 10, and .* are not called so"):
        read_distilled(tmp_path / "nine", bird())


def test_tensors_of_a_thousand_classes(tmp_path):
    labels = torch.arange(1000)
    images = torch.randn(1000, 3, 8, 8)
    put(tmp_path / "images.pt", images)
    put(tmp_path / "labels.pt", labels)
    read = read_distilled(tmp_path, bird())
    chosen = torch.tensor(sorted(BIRDS.class_map))
    assert torch.equal(read.images, images[chosen]) and "10 of 1000" in notes(read)
    assert read.labels.tolist() == [BIRDS.class_map[index] for index in chosen.tolist()]


def test_columns_of_a_thousand_classes(tmp_path):
    """Logits as they are, probabilities among the subset's classes; a label without a class has the least."""
    logits = torch.randn(20, 1000, generator=torch.Generator().manual_seed(0))
    columns = [BIRDS.class_map_inv[label] for label in range(10)]
    put(tmp_path / "images.pt", IMAGES)
    put(tmp_path / "labels.pt", logits)
    assert torch.equal(read_distilled(tmp_path, bird()).labels, logits[:, columns])
    put(tmp_path / "labels.pt", logits.softmax(1))
    read = read_distilled(tmp_path, bird())
    assert read.label_kind == "probabilities"
    assert torch.allclose(read.labels, logits[:, columns].softmax(1), atol=1e-5)
    put(tmp_path / "labels.pt", torch.eye(1000)[columns].repeat_interleave(2, 0))
    read = read_distilled(tmp_path, bird())
    assert read.label_kind == "probabilities" and torch.equal(read.classes, HARD) and len(read.images) == 20
    put(tmp_path / "labels.pt", logits)
    music = load_subset("music-hard", published=True)
    nine = read_distilled(tmp_path, ReadConfig(category="music", subset="hard", published=True)).labels
    assert torch.equal(nine[:, 1:], logits[:, [music.class_map_inv[label] for label in range(1, 10)]])
    assert torch.equal(nine[:, 0], nine[:, 1:].min(1).values)


def test_soft_labels_of_a_thousand_classes(tmp_path, caplog):
    """Of a set for all of ImageNet only the images of the subset are kept; strays among ten classes stay."""
    images = torch.randn(1000, 3, 8, 8)
    put(tmp_path / "images.pt", images)
    chosen = torch.tensor(sorted(BIRDS.class_map))
    for labels in (torch.eye(1000), (12 * torch.eye(1000)).softmax(1), 12 * torch.eye(1000)):
        put(tmp_path / "labels.pt", labels)
        read = read_distilled(tmp_path, bird())
        assert torch.equal(read.images, images[chosen]) and "10 of 1000" in notes(read)
        assert read.classes.tolist() == [BIRDS.class_map[index] for index in chosen.tolist()]
    peaks = torch.tensor([BIRDS.class_map_inv[label] for label in HARD.tolist()])
    peaks[3] = 999
    put(tmp_path / "images.pt", IMAGES)
    put(tmp_path / "labels.pt", 12 * torch.eye(1000)[peaks] + torch.rand(20, 1000))
    assert len(read_distilled(tmp_path, bird()).images) == 20
    put(tmp_path / "labels.pt", torch.eye(1000)[peaks])
    with pytest.raises(InputError, match="the label of image 3 has nothing for the classes of bird-easy"):
        read_distilled(tmp_path, bird())


@pytest.mark.parametrize("names", [[f"{label:05}" for label in range(10)], BIRDS.wnids])
@pytest.mark.parametrize("kind", ["labels", "folders", "hard"])
def test_labels_beside_image_folders(tmp_path, run, names, kind):
    """In the order of folders and files sorted by name; columns are labels, or folders as ImageFolder numbers them."""
    root = folders(tmp_path / "set", names)
    label_of = [names.index(name) for name in sorted(names) for _ in range(2)]
    columns = {"labels": label_of, "hard": label_of, "folders": torch.arange(10).repeat_interleave(2).tolist()}[kind]
    soft = 9 * one_hot(torch.tensor(columns), 10) + torch.rand(20, 10)
    put(root / "labels.pt", torch.tensor(columns) if kind == "hard" else soft)
    plain = read_distilled(root, bird())
    assert plain.label_kind == "hard"
    _, out, _ = run("validate", root, "--category", "bird", "--subset", "easy")
    assert f"--label_dir {root / 'labels.pt'} takes it" in out
    read = read_distilled(root, bird(label_dir=str(root / "labels.pt")))
    number = (denormalise(read.images)[:, 0, 0, 0] * 255).round().int().tolist()  # the class of each image
    assert read.classes.tolist() == number and torch.equal(read.images.sum(), plain.images.sum())
    if kind == "hard":
        assert read.label_kind == "hard"
    else:
        moved = soft if kind == "labels" else soft[:, [sorted(names).index(name) for name in names]]
        assert torch.equal(read.labels, moved) and read.label_kind == "logits"


def test_labels_of_nine_classes_beside_folders(tmp_path, run):
    root = folders(tmp_path / "set", [str(label) for label in range(10)])
    labels = put(tmp_path / "labels.pt", torch.rand(20, 9))
    _, out, _ = run("validate", root, "--category", "bird", "--subset", "easy", "--label_dir", labels)
    assert "labels have 9 columns, expected one for each of the 10 classes" in out


def test_labels_of_other_images_are_refused(tmp_path, run):
    root = folders(tmp_path / "set", [str(label) for label in range(10)])
    soft = 9 * one_hot(HARD, 10).float()
    labels = put(tmp_path / "labels.pt", soft.roll(4, 0))
    arguments = ["validate", root, "--category", "bird", "--subset", "easy", "--label_dir", labels]
    status, out, _ = run(*arguments)
    assert status == 2 and "peak at the class of the image's folder for 0 of 20 images only" in out
    soft[[0, 5]] = soft[[5, 0]]
    put(labels, soft)
    status, out, _ = run(*arguments)
    assert status == 0 and "2 of 20 labels peak at another class than their image's folder" in out
    put(labels, soft[:7])
    assert "20 images but 7 labels" in run(*arguments)[1]


# ---- several files, steps, whitened twins, parents


def test_a_file_for_each_class(tmp_path):
    for label in range(10):
        put(tmp_path / f"labels/{label}.pt", IMAGES[label == HARD])
        put(tmp_path / f"wnids/{BIRDS.wnids[label]}.pt", list(IMAGES[label == HARD]))
    for name in ("labels", "wnids"):
        read = read_distilled(tmp_path / name, bird())
        order = read.labels.sort(stable=True).indices
        assert torch.equal(read.images[order], IMAGES) and torch.equal(read.labels[order], HARD)


def test_a_set_in_parts(tmp_path):
    for number, rows in enumerate(torch.arange(20).split(8)):
        put(tmp_path / f"set/{number}.pt", {"images": IMAGES[rows], "labels": HARD[rows]})
    read = read_distilled(tmp_path / "set", bird())
    assert torch.equal(read.images, IMAGES) and torch.equal(read.labels, HARD)
    assert "3 files (0.pt, 1.pt, ...) are joined" in notes(read)
    put(tmp_path / "set/labels.pt", HARD.flip(0))
    with pytest.raises(InputError, match="holds 0.pt, 1.pt, ... and labels.pt; --label_dir .*labels.pt takes it"):
        read_distilled(tmp_path / "set", bird())
    read = read_distilled(tmp_path / "set", bird(label_dir=str(tmp_path / "set/labels.pt")))
    assert torch.equal(read.images, IMAGES) and torch.equal(read.labels, HARD.flip(0))
    (tmp_path / "set/labels.pt").unlink()
    for number, rows in enumerate(torch.arange(20).split(10)):
        put(tmp_path / f"bare/{number}.pt", IMAGES[rows])
    labels = str(put(tmp_path / "bare/labels.pt", HARD))
    with pytest.raises(InputError, match="--label_dir .*bare/labels.pt takes it for all of them"):
        read_distilled(tmp_path / "bare", bird())
    read = read_distilled(tmp_path / "bare", bird(label_dir=labels))
    assert torch.equal(read.images, IMAGES) and torch.equal(read.labels, HARD)
    (tmp_path / "set/1.pt").rename(tmp_path / "set/100.pt")
    with pytest.raises(InputError, match="no parts of one set"):
        read_distilled(tmp_path / "set", bird())
    for step in (0, 500):
        put(tmp_path / f"steps/{step}.pt", IMAGES)
    with pytest.raises(InputError, match="no parts of one set"):
        read_distilled(tmp_path / "steps", bird())


def test_steps_of_wang_et_al(tmp_path):
    """A list of (images, labels, rate), one a step, made again in every epoch."""
    steps = [(IMAGES[rows], HARD[rows], torch.tensor(0.02)) for rows in torch.arange(20).split(5)]
    put(tmp_path / "results.pth", steps + [(images.clone(), labels, rate * 2) for images, labels, rate in steps])
    read = read_distilled(tmp_path, bird())
    assert torch.equal(read.images, IMAGES) and torch.equal(read.labels, HARD) and read.lr is None
    assert "the images of its 8 steps are taken as one set; their rates are left out" in notes(read)


def test_images_taken_back_from_whitening(tmp_path):
    """As MTT saves them beside the whitened ones: both go with the labels of their step."""
    put(tmp_path / "images_500.pt", IMAGES * 2)
    put(tmp_path / "images_zca_500.pt", IMAGES)
    put(tmp_path / "labels_500.pt", HARD)
    put(tmp_path / "labels_100.pt", HARD.flip(0))
    put(tmp_path / "lr_500.pt", 0.25)
    for name, expected in (("images_500.pt", IMAGES * 2), ("images_zca_500.pt", IMAGES)):
        read = read_distilled(tmp_path / name, bird())
        assert torch.equal(read.images, expected) and torch.equal(read.labels, HARD) and read.lr == 0.25
        assert ("taken back from ZCA whitening" in notes(read)) == ("zca" in name)
    with pytest.raises(InputError, match="images_500.pt, images_zca_500.pt.*name the file"):
        read_distilled(tmp_path, bird())


def test_a_single_file_is_taken(tmp_path):
    put(tmp_path / "data.pt", [IMAGES, HARD])
    put(tmp_path / "lr.pt", 0.5)
    (tmp_path / "img.png").write_bytes(b"a picture to look at")
    assert torch.equal(read_distilled(tmp_path, bird()).images, IMAGES)
    put(tmp_path / "apart/data.pt", IMAGES)
    put(tmp_path / "apart/labels.pt", HARD)
    apart = read_distilled(tmp_path / "apart", bird())
    assert torch.equal(apart.labels, HARD) and "labels.pt goes with data.pt (--label_dir)" in notes(apart)
    put(tmp_path / "data_best.pt", [IMAGES, HARD])
    with pytest.raises(InputError, match="data.pt, data_best.pt.*name the file"):
        read_distilled(tmp_path, bird())


def test_a_parent_says_which_folder_has_a_set(tmp_path):
    put(tmp_path / "logged/run1/images.pt", IMAGES)
    with pytest.raises(InputError, match=f"holds no set itself, but folders that do; give {tmp_path}/logged/run1$"):
        read_distilled(tmp_path, bird())
    DistilledSet(IMAGES, HARD).save(tmp_path / "other")
    with pytest.raises(InputError, match=f"give {tmp_path}/other, or {tmp_path}/logged/run1"):
        read_distilled(tmp_path, bird())


def test_outputs_for_each_view(tmp_path):
    folders(tmp_path / "syn", [f"new{index:03}" for index in BIRDS.class_map])
    put(tmp_path / "fkd/epoch_0/batch_0.tar", [torch.rand(20, 4), torch.randn(20, 1000).half()])
    for place, advice in ((tmp_path, f"give {tmp_path}/syn"), (tmp_path / "fkd", "folder of the images")):
        with pytest.raises(InputError, match=rf"outputs for each view \(epoch_E/batch_B.tar.*{advice}"):
            read_distilled(place, bird())
    assert len(read_distilled(tmp_path / "syn", bird()).images) == 20


def test_centred_labels_are_told(tmp_path, run):
    """One-hot labels less their mean, as of KIP and FRePo."""
    put(tmp_path / "set/images.pt", IMAGES)
    put(tmp_path / "set/labels.pt", one_hot(HARD, 10) - 0.1)
    _, _, errors = run("convert", tmp_path / "set", tmp_path / "out", "--category", "bird", "--subset", "easy")
    told = [line for line in errors if "rows of the labels sum to zero" in line]
    assert len(told) == 1 and "taken as logits, whose softmax peaks at 0.23" in told[0]
    put(tmp_path / "set/labels.pt", torch.randn(20, 10))
    arguments = ["convert", tmp_path / "set", tmp_path / "other", "--category", "bird", "--subset", "easy"]
    assert not any("sum to zero" in line for line in run(*arguments)[2])


# ---- the cases that people have reported, of real photographs


@pytest.fixture(scope="module")
def cases(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    code = (shared / "reports/make_cases.py").read_text().replace("compdd_eval.subsets", "compdd_eval.data.subsets")
    (folder / "make_cases.py").write_text(code)
    done = forked(folder / "make_cases.py", shared / "imagenet_tiny", folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("name", "flags", "images", "ipc", "said"),
    [
        ("gradient_matching", [], 20, 2, "run: the first of 5"),
        ("gradient_matching", ["--run", 4], 20, 2, "run 4 of 5 (from 0) is taken"),
        ("gradient_matching_one", [], 20, 2, "pixel range: normalised"),
        ("mosaics", [], 20, 2, "look like mosaics of 2 x 2 images"),
        ("mosaics", ["--factor", 2], 80, 2, "20 mosaics of 2 x 2 are cut into 80 images"),
        ("not_clamped", [], 200, 20, "the images look like [0, 1] and are taken so"),
        ("thousand_classes", [], 20, 2, "only the folders of the subset are read, 10 of 1000"),
        ("views/syn", [], 20, 2, "classes taken as ImageNet indices"),
        ("pictures_and_labels", [], 20, 2, "labels.pt takes it"),
        ("pictures_and_labels", ["--label_dir", "labels.pt"], 20, 2, "label kind: logits"),
    ],
)
def test_reported_cases(cases, run, name, flags, images, ipc, said):
    flags = [cases / name / flag if flag == "labels.pt" else flag for flag in flags]
    arguments = ["validate", cases / name, "--category", "insect", "--subset", "easy", "--json", *flags]
    status, out, errors = run(*arguments)
    report = json.loads(out)
    assert status == 0 and report["passed"], errors
    assert (report["images"], report["ipc"]) == (images, ipc)
    assert said in " ".join(check["detail"] for check in report["checks"])


def test_the_reported_case_of_views(cases, run):
    status, _, errors = run("validate", cases / "views", "--category", "insect", "--subset", "easy")
    assert status == 2 and len(errors) == 1 and "outputs for each view" in errors[0] and "views/syn" in errors[0]
