"""One pass over any source into the cache: processes, checks, links, interruption, several runs at a time."""

import json
import multiprocessing
import os
import shutil
import signal
import tarfile
import time
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import torch

from comp_dd import CompDD
from compdd_eval.commands.prepare import prepare
from compdd_eval.config.prepare import PrepareConfig
from compdd_eval.data.choices import LAYOUTS
from compdd_eval.data.drawn_imagenet import draw_imagenet
from compdd_eval.data.prepared import config_root, find_prepared
from compdd_eval.data.splits import load_comp_dd
from compdd_eval.data.subsets import load_subset
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.worker_pool import processes
from tests.support import imagenet_layouts
from tests.support.forked import Forked, forked

EASY, HARD = load_subset("bird-easy"), load_subset("bird-hard")


def content(name, split):
    rows = datasets.load_dataset("comp_dd", name, split=split).cast_column("image", datasets.Image(decode=False))
    return rows.to_list()


@pytest.fixture(scope="module")
def shape(drawn, tmp_path_factory):
    """Make the drawn birds in a layout, once."""
    made = {"imagefolder": drawn}

    def make(layout):
        if layout not in made:
            made[layout] = imagenet_layouts.SHAPES[layout](drawn, tmp_path_factory.mktemp("shape") / layout)
        return made[layout]

    return make


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("num_proc", [1, 3])
def test_the_same_datasets_from_every_layout(drawn, shape, layout, num_proc, cache, tmp_path, monkeypatch):
    report = prepare(PrepareConfig(str(shape(layout)), "bird", num_proc=num_proc))
    assert [item.status for item in report.prepared] == ["built", "built"]
    built = {
        (name, split): content(name, split)
        for name in ("bird-easy", "bird-hard")
        for split in imagenet_layouts.SPLITS.values()
    }
    again = prepare(PrepareConfig(str(shape(layout)), "bird"))
    assert [item.status for item in again.prepared] == ["current", "current"]
    assert sorted(path.name for path in (cache / "comp_dd/.staging").iterdir() if path.is_dir()) == []
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "other")
    prepare(PrepareConfig(str(drawn), "bird"))
    for (name, split), rows in built.items():
        assert rows == content(name, split)


def test_each_image_is_read_once(shape, cache, monkeypatch):
    """In one scan over the shards for all subsets."""
    opened = []
    original = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda self, *args, **kwargs: opened.append(kwargs["row_groups"][0]) or original(self, *args, **kwargs),
    )
    prepare(PrepareConfig(str(shape("parquet")), "bird"))
    groups = sum(pq.ParquetFile(path).num_row_groups for path in shape("parquet").glob("data/[tv][ra]*"))
    assert len(opened) == groups


def test_a_subset_prepared_from_parquet_is_current_for_the_folder(drawn, shape, cache):
    prepare(PrepareConfig(str(shape("parquet")), "bird"))
    assert {item.status for item in prepare(PrepareConfig(str(drawn), "bird")).prepared} == {"current"}
    split = load_comp_dd(shape("parquet"), "bird", "easy", (8, 8)).dst_test
    assert "prepared from" in split.origin


def test_partial_copies_are_reported_by_class(drawn, cache, run):
    status, out, errors = run("prepare", "--data_path", drawn, "--category", "bird", "--subset", "easy")
    assert status == 0 and "not as many images as a whole ImageNet has: bird-easy" in errors[-1]
    assert "n02007558 flamingo 12/1300" in out and "n02007558 flamingo 5/50" in out


def test_strict_refuses_partial_copies(drawn, cache, run, tmp_path):
    arguments = ["prepare", "--data_path", drawn, "--category", "bird", "--strict"]
    status, out, errors = run(*arguments)
    assert status == 2 and len(errors) == 1 and "n02007558 flamingo 12/1300 images (train), and 39 more" in errors[0]
    assert "n02007558 flamingo 12/1300" in out and not list(cache.glob("comp_dd/*"))
    assert "music-easy cannot be built" not in errors[0]
    status, _, errors = run("prepare", "--data_path", drawn, "--strict")
    assert status == 2 and "--strict, and car-easy cannot be built: classes are missing" in errors[0]
    (tmp_path / "i").mkdir()
    (tmp_path / "i/val").symlink_to(drawn / "val")
    status, _, errors = run("prepare", "--data_path", tmp_path / "i", "--category", "bird", "--strict")
    assert status == 2 and "--strict, and there are no train images" in errors[0]


