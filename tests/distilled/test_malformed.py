"""Inputs that are no distilled set: each gives one line and exit status 2, in seconds, and writes nothing."""

import io
import json
import os
import pickle
import resource
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from compdd_eval import DistilledSet
from compdd_eval.distilled.write import write_distilled
from tests.support.bad_input import RunsCode, one_line
from tests.support.drawn_sets import HARD, IMAGES, LOGITS, image_folder

BIRDS = ["--category", "bird", "--subset", "easy"]
FACTS = {"category": "bird", "subset": "easy"}
SET = DistilledSet(IMAGES, LOGITS, lr=0.5, metadata=FACTS)
TRACE = "/tmp/compdd_eval_malformed_set_ran_code"


def pt(content, name="images.pt", **others):
    """A folder with `images.pt` and `labels.pt`, one of them as given."""

    def make(folder):
        for part, value in {"images": IMAGES, "labels": HARD, **others}.items():
            if value is not None:
                torch.save(value, folder / f"{part}.pt")
        if content is not None:
            (folder / name).write_bytes(content) if isinstance(content, bytes) else torch.save(content, folder / name)
        return folder

    return make


def npz(**arrays):
    def make(folder):
        np.savez(folder / "set.npz", **{"images": IMAGES.numpy(), "labels": HARD.numpy(), **arrays}, allow_pickle=True)
        return folder / "set.npz"

    return make


def raw(name, data):
    def make(folder):
        (folder / name).write_bytes(data)
        return folder / name

    return make


def ours(change):
    """Our format, changed."""

    def make(folder):
        SET.save(folder / "set")
        change(folder / "set")
        return folder / "set"

    return make


def facts(**changes):
    def change(folder):
        content = json.loads((folder / "distilled.json").read_text())
        (folder / "distilled.json").write_text(json.dumps({**content, **changes}))

    return ours(change)


def folders(*names, **options):
    return lambda folder: image_folder(folder / "images", names, **options)


def with_file(name, data):
    def make(folder):
        image_folder(folder / "images", [str(label) for label in range(10)])
        path = folder / "images" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return folder / "images"

    return make


def npy_header(shape, dtype="<f4", data=b""):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


