import io
import pickle
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from safetensors.torch import save_file
from torchvision import transforms
from torchvision.datasets.folder import default_loader
from torchvision.transforms.v2 import functional

from comp_dd import CompDD
from compdd_eval import load_comp_dd, random_images
from compdd_eval.commands.prepare import prepare
from compdd_eval.config.prepare import PrepareConfig
from compdd_eval.data.decoded_cache import FOLDER_NAME, decode_once
from compdd_eval.data.splits import open_split
from compdd_eval.data.subsets import load_subset
from compdd_eval.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    decode_rgb,
    denormalise,
    normalise,
    preprocess,
    resize,
)
from compdd_eval.utils.errors import InputError

BIRD = load_subset("bird-easy")


def reference(path, size):
    """The published transform, as the release composes it."""
    chain = [
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        transforms.Resize((size, size)),
        transforms.CenterCrop((size, size)),
    ]
    return transforms.Compose(chain)(Image.open(path).convert("RGB"))


def test_the_published_seven(drawn, cache):
    channel, im_size, num_classes, dst_train, dst_test, class_map, class_map_inv = load_comp_dd(
        drawn, "bird", "easy", im_size=(32, 48)
    )
    assert (channel, im_size, num_classes) == (3, (32, 48), 10)
    assert class_map == BIRD.class_map and class_map_inv == {label: index for index, label in class_map.items()}
    assert (len(dst_train), len(dst_test)) == (120, 50)
    image, label = dst_train[-1]
    assert image.shape == (3, 32, 48) and image.dtype == torch.float32 and label == 9 and type(label) is int


def test_pixels_are_those_of_the_published_transform(drawn, cache):
    dst_train = load_comp_dd(drawn, "bird", "easy", im_size=(64, 64))[3]
    for index in (0, 50, 119):
        wnid = BIRD.wnids[dst_train[index][1]]
        expected = reference(drawn / "train" / wnid / dst_train.file_names[index], 64)
        assert (dst_train[index][0] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(24, 32), (7, 250), (300, 5), (128, 128)])
@pytest.mark.parametrize("antialias", [True, False])
def test_resizing_is_that_of_torch(size, antialias):
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    for target in ((32, 48), (200, 16)):
        expected = functional.resize(image.float() / 255, list(target), antialias=antialias)
        assert (resize(image, target, antialias) - expected).abs().max() < 1e-6