def test_strict_takes_a_whole_copy(drawn, cache, monkeypatch):
    monkeypatch.setattr(
        "compdd_eval.data.completeness.expected_images", lambda entry, split: 12 if split == "train" else 5
    )
    report = prepare(PrepareConfig(str(drawn), "bird", strict=True))
    assert len(report.prepared) == 2 and not report.partial


@pytest.fixture
def damaged(drawn, tmp_path):
    """A copy with three bad images in bird-easy; two of them look whole from outside."""
    root = tmp_path / "damaged"
    shutil.copytree(drawn, root)
    paths = [sorted((root / "train" / EASY.wnids[label]).iterdir())[3] for label in (0, 9)]
    paths.append(sorted((root / "val" / EASY.wnids[5]).iterdir())[0])
    for path in paths[:2]:
        data = path.read_bytes()
        path.write_bytes(data[:300] + bytes(len(data) - 302) + data[-2:])
    paths[2].write_bytes(b"no image")
    return root, paths


@pytest.mark.parametrize("num_proc", [1, 2])
@pytest.mark.parametrize("link", [False, True])
def test_verify_decodes_every_image_and_lists_the_bad_ones(damaged, cache, run, num_proc, link):
    root, paths = damaged
    arguments = ["prepare", "--data_path", root, "--category", "bird", "--subset", "easy", "--num_proc", num_proc]
    if link:
        arguments.append("--link")
    status, _, errors = run(*arguments)
    assert status == 2 and len(errors) == 1 and str(paths[2]) in errors[0]
    status, _, errors = run(*arguments, "--verify")
    assert status == 2 and "bird-easy: 3 bad images, named above" in errors[-1]
    named = [next(str(path) for path in paths if str(path) in line) for line in errors[:-1]]
    assert sorted(named) == sorted(map(str, paths))
    assert find_prepared(config_root(None, "bird-easy")) is None


def test_verify_looks_at_what_is_current_too(drawn, cache, damaged):
    root, paths = damaged
    paths[2].write_bytes((drawn / paths[2].relative_to(root)).read_bytes())
    assert prepare(PrepareConfig(str(root), "bird", "easy")).prepared[0].status == "built"
    report = prepare(PrepareConfig(str(root), "bird", "easy", verify=True))
    assert list(report.failed) == ["bird-easy"]
    assert datasets.load_dataset("comp_dd", "bird-easy", split="train").num_rows == 120, "the old data stay"


@pytest.mark.parametrize("num_proc", [1, 2])
def test_links_keep_paths(drawn, cache, num_proc):
    expected = load_comp_dd(drawn, "bird", "easy", (16, 16)).dst_train.tensors()[0]
    prepare(PrepareConfig(str(drawn), "bird", "easy", link=True, num_proc=num_proc))
    folder, record = find_prepared(config_root(None, "bird-easy"))
    assert record.linked and sum(record.files.values()) < 100_000
    train = datasets.load_dataset("comp_dd", "bird-easy", split="train")
    assert train[0]["image"].size == (96, 96) and train[0]["file_name"] == f"{EASY.wnids[0]}_0.JPEG"
    linked = load_comp_dd(None, "bird", "easy", (16, 16)).dst_train
    assert torch.equal(linked.tensors()[0], expected)
    assert {i.status for i in prepare(PrepareConfig(str(drawn), "bird", "easy", link=True)).prepared} == {"current"}
    assert {i.status for i in prepare(PrepareConfig(str(drawn), "bird", "easy")).prepared} == {"replaced"}
    assert not find_prepared(config_root(None, "bird-easy"))[1].linked


