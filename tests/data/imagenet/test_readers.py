import logging
import os
import shutil

import pytest

from compdd_eval.data.imagenet.hub_files import HubFiles, parse_address
from compdd_eval.data.imagenet.image_checks import image_problem
from compdd_eval.data.imagenet.open import open_source
from compdd_eval.data.imagenet.reader import subset_rows
from compdd_eval.data.imagenet.rows import official_name, rows_digest
from compdd_eval.data.subsets import load_subset
from compdd_eval.utils.errors import InputError
from tests.conftest import save_image

FISH = load_subset("fish-easy")


COMMIT = "0123456789" * 4
HUB = "https://huggingface.co/datasets"


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("a/b", f"{HUB}/a/b"),
        ("a/b/c d", f"{HUB}/a/b/tree/main/c%20d"),
        (f"hf://datasets/a/b/c/d@{COMMIT}", f"{HUB}/a/b/tree/{COMMIT}/c/d"),
        ("https://hf.co/datasets/a/b/tree/refs%2Fpr%2F1/c", f"{HUB}/a/b/tree/refs%2Fpr%2F1/c"),
        ("https://mine.org/hub/datasets/a/b/blob/v1/c", f"{HUB}/a/b/tree/v1/c"),
        ("https://mine.org/datasets/a/b", f"{HUB}/a/b"),
        ("https://evil.com/datasets/a/b", None),
        ("https://huggingface.co.evil.com/datasets/a/b", None),
        ("https://huggingface.co@evil.com/datasets/a/b", None),
        ("https://[", None),
    ],
)
def test_addresses_of_the_hub(text, page, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://mine.org/hub")
    address = parse_address(text)
    assert (address and address.page) == page
    assert page is None or parse_address(page).page == page


def test_a_mistyped_folder_is_named_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "data/imagenet").mkdir(parents=True)
    with pytest.raises(InputError, match="^data/imagenet/ILSVRC: no such folder .*/data/imagenet/ILSVRC., and the Hub"):
        HubFiles("data/imagenet/ILSVRC")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n01440764_10026.JPEG", "n01440764_10026.JPEG"),
        ("n01440764_10026_n01440764.JPEG", "n01440764_10026.JPEG"),
        ("n01440764_10026.jpg", "n01440764_10026.JPEG"),
        ("ILSVRC2012_val_00000293_n01440764.jpeg", "ILSVRC2012_val_00000293.JPEG"),
        ("val_12.JPEG", "val_12.JPEG"),
        ("my.photo.png", "my.photo.png"),
    ],
)
def test_official_names(name, expected):
    assert official_name(name, "n01440764") == expected


def test_rows_are_ordered_by_label_and_official_name(odd):
    source = open_source(odd)
    assert source.splits == ("train", "validation")
    rows = subset_rows(source, FISH, "train")
    assert [row.wnid for row in rows[::4]] == FISH.wnids
    first = FISH.wnids[0]
    expected = [f"{first}_10.JPEG", f"{first}_100.JPEG", f"{first}_2.JPEG", f"{first}_9.JPEG"]
    assert [row.file_name for row in rows[:4]] == expected
    assert all(row.size == len(source.read(row)) for row in rows)


def test_only_the_folders_of_the_subset_are_listed(odd, tmp_path):
    root = tmp_path / "imagenet"
    shutil.copytree(odd, root)
    (root / "train/n99999999").mkdir()
    (root / "train/n99999999").chmod(0)
    assert len(subset_rows(open_source(root), FISH, "train")) == 40


