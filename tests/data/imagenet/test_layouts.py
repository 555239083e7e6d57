"""The five shapes of ImageNet: the same rows in the same order, and what is said of a copy that is not whole."""

import hashlib
import io
import logging
import pickle
import re
import shutil
import tarfile
from concurrent import futures

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compdd_eval.commands.export import export
from compdd_eval.config.export import ExportConfig
from compdd_eval.data.choices import LAYOUTS
from compdd_eval.data.imagenet import scan_copy
from compdd_eval.data.imagenet.image_checks import read_checked
from compdd_eval.data.imagenet.open import open_source
from compdd_eval.data.imagenet.reader import subset_rows
from compdd_eval.data.imagenet.scan_copy import scan_copied
from compdd_eval.data.splits import load_comp_dd
from compdd_eval.data.subsets import load_subset
from compdd_eval.utils.errors import InputError
from tests.conftest import save_image
from tests.support import imagenet_layouts
from tests.support.forked import forked
from tests.support.hub_stand_in import Blob, Err, Repo

EASY, HARD = load_subset("bird-easy"), load_subset("bird-hard")


@pytest.fixture(scope="session")
def five(tmp_path_factory, drawn):
    """Layout -> the drawn birds in that layout."""
    root = tmp_path_factory.mktemp("five")
    made = {name: shape(drawn, root / name) for name, shape in imagenet_layouts.SHAPES.items() if shape}
    return {"imagefolder": drawn, **made}


@pytest.fixture
def copy(five, tmp_path):
    """Copy one of the shapes, to be damaged."""
    return lambda layout: shutil.copytree(five[layout], tmp_path / layout)


def digest_of_all_rows(source, subsets=(EASY, HARD)):
    """Over split, class, official name and bytes of every row, in their order."""
    digest = hashlib.sha256()
    for subset in subsets:
        for split in ("train", "validation"):
            rows = subset_rows(source, subset, split)
            images = dict(source.read_many(rows))
            for position, row in enumerate(rows):
                digest.update(f"{split} {row.wnid} {row.file_name} ".encode() + images[position])
    return digest.hexdigest()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_rows_in_the_same_order(five, layout):
    source = open_source(five[layout])
    assert (source.layout, source.splits) == (layout, ("train", "validation"))
    expected = digest_of_all_rows(open_source(five["imagefolder"]))
    assert digest_of_all_rows(source) == expected
    assert digest_of_all_rows(open_source(five[layout], layout, num_proc=2)) == expected
    rows = subset_rows(source, EASY, "train")
    again = pickle.loads(pickle.dumps(source))
    assert again.read(rows[17]) == source.read(rows[17]) and again.rows("train", EASY.wnids[0]) == rows[:12]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_every_name_of_the_validation_folder(drawn, five, copy, tmp_path, name):
    """Class folders, the competition's unsorted images, shards in a folder of the split."""
    expected = digest_of_all_rows(open_source(drawn))
    folders, tree = copy("imagefolder"), copy("cls-loc")
    if name != "val":
        (folders / "val").rename(folders / name)
        (tree / "ILSVRC/Data/CLS-LOC/val").rename(tree / "ILSVRC/Data/CLS-LOC" / name)
    shards = tmp_path / "shards"
    for split, folder in (("train", "train"), ("validation", name)):
        (shards / folder).mkdir(parents=True)
        for number, path in enumerate(sorted(five["parquet"].rglob(f"{split}-*.parquet"))):
            shutil.copy(path, shards / folder / f"{number}.parquet")
    for root in (folders, tree, shards):
        assert digest_of_all_rows(open_source(root)) == expected, root
    with pytest.raises(InputError, match=f"give the folder above it, {folders}"):
        open_source(folders / name)
    (folders / name).rename(tmp_path / "moved")
    (folders / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=f"{folders / name}: a link that leads nowhere"):
        open_source(folders)