def test_links_to_another_copy_stand_in_for_none(drawn, cache, tmp_path):
    """The copy that is given is read, though what links to the other one has the same names and sizes."""
    for name in ("one", "other"):
        shutil.copytree(drawn, tmp_path / name)
    prepare(PrepareConfig(str(tmp_path / "one"), "bird", "easy", link=True))
    expected = load_comp_dd(drawn, "bird", "easy", (16, 16)).dst_train.tensors()[0]
    shutil.rmtree(tmp_path / "one")
    assert torch.equal(load_comp_dd(tmp_path / "other", "bird", "easy", (16, 16)).dst_train.tensors()[0], expected)


def test_links_follow_images_that_were_moved(drawn, cache, tmp_path):
    shutil.copytree(drawn, tmp_path / "before")
    prepare(PrepareConfig(str(tmp_path / "before"), "bird", "easy", link=True))
    (tmp_path / "before").rename(tmp_path / "after")
    report = prepare(PrepareConfig(str(tmp_path / "after"), "bird", "easy", link=True))
    assert report.prepared[0].status == "replaced"
    assert datasets.load_dataset("comp_dd", "bird-easy", split="train")[0]["image"].size == (96, 96)


def test_a_copy_without_a_split_never_replaces_one_that_has_it(drawn, cache, tmp_path, run):
    prepare(PrepareConfig(str(drawn), "bird", "easy"))
    (tmp_path / "val").symlink_to(drawn / "val")
    status, _, errors = run("prepare", "--data_path", tmp_path, "--category", "bird", "--subset", "easy")
    assert status == 2 and "what is prepared has train images" in errors[-1] and "another cache" in errors[-1]
    assert datasets.load_dataset("comp_dd", "bird-easy").num_rows == {"train": 120, "validation": 50}


def test_a_process_that_is_killed(drawn, cache, run, monkeypatch):
    """As the kernel does where memory runs out."""
    monkeypatch.setattr(CompDD, "_table", lambda *args: os.kill(os.getpid(), signal.SIGKILL))
    status, _, errors = run("prepare", "--data_path", drawn, "--category", "bird", "--num_proc", 2)
    assert status == 2 and len(errors) == 1 and "was killed, most likely since memory ran out" in errors[0]


def test_links_to_files_that_are_gone(drawn, cache, tmp_path):
    shutil.copytree(drawn, tmp_path / "i")
    prepare(PrepareConfig(str(tmp_path / "i"), "bird", "easy", link=True))
    shutil.rmtree(tmp_path / "i")
    with pytest.raises(
        InputError, match=f"{tmp_path}/i/val/.*cannot be read .*run prepare again from where the images are now"
    ):
        load_comp_dd(None, "bird", "easy", (16, 16)).dst_test.tensors()


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout not in ("imagefolder", "cls-loc")])
def test_no_links_into_containers(shape, cache, layout, run):
    status, _, errors = run("prepare", "--data_path", shape(layout), "--category", "bird", "--link")
    assert status == 2 and f"stored as {layout}, and only files can be linked; leave link out" in errors[-1]


def test_the_builder_takes_the_same_options(shape, damaged, cache):
    builder = CompDD(config_name="bird-easy", data_dir=str(shape("parquet")), layout="parquet")
    builder.download_and_prepare(num_proc=2)
    assert len(builder.as_dataset("train")) == 120
    assert sum(1 for _ in builder.as_streaming_dataset("validation")) == 50
    with pytest.raises(InputError, match="2 bad images|3 bad images"):
        CompDD(config_name="bird-easy", data_dir=str(damaged[0]), verify=True).download_and_prepare()
    linked = CompDD(config_name="bird-easy", data_dir=str(shape("cls-loc")), link=True)
    linked.download_and_prepare()
    assert linked.as_dataset("train").cast_column("image", datasets.Image(decode=False))[0]["image"]["bytes"] is None


def test_an_unreadable_image_in_a_process_of_its_own(drawn, cache, tmp_path, monkeypatch):
    shutil.copytree(drawn, tmp_path / "i")
    builder = CompDD(config_name="bird-easy", data_dir=str(tmp_path / "i"))
    path = Path(builder.rows["train"][110].file)
    path.unlink()
    with pytest.raises(InputError, match=f"{path}: cannot be read"):
        builder.download_and_prepare(num_proc=2)