def test_digest_tells_copies_apart_but_not_places(odd, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(odd, copy)

    def digest(root):
        return rows_digest(subset_rows(open_source(root), FISH, "train"))

    assert digest(odd) == digest(copy)
    assert rows_digest(reversed(subset_rows(open_source(odd), FISH, "train"))) == digest(odd)
    file = copy / f"train/{FISH.wnids[0]}/{FISH.wnids[0]}_9.jpg"
    file.write_bytes(file.read_bytes() + b"\0")
    assert digest(odd) != digest(copy)


def test_environment_variable(odd, monkeypatch):
    monkeypatch.setenv("COMP_DD_IMAGENET", str(odd))
    assert open_source(None).root == str(odd)
    monkeypatch.setenv("COMP_DD_IMAGENET", str(odd / "nowhere"))
    with pytest.raises(InputError, match="no such folder .from COMP_DD_IMAGENET"):
        open_source(None)
    monkeypatch.delenv("COMP_DD_IMAGENET")
    with pytest.raises(InputError, match="https://image-net.org"):
        open_source(None)


def test_wrong_level_of_the_tree(odd):
    with pytest.raises(InputError, match=f"give the folder above it, {odd}"):
        open_source(odd / "train")
    with pytest.raises(InputError, match=f"did you mean {odd}"):
        open_source(odd.parent)


@pytest.mark.parametrize("names", [("val", "validation"), ("val", "valid"), ("valid", "validation")])
def test_two_validation_folders(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"holds both {names[0]}/ and {names[1]}/; keep one of them"):
        open_source(tmp_path)


def test_unsorted_validation_images(tmp_path):
    save_image(tmp_path / "val/ILSVRC2012_val_00000001.JPEG", 1)
    with pytest.raises(InputError, match="unsorted .*LOC_val_solution.csv .*or ILSVRC2012_devkit_t12.tar.gz"):
        subset_rows(open_source(tmp_path), FISH, "validation")


def test_the_same_image_twice(odd, tmp_path):
    shutil.copytree(odd, tmp_path / "i")
    folder = tmp_path / "i/train" / FISH.wnids[2]
    shutil.copy(folder / f"{FISH.wnids[2]}_9.jpg", folder / f"{FISH.wnids[2]}_9.JPEG")
    with pytest.raises(InputError, match=r"_9\.(jpg|JPEG) and .*: the same image"):
        subset_rows(open_source(tmp_path / "i"), FISH, "train")


def test_other_files_are_reported_and_dangling_links_refused(odd, tmp_path, caplog):
    shutil.copytree(odd, tmp_path / "i")
    folder = tmp_path / "i/train" / FISH.wnids[0]
    (folder / "notes.txt").write_text("x")
    with caplog.at_level(logging.WARNING, "compdd_eval"):
        logging.getLogger("compdd_eval").propagate = True
        assert len(subset_rows(open_source(tmp_path / "i"), FISH, "train")) == 40
    assert "notes.txt" in caplog.text
    (folder / "gone.JPEG").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="gone.JPEG: a link that leads nowhere"):
        subset_rows(open_source(tmp_path / "i"), FISH, "train")


def test_cheap_check_of_images(odd):
    source = open_source(odd)
    for split in source.splits:
        for row in subset_rows(source, FISH, split):
            data = source.read(row)
            assert image_problem(data) is None  # greyscale, CMYK, PNG named JPEG, padding: all fine
            assert image_problem(data, decode=True) is None
    data = data.rstrip(b"\0")
    for broken, message in [(b"", "empty"), (b"plain text", "not an image"), (data[: len(data) // 2], "cut off")]:
        assert message in image_problem(broken)
    damaged = data[:300] + bytes(len(data) - 302) + data[-2:]  # whole by its ends
    assert image_problem(damaged) is None and "damaged" in image_problem(damaged, decode=True)


def test_an_image_of_another_class_is_refused(odd, tmp_path):
    shutil.copytree(odd, tmp_path / "i")
    first, second = (tmp_path / "i/train" / wnid for wnid in FISH.wnids[:2])
    first.rename(tmp_path / "x")
    second.rename(first)
    with pytest.raises(InputError, match=f"image of class {FISH.wnids[1]} among those of {FISH.wnids[0]}"):
        subset_rows(open_source(tmp_path / "i"), FISH, "train")


def test_a_file_that_changes_after_it_was_listed(odd, tmp_path):
    shutil.copytree(odd, tmp_path / "i")
    source = open_source(tmp_path / "i")
    row = source.rows("train", FISH.wnids[0])[0]
    with open(row.location, "ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match="bytes long when listed"):
        source.read(row)
    os.unlink(row.location)
    with pytest.raises(InputError, match="cannot be read"):
        source.read(row)
