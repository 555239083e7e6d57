import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from compdd_eval import DistilledSet
from compdd_eval.config.reading import ReadConfig
from compdd_eval.data.transforms import denormalise, normalise
from compdd_eval.distilled.formats.published import save_published
from compdd_eval.distilled.preview import save_preview
from compdd_eval.distilled.set import read_distilled
from compdd_eval.utils.errors import InputError
from tests.support.bad_input import RunsCode

IMAGES = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
HARD = torch.arange(20) % 10
LOGITS = torch.randn(20, 10, generator=torch.Generator().manual_seed(1))


def read(path, **flags):
    return read_distilled(path, ReadConfig(**flags))


def changed(tensor, index, value):
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


def test_facts_of_a_set():
    distilled = DistilledSet(IMAGES, HARD)
    assert (distilled.ipc, distilled.resolution, distilled.label_kind, distilled.lr) == (2, 8, "hard", None)
    assert distilled.class_counts == [2] * 10 and distilled.remarks() == []
    soft = DistilledSet(IMAGES, LOGITS, lr=0.02)
    assert soft.label_kind == "logits" and soft.lr == 0.02 and torch.equal(soft.classes, LOGITS.argmax(1))
    assert DistilledSet(IMAGES, LOGITS.softmax(1)).label_kind == "probabilities"
    assert DistilledSet(IMAGES, LOGITS.softmax(1), "logits").label_kind == "logits"


def test_types_are_converted_where_nothing_is_lost():
    distilled = DistilledSet(torch.nn.Parameter(IMAGES.half()), HARD.float())
    assert distilled.images.dtype == torch.float32 and not distilled.images.requires_grad
    assert distilled.labels.dtype == torch.int64 and distilled.label_kind == "hard"
    assert DistilledSet(IMAGES.double(), HARD.to(torch.int8)).labels.dtype == torch.int64


def test_digest_depends_on_images_and_labels():
    first = DistilledSet(IMAGES, HARD).sha256
    assert first == DistilledSet(IMAGES.clone(), HARD.int(), lr=0.1).sha256
    assert first != DistilledSet(changed(IMAGES, (0, 0, 0, 0), 5.0), HARD).sha256
    assert first != DistilledSet(IMAGES, changed(HARD, 0, 1)).sha256


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES, changed(HARD, 0, 1), "uneven: 1 to 3 images per class"),
        (IMAGES[:8], HARD[:8], "no image has label 8, 9"),
        (IMAGES.abs() / IMAGES.abs().max(), HARD, "look like .0, 1.*--pixel_range 0-1"),
        (IMAGES.abs() * 60, HARD, "look like .0, 255.*--pixel_range 0-255"),
    ],
)
def test_remarks(images, labels, message):
    import re

    remarks = DistilledSet(images, labels).remarks()
    assert len(remarks) == 1 and re.search(message, remarks[0])


