import io
import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import datasets
import pytest
import torch
from PIL import Image

from comp_dd import CompDD
from compdd_eval.commands.prepare import prepare
from compdd_eval.config.prepare import PrepareConfig
from compdd_eval.data.prepared import config_root, find_prepared
from compdd_eval.data.subsets import load_subset, subset_names
from compdd_eval.utils.errors import InputError
from tests.support.forked import Forked, forked

FISH = load_subset("fish-easy")


def build(odd, cache, **kwargs):
    builder = CompDD(config_name="fish-easy", data_dir=str(odd), cache_dir=str(cache), **kwargs)
    builder.download_and_prepare()
    return builder


def test_rows_and_features(odd, cache):
    data = build(odd, cache).as_dataset()
    assert {split: len(rows) for split, rows in data.items()} == {"train": 40, "validation": 10}
    train = data["train"]
    assert train.features["label"].names == FISH.label_names
    assert [train.features[name].dtype for name in ("imagenet_label", "wnid", "file_name")] == [
        "int32",
        "string",
        "string",
    ]
    for position, row in enumerate(train):
        entry = FISH.classes[position // 4]
        assert (row["label"], row["imagenet_label"], row["wnid"]) == (entry.label, entry.imagenet_index, entry.wnid)
        assert row["file_name"].endswith(".JPEG") and row["file_name"].count(entry.wnid) == 1
        assert row["image"].mode == "RGB"


def test_original_bytes_are_kept(odd, cache):
    train = build(odd, cache).as_dataset("train").cast_column("image", datasets.Image(decode=False))
    for row in train:
        folder = odd / "train" / row["wnid"]
        stem = row["file_name"].removesuffix(".JPEG")
        copies = [folder / f"{stem}{end}" for end in (".JPEG", ".jpg", f"_{row['wnid']}.JPEG")]
        assert row["image"]["bytes"] == next(path for path in copies if path.exists()).read_bytes()
    modes = {Image.open(io.BytesIO(row["image"]["bytes"])).mode for row in train}
    assert modes == {"RGB", "L", "CMYK"}


def test_load_dataset_in_another_process_without_our_code(odd, cache, tmp_path):
    build(odd, cache)
    code = """if True:
        import sys
        from datasets import load_dataset
        data = load_dataset("comp_dd", "fish-easy")
        assert not {"comp_dd", "compdd_eval"} & set(sys.modules)
        part = load_dataset("comp_dd", "fish-easy", split="train[:10%]")
        stream = next(iter(load_dataset("comp_dd", "fish-easy", split="train", streaming=True)))
        print(data["train"].num_rows, data["validation"].num_rows, len(part), stream["label"], stream["image"].mode)
    """
    done = forked("-c", code, cwd=tmp_path, HF_DATASETS_CACHE=str(cache))
    assert done.stdout.split() == ["40", "10", "4", "0", "RGB"], done.stderr


def test_what_people_do_with_a_dataset(odd, cache):
    build(odd, cache)
    train = datasets.load_dataset("comp_dd", "fish-easy", split="train")
    sizes = train.map(lambda row: {"side": max(row["image"].size)}, num_proc=2)
    assert sizes["side"][:] == [32] * 40 and sizes["label"][:] == train["label"][:]
    tensors = train.with_format("torch")
    assert tensors[0]["image"].shape == (3, 24, 32) and tensors[0]["image"].dtype == torch.uint8
    batches = list(torch.utils.data.DataLoader(tensors, batch_size=16, num_workers=2))
    assert [batch["image"].shape[0] for batch in batches] == [16, 16, 8]
    assert torch.cat([batch["label"] for batch in batches]).tolist() == train["label"][:]
    stream = datasets.load_dataset("comp_dd", "fish-easy", split="train", streaming=True).with_format("torch")
    loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1)
    assert [int(row["label"]) for row in loader] == train["label"][:]
    shuffled = {row["file_name"] for row in stream.shuffle(seed=0, buffer_size=8)}
    assert shuffled == set(train["file_name"])
    assert len(datasets.load_dataset("comp_dd", "fish-easy", split="train[:10%]+validation[5:]")) == 4 + 5