def test_decoding_is_that_of_pil(tmp_path):
    """Whole and damaged files alike: the same pixels, or an error where PIL has one."""
    noise, compared = np.random.default_rng(0), 0
    smooth = Image.fromarray(noise.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((200, 150))
    for mode, options in (("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True, "subsampling": 0})):
        buffer = io.BytesIO()
        smooth.convert(mode).save(buffer, "JPEG", **options)
        whole = buffer.getvalue()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 0xFF
        for data in (whole, whole + bytes(30), whole[:-400], whole[:-400] + whole[-2:], bytes(flipped)):
            try:
                expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            except OSError:
                with pytest.raises(InputError, match="photo.JPEG: cannot be decoded"):
                    decode_rgb(data, "photo.JPEG")
                continue
            assert (decode_rgb(data, "photo.JPEG").permute(1, 2, 0).numpy() == expected).all()
            compared += 1
    assert compared >= 8


def test_orientation_in_exif_is_left_alone(cache, tmp_path):
    """As the published loader does; `datasets` turns what it decodes, and the README says how to get the pixels."""
    exif, noise = Image.Exif(), np.random.default_rng(0)
    exif[ExifTags.Base.Orientation] = 6  # to be turned by a quarter
    kinds = [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("P", "PNG")] * 2
    for number, (wnid, (mode, form)) in enumerate(zip(BIRD.wnids, kinds, strict=True)):
        for path in (f"train/{wnid}/{wnid}_1.JPEG", f"val/{wnid}/ILSVRC2012_val_0000000{number}.JPEG"):
            (tmp_path / path).parent.mkdir(parents=True)
            pixels = Image.fromarray(noise.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            pixels.convert(mode).save(tmp_path / path, form, exif=exif)
    source = load_comp_dd(tmp_path, "bird", "easy", (24, 32)).dst_test
    CompDD(config_name="bird-easy", data_dir=str(tmp_path)).download_and_prepare()
    prepared = load_comp_dd(None, "bird", "easy", (24, 32)).dst_test
    loaded = datasets.load_dataset("comp_dd", "bird-easy", split="validation")
    stored = loaded.cast_column("image", datasets.Image(decode=False))
    assert source.digest() == prepared.digest()
    for number, wnid in enumerate(BIRD.wnids):
        path = tmp_path / f"val/{wnid}/ILSVRC2012_val_0000000{number}.JPEG"
        published = np.asarray(default_loader(str(path)))
        assert published.shape == (24, 32, 3)
        assert (decode_rgb(path.read_bytes(), "x").permute(1, 2, 0).numpy() == published).all()
        for split in (source, prepared):
            found = denormalise(split[number][0]).mul(255).round().byte().permute(1, 2, 0).numpy()
            assert (found == published).all()
        assert (np.asarray(loaded[number]["image"]) == np.rot90(published, -1)).all()
        assert stored[number]["image"]["bytes"] == path.read_bytes()


def test_without_the_decoder_of_torchvision(drawn, cache, monkeypatch):
    expected = load_comp_dd(drawn, "bird", "easy", (32, 32)).dst_test.tensors()[0]
    monkeypatch.setattr("compdd_eval.data.transforms.jpeg_decoder", lambda: None)
    assert torch.equal(load_comp_dd(drawn, "bird", "easy", (32, 32)).dst_test.tensors()[0], expected)


def test_pixels_of_real_photographs(shared):
    for path in sorted((shared / "imagenet_sample/train").glob("*/*"))[::16]:
        image = preprocess(decode_rgb(path.read_bytes(), str(path)), (128, 128))
        assert (image - reference(path, 128)).abs().max() < 1e-5, path


def test_no_antialias_is_the_old_resize(drawn, cache):
    old = load_comp_dd(drawn, "bird", "easy", im_size=(32, 32), antialias=False)[4]
    path = drawn / "val" / BIRD.wnids[0] / old.file_names[0]
    pixels = transforms.ToTensor()(Image.open(path).convert("RGB"))
    expected = torch.nn.functional.interpolate(pixels[None], (32, 32), mode="bilinear", align_corners=False)[0]
    assert (old[0][0] - normalise(expected)).abs().max() < 1e-5
    assert (load_comp_dd(drawn, "bird", "easy", im_size=(32, 32))[4][0][0] - old[0][0]).abs().max() > 0.05


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "LA", "I;16", "1"])
def test_every_mode_becomes_rgb(mode):
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8))
    image = pixels.convert("L").convert("I;16") if mode == "I;16" else pixels.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF" if mode == "CMYK" else "PNG")
    decoded = decode_rgb(buffer.getvalue(), "x")
    assert decoded.shape == (3, 8, 9) and decoded.dtype == torch.uint8


def test_tensors_equal_items_whatever_the_batch(drawn, cache):
    expected = load_comp_dd(drawn, "bird", "hard", im_size=(32, 32))[4]
    for batch_size in (1, 7, 256):
        split = load_comp_dd(drawn, "bird", "hard", im_size=(32, 32), batch_size=batch_size)[4]
        images, labels = split.tensors()
        assert images.shape == (50, 3, 32, 32) and labels.tolist() == [label for label in range(10) for _ in range(5)]
        assert all(torch.equal(images[index], expected[index][0]) for index in range(0, 50, 7))


def test_opening_decodes_nothing(drawn, cache, monkeypatch):
    monkeypatch.setattr("compdd_eval.data.splits.decode_rgb", lambda *args: pytest.fail("decoded while opening"))
    assert len(load_comp_dd(drawn, "bird", "easy").dst_train) == 120