def test_odd_files_are_the_same_in_all_shapes(odd, tmp_path):
    """Greyscale, CMYK, PNG named JPEG, names of the Hub's copy, padding after the end."""
    fish = load_subset("fish-easy")
    expected = digest_of_all_rows(open_source(odd), [fish])
    for name, shape in imagenet_layouts.SHAPES.items():
        if shape:
            assert digest_of_all_rows(open_source(shape(odd, tmp_path / name)), [fish]) == expected, name


def test_the_digest_tells_images_and_names_apart(copy):
    root = copy("imagefolder")
    expected = digest_of_all_rows(open_source(root))
    folder = root / "train" / EASY.wnids[3]
    first, second = sorted(folder.iterdir())[:2]
    first.rename(folder / "x"), second.rename(first), (folder / "x").rename(second)
    assert digest_of_all_rows(open_source(root)) != expected


@pytest.mark.parametrize("level", [".", "ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"])
def test_the_competition_layout_at_any_level(five, level):
    source = open_source(five["cls-loc"] / level)
    assert source.layout == "cls-loc" and len(subset_rows(source, HARD, "validation")) == 50


def test_labels_of_the_devkit_and_of_kaggle(drawn, five, tmp_path):
    expected = digest_of_all_rows(open_source(drawn))
    assert (
        digest_of_all_rows(open_source(imagenet_layouts.as_competition(drawn, tmp_path / "a", devkit=True))) == expected
    )
    root = imagenet_layouts.as_archives(drawn, tmp_path / "b", devkit=False)
    assert digest_of_all_rows(open_source(root)) == expected
    (root / "LOC_val_solution.csv").unlink()
    with tarfile.open(five["archives"] / "ILSVRC2012_devkit_t12.tar.gz") as archive:
        archive.extractall(root, filter="data")
    assert digest_of_all_rows(open_source(root)) == expected


def test_unsorted_validation_images_beside_class_folders(drawn, tmp_path):
    """A tree that is ImageFolder but for its validation images, with the labels beside it."""
    shutil.copytree(imagenet_layouts.as_competition(drawn, tmp_path / "a") / "ILSVRC/Data/CLS-LOC", tmp_path / "mine")
    (tmp_path / "mine/test").rmdir()
    with pytest.raises(InputError, match="val: holds unsorted images .* no labels .*devkit"):
        open_source(tmp_path / "mine")
    shutil.copy(tmp_path / "a/LOC_val_solution.csv", tmp_path / "mine")
    assert digest_of_all_rows(open_source(tmp_path / "mine")) == digest_of_all_rows(open_source(drawn))


def test_sorted_validation_images_in_the_competition_tree(drawn, tmp_path):
    tree = tmp_path / "ILSVRC/Data/CLS-LOC"
    shutil.copytree(drawn, tree)
    for level in (tmp_path, tree):
        source = open_source(level)
        assert source.layout == "cls-loc" and digest_of_all_rows(source) == digest_of_all_rows(open_source(drawn))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_classes_are_not_read(five, layout, tmp_path):
    """What is wrong with a class that no one asked for does no harm."""
    root = shutil.copytree(five[layout], tmp_path / "i")
    other = HARD.wnids[0]
    if layout == "archives":
        with tarfile.open(root / "ILSVRC2012_img_train.tar") as archive:
            start = archive.getmember(f"{other}.tar").offset_data
        with open(root / "ILSVRC2012_img_train.tar", "r+b") as file:
            file.seek(start)
            file.write(b"\xff" * 512)
    elif layout in ("imagefolder", "cls-loc"):
        shutil.rmtree(next(root.rglob(f"train/{other}")))
    source = open_source(root)
    assert digest_of_all_rows(source, [EASY]) == digest_of_all_rows(open_source(five["imagefolder"]), [EASY])


def test_only_row_groups_with_needed_rows_are_read(five, monkeypatch):
    source = open_source(five["parquet"])
    rows = subset_rows(source, EASY, "train")[:1]
    read = []
    original = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda self, *args, **kwargs: read.append(kwargs) or original(self, *args, **kwargs),
    )
    assert len(dict(source.read_many(rows))) == 1
    assert len(read) == 1 and len(read[0]["row_groups"]) == 1 and read[0]["columns"] == ["image.bytes"]


