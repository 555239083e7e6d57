"""Write a distilled set in any of the formats; whole or not at all, and never over something else by accident."""

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from compdd_eval.config import FORMATS
from compdd_eval.distilled.facts import FACTS_NAME, facts_of, write_facts
from compdd_eval.distilled.folder import FILES, save_folder, write_tensors
from compdd_eval.distilled.part_files import is_part_file, save_published
from compdd_eval.distilled.parts import NOTE
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.errors import InputError, unknown
from compdd_eval.files import check_writable, written_whole
from compdd_eval.preprocess import denormalise

_BY_SUFFIX = {".pt": "pt", ".pth": "pt", ".npz": "npz", ".safetensors": "safetensors"}
_FOREIGN = (".zip", ".tar", ".gz", ".tgz", ".pkl", ".json", ".parquet", ".h5", ".png", ".jpg", ".webp", ".bin", ".ckpt")
_HALF_STEP = 0.5 / 255  # outside [0, 1] by less than this is lost by rounding, not by clipping
FILE_FORMATS = ("pt", "npz", "safetensors")


def format_of(target: Path, wanted: str = "auto") -> str:
    """Return the format to write, by what is wanted or by the name of the target.

    Raises:
        InputError: An unknown format, or a name that does not fit it.
    """
    by_name = _BY_SUFFIX.get(target.suffix.lower())
    if wanted == "auto":
        if target.suffix.lower() == ".npy":
            raise InputError(f"{target}: images and labels are two .npy files; give a folder and --format npy")
        if target.suffix.lower() in _FOREIGN:
            raise InputError(f"{target}: {target.suffix} is no format of sets; .pt, .npz, .safetensors or a folder is")
        return by_name or "comp-dd"
    if wanted not in FORMATS:
        raise unknown("format", wanted, FORMATS)
    if by_name != (wanted if wanted in FILE_FORMATS else None):
        expected = f"a name that ends with .{wanted}" if wanted in FILE_FORMATS else "a folder"
        raise InputError(f"{target}: --format {wanted} wants {expected}")
    return wanted


def write_distilled(
    distilled: DistilledSet, target: str | os.PathLike, wanted: str = "auto", overwrite: bool = False
) -> list[str]:
    """Write a set.

    Args:
        distilled: The set.
        target: A folder or a file.
        wanted: One of `FORMATS`; `auto` goes by the name of the target.
        overwrite: Replace a distilled set that lies there.

    Returns:
        What the format cannot hold, in words; nothing where all is kept exactly.

    Raises:
        InputError: Something lies there already, it cannot be written, or the format does not fit the name.
    """
    target = real_path(target)
    form = format_of(target, wanted)
    check_target(target, overwrite, file=form in FILE_FORMATS)
    if form in FILE_FORMATS:
        check_writable(target.parent, "place")
        note = json.dumps(facts_of(distilled))
        with written_whole(target) as path:
            _WRITERS[form](distilled, path, note)
        return []
    with staged(target) as folder:
        return _WRITERS[form](distilled, folder) or []


def real_path(target: str | os.PathLike) -> Path:
    """Return the absolute path that a target leads to: what lies behind a link is replaced, and never the link."""
    return Path(os.path.realpath(os.path.expanduser(target)))


def check_target(target: Path, overwrite: bool, file: bool = False) -> None:
    """Raise InputError where a target is taken, unless it is a set that was written here and may be replaced.

    Args:
        target: An absolute path.
        overwrite: Whether a set there may be replaced.
        file: Whether a file is to be written; else a folder.
    """
    if os.path.isfile(target) != file and os.path.exists(target):
        kind, wanted = ("folder", "file") if file else ("file", "folder")
        raise InputError(f"{target}: is a {kind}, expected the name of a {wanted}; give another one")
    if file:
        if target.exists() and not overwrite:
            raise InputError(f"{target}: is there already; give another name, or --overwrite")
        return
    if not target.is_dir() or not any(target.iterdir()):
        return
    strange = _strange_entry(target)
    if strange is not None:
        raise InputError(f"{target}: holds {strange}, and is no set that was written here; give another folder")
    if not overwrite:
        raise InputError(f"{target}: holds a set already; give another folder, or --overwrite")


