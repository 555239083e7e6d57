"""`comp_dd.py` as a loading script of `datasets` 3.6, in an environment without torch and without this package."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from compdd_eval.data.imagenet.open import open_source
from compdd_eval.data.imagenet.reader import subset_rows
from compdd_eval.data.prepared import config_root, find_prepared
from compdd_eval.data.subsets import load_subset, subset_names
from tests.conftest import ROOT, save_image
from tests.support import imagenet_layouts

pytestmark = pytest.mark.slow

LAST_WITH_SCRIPTS = ["datasets==3.6.0", "huggingface-hub==0.36.2", "pillow", "filelock"]
EASY = load_subset("bird-easy")
PREAMBLE = f"""
import hashlib, json, sys
import datasets

def load(*args, **kwargs):
    return datasets.load_dataset({str(ROOT / "comp_dd.py")!r}, *args, trust_remote_code=True, **kwargs)

def rows_of(data):
    raw = data.cast_column("image", datasets.Image(decode=False))
    sums = [hashlib.sha256(row["image"]["bytes"]).hexdigest() for row in raw]
    return [[row["label"], row["wnid"], row["file_name"], digest] for row, digest in zip(raw, sums)]
"""


def make_environment(folder: Path, requirements: list[str]) -> Path:
    """Make a virtual environment and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    executable = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(executable), "install", "--quiet"]
    subprocess.run([*pip, *requirements], check=True)
    return executable


def clean(**changes: str) -> dict[str, str]:
    """Environment variables without a path to this checkout."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **changes}


@pytest.fixture(scope="module")
def old_python(tmp_path_factory) -> Path:
    """Python with the last `datasets` that runs loading scripts; neither torch nor this package is installed."""
    return make_environment(tmp_path_factory.mktemp("old") / "venv", LAST_WITH_SCRIPTS)


@pytest.fixture
def old(old_python, tmp_path):
    """Run code where `load` calls the script: returns what was printed as JSON, or the text of a failure."""

    def call(code: str, cwd: Path = tmp_path) -> object:
        places = {"HF_HOME": str(tmp_path / "home"), "HF_DATASETS_CACHE": str(tmp_path / "cache")}
        (tmp_path / "code.py").write_text(PREAMBLE + code)  # a file, since processes of a build import it again
        command = [str(old_python), str(tmp_path / "code.py")]
        done = subprocess.run(command, cwd=cwd, env=clean(**places), capture_output=True, text=True, timeout=300)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    return call


def expected_rows(root: Path, split: str) -> list[list]:
    source, labels = open_source(root), {c.wnid: c.label for c in EASY.classes}
    rows = subset_rows(source, EASY, split)
    sums = [hashlib.sha256(source.read(row)).hexdigest() for row in rows]
    return [[labels[row.wnid], row.wnid, row.file_name, digest] for row, digest in zip(rows, sums, strict=True)]


@pytest.mark.parametrize("layout", ["imagefolder", "parquet"])
def test_the_script_gives_the_rows_of_the_builder(old, drawn, tmp_path, layout):
    root = imagenet_layouts.as_parquet(drawn, tmp_path / "shards") if layout == "parquet" else drawn
    found = old(f"""
if __name__ == "__main__":
    data = load("bird-easy", data_dir={str(root)!r})
    image = data["train"][0]["image"]
    print(json.dumps({{
        "version": datasets.__version__,
        "rows": {{split: rows_of(part) for split, part in data.items()}},
        "names": data["train"].features["label"].names,
        "imagenet_labels": sorted(set(data["train"]["imagenet_label"])),
        "image": [image.mode, image.size],
    }}))
""")
    assert found == {
        "version": "3.6.0",
        "rows": {split: expected_rows(drawn, split) for split in ("train", "validation")},
        "names": EASY.label_names,
        "imagenet_labels": sorted(c.imagenet_index for c in EASY.classes),
        "image": ["RGB", [96, 96]],
    }


def test_splits_streams_processes_and_the_cache_of_the_script(old, drawn, tmp_path):
    arguments = f'"bird-easy", data_dir={str(drawn)!r}'
    found = old(f"""
import os
if __name__ == "__main__":
    part = load({arguments}, split="train[:10%]")
    stamp = os.stat(part.cache_files[0]["filename"]).st_mtime_ns
    again = load({arguments}, split="validation")
    stream = load({arguments}, split="train", streaming=True)
    prepared = load("bird-easy")
    kept = os.stat(part.cache_files[0]["filename"]).st_mtime_ns == stamp
    shared = load({arguments}, split="train", num_proc=2, download_mode="force_redownload")
    print(json.dumps([len(part), again.num_rows, [r["label"] for r in stream], prepared.num_rows, kept,
                      [f["filename"] for f in shared.cache_files], rows_of(shared)]))