def test_names_of_members_are_never_paths(drawn, tmp_path):
    """A hostile archive: absolute names, names that climb, links, devices."""
    root = imagenet_layouts.as_archives(drawn, tmp_path / "a", devkit=False)
    wnid, image = EASY.wnids[0], next((drawn / "train" / EASY.wnids[0]).iterdir()).read_bytes()
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        for name in (f"/etc/{wnid}_1.JPEG", f"../../{wnid}_2.JPEG", f"a\\..\\{wnid}_3.JPEG"):
            imagenet_layouts.add(archive, name, image)
        link = tarfile.TarInfo(f"{wnid}_4.JPEG")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with tarfile.open(root / "ILSVRC2012_img_train.tar", "w") as outer:
        imagenet_layouts.add(outer, f"../{wnid}.tar", inner.getvalue())
    rows = open_source(root).rows("train", wnid)
    assert [row.file_name for row in rows] == [f"{wnid}_{number}.JPEG" for number in (1, 2, 3)]
    assert {row.file for row in rows} == {str(root / "ILSVRC2012_img_train.tar")}


def test_wrong_guesses_and_flags(five, tmp_path):
    with pytest.raises(InputError, match="unknown layout 'tar'"):
        open_source(five["archives"], "tar")
    with pytest.raises(InputError, match="no folder train/ or val/ here; expected train/<WordNet id>"):
        open_source(five["archives"], "imagefolder")
    with pytest.raises(InputError, match=r"expected ILSVRC2012_img_train.tar, .*devkit"):
        open_source(five["imagefolder"], "archives")
    for layout in ("parquet", "webdataset"):
        with pytest.raises(InputError, match="no .*shards"):
            open_source(five["imagefolder"], layout)
    with pytest.raises(InputError, match="no competition layout here"):
        open_source(five["parquet"], "cls-loc")
    with pytest.raises(InputError, match=f"give {five['archives']}"):
        open_source(five["archives"] / "ILSVRC2012_img_train.tar")
    with pytest.raises(InputError, match=f"give the folder above it, {five['imagefolder']}"):
        open_source(five["imagefolder"] / "val")
    assert open_source(five["parquet"] / "data").splits == ("train", "validation")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found: nothing.*imagefolder: .*webdataset: "):
        open_source(tmp_path / "empty")


def test_two_layouts_in_one_folder(five, copy):
    root = copy("archives")
    shutil.copytree(five["imagefolder"] / "train", root / "train")
    with pytest.raises(InputError, match="a mixture of layouts: imagefolder .train/. and archives .*--layout archives"):
        open_source(root)
    assert open_source(root, "archives").splits == ("train", "validation")
    assert open_source(root, "imagefolder").splits == ("train",)


def test_a_half_sorted_validation_folder(copy):
    root = copy("cls-loc")
    val = root / "ILSVRC/Data/CLS-LOC/val"
    save_image(val / EASY.wnids[0] / "ILSVRC2012_val_00000007.JPEG", 1)
    with pytest.raises(InputError, match="a mixture of 1 class folders .* and unsorted images"):
        open_source(root)


def test_a_half_extracted_training_archive(copy):
    root = copy("imagefolder")
    for wnid in EASY.wnids[:2]:
        (root / "train" / f"{wnid}.tar").write_bytes(b"")
    assert open_source(root).splits  # archives beside their folders do no harm
    shutil.rmtree(root / "train" / EASY.wnids[1])
    with pytest.raises(InputError, match=rf"half-extracted: 1 class archives \({EASY.wnids[1]}.tar"):
        open_source(root)