def safetensors_header(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def claims(shape, dtype="F32"):
    size = 4 * int(np.prod(shape, dtype=object))
    return safetensors_header({"images": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}, b"\0" * 64)


def zip_bomb():
    """A member of a gigabyte of zeros in a megabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as member:
        member.write(npy_header((2**28,)))
        for _ in range(64):
            member.write(b"\0" * 2**24)
    return buffer.getvalue()


def lying_zip(claimed):
    """A `.npz` whose member claims more bytes than it has."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", npy_header((claimed // 4,), data=b"\0" * 100))
    return buffer.getvalue()


def png_bomb(side):
    """A PNG of a few bytes whose header claims a huge image."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def deep_png(colour=False):
    """A PNG of 16 bits a channel; PIL writes grey ones only."""
    if colour:
        return png_bomb(8).replace(*bits(8, 16))
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def bits(old, new):
    """The header of an 8 x 8 PNG with so many bits, with its checksum, before and after."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", 8, 8, depth, 2, 0, 0, 0) for depth in (old, new)]
    return [chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]


def sparse_image(folder):
    make = with_file("3/x.png", b"")(folder)
    with (make / "3/x.png").open("wb") as file:
        file.truncate(10**11)
    return make


def damaged_zip():
    """A `.npz` whose compressed bytes are bent."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=IMAGES.numpy(), labels=HARD.numpy())
    data = bytearray(buffer.getvalue())
    data[2000:2100] = bytes(100)
    return bytes(data)


def claims_text():
    return safetensors_header({"images": {"dtype": "F32", "shape": ["a"], "data_offsets": [0, "5"]}}, b"\0" * 64)


def nested(depth):
    value = [1.0]
    for _ in range(depth):
        value = [value] * 10
    return value


def endless():
    value = []
    value.append(value)
    return value


def bent_pt(folder):
    """A zip that is called `.pt` and unpacks to a gigabyte."""
    (folder / "images.pt").write_bytes(zip_bomb())
    torch.save(HARD, folder / "labels.pt")
    return folder


def link_to_nowhere(folder):
    (folder / "set.npz").symlink_to(folder / "gone.npz")
    return folder / "set.npz"


def two_formats(folder):
    SET.save(folder)
    torch.save(IMAGES, folder / "images.pt")
    return folder


def one_file(name, **parts):
    def make(folder):
        save_file(parts, folder / name)
        return folder / name

    return make


MALFORMED = {
    # torch files
    "an empty folder": (lambda folder: folder, ["no images.pt"]),
    "an empty file": (pt(b""), ["images.pt", "not a readable .pt file"]),
    "text in place of a tensor": (pt(b"hello"), ["images.pt", "not a readable .pt file"]),
    "half a file": (lambda folder: _cut(pt(None)(folder) / "images.pt"), ["images.pt", "not a readable .pt file"]),
    "code in images": (pt(RunsCode(TRACE)), ["images.pt", "could run code"]),
    "code in a dict": (pt({"images": RunsCode(TRACE), "labels": HARD}), ["images.pt", "could run code"]),
    "code in labels": (pt(RunsCode(TRACE), "labels.pt"), ["labels.pt", "could run code"]),
    "code in the rate": (pt(RunsCode(TRACE), "lr.pt"), ["lr.pt", "could run code"]),
    "a bare pickle": (pt(pickle.dumps(RunsCode(TRACE))), ["images.pt"]),
    "a numpy array in a .pt": (pt(IMAGES.numpy()), ["images.pt", "more than tensors"]),
    "a dict without images": (pt({"weights": HARD}), ["images.pt", "'weights'", "'images'"]),
    "two keys for the images": (pt({"imgs": IMAGES, "x": IMAGES, "labels": HARD}), ["'imgs' and 'x'"]),
    "runs of something else": (pt({"data": [IMAGES, HARD]}), ["a list of [images, labels] under 'data'"]),
    "no run": (pt({"data": []}), ["a list of [images, labels] under 'data'"]),
    "a list of different sizes": (
        pt([IMAGES[0], IMAGES[1, :, :4, :4]]),
        ["images.pt", "different shapes ([3, 8, 8] and [3, 4, 4])"],
    ),
    "a list of different ranks": (pt([IMAGES[0], IMAGES[:1]]), ["different shapes"]),
    "an empty list": (pt([]), ["an empty list"]),
    "a text": (pt("images"), ["holds a str"]),
    "an image of one channel": (pt(IMAGES[:, :1]), ["[20, 1, 8, 8], expected [N, 3, H, H]"]),
    "oblong images": (pt(IMAGES[..., :4]), ["8 x 4 pixels, expected squares"]),
    "no image": (pt(IMAGES[:0], labels=HARD[:0]), ["the set is empty"]),
    "NaN": (pt(IMAGES * float("nan")), ["NaN"]),
    "complex numbers": (pt(IMAGES.to(torch.complex64)), ["no plain dense tensor"]),
    "a sparse tensor": (pt(IMAGES.to_sparse()), ["no plain dense tensor"]),
    "a view that claims a terabyte": (pt(torch.zeros(1).expand(10**6, 3, 512, 512)), ["claims", "GB as float32"]),
    "a list that claims a terabyte": (
        pt([torch.zeros(1).expand(3, 9000, 9000)] * 50),
        ["claims 243,000,000 values, but holds fewer"],
    ),
    "a view that claims a gigabyte": (pt(torch.zeros(1).expand(90, 3, 1024, 1024)), ["claims", "but holds fewer"]),
    "labels that claim a gigabyte": (pt(None, labels=torch.zeros(1).expand(10**7, 10)), ["labels.pt", "holds fewer"]),
    "a list of one tensor": (pt([torch.zeros(3, 64, 64)] * 10**5), ["claims", "GB as float32"]),
    "a shorter list of one tensor": (pt([torch.zeros(3, 64, 64)] * 10**4), ["the same tensor again and again"]),
    "a list in a list in a list": (pt(nested(12)), ["holds a list"]),
    "a list that holds itself": (pt(endless()), ["holds a list"]),
    "a number that is too large": (pt(None, labels=[10**20] * 20), ["labels.pt", "no tensor can hold"]),
    "a rate that is too large": (pt(None, lr=10**400), ["lr.pt", "one number"]),
    "no data on a device": (pt(torch.empty(2, 3, 8, 8, device="meta")), ["no plain dense tensor"]),
    "keys that differ in case": (pt({"images": IMAGES, "Images": IMAGES, "labels": HARD}), ["differ in case only"]),
    "labels with fractions": (pt(None, labels=HARD + 0.4), ["whole numbers"]),
    "sparse labels": (pt(None, labels=LOGITS.to_sparse()), ["labels.pt", "no plain dense tensor"]),
    "whole numbers above 255": (pt(IMAGES.abs().mul(999).int()), ["whole numbers from", "expected 0 to 255"]),
    "negative whole numbers": (pt(IMAGES.mul(99).to(torch.int8)), ["whole numbers from -", "expected 0 to 255"]),
    "a zip bomb called .pt": (bent_pt, ["images.pt", "its parts claim"]),
    "no labels": (pt(None, labels=None), ["no labels.pt", "--label_dir"]),
    "too few labels": (pt(None, labels=HARD[:7]), ["20 images but 7 labels"]),
    "nine columns": (pt(None, labels=LOGITS[:, :9]), ["9 columns"]),
    "labels 1 to 10": (pt(None, labels=HARD + 1), ["found 1 to 10"]),
    "labels of another subset": (pt(None, labels=HARD + 990), ["found 990 to 999"]),
    "swapped": (pt(None, images=HARD, labels=IMAGES), ["swapped"]),
    "a rate of zero": (pt(None, lr=torch.tensor(0.0)), ["learned rate is 0.0"]),
    "many rates": (pt(None, lr=torch.rand(5)), ["lr.pt", "one number"]),
    # arrays
    "Python objects": (npz(images=np.array([{"a": 1}], dtype=object)), ["images", "holds Python objects"]),
    "texts": (npz(images=np.array(["a", "b"])), ["images", "expected numbers"]),
    "no .npz": (raw("set.npz", b"PK no zip"), ["set.npz", "not a readable .npz file"]),
    "an archive of text": (raw("set.npz", lying_zip(0)), ["set.npz"]),
    "a zip bomb": (raw("set.npz", zip_bomb()), ["set.npz", "would unpack to", "not unpacked"]),
    "a member that claims 10 TB": (raw("set.npz", lying_zip(10**13)), ["set.npz: images", "claims 10,000,000,000,000"]),
    "an .npy that claims 10 TB": (raw("images.npy", npy_header((10**7, 3, 300, 300))), ["images.npy", "claims"]),
    "an .npy of objects": (raw("images.npy", npy_header((3,), "|O")), ["images.npy", "Python objects"]),
    "a negative shape": (raw("images.npy", npy_header((-2, -2), data=b"\0" * 16)), ["expected numbers that torch has"]),
    "a shape of many sides": (
        raw("images.npy", npy_header((1,) * 40, data=b"\0" * 4)),
        ["expected numbers that torch"],
    ),
    "an array of nothing": (raw("images.npy", npy_header((5,), "|V0")), ["expected numbers that torch has"]),
    "a bent header": (raw("images.npy", npy_header((3,)).replace(b"(3,)", b"(((,")), ["not a readable NumPy array"]),
    "a damaged member": (raw("set.npz", damaged_zip()), ["set.npz"]),
    "half an .npy": (raw("images.npy", npy_header((100,))[:20]), ["images.npy", "not a readable NumPy array"]),
    "a .npy without labels": (raw("images.npy", npy_header((1, 3, 1, 1), data=b"\0" * 12)), ["no labels.pt"]),
    # safetensors
    "a header of 10 TB": (raw("a.safetensors", struct.pack("<Q", 10**13) + b"{}"), ["claims a header of 10,000,000"]),
    "tensors of 10 TB": (raw("a.safetensors", claims([10**7, 3, 300, 300])), ["its header claims", "there are 64"]),
    "a header that is no JSON": (raw("a.safetensors", safetensors_header(b"{" * 100)), ["not a readable .safetensors"]),
    "a deep header": (raw("a.safetensors", safetensors_header(b"[" * 10**6)), ["not a readable .safetensors"]),
    "a header of texts": (raw("a.safetensors", claims_text()), ["not a readable .safetensors"]),
    "an empty .safetensors": (raw("a.safetensors", b""), ["a.safetensors"]),
    "a tensor of an odd type": (raw("a.safetensors", claims([4], "F31")), ["not a readable .safetensors"]),
    "images without labels": (one_file("a.safetensors", images=IMAGES), ["a.safetensors", "--label_dir"]),
    # our format
    "our format without its tensors": (ours(lambda f: (f / "distilled.safetensors").unlink()), ["is missing"]),
    "tensors of another set": (
        ours(lambda f: save_file({"images": IMAGES + 1, "labels": LOGITS}, f / "distilled.safetensors")),
        ["distilled.json was written for other tensors"],
    ),
    "tensors under other names": (
        ours(lambda f: save_file({"a": IMAGES}, f / "distilled.safetensors")),
        ["holds a, expected images and labels"],
    ),
    "facts that are no JSON": (ours(lambda f: (f / "distilled.json").write_text("{")), ["distilled.json", "no JSON"]),
    "deep facts": (ours(lambda f: (f / "distilled.json").write_text("[" * 10**6)), ["distilled.json", "no JSON"]),
    "facts of nothing": (ours(lambda f: (f / "distilled.json").write_text("[]")), ["no facts of a distilled set"]),
    "a later schema": (facts(schema_version=2), ["schema_version 2", "update"]),
    "an unknown subset": (facts(config_name="cat-easy"), ["cat-easy"]),
    "another kind of labels": (facts(label_kind="hard"), ["label kind hard needs labels of shape"]),
    "an unknown kind of labels": (facts(label_kind="soft"), ['label_kind is "soft"']),
    "a rate that is a text": (facts(lr="0.5"), ['lr is "0.5"', "a number"]),
    "a std of zero": (facts(normalisation={"mean": [0, 0, 0], "std": [0, 1, 1]}), ["normalisation", "three numbers"]),
    "classes without ids": (facts(classes=[{"label": 0}]), ["classes", "label and wnid"]),
    "classes of another subset": (facts(classes=[{"label": 0, "wnid": "n01440764"}]), ["n01440764 is none of"]),
    "a class with a huge label": (
        facts(classes=[{"label": 10**10, "wnid": "n01440764"}]),
        ["classes", "label and wnid"],
    ),
    "a huge number": (facts(ipc=10**400), ["ipc"]),
    "a huge mean": (facts(normalisation={"mean": [10**400] * 3, "std": [1, 1, 1]}), ["normalisation"]),
    "a huge text": (facts(method="x" * 10**5), ["method", "at most 2000 letters"]),
    "half a letter": (facts(method="\ud800"), ["method", "a text"]),
    "two formats in one folder": (two_formats, ["holds both distilled.safetensors and images.pt"]),
    # image folders
    "an unknown class": (folders("flamingo", "unicorn"), ["'unicorn'", "no label 0-9"]),
    "a class twice": (folders("1", "00001"), ["'00001' and '1' are one class, label 1"]),
    "names of two kinds": (folders("0", "n02007558"), ["images"]),
    "a class without images": (with_file("10/x.tif", b"II*\0"), ["folder 10", "no image"]),
    "a huge file": (sparse_image, ["x.png", "expected at most"]),
    "sixteen bits and colours": (with_file("3/x.png", deep_png(colour=True)), ["x.png", "more than 8 bits"]),
    "another format called .png": (with_file("3/x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n"), ["x.png", "no image that can"]),
    "a folder called ²": (folders("0", "²"), ["'²'"]),
    "images without folders": (with_file("stray.png", b""), ["stray.png", "lies in no class folder"]),
    "a text called .png": (with_file("3/x.png", b"no image"), ["x.png", "no image that can be opened"]),
    "a cut image": (with_file("3/x.png", png_bomb(8)), ["x.png", "cannot be decoded"]),
    "a PNG bomb": (with_file("3/x.png", png_bomb(60_000)), ["x.png", "claims more than 4096 pixels a side"]),
    "a smaller PNG bomb": (with_file("3/x.png", png_bomb(10_000)), ["x.png", "claims more than 4096 pixels a side"]),
    "sixteen bits": (with_file("3/x.png", deep_png()), ["x.png", "more than 8 bits"]),
    "images of two sizes": (lambda f: image_folder(image_folder(f, ["0"]), ["1"], size=(9, 9)), ["give --res"]),
    # paths
    "nothing there": (lambda folder: folder / "nothing", ["nothing", "no such file or folder"]),
    "a link to nowhere": (link_to_nowhere, ["set.npz", "no such file or folder"]),
    "another file": (raw("set.txt", b"hello"), ["set.txt", "expected a folder, or a file that ends with"]),
    "a name that is too long": (lambda folder: "x" * 5000, ["no such file or folder"]),
}


def _cut(path):
    path.write_bytes(path.read_bytes()[:-300])
    return path.parent


@pytest.mark.parametrize("name", MALFORMED)
def test_one_line_and_nothing_written(run, tmp_path, name):
    make, parts = MALFORMED[name]
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    one_line(run("convert", path, tmp_path / "out", *BIRDS), *parts)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "kB: sizes are checked first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]
    assert not os.path.exists(TRACE)


def test_there_are_enough():
    assert len(MALFORMED) >= 40


@pytest.mark.parametrize("name", ["NaN", "labels 1 to 10", "tensors of another set", "a zip bomb", "an unknown class"])
def test_validate_says_the_same_in_its_table(run, tmp_path, name):
    make, parts = MALFORMED[name]
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in")
    arguments = ["validate", path, *BIRDS]
    status, out, errors = run(*arguments, "--json")
    assert status == 2 and len(errors) == 1 and "checks failed" in errors[0]
    report = json.loads(out)
    failed = [check for check in report["checks"] if check["result"] == "failed"]
    assert not report["passed"] and all(part in failed[0]["detail"] for part in parts)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--mean", "0.5,0.5"], ["--mean is given without --std"]),
        (["--mean", "0.5,0.5", "--std", "1,1,1"], ["--mean 0.5,0.5", "three numbers"]),
        (["--mean", "0,0,0", "--std", "0,1,1"], ["--std 0,1,1", "above 0"]),
        (["--mean", "0,0,0", "--std", "1,1,1", "--pixel_range", "0-1"], ["--mean", "normalised"]),
        (["--pixel_range", "0-2"], ["--pixel_range", "'0-2'"]),
        (["--label_kind", "soft"], ["--label_kind", "'soft'"]),
        (["--label_order", "alphabetical"], ["--label_order", "'alphabetical'"]),
        (["--format", "gif"], ["--format", "'gif'"]),
        (["--res", "0"], ["--res 0"]),
        (["--lr_dir", "/no/such/lr.pt"], ["/no/such/lr.pt", "--lr_dir"]),
        (["--label_dir", "/no/such/labels.pt"], ["/no/such/labels.pt", "--label_dir"]),
        (["--published"], ["--published", "leave the flag out"]),
    ],
)
def test_flags_that_are_wrong(run, tmp_path, flags, parts):
    write_distilled(SET, tmp_path / "in", "published")
    (tmp_path / "in/distilled.json").unlink()
    one_line(
        run("convert", tmp_path / "in", tmp_path / "out", "--category", "bird", "--subset", "easy", *flags), *parts
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["convert"], ["SOURCE is missing"]),
        (["convert", "a"], ["TARGET is missing"]),
        (["convert", "a", "b", "c"], ["c", "every value needs its flag"]),
        (["validate"], ["PATH is missing"]),
        (["validate", "a", "--subset", "easy"], ["--category is missing"]),
        (["validate", "a", "--published"], ["--published needs --category"]),
        (["evaluate", "--distilled", "a", "--data_dir", "b"], ["give one of them"]),
        (["pull"], ["REPO is missing"]),
    ],
)
def test_what_is_missing(run, arguments, parts):
    one_line(run(*arguments), *parts)


def test_a_set_that_does_not_say_its_subset(run, tmp_path):
    write_distilled(DistilledSet(IMAGES, HARD), tmp_path / "set")
    one_line(run("validate", tmp_path / "set"), "--category is missing", "says which subset")
    one_line(
        run("evaluate", "--distilled", tmp_path / "set", "--res", "8", "--model", "ConvNetD1"), "--category is missing"
    )
    one_line(run("push", tmp_path / "set", "--repo_id", "a/b"), "which subset", "--category")
