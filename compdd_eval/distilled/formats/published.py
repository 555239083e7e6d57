"""One file for each part, as the field has them: `images.pt`, `labels.pt`, `lr.pt` (MTT, DATM, EDF), or `.npy`."""

import os
import re
from pathlib import Path

import numpy as np
import torch

from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.distilled.formats.arrays import load_npy, load_npz, load_safetensors
from compdd_eval.distilled.formats.part_files import (
    FLAGS,
    find_file,
    labels_beside,
    only_file,
    part_files,
    part_names,
    pieces_of,
)
from compdd_eval.distilled.formats.parts import NOTE, Parts, as_labels, as_rate, as_tensor, parts_of
from compdd_eval.distilled.formats.torch_files import load_torch
from compdd_eval.distilled.limits import MAX_BYTES
from compdd_eval.distilled.metadata import RECORD_NAME, SetRecord, parse_record, read_record, write_record
from compdd_eval.distilled.raw_set import RawSet
from compdd_eval.distilled.tensors import SetTensors
from compdd_eval.utils.errors import InputError

_LOADERS = {".npy": load_npy, ".npz": load_npz, ".safetensors": load_safetensors}  # all others are torch's


def read_part_files(
    path: str | os.PathLike,
    label_dir: str | os.PathLike | None = None,
    lr_dir: str | os.PathLike | None = None,
    run: int | None = None,
) -> RawSet:
    """Read a set from a file, or from files for its parts; no code in them is run.

    Args:
        path: A file, or a folder with `images.pt`, `images_best.pt` or `images.npy`; or with one other file that can
            hold a set; or with a file for each class or for each part of the set, `0.pt`, `1.pt`, ....
        label_dir: File or folder of the labels; None looks into the file of the images, then beside it.
        lr_dir: The same for the learned rate, which may be absent; `none` takes none.
        run: Which of several runs that one file holds, as of DC, DSA and DM; None takes the first.

    Raises:
        InputError: A file is missing, is damaged, or holds nothing of the kind; the message names it.
    """
    images_file, parts, notes = _images_of(Path(os.path.expanduser(path)), run, label_dir is not None)
    others = _other_files(images_file, parts, label_dir, lr_dir)
    images = as_tensor(parts.images, str(images_file) if others else f"{images_file}: images")
    if parts.labels is None and "labels" not in others:
        raise InputError(f"{images_file}: holds images without labels; name the file of the labels with --label_dir")
    found = {"labels": parts.labels, "lr": None if ignores_rate(lr_dir) else parts.lr}
    found |= {part: _load_part(file, part) for part, file in others.items()}
    names = {part: str(others.get(part, f"{images_file}: {part}")) for part in found}
    several = run is None and (parts.runs or 0) > 1
    guesses = [("run", f"the first of {parts.runs}", "--run 0")] if several else []
    return RawSet(
        images=images,
        labels=as_labels(found["labels"], len(images) if images.ndim else 0, names["labels"]),
        lr=None if found["lr"] is None else as_rate(found["lr"], names["lr"]),
        names=parts.names if label_dir is None else None,  # those of labels that are not used mean nothing
        record=_record_of(images_file, parts.note, own_labels=label_dir is None),
        origin={"files": {"images": str(images_file), **{part: str(file) for part, file in others.items()}}},
        remarks=notes,
        guesses=guesses + _strange_names(images_file, others, {"labels": label_dir, "lr": lr_dir}),
    )


def read_labels(where: str | os.PathLike, number: int) -> tuple[torch.Tensor, Path]:
    """Return the labels of so many images out of a file or its folder, and the file."""
    file = find_file(Path(where), "labels")
    return as_labels(_load_part(file, "labels"), number, str(file)), file


def _images_of(path: Path, run: int | None, labelled: bool) -> tuple[Path, Parts, list[str]]:
    """Return the file of the images (the folder, if they are in several), its parts, and what is to be said of them.

    `labelled`: the labels are named; else those that lie beside several files could be of any of them.
    """
    if pieces := pieces_of(path):
        labels = labels_beside(path)
        if labels and not labelled:
            raise InputError(
                f"{path}: holds {pieces[0].name}, {pieces[1].name}, ... and {labels[0].name}; --label_dir "
                f"{labels[0]} takes it for all of them in turn, or name the file that is meant"
            )
        return path, *_joined_pieces(path, pieces, run, labelled)
    file = _images_file(path)
    parts = parts_of(_load(file), str(file), run)
    notes = []
    if run is not None:
        notes.append(f"run {run} of {parts.runs} (from 0) is taken")
    if parts.steps:
        notes.append(f"{file}: the images of its {parts.steps} steps are taken as one set; their rates are left out")
    if file.name.startswith("images_zca"):
        notes.append(f"{file}: taken back from ZCA whitening, as MTT saves it: evaluate it without --zca")
    return file, parts, notes