def _strange_entry(target: Path) -> str | None:
    """Return the name of something in a folder that no writer of ours has put there; None where there is nothing."""
    if FACTS_NAME not in os.listdir(target):
        return min(os.listdir(target))
    for entry in sorted(target.iterdir()):
        known = entry.name in FILES or any(is_part_file(entry.name, part) for part in ("images", "labels", "lr"))
        if entry.is_dir() and re.fullmatch("0000[0-9]", entry.name):
            known = all(re.fullmatch(r"[0-9]{5,}\.png", path.name) and path.is_file() for path in entry.iterdir())
        elif entry.is_dir():
            known = False
        if not known:
            return entry.name
    return None


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give a folder beside the target that takes its place in the end; nothing is left of a failure."""
    parent = target.parent
    check_writable(parent, "place")
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    old = staging / "old"
    try:
        folder = staging / "new"
        folder.mkdir()  # with the permissions of any folder, which that of mkdtemp has not
        yield folder
        try:
            if target.is_dir():
                os.replace(target, old)
            os.replace(folder, target)
        except BaseException:
            if old.is_dir() and not target.exists():
                os.replace(old, target)
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_pt(distilled: DistilledSet, path: Path, note: str) -> None:
    content = {"images": distilled.images.clone(), "labels": distilled.labels.clone(), NOTE: note}
    if distilled.lr is not None:
        content["lr"] = torch.tensor(distilled.lr, dtype=torch.float64)
    torch.save(content, path)


def _write_npz(distilled: DistilledSet, path: Path, note: str) -> None:
    arrays = {"images": distilled.images.numpy(), "labels": distilled.labels.numpy()}
    if distilled.lr is not None:
        arrays["lr"] = np.float64(distilled.lr)
    with path.open("wb") as file:
        np.savez(file, **arrays, **{NOTE: np.frombuffer(note.encode(), np.uint8)})


def _write_npy(distilled: DistilledSet, folder: Path) -> None:
    np.save(folder / "images.npy", distilled.images.numpy())
    np.save(folder / "labels.npy", distilled.labels.numpy())
    if distilled.lr is not None:
        np.save(folder / "lr.npy", np.float64(distilled.lr))
    write_facts(folder, distilled)


def _write_published(distilled: DistilledSet, folder: Path) -> None:
    save_published(distilled, folder)
    write_facts(folder, distilled)


def _write_images(distilled: DistilledSet, folder: Path) -> list[str]:
    """Write `00000/00000.png`, ...: class folders that sort in label order, as `ImageFolder` numbers them."""
    pixels, lost = to_8_bits(distilled.images)
    counters = [0] * (max(distilled.classes.tolist()) + 1)
    for image, label in zip(pixels, distilled.classes.tolist(), strict=True):
        path = folder / f"{label:05}" / f"{counters[label]:05}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
        counters[label] += 1
    write_facts(folder, replace(distilled, labels=distilled.classes, label_kind="hard"), exact=False)
    if distilled.label_kind != "hard":
        lost.append(f"the {distilled.label_kind} become hard labels: the class of the largest entry")
    if not torch.equal(distilled.classes, distilled.classes.sort(stable=True).values):
        lost.append("the order of the images: they are sorted by class")
    return lost


def to_8_bits(images: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
    """Turn normalised images into pixels.

    Args:
        images: float32 `[N, 3, H, W]`, ImageNet-normalised.

    Returns:
        uint8 `[N, 3, H, W]`, and what was lost, in words.
    """
    exact = denormalise(images)
    pixels = (exact.clamp(0, 1) * 255).round().to(torch.uint8)
    error = (pixels.float() / 255 - exact).abs() * 255
    clipped = ((exact < -_HALF_STEP) | (exact > 1 + _HALF_STEP)).float().mean().item()
    lost = (
        f"8 bits: {100 * clipped:.2g} % of the values lie outside [0, 1] and are clipped; values change by "
        f"{error.mean():.2g} of 255 on average, {error.max():.3g} at most"
    )
    return pixels, [lost]


_WRITERS = {
    "comp-dd": save_folder,
    "published": _write_published,
    "png": _write_images,
    "npy": _write_npy,
    "pt": _write_pt,
    "npz": _write_npz,
    "safetensors": write_tensors,
}