def test_ipc_of_uneven_sets():
    assert DistilledSet(IMAGES, changed(HARD, 0, 1)).ipc == 2
    assert DistilledSet(IMAGES[:15], HARD[:15]).ipc == 1.5
    assert DistilledSet(IMAGES[1:10], HARD[1:10]).ipc == 1  # nine classes


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (LOGITS, IMAGES, {}, "are images and labels swapped"),
        (IMAGES[0], HARD, {}, r"expected \[N, 3, H, H\]"),
        (IMAGES[:, :1], HARD, {}, r"expected \[N, 3, H, H\]"),
        (IMAGES[..., :4], HARD, {}, "8 x 4 pixels, expected squares"),
        (IMAGES[..., :0, :0], HARD, {}, "expected squares"),
        (IMAGES[:0], HARD[:0], {}, "empty"),
        (IMAGES.to(torch.uint8), HARD, {}, "--pixel_range 0-255"),
        (changed(IMAGES, 0, float("nan")), HARD, {}, "192 values that are NaN or infinite"),
        (changed(IMAGES.double(), (0, 0, 0, 0), 1e300), HARD, {}, "1 values that are NaN or infinite"),
        (IMAGES.to(torch.complex64), HARD, {}, "no plain dense tensor"),
        (IMAGES.to_sparse(), HARD, {}, "no plain dense tensor"),
        (IMAGES.numpy(), HARD, {}, "images are a ndarray"),
        (IMAGES, list(range(20)), {}, "labels are a list"),
        (IMAGES, HARD[:19], {}, "20 images but 19 labels"),
        (IMAGES, LOGITS[:, :9], {}, "9 columns, expected one for each of the 10"),
        (IMAGES, changed(LOGITS, (3, 3), float("inf")), {}, "labels hold 1 values"),
        (IMAGES, HARD + 1, {}, "0-9, found 1 to 10"),
        (IMAGES, HARD - 1, {}, "found -1 to 8"),
        (IMAGES, HARD + 130, {}, "--label_order imagenet .of files., or by the class_map of load_comp_dd"),
        (IMAGES, HARD + 0.5, {}, "whole numbers"),
        (IMAGES, LOGITS[..., None], {}, r"expected \[N\] or \[N, 10\]"),
        (IMAGES, LOGITS, {"label_kind": "probabilities"}, "look like logits"),
        (IMAGES, LOGITS, {"label_kind": "hard"}, "needs labels of shape"),
        (IMAGES, HARD, {"label_kind": "logits"}, "needs labels of shape"),
        (IMAGES, HARD, {"label_kind": "soft"}, "unknown label kind"),
        (IMAGES, HARD, {"lr": -0.1}, "learned rate is -0.1"),
        (IMAGES, HARD, {"lr": 0.0}, "learned rate is 0.0"),
        (IMAGES, HARD, {"lr": float("nan")}, "learned rate is nan"),
        (IMAGES, HARD, {"lr": "0.1"}, "learned rate is 0.1"),
        (IMAGES, HARD, {"metadata": {"lr": float("nan")}}, "what JSON can hold"),
        (IMAGES, HARD, {"metadata": {"mean": IMAGES}}, "what JSON can hold"),
    ],
)
def test_what_is_refused(images, labels, options, message):
    with pytest.raises(InputError, match=message):
        DistilledSet(images, labels, **options)


@pytest.mark.parametrize("best", ["", "_best"])
def test_files_in_a_folder_or_one_by_one(tmp_path, best):
    for part, content in [("images", IMAGES), ("labels", LOGITS), ("lr", torch.tensor(0.03))]:
        torch.save(content, tmp_path / f"{part}{best}.pt")
    torch.save(torch.zeros(1), tmp_path / "labels_500.pt")
    for where in (tmp_path, tmp_path / f"images{best}.pt"):
        distilled = read(where)
        assert torch.equal(distilled.images, IMAGES) and torch.equal(distilled.labels, LOGITS)
        assert distilled.lr == pytest.approx(0.03)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"labels{best}.pt").rename(tmp_path / "elsewhere/mine.pt")
    distilled = read(tmp_path, label_dir=str(tmp_path / "elsewhere/mine.pt"), lr_dir="none")
    assert distilled.lr is None and distilled.origin["files"]["labels"].endswith("mine.pt")


def test_round_trip(tmp_path):
    for number, original in enumerate([DistilledSet(IMAGES, LOGITS, lr=0.25), DistilledSet(IMAGES, HARD)]):
        save_published(original, tmp_path / str(number))
        loaded = read(tmp_path / str(number))
        assert (
            loaded.sha256 == original.sha256 and loaded.lr == original.lr and loaded.label_kind == original.label_kind
        )


@pytest.mark.parametrize(("pixel_range", "scale"), [("0-1", 1), ("0-255", 255)])
def test_pixel_range_converts(tmp_path, pixel_range, scale):
    pixels = torch.rand(20, 3, 8, 8)
    save_published(DistilledSet(pixels * scale, HARD), tmp_path)
    loaded = read(tmp_path, pixel_range=pixel_range)
    assert torch.allclose(loaded.images, normalise(pixels), atol=1e-5) and loaded.remarks() == []
    torch.save((pixels * 255).to(torch.uint8), tmp_path / "images.pt")
    assert read(tmp_path, pixel_range="0-255").remarks() == []