def test_prepared_only_if_it_came_from_these_rows(drawn, cache, tmp_path):
    from_files = load_comp_dd(drawn, "bird", "easy", (32, 32)).dst_test
    assert from_files.origin == str(drawn)
    prepare(PrepareConfig(str(drawn), "bird", "easy"))
    prepared = load_comp_dd(drawn, "bird", "easy", (32, 32)).dst_test
    assert "prepared from" in prepared.origin
    assert prepared.decode()[1] == from_files.decode()[1]
    assert torch.equal(prepared.tensors()[0], from_files.tensors()[0])
    other = tmp_path / "other"
    for split in ("train", "val"):
        for entry in BIRD.classes:
            (other / split / entry.wnid).mkdir(parents=True)
            for path in (drawn / split / entry.wnid).iterdir():
                (other / split / entry.wnid / path.name).write_bytes(path.read_bytes() + b"\0")
    assert load_comp_dd(other, "bird", "easy").dst_test.origin == str(other)


def test_without_a_path_the_prepared_subset_is_used(drawn, cache, monkeypatch):
    line = "prepare --data_path /path/to/imagenet --category bird --subset"
    with pytest.raises(InputError, match=f"bird-easy: not prepared.*{line} easy .nothing is prepared in {cache}"):
        load_comp_dd(None, "bird", "easy")
    prepare(PrepareConfig(str(drawn), "bird", "easy"))
    with pytest.raises(InputError, match=f"bird-hard: not prepared.*{line} hard .prepared in {cache}: bird-easy"):
        load_comp_dd(None, "bird", "hard")
    with pytest.raises(InputError, match="--category music --subset hard --published"):
        load_comp_dd(None, "music", "hard", published=True)
    assert len(load_comp_dd(None, "bird", "easy").dst_train) == 120
    monkeypatch.setenv("COMP_DD_IMAGENET", str(drawn.parent / "nowhere"))
    with pytest.raises(InputError, match="COMP_DD_IMAGENET"):
        load_comp_dd(None, "bird", "easy")


def test_one_word_says_which_subset(drawn, cache, monkeypatch, tmp_path):
    expected = load_comp_dd(drawn, "bird", "easy", 16).dst_test.tensors()[0]
    for given in (("bird-easy",), (None, "birds-easy"), (None, None, "bird-easy")):
        assert torch.equal(load_comp_dd(drawn, *given[1:] or given, im_size=16).dst_test.tensors()[0], expected)
        with pytest.raises(InputError, match="^bird-easy: not prepared"):
            load_comp_dd(*given)
    prepare(PrepareConfig(str(drawn), subset="bird-easy"))
    assert torch.equal(load_comp_dd("bird-easy", im_size=16).dst_test.tensors()[0], expected)
    with pytest.raises(InputError, match="^unknown category 'brid'; did you mean 'bird'"):
        load_comp_dd("brid-easy")
    with pytest.raises(InputError, match="^category bird and subset dog-easy are two subsets; give one of them"):
        load_comp_dd(drawn, "bird", "dog-easy")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bird-easy").mkdir()
    for place in ("prepared", "bird-easy", "x/y", drawn):
        with pytest.raises(InputError, match="^category is missing"):
            load_comp_dd(place)


def test_the_prepared_subset_by_its_word(drawn, cache, monkeypatch, tmp_path):
    """Whatever the environment says; a folder that is called so has a path, and a builder or prepare cannot use it."""
    with pytest.raises(InputError, match="bird-easy: not prepared"):
        load_comp_dd("prepared", "bird", "easy")
    with pytest.raises(InputError, match="data_path prepared: stands for what `prepare` made.*[(]./prepared where"):
        prepare(PrepareConfig("prepared", "bird", "easy"))
    expected = load_comp_dd(drawn, "bird", "easy", (16, 16)).dst_test.tensors()[0]
    prepare(PrepareConfig(str(drawn), "bird", "easy"))
    monkeypatch.setenv("COMP_DD_IMAGENET", str(tmp_path / "nowhere"))
    by_name = load_comp_dd("prepared", "bird", "easy", (16, 16)).dst_test
    for split in (by_name, open_split(BIRD, "validation", "prepared", (16, 16))):
        assert "prepared from" in split.origin and torch.equal(split.tensors()[0], expected)
    builder = CompDD(config_name="bird-easy", data_dir="prepared")
    builder.download_and_prepare()
    assert builder.status == "current" and builder.as_dataset("validation").num_rows == 50
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prepared").symlink_to(drawn)
    for path in ("./prepared", tmp_path / "prepared", Path("prepared")):
        assert load_comp_dd(path, "bird", "hard").dst_test.origin == str(tmp_path / "prepared")
    with pytest.raises(InputError, match="bird-hard: not prepared"):
        load_comp_dd("prepared", "bird", "hard")