def test_published_music_hard_never_mixes_with_ours(tmp_path, cache):
    from tests.conftest import save_image

    for wnid in set(load_subset("music-hard").wnids):
        save_image(tmp_path / f"train/{wnid}/{wnid}_1.JPEG", 1)
    sizes = {}
    for published in (False, True):
        builder = CompDD(config_name="music-hard", published=published, data_dir=str(tmp_path), cache_dir=str(cache))
        builder.download_and_prepare()
        sizes[builder.config_id] = (len(builder.as_dataset("train")), builder.info.config_name)
    assert sizes == {"music-hard": (10, "music-hard"), "music-hard-published": (9, "music-hard-published")}
    data = datasets.load_dataset("comp_dd", "music-hard-published", split="train")
    assert data.features["label"].names[0] == "unused label 0" and min(data["label"]) == 1
    assert datasets.load_dataset("comp_dd", "music-hard", split="train").features["label"].names[0] == "bassoon"
    assert "music-hard-published" not in CompDD.builder_configs


def test_unknown_configuration_names_the_nearest(cache):
    with pytest.raises(ValueError, match="did you mean 'bird-easy'"):
        CompDD(config_name="brid-easy", cache_dir=str(cache))
    with pytest.raises(ValueError, match="bird-easy.*music-hard"):
        CompDD(cache_dir=str(cache))


def test_no_imagenet_says_how_to_get_it(cache):
    with pytest.raises(InputError, match="image-net.org.*COMP_DD_IMAGENET"):
        CompDD(config_name="bird-easy", cache_dir=str(cache)).download_and_prepare()


def test_another_source_replaces_and_the_old_builder_does_not_serve_it(odd, cache, tmp_path):
    build(odd, cache)
    other = tmp_path / "other"
    shutil.copytree(odd, other)
    for wnid in FISH.wnids:
        (other / f"train/{wnid}/{wnid}_2.JPEG").unlink()
    unprepared = CompDD(config_name="fish-easy", data_dir=str(other), cache_dir=str(cache))
    with pytest.raises(FileNotFoundError, match="download_and_prepare"):
        unprepared.as_dataset()  # what is prepared came from other images
    assert len(build(other, cache).as_dataset("train")) == 30
    assert datasets.load_dataset("comp_dd", "fish-easy", split="train").num_rows == 30
    assert len(list((cache / "comp_dd").glob("*/*/*"))) == 1
    os.utime(build(odd, cache).cache_dir, (1, 1))  # even if it looks old, it is the only one
    assert datasets.load_dataset("comp_dd", "fish-easy", split="train").num_rows == 40


def test_what_is_current_is_not_built_again(odd, cache):
    folder = build(odd, cache).cache_dir
    stamp = os.stat(os.path.join(folder, "dataset_info.json")).st_mtime_ns
    assert build(odd, cache).cache_dir == folder
    assert os.stat(os.path.join(folder, "dataset_info.json")).st_mtime_ns == stamp
    builder = CompDD(config_name="fish-easy", data_dir=str(odd), cache_dir=str(cache))
    builder.download_and_prepare(download_mode="force_redownload")
    assert os.stat(os.path.join(folder, "dataset_info.json")).st_mtime_ns != stamp


@pytest.mark.parametrize("content", [b"", b"a text file", None])
def test_a_bad_image_is_named_and_nothing_is_left(odd, cache, tmp_path, content):
    root = tmp_path / "i"
    shutil.copytree(odd, root)
    bad = root / f"train/{FISH.wnids[4]}/{FISH.wnids[4]}_9.jpg"
    bad.write_bytes(content if content is not None else bad.read_bytes()[:-200])
    with pytest.raises(InputError, match=str(bad)):
        build(root, cache)
    assert find_prepared(config_root(cache, "fish-easy")) is None
    assert [p.name for p in (cache / "comp_dd/.staging").iterdir()] == ["fish-easy.lock"]


def test_a_bad_image_does_not_harm_what_is_prepared(odd, cache, tmp_path):
    build(odd, cache)
    root = tmp_path / "i"
    shutil.copytree(odd, root)
    (root / f"train/{FISH.wnids[4]}/{FISH.wnids[4]}_9.jpg").write_bytes(b"")
    with pytest.raises(InputError):
        build(root, cache)
    assert datasets.load_dataset("comp_dd", "fish-easy", split="train").num_rows == 40


def test_killed_builds_leave_the_cache_usable(odd, cache, tmp_path):
    build(odd, cache)
    other = tmp_path / "other"
    shutil.copytree(odd, other)
    (other / f"train/{FISH.wnids[0]}/{FISH.wnids[0]}_2.JPEG").unlink()
    code = (
        "import comp_dd, time, os\n"
        f"builder = comp_dd.CompDD(config_name='fish-easy', data_dir={str(other)!r}, cache_dir={str(cache)!r})\n"
        "builder.on_images = lambda n: (print('images', flush=True), time.sleep(60))\n"
        "builder.download_and_prepare()"
    )
    child = Forked("-c", code, cwd=tmp_path)
    while "images\n" not in child.printed()[0]:
        assert child.poll() is None
        time.sleep(0.01)
    assert any((cache / "comp_dd/.staging").glob("fish-easy.*/built*"))
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert datasets.load_dataset("comp_dd", "fish-easy", split="train").num_rows == 40
    assert len(build(other, cache).as_dataset("train")) == 39
    assert [p.name for p in (cache / "comp_dd/.staging").iterdir()] == ["fish-easy.lock"]