""")
    part, validation, stream, prepared, kept, files, rows = found
    assert (part, validation, prepared, kept) == (12, 50, {"train": 120, "validation": 50}, True)
    assert stream == [label for label in range(10) for _ in range(12)]
    assert len(files) == 2 and rows == expected_rows(drawn, "train")
    folder, _ = find_prepared(config_root(tmp_path / "cache", "bird-easy"))
    assert {Path(file).parent for file in files} == {folder}


def test_what_the_script_prepared_is_found_by_name(old, drawn, tmp_path, cache):
    """In another process, which has the copy of the script alone, in a folder that holds one named as ours."""
    rows = f'print(json.dumps(rows_of(load("bird-easy", data_dir={str(drawn)!r}, split="train"))))'
    assert len(old(rows)) == 120
    (tmp_path / "elsewhere/compdd_eval").mkdir(parents=True)
    by_name = 'print(json.dumps(rows_of(datasets.load_dataset("comp_dd", "bird-easy", split="train"))))'
    code = f"import os; sys.path.insert(0, os.getcwd())\n{by_name}"
    assert old(code, cwd=tmp_path / "elsewhere") == expected_rows(drawn, "train")
    assert datasets.load_dataset("comp_dd", "bird-easy", split="train").num_rows == 120  # by this version, too


def test_ten_classes_of_the_script(old, drawn):
    wnids = EASY.wnids[::-1]
    found = old(f"""
one = load(classes={wnids}, data_dir={str(drawn)!r}, split="train")
other = load(classes={",".join(wnids)!r}, data_dir={str(drawn)!r}, split="train")
again = load(classes={wnids}, split="train")
print(json.dumps([one.info.config_name, one[0]["wnid"], other.cache_files == one.cache_files, again.num_rows]))
""")
    assert found == [load_subset(None, classes=wnids).name, wnids[0], True, 120]


def test_published_music_hard_of_the_script(old, tmp_path):
    for wnid in load_subset("music-hard").wnids:
        save_image(tmp_path / f"i/train/{wnid}/{wnid}_1.JPEG", 1)
    found = old(f"""
sizes = {{}}
for published in (True, False):
    data = load("music-hard", published=published, data_dir={str(tmp_path / "i")!r}, split="train")
    sizes[data.features["label"].names[0]] = data.num_rows
print(json.dumps(sizes))
""")
    assert found == {"unused label 0": 9, "bassoon": 10}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('"bird-easy"', "no ImageNet given.*image-net.org.*COMP_DD_IMAGENET"),
        ('"bird-easy", data_dir="nowhere"', "nowhere: no such folder"),
        ('"bird-easy", data_dir=ROOT, layout="tar"', "unknown layout 'tar'"),
        ('"dog-hard", data_dir=ROOT', f"{load_subset('dog-hard').wnids[0]}: this class folder is missing"),
        ('"brid-easy", data_dir=ROOT', "unknown subset 'brid-easy'; did you mean 'bird-easy'"),
        ('"nete", data_dir=ROOT', "unknown subset 'nete'; did you mean 'nette'"),
        ('"nette", data_dir=ROOT', f"{load_subset('nette').wnids[0]}: this class folder is missing"),
        ('classes="nette", published=True', "classes and published: give one of them"),
        ("data_dir=ROOT", ".*".join(subset_names())),
    ],
)
def test_bad_arguments_of_the_script(old, drawn, arguments, message):
    failure = old(f"ROOT = {str(drawn)!r}\nload({arguments})")
    assert re.search(message, failure.splitlines()[-1]), failure


@pytest.mark.parametrize("num_proc", [1, 2])
def test_bad_images_of_the_script(old, drawn, tmp_path, num_proc):
    root = shutil.copytree(drawn, tmp_path / "i")
    first, second = (next((root / "train" / wnid).iterdir()) for wnid in (EASY.wnids[0], EASY.wnids[9]))
    code = f"if __name__ == '__main__': load('bird-easy', data_dir={str(root)!r}, num_proc={num_proc})"
    first.write_bytes(b"")
    assert f"{first}: the file is empty" in old(code).splitlines()[-1]
    second.write_text("a text file")
    failure = old(code)
    assert f"{first}: the file is empty" in failure and f"{second}: not an image" in failure
    assert "bird-easy: 2 bad images" in failure.splitlines()[-1]
    assert find_prepared(config_root(tmp_path / "cache", "bird-easy")) is None
