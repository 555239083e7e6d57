"""One ImageNet in its five shapes: makes the other four from a tree with class folders."""

import csv
import io
import json
import random
import tarfile
from pathlib import Path

import datasets
import numpy as np

from compdd_eval.data.imagenet.rows import official_name
from compdd_eval.data.synsets import synset_of, synsets

SPLITS = {"train": "train", "val": "validation"}


def images_of(tree: Path, split: str) -> list[tuple[str, str, bytes]]:
    """WordNet id, official name and bytes of every image of a split, in an order that is not the usual one."""
    folder = next(f for f in (tree / split, tree / "validation") if f.is_dir())
    found = []
    for path in folder.glob("*/*"):
        if not path.name.startswith("."):
            wnid = path.parent.name
            found.append((wnid, official_name(path.name, wnid), path.read_bytes()))
    return random.Random(0).sample(sorted(found), len(found))


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def devkit_ids() -> dict[str, int]:
    """WordNet id -> ILSVRC2012_ID, which is not the order of WordNet ids."""
    wnids = [synset.wnid for synset in synsets()]
    return {wnid: number for number, wnid in enumerate(random.Random(1).sample(wnids, len(wnids)), start=1)}


def devkit_files(tree: Path, total: int = 50000) -> dict[str, bytes]:
    """Content of `meta.mat`, with an inner node as the devkit has them, and of the ground truth."""
    from scipy.io import savemat

    ids = devkit_ids()
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    nodes = np.zeros(len(ids) + 1, dtype=kinds)
    for number, (wnid, identifier) in enumerate(ids.items()):
        nodes[number] = (identifier, wnid, synset_of(wnid).name, 0)
    nodes[-1] = (1001, "n00001740", "entity", 2)
    meta = io.BytesIO()
    savemat(meta, {"synsets": nodes.reshape(-1, 1)})
    truth = [1] * total
    for wnid, name, _ in images_of(tree, "val"):
        truth[int(name.split("_")[2].split(".")[0]) - 1] = ids[wnid]
    lines = "".join(f"{line}\n" for line in truth)
    return {"meta.mat": meta.getvalue(), "ILSVRC2012_validation_ground_truth.txt": lines.encode()}


def write_devkit(tree: Path, path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in devkit_files(tree).items():
            add(archive, f"ILSVRC2012_devkit_t12/data/{name}", data)
        add(archive, "ILSVRC2012_devkit_t12/readme.txt", b"read me")


def write_table(tree: Path, path: Path) -> None:
    """Kaggle's table of validation labels."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "PredictionString"])
        for wnid, name, _ in images_of(tree, "val"):
            writer.writerow([name.removesuffix(".JPEG"), f"{wnid} 1 2 3 4 {wnid} 5 6 7 8 "])


def as_competition(tree: Path, out: Path, devkit: bool = False) -> Path:
    root = out / "ILSVRC/Data/CLS-LOC"
    for split in SPLITS:
        for wnid, name, data in images_of(tree, split):
            path = root / "train" / wnid / name if split == "train" else root / "val" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (root / "test").mkdir()
    (out / "ILSVRC/ImageSets").mkdir()
    if devkit:
        write_devkit(tree, out / "ILSVRC2012_devkit_t12.tar.gz")
    else:
        write_table(tree, out / "LOC_val_solution.csv")
    return out


def as_archives(tree: Path, out: Path, devkit: bool = True) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    classes = {}
    for wnid, name, data in images_of(tree, "train"):
        classes.setdefault(wnid, []).append((name, data))
    with tarfile.open(out / "ILSVRC2012_img_train.tar", "w") as outer:
        for wnid, files in classes.items():
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as archive:
                for name, data in files:
                    add(archive, name, data)
            add(outer, f"{wnid}.tar", inner.getvalue())
    with tarfile.open(out / "ILSVRC2012_img_val.tar", "w") as archive:
        for _, name, data in images_of(tree, "val"):
            add(archive, name, data)
    if devkit:
        write_devkit(tree, out / "ILSVRC2012_devkit_t12.tar.gz")
    else:
        write_table(tree, out / "LOC_val_solution.csv")
    return out


def as_parquet(tree: Path, out: Path, shards: int = 3) -> Path:
    """The Hub's shards: 5 images in a row group, names with the WordNet id appended, a test split without labels."""
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=[s.name.replace(" ", "_") + str(s.index) for s in synsets()]),
    }
    (out / "data").mkdir(parents=True)
    for split, name_of_split in SPLITS.items():
        images = images_of(tree, split)
        for number in range(shards):
            part = images[number::shards]
            columns = {
                "image": [
                    {"bytes": data, "path": f"{name.removesuffix('.JPEG')}_{wnid}.JPEG"} for wnid, name, data in part
                ],
                "label": [synset_of(wnid).index for wnid, _, _ in part],
            }
            data = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
            data.to_parquet(out / f"data/{name_of_split}-{number:05}-of-{shards:05}.parquet", batch_size=5)
    image = images_of(tree, "val")[0][2]
    test = {"image": [{"bytes": image, "path": "ILSVRC2012_test_00000001.JPEG"}], "label": [-1]}
    data = datasets.Dataset.from_dict(test, features=datasets.Features(features))
    data.to_parquet(out / "data/test-00000-of-00001.parquet")
    return out


def as_webdataset(tree: Path, out: Path, shards: int = 3) -> Path:
    """Shards as timm has them; in every second sample only the JSON knows the file name."""
    out.mkdir(parents=True)
    for split, name_of_split in SPLITS.items():
        images = images_of(tree, split)
        for number in range(shards):
            with tarfile.open(out / f"imagenet1k-{name_of_split}-{number:02}.tar", "w") as archive:
                for place, (wnid, name, data) in enumerate(images[number::shards]):
                    key = name.removesuffix(".JPEG") if place % 2 else f"{number:03}{place:05}"
                    label = synset_of(wnid).index
                    add(archive, f"{key}.cls", str(label).encode())
                    add(archive, f"{key}.jpg", data)
                    told = {"filename": f"{wnid}/{name}", "label": label, "height": 1, "width": 1}
                    add(archive, f"{key}.json", json.dumps(told).encode())
    return out


SHAPES = {
    "imagefolder": None,
    "cls-loc": as_competition,
    "archives": as_archives,
    "parquet": as_parquet,
    "webdataset": as_webdataset,
}