def _build_often(odd, cache, number):
    roots = [odd, os.path.join(odd, "..", "other")]
    for turn in range(6):
        build(roots[(turn + number) % 2], cache)


def test_processes_at_the_same_time(odd, cache):
    """Two processes replace each other's data; a third finds only whole datasets."""
    other = odd.parent / "other"
    if not other.exists():
        shutil.copytree(odd, other)
        (other / f"train/{FISH.wnids[0]}/{FISH.wnids[0]}_2.JPEG").unlink()
    build(odd, cache)
    context = multiprocessing.get_context("spawn")
    builders = [context.Process(target=_build_often, args=(odd, cache, number)) for number in range(2)]
    for process in builders:
        process.start()
    seen = set()
    while any(process.is_alive() for process in builders):
        found = find_prepared(config_root(cache, "fish-easy"))
        if found is None:  # in the moment of a replacement
            time.sleep(0.05)
            found = find_prepared(config_root(cache, "fish-easy"))
        seen.add(found[1].images["train"])
        time.sleep(0.01)
    assert [process.exitcode for process in builders] == [0, 0]
    assert seen == {39, 40}
    assert datasets.load_dataset("comp_dd", "fish-easy", split="train").num_rows in (39, 40)


def test_prepare_reports_what_it_did(drawn, cache):
    report = prepare(PrepareConfig(str(drawn)))
    assert [item.subset.name for item in report.prepared] == ["bird-easy", "bird-hard"]
    assert set(report.absent) == set(subset_names()) - {"bird-easy", "bird-hard"}
    assert {item.status for item in report.prepared} == {"built"}
    assert {item.status for item in prepare(PrepareConfig(str(drawn), "birds")).prepared} == {"current"}


def test_prepare_keeps_the_good_ones_when_one_is_bad(drawn, cache, tmp_path, run):
    root = tmp_path / "i"
    shutil.copytree(drawn, root)
    bad = next((root / "train" / load_subset("bird-easy").wnids[9]).iterdir())
    bad.write_text("no image")
    status, out, errors = run("prepare", "--data_path", root, "--category", "bird")
    assert status == 2 and len(errors) == 2 and str(bad) in errors[-1]
    assert "bird-hard" in out and "bird-easy" not in out
    assert datasets.load_dataset("comp_dd", "bird-hard", split="train").num_rows == 120
    with pytest.raises(ValueError, match="Couldn't find cache"):
        datasets.load_dataset("comp_dd", "bird-easy")


def test_a_tree_with_one_split(drawn, cache, tmp_path, run):
    (tmp_path / "i").mkdir()
    (tmp_path / "i/val").symlink_to(drawn / "val")
    status, out, errors = run("prepare", "--data_path", tmp_path / "i", "--category", "bird", "--subset", "easy")
    assert status == 0 and "- / 13000" in out and "50 / 500" in out
    assert any("has no train images" in line for line in errors)
    assert list(datasets.load_dataset("comp_dd", "bird-easy")) == ["validation"]


def test_replacing_says_so(odd, cache, tmp_path, run):
    build(odd, cache)
    root = tmp_path / "i"
    shutil.copytree(odd, root)
    (root / f"train/{FISH.wnids[0]}/{FISH.wnids[0]}_2.JPEG").unlink()
    status, out, errors = run("prepare", "--data_path", root, "--category", "fish", "--subset", "easy")
    assert status == 0 and "replaced" in out
    assert any(f"replaced 40 train images, 10 validation images from {odd}; it has 39 train" in e for e in errors)


def test_real_photographs_of_every_subset(shared, cache):
    """One photograph a class; greyscale and CMYK ones are among them."""
    report = prepare(PrepareConfig(str(shared / "imagenet_sample")))
    assert [item.subset.name for item in report.prepared] == subset_names()
    stored = set()
    for name in subset_names():
        train = datasets.load_dataset("comp_dd", name, split="train")
        assert train["label"][:] == list(range(10))
        assert {image.mode for image in train["image"]} == {"RGB"}
        raw = train.cast_column("image", datasets.Image(decode=False))
        stored |= {Image.open(io.BytesIO(image["bytes"])).mode for image in raw["image"]}
    assert "L" in stored