@pytest.mark.parametrize(
    ("layout", "gone", "message"),
    [
        (
            "cls-loc",
            "LOC_val_solution.csv",
            "no labels for them; expected LOC_val_solution.csv .*Kaggle.*image-net.org",
        ),
        ("archives", "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_val.tar: holds unsorted images and no labels"),
    ],
)
def test_missing_labels(copy, layout, gone, message):
    root = copy(layout)
    (root / gone).unlink()
    with pytest.raises(InputError, match=message):
        open_source(root)


def test_labels_without_images(copy):
    root = copy("archives")
    for name in ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"):
        (root / name).unlink()
    with pytest.raises(InputError, match="only labels .*images are missing: ILSVRC2012_img_train.tar"):
        open_source(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2 3 4\n", "has no label for this image"),
        ("ImageId,PredictionString\n", "not Kaggle's table"),
        ("a,b\n1,2\n", "not Kaggle's table"),
        ("ImageId,PredictionString\nILSVRC2012_val_00000001,\n", "not Kaggle's table"),
        ("\0\xff", "not Kaggle's table"),
        (
            'ImageId,PredictionString\n"ILSVRC2012_val_00000001,n01440764 1 2 3 4\n' + "x" * 200_000,
            "not Kaggle's table",
        ),
        (
            "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1\nILSVRC2012_val_00000001,n01443537 1\n",
            "two labels for ILSVRC2012_val_00000001, n01440764 and n01443537",
        ),
    ],
)
def test_a_bad_table_of_labels(copy, content, message):
    root = copy("cls-loc")
    (root / "LOC_val_solution.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        subset_rows(open_source(root), EASY, "validation")


def test_a_table_from_another_editor(copy, five):
    """With a mark of byte order, Windows line ends and spaces."""
    root = copy("cls-loc")
    table = root / "LOC_val_solution.csv"
    lines = [line.replace(",", " , ") for line in table.read_text().splitlines()[1:]]
    table.write_bytes("\r\n".join(["\ufeffImageId,PredictionString", *lines]).encode())
    assert digest_of_all_rows(open_source(root)) == digest_of_all_rows(open_source(five["imagefolder"]))


def test_a_link_to_the_competition_tree(five, tmp_path):
    """The labels lie above what the link leads to."""
    (tmp_path / "mine").symlink_to(five["cls-loc"] / "ILSVRC/Data/CLS-LOC")
    assert len(subset_rows(open_source(tmp_path / "mine"), EASY, "validation")) == 50


def test_splits_in_two_places(copy):
    root = copy("cls-loc")
    (root / "ILSVRC/Data/CLS-LOC/train").rename(root / "train")
    with pytest.raises(InputError, match="a mixture: .*/train and .*CLS-LOC/val"):
        open_source(root)


def test_a_link_to_a_split_that_leads_nowhere(drawn, tmp_path):
    (tmp_path / "val").symlink_to(drawn / "val")
    (tmp_path / "train").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="train: a link that leads nowhere"):
        open_source(tmp_path)


def test_an_archive_that_was_compressed(copy):
    root = copy("archives")
    (root / "ILSVRC2012_img_train.tar").rename(root / "ILSVRC2012_img_train.tar.gz")
    with pytest.raises(
        InputError, match="ILSVRC2012_img_train.tar.gz: is compressed, expected ILSVRC2012_img_train.tar"
    ):
        open_source(root)