def test_a_full_disk(drawn, cache, run, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CompDD, "_table", full)
    for num_proc in (1, 2):
        arguments = ["prepare", "--data_path", drawn, "--category", "bird", "--subset", "easy", "--num_proc", num_proc]
        status, _, errors = run(*arguments)
        assert status == 2 and len(errors) == 1 and "No space left on device" in errors[0]
        assert [path.name for path in cache.glob("comp_dd/.staging/*")] == ["bird-easy.lock"]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Enough images for a run that can be killed in its middle, as a tree and as Parquet shards."""
    root = tmp_path_factory.mktemp("many")
    draw_imagenet(root / "imagenet", "bird", train_images=40, validation_images=2)
    imagenet_layouts.as_parquet(root / "imagenet", root / "parquet", shards=8)
    return root


SLOW_SCRIPT = """
import time

import compdd_eval.data.imagenet.reader as reader
from compdd_eval.__main__ import script
from compdd_eval.data.imagenet import scan_copy as spool

if __name__ == "__main__":
    plain, copy, part = reader.read_bytes, spool._copy, spool.read_part
    reader.read_bytes = lambda path: (time.sleep(0.01), plain(path))[1]
    spool._copy = lambda *arguments: (copy(*arguments), time.sleep(0.3))
    spool.read_part = lambda *arguments: (time.sleep(0.01), part(*arguments))[1]
    script()