def test_real_subset_from_another_folder(shared, tmp_path):
    cache = str(tmp_path / "cache")
    arguments = ["prepare", "--data_path", shared / "imagenet_tiny", "--category", "insect", "--subset", "easy"]
    done = forked("-m", "compdd_eval", *arguments, cwd=tmp_path, HF_DATASETS_CACHE=cache)
    assert done.returncode == 0, done.stderr
    code = "import datasets; d = datasets.load_dataset('comp_dd', 'insect-easy'); print(dict(d.num_rows))"
    done = forked("-c", code, cwd="/", HF_DATASETS_CACHE=cache)
    assert json.loads(done.stdout.replace("'", '"')) == {"train": 600, "validation": 500}


def test_without_a_configuration_one_is_asked_for(drawn, cache):
    prepare(PrepareConfig(str(drawn), "bird"))
    with pytest.raises(ValueError, match="bird-easy|bird-hard.*specify"):
        datasets.load_dataset("comp_dd")


def test_without_imagenet_the_builder_takes_what_is_prepared(odd, cache):
    build(odd, cache)
    builder = CompDD(config_name="fish-easy", cache_dir=str(cache))
    builder.download_and_prepare()
    assert builder.status == "current" and len(builder.as_dataset("train")) == 40
    record = Path(builder.cache_dir) / "comp_dd.json"
    record.write_text(record.read_text().replace(FISH.digest, "another list"))
    with pytest.raises(InputError, match="no ImageNet given"):
        CompDD(config_name="fish-easy", cache_dir=str(cache)).download_and_prepare()


def test_data_of_another_format_are_built_again(odd, cache, monkeypatch):
    build(odd, cache)
    monkeypatch.setattr("compdd_eval.data.prepared._FORMAT", 99)
    assert build(odd, cache).status.startswith("replaced")
    assert len(list((cache / "comp_dd").glob("*/*/*"))) == 1


@pytest.mark.parametrize("damage", ["record", "future record", "shard gone", "shard cut"])
def test_a_damaged_cache_is_built_again(odd, cache, damage, run):
    folder = Path(build(odd, cache).cache_dir)
    record, shard = folder / "comp_dd.json", folder / "comp_dd-validation.arrow"
    if damage == "record":
        record.write_text("{")
    elif damage == "future record":
        record.write_text(json.dumps({**json.loads(record.read_text()), "more": 1}))
    elif damage == "shard gone":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-100])
    assert find_prepared(config_root(cache, "fish-easy")) is None
    assert build(odd, cache).status == "built"
    assert datasets.load_dataset("comp_dd", "fish-easy", split="validation").num_rows == 10


def test_streaming_and_processes_of_the_builder(odd, cache):
    builder = CompDD(config_name="fish-easy", data_dir=str(odd), cache_dir=str(cache))
    assert sum(1 for _ in builder.as_streaming_dataset("train")) == 40
    builder.download_and_prepare(num_proc=2)
    assert len(builder.as_dataset("train")) == 40
    with pytest.raises(InputError, match="give an output_dir"):
        builder.download_and_prepare(file_format="parquet")


def test_a_folder_of_ones_own_has_what_is_there_now_and_nothing_that_was_refused(odd, cache, tmp_path):
    def rows(out):
        builder = CompDD(config_name="fish-easy", data_dir=str(tmp_path / "i"), cache_dir=str(cache))
        builder.download_and_prepare(str(out))
        return sum(datasets.Dataset.from_file(str(path)).num_rows for path in out.glob("*train*.arrow"))

    shutil.copytree(odd, tmp_path / "i")
    assert rows(tmp_path / "out") == 40
    image = next((tmp_path / "i/train").glob("*/*.JPEG"))
    shutil.copy(image, image.with_name(f"{image.parent.name}_99.JPEG"))
    assert rows(tmp_path / "out") == 41, "built from the images that are there now"
    image.write_bytes(b"no image at all")
    for _ in range(2):
        with pytest.raises(InputError):
            rows(tmp_path / "bad")
    assert not (tmp_path / "bad/dataset_info.json").exists()


def test_prepare_elsewhere_says_how_to_load_it(drawn, cache, tmp_path, run):
    arguments = ["--data_path", drawn, "--category", "bird", "--subset", "easy"]
    assert "now works in any process" in run("prepare", *arguments)[1]
    out = run("prepare", *arguments, "--cache_dir", tmp_path / "mine")[1].replace("\n", "")
    assert f"HF_DATASETS_CACHE={tmp_path / 'mine'}" in out