@pytest.mark.parametrize("where", [0.5, 0.9])
def test_a_class_archive_that_is_cut_in_an_archive_that_is_whole(copy, where):
    """Its last image would reach into the next class."""
    root = copy("archives")
    with tarfile.open(root / "ILSVRC2012_img_train.tar") as archive:
        contents = {member.name: archive.extractfile(member).read() for member in archive}
    cut = contents[f"{EASY.wnids[0]}.tar"]
    for length in (int(len(cut) * where), int(len(cut) * where) // 512 * 512):
        contents[f"{EASY.wnids[0]}.tar"] = cut[:length]
        with tarfile.open(root / "ILSVRC2012_img_train.tar", "w") as archive:
            for name, data in contents.items():
                imagenet_layouts.add(archive, name, data)
        with pytest.raises(InputError, match="download ILSVRC2012_img_train.tar again"):
            open_source(root).rows("train", EASY.wnids[0])


@pytest.mark.parametrize("layout", ["parquet", "webdataset"])
@pytest.mark.parametrize("above", [".", "data", "default"])
def test_shards_in_folders_of_their_split(five, tmp_path, layout, above):
    for number, path in enumerate([*five[layout].rglob("*.parquet"), *five[layout].rglob("*.tar")]):
        split = next(split for split in ("train", "validation", "test") if split in path.name)
        target = tmp_path / "test_of_train" / above / split / f"{number:04}{path.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    target.with_name(f"._{target.name}").write_bytes(b"left by a file manager")
    source = open_source(tmp_path / "test_of_train")
    assert digest_of_all_rows(source) == digest_of_all_rows(open_source(five["imagefolder"]))


def test_hints_to_the_right_folder(five, tmp_path, drawn):
    for path, message in [
        (drawn / "train" / EASY.wnids[0], f"give the folder above the split, {drawn}"),
        (five["parquet"] / "data/test-00000-of-00001.parquet", f"give {five['parquet']}/data"),
    ]:
        with pytest.raises(InputError, match=message):
            open_source(path)
    for split in ("train", "val"):
        shutil.copy(five["archives"] / f"ILSVRC2012_img_{split}.tar", tmp_path / f"{split}.tar")
    with pytest.raises(InputError, match="no KEY.jpg and KEY.cls here.*archives are called ILSVRC2012_img_train.tar"):
        subset_rows(open_source(tmp_path), EASY, "train")
    shutil.copy(tmp_path / "val.tar", tmp_path / "ILSVRC2012_img_val.tar")
    (tmp_path / f"{EASY.wnids[0]}.tar").write_bytes(b"")
    with pytest.raises(InputError, match="half-extracted: 1 class archives .*put ILSVRC2012_img_train.tar"):
        open_source(tmp_path, "archives")


def test_an_export_is_no_imagenet(drawn, tmp_path):
    export(ExportConfig(str(drawn), "bird", "easy", cache_dir=str(tmp_path / "c"), output_dir=str(tmp_path / "out")))
    with pytest.raises(InputError, match="an export of Comp-DD, no ImageNet"):
        subset_rows(open_source(tmp_path / "out/bird-easy"), EASY, "train")


def test_bad_images_in_archives_name_the_archive(five, tmp_path):
    root = shutil.copytree(five["webdataset"], tmp_path / "i")
    source = open_source(root)
    row = subset_rows(source, EASY, "train")[0]
    with open(row.file, "r+b") as file:
        file.seek(row.start)
        file.write(b"no image")
    (problem,) = read_checked(source, [row])[1]
    assert f"{row.file}: {row.file_name}: not an image" in str(problem) and "imagenet1k-train" in str(problem)
    assert str(problem).endswith(f"download {row.file.rpartition('/')[2]} again")


def test_shards_without_a_split_are_named(copy, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("compdd_eval"), "propagate", True)
    root = copy("webdataset")
    (root / "imagenet1k-train-00.tar").rename(root / "part-00.tar")
    with caplog.at_level(logging.WARNING, "compdd_eval"):
        open_source(root)
    assert "part-00.tar: called neither train nor validation, left out (1 such shards)" in caplog.text


def test_a_bad_devkit(copy, drawn):
    root = copy("archives")
    devkit = root / "ILSVRC2012_devkit_t12.tar.gz"
    whole = devkit.read_bytes()
    devkit.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="download it again"):
        open_source(root)
    files = imagenet_layouts.devkit_files(drawn)
    (meta, truth) = files
    for content, message in [
        ({meta: files[meta]}, f"has no data/{truth}"),
        ({meta: b"x", truth: files[truth]}, "meta.mat cannot be read"),
        ({meta: files[meta], truth: b"2000\n" * 50000}, "is not one class id"),
        ({meta: files[meta], truth: b"1\n" * 100000}, "100000 lines, expected 50000"),
        ({meta: files[meta], truth: b"one\n"}, "is not one class id"),
    ]:
        with tarfile.open(devkit, "w:gz") as archive:
            for name, data in content.items():
                imagenet_layouts.add(archive, f"ILSVRC2012_devkit_t12/data/{name}", data)
        with pytest.raises(InputError, match=message):
            open_source(root)