def _joined_pieces(folder: Path, files: list[Path], run: int | None, labelled: bool) -> tuple[Parts, list[str]]:
    """Join classes, called by their files, or parts of a set that have labels of their own or are labelled together."""
    names = f"{files[0].name}, {files[1].name}" + (", ..." if len(files) > 2 else "")
    if sum(file.stat().st_size for file in files) > 2 * MAX_BYTES:
        raise InputError(f"{folder}: its files are larger than a distilled set can be; name the file that is meant")
    parts = [parts_of(_load(file), str(file), run) for file in files]
    images = [as_tensor(each.images, str(file)) for file, each in zip(files, parts, strict=True)]
    own = sum(each.labels is not None for each in parts)
    if not own and not labelled and len(files) >= NUM_CLASSES - 1:  # music-hard as published has nine
        return parts_of({file.stem: tensor for file, tensor in zip(files, images, strict=True)}, str(folder)), []
    counted = [file.stem for file in files] == [str(number) for number in range(len(files))]
    if not counted or (own < len(files) and not labelled):
        raise InputError(
            f"{folder}: holds {names}, which are no parts of one set (0, 1, ... with labels each, or all ten classes "
            "without); name the file that is meant"
        )
    if labelled:
        return Parts(images), [f"{len(files)} files ({names}) are joined"]
    labels = [
        as_labels(each.labels, len(tensor), str(file)) for file, each, tensor in zip(files, parts, images, strict=True)
    ]
    return Parts(images, labels), [f"{len(files)} files ({names}) are joined, each with its labels"]


def _other_files(images_file: Path, parts: Parts, label_dir: object, lr_dir: object) -> dict[str, Path]:
    """Return the files of labels and rate: those that are named, else those beside the images."""
    files = {}
    if label_dir is not None or parts.labels is None:
        files["labels"] = _part_file(images_file, "labels", label_dir)
    # a file that holds images and labels has its rate, too; one beside it is of another set
    beside = parts.lr is None and files.get("labels") and parts.note is None
    if not ignores_rate(lr_dir) and (lr_dir is not None or beside):
        files["lr"] = _part_file(images_file, "lr", lr_dir)
    return {part: file for part, file in files.items() if file is not None}


def _strange_names(images_file: Path, others: dict[str, Path], flags: dict[str, object]) -> list[tuple[str, str, str]]:
    """Say it where labels or rate are called differently than the images, as of another step of the method.

    What a flag names is meant, whatever it is called.
    """
    return [
        (part, f"{file.name} goes with {images_file.name}", FLAGS[part])
        for part, file in others.items()
        if flags[part] is None and file.name != re.sub("images(_zca)?", part, images_file.name, count=1)
    ]


def ignores_rate(lr_dir: str | os.PathLike | None) -> bool:
    """Whether `--lr_dir` says that no rate is to be taken."""
    return lr_dir is not None and str(lr_dir).lower() == "none"


def read_rate(where: str | os.PathLike) -> float:
    """Return the learned rate of a file, or of `lr.pt`, `lr_best.pt` or `lr.npy` in a folder."""
    file = find_file(Path(where), "lr")
    return as_rate(_load_part(file, "lr"), str(file))


def _images_file(path: Path) -> Path:
    """Return the file of the images, given itself or its folder; or the only one there that can hold a set."""
    alone = only_file(path) if os.path.isdir(path) and not part_files(path) else None
    return alone or find_file(path, "images")


def _part_file(images_file: Path, part: str, where: str | os.PathLike | None) -> Path | None:
    """Return the file of labels or rate: the one that is named, or the one that is called as the images are."""
    if where is not None:
        return find_file(Path(where), part)
    folder, match = images_file.parent, re.fullmatch(r"images(?:_zca)?(.*)", images_file.name)
    # images_best.pt goes with labels_best.pt, images_zca_5000.pt with labels_5000.pt
    if match and (folder / f"{part}{match[1]}").is_file():
        return folder / f"{part}{match[1]}"
    beside = part_files(folder, part)
    wanted = beside if part == "lr" else match or (beside and only_file(folder) == images_file)
    return find_file(folder, part) if wanted else None


def _load(path: Path) -> object:
    return _LOADERS.get(path.suffix.lower(), load_torch)(path)


def _load_part(path: Path, part: str) -> object:
    """Return one part out of a file that holds it, alone or by its name."""
    content = _load(path)
    return content.get(part, content) if isinstance(content, dict) else content


def _record_of(images_file: Path, note: object, own_labels: bool) -> SetRecord:
    """Return the record that lies beside the images, or in their file; without what is about labels not used."""
    if isinstance(note, np.ndarray):
        note = note.tobytes().decode("utf-8", errors="replace")
    if isinstance(note, str):
        record = parse_record(note, f"{images_file}: {NOTE}")
    else:
        record = read_record(images_file.parent) if images_file.name in part_names("images") else None
    record = record or SetRecord()
    return record if own_labels else record.without_labels()


def write_published(distilled: SetTensors, folder: Path) -> None:
    """Write the files of `save_published`, and the record beside them."""
    save_published(distilled, folder)
    write_record(folder, distilled)


def save_published(distilled: SetTensors | tuple[torch.Tensor, torch.Tensor], folder: str | os.PathLike) -> None:
    """Write `images.pt`, `labels.pt` and, if there is a learned rate, `lr.pt` (float64, so that nothing is lost).

    A pair of images and labels is taken as of `SetTensors.of`.

    The `lr.pt` and the `distilled.json` of a set that lay there before are removed: they would be read with this one.
    """
    folder, distilled = Path(folder), SetTensors.of(distilled)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("lr.pt", RECORD_NAME):
        (folder / name).unlink(missing_ok=True)
    for name, tensor in distilled.stored.items():
        torch.save(tensor.clone(), folder / f"{name}.pt")  # a view would be saved with all that it looks into