"""


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["imagenet", "parquet"])
@pytest.mark.parametrize("num_proc", [1, 2])
def test_killed_at_any_point(many, tmp_path, layout, num_proc):
    """SIGKILL, again and again: what is finished stays usable, nothing else is seen, the last run finishes."""
    cache, slow = tmp_path / "cache", tmp_path / "slow.py"
    slow.write_text(SLOW_SCRIPT)
    arguments = ["prepare", "--data_path", many / layout, "--category", "bird", "--num_proc", num_proc]
    places = {"cwd": tmp_path, "HF_DATASETS_CACHE": str(cache)}
    finished, scans = set(), set()
    for wait in (1, 3, 5):
        child = Forked(slow, *arguments, **places)
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        child.wait()
        scans |= set(cache.glob("comp_dd/.staging/scan-*/*.json"))
        for name in ("bird-easy", "bird-hard"):
            found = find_prepared(config_root(cache, name))
            assert found is not None or name not in finished
            if found is not None:
                finished.add(name)
                assert found[1].images == {"train": 400, "validation": 20}
    assert layout != "parquet" or scans
    done = forked("-m", "compdd_eval", *arguments, **places)
    assert done.returncode == 0, done.stderr
    code = "import datasets; print([datasets.load_dataset('comp_dd', f'bird-{d}').num_rows for d in ('easy', 'hard')])"
    done = forked("-c", code, **places)
    assert json.loads(done.stdout.replace("'", '"')) == [{"train": 400, "validation": 20}] * 2
    left = [path.name for path in cache.glob("comp_dd/.staging/*") if path.is_dir()]
    assert left == []


@pytest.mark.parametrize("layout", ["imagefolder", "parquet"])
def test_two_runs_at_the_same_time(shape, tmp_path, layout):
    command = ["-m", "compdd_eval", "prepare", "--category", "bird", "--data_path", shape(layout)]
    runs = [Forked(*command, cwd=tmp_path, HF_DATASETS_CACHE=str(tmp_path / "cache")) for _ in range(2)]
    printed = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum(text.count("current") + text.count("built") for text in printed) >= 4
    assert find_prepared(config_root(tmp_path / "cache", "bird-hard"))[1].images == {"train": 120, "validation": 50}


def test_interrupted_by_the_keyboard(drawn, cache, run, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("compdd_eval.data.imagenet.image_checks.image_problem", stop)
    status, _, errors = run("prepare", "--data_path", drawn, "--category", "bird", "--subset", "easy")
    assert status == 130
    assert [path.name for path in cache.glob("comp_dd/.staging/*")] == ["bird-easy.lock"]


@pytest.mark.parametrize("layout", ["imagenet", "parquet"])
@pytest.mark.parametrize(("num_proc", "more"), [(1, []), (2, []), (4, ["--subset", "easy"])])
def test_interrupted_from_a_terminal(many, tmp_path, layout, num_proc, more):
    """Ctrl-C goes to every process: one line, no traceback, nothing left but what is finished."""
    cache, slow = tmp_path / "cache", tmp_path / "slow.py"
    slow.write_text(SLOW_SCRIPT)
    command = ["prepare", "--data_path", many / layout, "--category", "bird", "--num_proc", num_proc, *more]
    child = Forked(slow, *command, cwd=tmp_path, session=True, HF_DATASETS_CACHE=str(cache))
    staging = cache / "comp_dd/.staging"
    deadline = time.monotonic() + 60
    while not list(staging.glob("bird-*.*/built*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGINT)
    errors = child.communicate(timeout=60)[1]
    assert child.returncode == 130 and "Traceback" not in errors, errors
    assert "interrupted; what is finished is kept" in errors
    assert not [path for path in staging.glob("bird-*") if path.is_dir()]
    assert bool([path for path in staging.glob("scan-*") if path.is_dir()]) == (layout == "parquet")
    with pytest.raises(ProcessLookupError):  # the last helper of multiprocessing needs a moment to see the end
        while time.monotonic() < deadline + 60:
            os.killpg(child.pid, 0)
            time.sleep(0.05)


def test_a_process_that_is_told_to_end_waits_for_no_other_task(monkeypatch):
    """A pool takes what ends a task for its result, and the main process would wait for the pool."""
    monkeypatch.setattr("compdd_eval.utils.worker_pool._CLEANING", 0.1)
    with processes(1) as pool:
        pid = pool.submit(os.getpid).result()
        (process,) = [child for child in multiprocessing.active_children() if child.pid == pid]
        assert isinstance(pool.submit(signal.raise_signal, signal.SIGTERM).exception(), SystemExit)
        deadline = time.monotonic() + 30
        while process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not process.is_alive()


def test_bad_flags(drawn, cache, run):
    for flags, message in [
        (["--num_proc", "0"], "--num_proc 0: expected a number of processes from 1"),
        (["--num_proc", "100000"], "--num_proc 100000: expected"),
        (["--layout", "tars"], "unknown value of --layout 'tars'"),
        (["--layout", "archives"], "no archive of images here"),
    ]:
        status, _, errors = run("prepare", "--data_path", drawn, *flags)
        assert status == 2 and len(errors) == 1 and message in errors[0], errors


def test_an_archive_whose_subsets_are_partly_there(drawn, tmp_path, cache):
    """A class archive that is missing makes its subset absent, and the other is built."""
    root = imagenet_layouts.as_archives(drawn, tmp_path / "a", devkit=False)
    whole = root / "ILSVRC2012_img_train.tar"
    with tarfile.open(whole) as old, tarfile.open(tmp_path / "new.tar", "w") as new:
        for member in old:
            if member.name != f"{HARD.wnids[4]}.tar":
                new.addfile(member, old.extractfile(member))
    os.replace(tmp_path / "new.tar", whole)
    report = prepare(PrepareConfig(str(root), "bird"))
    assert [item.subset.name for item in report.prepared] == ["bird-easy"]
    assert report.absent == {"bird-hard": "classes are missing: 1 of 10 in train"}


def test_copies_of_a_run_that_was_killed_after_building(run, shape, cache):
    """The next run has nothing to build, and takes them away."""
    arguments = ["prepare", "--category", "bird", "--data_path", shape("parquet")]
    assert run(*arguments)[0] == 0
    left = cache / "comp_dd/.staging/scan-0123456789abcdef"
    left.mkdir()
    (left / "copy").write_bytes(b"x")
    left.with_suffix(".lock").touch()
    assert run(*arguments)[0] == 0 and not left.exists()