@pytest.mark.parametrize("name", ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"])
@pytest.mark.parametrize("where", [0.5, 0.97, 0.0])
def test_a_cut_archive(copy, name, where):
    root = copy("archives")
    data = (root / name).read_bytes()
    (root / name).write_bytes(data[: int(len(data) * where)])
    with pytest.raises(InputError, match=f"{name}: .*download {name} again"):
        digest_of_all_rows(open_source(root))


def test_an_archive_without_class_archives(copy):
    root = copy("archives")
    shutil.copy(root / "ILSVRC2012_img_val.tar", root / "ILSVRC2012_img_train.tar")
    with pytest.raises(InputError, match="holds no class archive such as n01440764.tar"):
        subset_rows(open_source(root), EASY, "train")


def test_a_class_that_is_missing(copy, five):
    fish = load_subset("fish-easy")
    for layout in ("archives", "parquet", "webdataset"):
        source = open_source(five[layout])
        assert source.class_count("train", [*fish.wnids, *EASY.wnids]) == 10
        with pytest.raises(InputError, match=f"no validation images of {fish.wnids[0]} .*complete this copy"):
            subset_rows(source, fish, "validation")


def test_missing_shards_are_named(copy, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("compdd_eval"), "propagate", True)
    root = copy("parquet")
    (root / "data/train-00001-of-00003.parquet").unlink()
    with caplog.at_level(logging.WARNING, "compdd_eval"):
        assert len(subset_rows(open_source(root), EASY, "train")) < 120
    assert "2 of 3 train shards are there; missing: train-00001-of-00003.parquet" in caplog.text


def test_bad_parquet(copy, tmp_path):
    root = copy("parquet")
    shard = root / "data/validation-00000-of-00003.parquet"
    whole = shard.read_bytes()
    for content in (b"", b"version https://git-lfs.github.com/spec/v1\n", whole[:-50]):
        shard.write_bytes(content)
        with pytest.raises(InputError, match=f"{shard.name}: no whole Parquet file"):
            subset_rows(open_source(root), EASY, "validation")
    image = [{"bytes": b"x", "path": "a.JPEG"}]
    for columns, message in [
        ({"img": image, "label": [1]}, "columns img, label; expected image"),
        ({"image": [b"x"], "label": [1]}, "expected image .bytes and path"),
        ({"image": image, "label": ["tench"]}, "labels of type string"),
        ({"image": image, "label": [1000]}, "label 1000, expected an ImageNet index 0-999"),
        ({"image": image, "label": [None]}, "labels of type null"),
        ({"image": image * 2, "label": [1, None]}, "1 images without a label"),
        ({"image": [{"bytes": b"x", "path": None}], "label": [1]}, "without a file name|columns|expected image"),
    ]:
        pq.write_table(pa.table(columns), shard)
        with pytest.raises(InputError, match=message):
            subset_rows(open_source(root), EASY, "validation")


def test_images_of_another_class_in_shards(copy, drawn):
    """Labels that are not in WordNet order would silently give other classes."""
    root = copy("parquet")
    turned = dict(zip(EASY.class_map, reversed(list(EASY.class_map)), strict=True))
    for shard in root.glob("data/train*"):
        table = pq.read_table(shard)
        labels = pa.array([turned.get(label, label) for label in table["label"].to_pylist()], pa.int64())
        pq.write_table(table.set_column(table.schema.get_field_index("label"), "label", labels), shard)
    with pytest.raises(InputError, match="an image of class n[0-9]+ among those of"):
        digest_of_all_rows(open_source(root))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.jpg": b"x"}, "sample a has no .cls"),
        ({"a.cls": b"1"}, "sample a has no image"),
        ({"a.jpg": b"x", "a.cls": b"tench"}, "a.cls holds b'tench', expected an ImageNet index"),
        ({"a.jpg": b"x", "a.cls": b"1000"}, "label 1000, expected an ImageNet index 0-999"),
        ({"a.jpg": b"x", "a.png": b"x", "a.cls": b"1"}, "sample a has two images"),
        ({"a.jpg": b"x", "a.cls": b"1" * 70000}, "has 70000 bytes; expected a label"),
    ],
)
def test_bad_webdataset(copy, members, message):
    root = copy("webdataset")
    shard = root / "imagenet1k-validation-01.tar"
    with tarfile.open(shard, "w") as archive:
        for name, data in members.items():
            imagenet_layouts.add(archive, name, data)
    with pytest.raises(InputError, match=message):
        subset_rows(open_source(root), EASY, "validation")
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(InputError, match=f"{shard.name}: .*download"):
        subset_rows(open_source(root), EASY, "validation")