def files(folder, **contents):
    folder.mkdir(exist_ok=True)
    for part, content in {"images": IMAGES, "labels": HARD, **contents}.items():
        path = folder / f"{part}.pt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
    return folder


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"images": HARD, "labels": IMAGES}, "swapped"),
        ({"images": None}, "no images.pt or images_best.pt here"),
        ({"labels": None}, "no labels.pt or labels_best.pt here .images.pt.*--label_dir"),
        ({"images_best": IMAGES}, "holds images.pt and images_best.pt; name one"),
        ({"images": {"a": "b"}}, "holds a dict with 'a', expected the keys 'images'"),
        ({"images": b""}, "not a readable .pt file"),
        ({"images": b"hello"}, "images.pt"),
        ({"images": b"PK\x03\x04 no zip"}, "images.pt"),
        ({"lr": torch.tensor([0.1, 0.2])}, r"lr.pt: expected the learned rate as one number, found a tensor \[2\]"),
        ({"lr": torch.tensor(float("nan"))}, "lr.pt.*rate is nan"),
        ({"lr": -1.0}, "rate is -1.0"),
        ({"lr": "0.1"}, "found a str"),
    ],
)
def test_files_that_are_refused(tmp_path, contents, message):
    with pytest.raises(InputError, match=message) as caught:
        read(files(tmp_path / "set", **contents))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_truncated_file(tmp_path):
    folder = files(tmp_path / "set")
    (folder / "images.pt").write_bytes((folder / "images.pt").read_bytes()[:-500])
    with pytest.raises(InputError, match="images.pt: not a readable"):
        read(folder)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_file_is_not_run(tmp_path, save):
    folder, trace = files(tmp_path / "set"), tmp_path / "ran"
    save(RunsCode(trace), folder / "images.pt")
    with pytest.raises(InputError, match="could run code, so it is not opened|not a readable"):
        read(folder)
    assert not trace.exists()


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        read("x" * 5000)
    with pytest.raises(InputError, match="no such file or folder; expected a folder"):
        read(tmp_path / "nowhere")


def test_preview_shows_the_images(tmp_path):
    distilled = DistilledSet(normalise(torch.rand(20, 3, 8, 8)), HARD.sort().values)
    save_preview(distilled, [f"class {label}" for label in range(10)], tmp_path / "a/preview.png")
    picture = np.asarray(Image.open(tmp_path / "a/preview.png").convert("RGB"))
    assert picture.shape[0] == 10 * 66 + 2
    right = picture[2:66, -66:-2]  # the second image of label 0, enlarged eight times
    expected = (denormalise(distilled.images[1]) * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(right[4::8, 4::8].astype(float) - expected).max() <= 1


def test_labels_that_the_subset_does_not_use():
    nine = [label for label in range(10) if label]
    assert DistilledSet(IMAGES[1:10], HARD[1:10]).remarks(nine) == []
    assert "does not use label 0" in DistilledSet(IMAGES[:10], HARD[:10]).remarks(nine)[0]


@pytest.mark.parametrize(
    ("images", "pixel_range", "doubtful"),
    [
        (torch.rand(20, 3, 8, 8), "0-1", False),
        (torch.rand(20, 3, 8, 8) * 255, "0-255", False),
        (torch.rand(20, 3, 8, 8), "0-255", True),
        (torch.rand(20, 3, 8, 8) * 255, "0-1", True),
        (IMAGES, "0-1", True),
        (IMAGES, "0-255", True),
    ],
)
def test_a_pixel_range_that_contradicts_the_images(tmp_path, caplog, monkeypatch, images, pixel_range, doubtful):
    import logging

    monkeypatch.setattr(logging.getLogger("compdd_eval"), "propagate", True)
    read(files(tmp_path / "set", images=images), pixel_range=pixel_range)
    assert ("is it right?" in caplog.text) == doubtful


def test_saving_over_another_set_leaves_nothing_of_it(tmp_path):
    save_published(DistilledSet(IMAGES, LOGITS, lr=0.1), tmp_path)
    assert read(tmp_path).lr == 0.1
    save_published(DistilledSet(IMAGES[:10], HARD[:10]), tmp_path)
    loaded = read(tmp_path)
    assert loaded.lr is None and torch.equal(loaded.images, IMAGES[:10])
    assert (tmp_path / "images.pt").stat().st_size < IMAGES.numel() * 4
