"""The field's own files: `images.pt`, `labels.pt`, `lr.pt` as MTT, DATM and EDF save them, one tensor each."""

import logging
import os
import pickle
import warnings
from pathlib import Path

import torch

from compdd_eval.config import PIXEL_RANGES
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.errors import InputError, unknown
from compdd_eval.preprocess import normalise

_SCALES = {"0-1": 1.0, "0-255": 255.0}
_logger = logging.getLogger(__name__)
_FLAGS = {"images": "--data_dir", "labels": "--label_dir", "lr": "--lr_dir"}


def load_published(
    data_dir: str | os.PathLike,
    label_dir: str | os.PathLike | None = None,
    lr_dir: str | os.PathLike | None = None,
    *,
    label_kind: str = "auto",
    pixel_range: str = "normalised",
) -> DistilledSet:
    """Read a distilled set from `.pt` files; no code in them is run.

    Args:
        data_dir: File of the images, or a folder with `images.pt` or `images_best.pt`.
        label_dir: The same for `labels`; None looks beside the images.
        lr_dir: The same for `lr`; None looks beside the images and takes no rate if none is there; `none` takes none.
        label_kind: `auto`, `hard`, `logits` or `probabilities`.
        pixel_range: Range of the stored images: `normalised`, `0-1` or `0-255`; they are normalised.

    Returns:
        The set; `metadata["files"]` names the files that were read.

    Raises:
        InputError: A file is missing, is no tensor, or does not fit; the message names it.
    """
    if pixel_range not in PIXEL_RANGES:
        raise unknown("pixel range", pixel_range, PIXEL_RANGES)
    paths = _find_files(data_dir, label_dir, lr_dir)
    images = _to_normalised(_read_tensor(paths["images"]), pixel_range)
    labels = _read_tensor(paths["labels"])
    lr = _read_rate(paths["lr"]) if "lr" in paths else None
    kind = None if label_kind == "auto" else label_kind
    metadata = {"files": {part: str(path) for part, path in paths.items()}}
    try:
        return DistilledSet(images, labels, kind, lr, metadata)
    except InputError as error:
        raise InputError(f"{', '.join(map(str, paths.values()))}: {error}") from error


def save_published(distilled: DistilledSet, folder: str | os.PathLike) -> None:
    """Write `images.pt`, `labels.pt` and, if there is a learned rate, `lr.pt` (float64, so that nothing is lost).

    The `lr.pt` of a set that lay there before is removed: it would be read as the rate of this one.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lr.pt").unlink(missing_ok=True)
    torch.save(distilled.images.clone(), folder / "images.pt")  # a view would be saved with all that it looks into
    torch.save(distilled.labels.clone(), folder / "labels.pt")
    if distilled.lr is not None:
        torch.save(torch.tensor(distilled.lr, dtype=torch.float64), folder / "lr.pt")


def _find_files(data_dir: str | os.PathLike, label_dir: object, lr_dir: object) -> dict[str, Path]:
    """Return the file of each part; the rate is optional where no flag names it."""
    paths = {"images": _find_file(Path(data_dir), "images")}
    beside = paths["images"].parent
    paths["labels"] = _find_file(Path(label_dir or beside), "labels")
    if lr_dir is not None and str(lr_dir).lower() == "none":
        return paths
    if lr_dir is not None or _candidates(beside, "lr"):
        paths["lr"] = _find_file(Path(lr_dir or beside), "lr")
    return paths


def _candidates(folder: Path, part: str) -> list[Path]:
    return [path for path in (folder / f"{part}.pt", folder / f"{part}_best.pt") if path.is_file()]


def _find_file(path: Path, part: str) -> Path:
    """Return the file of one part, given itself or its folder."""
    path = path.expanduser()
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        raise InputError(f"{path}: no such file or folder; {_FLAGS[part]} takes a .pt file or its folder")
    found = _candidates(path, part)
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{path}: holds both {part}.pt and {part}_best.pt; name one of them with {_FLAGS[part]}")
    others = ", ".join(sorted(p.name for p in path.glob("*.pt"))[:5]) or "no .pt file"
    raise InputError(f"{path}: no {part}.pt or {part}_best.pt here ({others}); name the file with {_FLAGS[part]}")


def _load(path: Path) -> object:
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd pickle protocols; what cannot be read is refused
            return torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise InputError(f"{path}: may not be read; change its permissions") from error
    except Exception as error:  # a damaged file can make the reader fail in any way
        if isinstance(error, pickle.UnpicklingError) and "Weights only load failed" in str(error):
            reason = "it holds more than tensors and could run code, so it is not opened"
        else:
            reason = "not a readable .pt file"
        raise InputError(f"{path}: {reason}; save one plain tensor with torch.save(tensor, path)") from error


def _read_tensor(path: Path) -> torch.Tensor:
    content = _load(path)
    if not isinstance(content, torch.Tensor):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected one tensor; save images and labels apart")
    return content


def _read_rate(path: Path) -> float:
    content = _load(path)
    if isinstance(content, torch.Tensor) and content.numel() == 1 and not content.is_complex():
        content = content.item()
    if isinstance(content, bool) or not isinstance(content, (int, float)):
        raise InputError(f"{path}: expected the learned rate as one number, found {_shape_of(content)}")
    return float(content)


def _shape_of(content: object) -> str:
    return f"a tensor {list(content.shape)}" if isinstance(content, torch.Tensor) else f"a {type(content).__name__}"


def _to_normalised(images: torch.Tensor, pixel_range: str) -> torch.Tensor:
    if pixel_range == "normalised" or images.ndim != 4 or images.shape[1] != 3 or images.is_complex():
        return images  # nothing to convert, or left to the checks of the set
    scaled = images.float() / _SCALES[pixel_range]
    low, high = (scaled.min().item(), scaled.max().item()) if scaled.numel() else (0, 1)
    if low < -0.05 or high > 1.05 or (pixel_range == "0-255" and high < 0.02):
        found = f"{low * _SCALES[pixel_range]:.3g} to {high * _SCALES[pixel_range]:.3g}"
        _logger.warning(f"--pixel_range {pixel_range}, but the stored images have values from {found}: is it right?")
    return normalise(scaled)