def test_images_that_are_not_named_as_imagenet_names_them(copy, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("compdd_eval"), "propagate", True)
    root = copy("webdataset")
    with tarfile.open(root / "imagenet1k-train-99.tar", "w") as archive:
        imagenet_layouts.add(archive, "000001.jpg", b"x")
        imagenet_layouts.add(archive, "000001.cls", b"0\n")
        imagenet_layouts.add(archive, "000001.json", b"[")
    with caplog.at_level(logging.WARNING, "compdd_eval"):
        subset_rows(open_source(root), EASY, "train")
    assert "1 train images are not named as ImageNet names them (000001.jpg" in caplog.text


def test_the_same_image_in_two_shards(copy):
    for layout in ("parquet", "webdataset"):
        root = copy(layout)
        shard = next(root.rglob("*validation-0*"))
        shutil.copy(shard, shard.with_name(f"validation-more{shard.suffix}"))
        with pytest.raises(InputError, match="the same image ILSVRC2012_val_.* twice"):
            digest_of_all_rows(open_source(root))


def test_containers_that_change_after_they_were_listed(copy):
    root = copy("archives")
    source = open_source(root)
    row = source.rows("train", EASY.wnids[0])[0]
    (root / "ILSVRC2012_img_train.tar").write_bytes(b"")
    with pytest.raises(InputError, match="shorter than when it was listed"):
        source.read(row)
    (root / "ILSVRC2012_img_train.tar").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        source.read(row)


def test_a_scan_is_taken_up_where_it_was_left(five, tmp_path, monkeypatch):
    """What whole shards of a killed scan left is not read again; half a shard is."""
    source = open_source(five["parquet"])
    rows = subset_rows(source, EASY, "train")
    counted = []
    scan_copied(source, rows, tmp_path / "scan", 1, counted.append)
    assert sum(counted) == 120 and len(list((tmp_path / "scan").glob("*.json"))) == 3
    half = next((tmp_path / "scan").glob("*.json"))
    half.unlink()
    half.with_suffix(".images").write_bytes(b"half of it")
    read = []
    monkeypatch.setattr(type(source), "_read_shard", _counting(type(source)._read_shard, read))
    copied = pickle.loads(pickle.dumps(scan_copied(source, rows, tmp_path / "scan", 2)))
    assert len(read) == 1
    plain = open_source(five["imagefolder"])
    assert [copied.read(row) for row in rows] == [plain.read(row) for row in subset_rows(plain, EASY, "train")]