def test_several_shards(drawn, cache, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "MAX_SHARD_SIZE", "100KB")
    expected = load_comp_dd(drawn, "bird", "easy", (16, 16)).dst_train.tensors()
    report = prepare(PrepareConfig(str(drawn), "bird", "easy"))
    assert len(list((cache / "comp_dd").rglob("comp_dd-train-*.arrow"))) > 1
    assert report.prepared[0].images["train"] == 120
    split = load_comp_dd(drawn, "bird", "easy", (16, 16)).dst_train
    assert "prepared from" in split.origin and torch.equal(split.tensors()[0], expected[0])


def test_data_loader_workers(drawn, cache):
    split = load_comp_dd(drawn, "bird", "easy", (16, 16)).dst_test
    assert pickle.loads(pickle.dumps(split)).labels.equal(split.labels)
    batches = list(torch.utils.data.DataLoader(split, batch_size=20, num_workers=2))
    assert [len(labels) for _, labels in batches] == [20, 20, 10]
    assert torch.equal(torch.cat([images for images, _ in batches]), split.tensors()[0])


def test_a_broken_image_is_named(drawn, cache, tmp_path):
    for entry in BIRD.classes:
        (tmp_path / "val" / entry.wnid).mkdir(parents=True)
        for path in (drawn / "val" / entry.wnid).iterdir():
            (tmp_path / "val" / entry.wnid / path.name).write_bytes(path.read_bytes())
    bad = next((tmp_path / "val" / BIRD.wnids[7]).iterdir())
    bad.write_bytes(bad.read_bytes()[:700])
    from compdd_eval.data.splits import open_split

    with pytest.raises(InputError, match=str(bad)):
        open_split(BIRD, "validation", tmp_path).tensors()
    with pytest.raises(InputError, match="no train images"):
        load_comp_dd(tmp_path, "bird", "easy")


def test_normalise_and_back():
    images = torch.rand(2, 3, 4, 4)
    assert torch.allclose(denormalise(normalise(images)), images, atol=1e-6)


def test_random_images(drawn, cache):
    train = load_comp_dd(drawn, "bird", "easy", (32, 32)).dst_train
    first, again, other = (random_images(train, 3, seed) for seed in (0, 0, 1))
    assert first.ipc == 3 and first.class_counts == [3] * 10 and first.label_kind == "hard"
    assert torch.equal(first.images, again.images) and not torch.equal(first.images, other.images)
    assert len(set(first.metadata["file_names"])) == 30
    with pytest.raises(InputError, match="12 training images, fewer than the IPC of 13"):
        random_images(train, 13)


def test_decoded_images_are_kept_and_never_mistaken(drawn, tmp_path, caplog):
    def opened(**options):
        return open_split(BIRD, "validation", drawn, (16, 16), **options)

    expected, digest = opened().decode()
    kept = tmp_path / "cache" / FOLDER_NAME
    for _ in range(2):
        images, found = decode_once(opened(), tmp_path / "cache")
        assert torch.equal(images, expected) and found == digest == opened().digest()
        assert len(list(kept.iterdir())) == 1
    (file,) = kept.iterdir()
    save_file({"images": torch.zeros_like(expected)}, file)
    assert not decode_once(opened(), tmp_path / "cache")[0].any()  # it is what was read
    assert decode_once(opened(resize="crop"), tmp_path / "cache")[0].any()
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(decode_once(opened(), tmp_path / "cache")[0], expected) and "damaged" in caplog.text


def test_old_decoded_images_make_room(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr("compdd_eval.data.decoded_cache.LIMIT", 1)
    for side in (8, 16):
        decode_once(open_split(BIRD, "validation", drawn, (side, side)), tmp_path)
        assert len(list((tmp_path / FOLDER_NAME).iterdir())) == 1