def test_large_row_groups_are_read_one_at_a_time(five, tmp_path, monkeypatch):
    """However many shards may be read at a time: memory is bounded."""
    source = open_source(five["parquet"])
    rows = subset_rows(source, EASY, "train")
    group = pq.ParquetFile(rows[0].file).metadata.row_group(0)
    assert source.read_memory(rows[0].file) >= 2 * group.total_byte_size
    workers = []
    original = futures.ThreadPoolExecutor
    monkeypatch.setattr(scan_copy, "ThreadPoolExecutor", lambda number: workers.append(number) or original(number))
    for memory in (scan_copy._MEMORY, 1):
        monkeypatch.setattr(scan_copy, "_MEMORY", memory)
        scan_copy.scan_copied(source, rows, tmp_path / str(memory), 8)
    assert workers == [8, 1]


def _counting(method, calls):
    return lambda self, *args: calls.append(args) or method(self, *args)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_students_see_the_same_images(five, layout, cache):
    """Not prepared: straight from the source."""
    channel, _, _, train, validation, _, _ = load_comp_dd(five[layout], "bird", "hard", (16, 16), layout=layout)
    expected = load_comp_dd(five["imagefolder"], "bird", "hard", (16, 16))
    assert validation.decode()[1] == expected.dst_test.decode()[1]
    assert (train.tensors()[0] == expected.dst_train.tensors()[0]).all()
    assert (train[5][0] == expected.dst_train[5][0]).all() and train[5][1] == expected.dst_train[5][1]


@pytest.fixture
def repository(hub, five):
    """The drawn birds as `ILSVRC/imagenet-1k` on the stand-in."""
    repo = Repo("dataset", HUB_NAME)
    files = {f"data/{path.name}": Blob(path.read_bytes(), True) for path in (five["parquet"] / "data").iterdir()}
    repo.add(files, "main", "images")
    hub.repos["dataset", HUB_NAME] = repo
    return repo


HUB_NAME = "ILSVRC/imagenet-1k"
PREPARE = ["-m", "compdd_eval", "prepare", "--category", "bird", "--subset", "easy", "--data_path"]


def test_the_repository_on_the_hub(hub, repository, five, tmp_path):
    places = {**hub.environment, "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = forked(*PREPARE, HUB_NAME, cwd=tmp_path, **places)
    assert done.returncode == 0 and "120 / 13000" in done.stdout, done.stderr
    sent = sum(int(status == 206) for _, _, status in hub.log)
    assert sent > 0 and not list((tmp_path / "hub_home").rglob("*.parquet"))
    again = forked(*PREPARE, f"hf://datasets/ILSVRC/imagenet-1k@{repository.refs['main']}", cwd=tmp_path, **places)
    assert again.returncode == 0 and "current" in again.stdout, again.stderr
    other = forked(*PREPARE, five["imagefolder"], cwd=tmp_path, **places)
    assert "current" in other.stdout, "the sizes are known once the images were read"


@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        ("ILSVRC/imagenet-2k", {}, "no such dataset on the Hub"),
        ("ILSVRC/imagenet-1k@v9", {}, "no such revision"),
        (HUB_NAME, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        (HUB_NAME, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub cannot be reached"),
        ("gated", {}, "accept the terms at .*hf auth login"),
        ("limited", {}, "refuses so many requests: We had to rate limit you; run again later"),
        ("disabled", {}, "refuses it: Access to this resource is disabled; see https"),
    ],
)
def test_failures_on_the_hub(hub, repository, tmp_path, name, environment, message):
    if name == "gated":
        repository.gated, name = True, HUB_NAME
    if name == "limited":
        hub.refusals, name = [("GET", "/api/datasets/", Err(429, None, "We had to rate limit you."))], HUB_NAME
    if name == "disabled":
        hub.refusals, name = [("GET", "/resolve/", Err(403, None, "Access to this resource is disabled."))], HUB_NAME
    places = {**hub.environment, "HF_DATASETS_CACHE": str(tmp_path / "cache"), **environment}
    done = forked(*PREPARE, name, cwd=tmp_path, **places)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("compdd_eval:")]
    assert len(errors) == 1 and re.search(message, errors[0]), done.stderr
    assert "Traceback" not in done.stderr and "hf_of_a_test" not in done.stderr + done.stdout
