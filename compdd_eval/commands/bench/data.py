"""Measure building, opening and decoding subsets, as ratios to plain copying and plain PIL in the same run."""

import contextlib
import csv
import functools
import io
import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from tqdm.auto import tqdm

from compdd_eval.commands.prepare import prepare
from compdd_eval.config.bench import BenchConfig
from compdd_eval.config.prepare import PrepareConfig
from compdd_eval.data.drawn_imagenet import DIFFICULTIES, draw_image
from compdd_eval.data.splits import load_comp_dd
from compdd_eval.data.subsets import CATEGORIES, load_subset, subset_names
from compdd_eval.data.transforms import IMAGENET_MEAN, IMAGENET_STD, decode_rgb, normalise, preprocess
from compdd_eval.utils.console import print_table
from compdd_eval.utils.files import check_writable

_VALIDATION = 5  # images of each class
_POOL = 48  # different images; all files are copies of one of them
_QUALITY, _NOISE = 92, 16  # give files of ImageNet's size, 110 KB at 400 pixels
_SIZE = (128, 128)
_ONE = subset_names()[0]


@dataclass(frozen=True)
class Figure:
    """One line of a bench: what was measured, its value as a number and in words, and the target, if there is one."""

    name: str
    number: float
    value: str
    target: str = ""
    reached: bool | None = None


def bench_data(config: BenchConfig, progress: bool = True) -> list[Figure]:
    """Draw a source, then build, open and decode its subsets.

    Args:
        config: How many images of which size, and where to.
        progress: Show what is being measured.
    """
    if config.output_dir is not None:
        check_writable(Path(config.output_dir), "--output_dir")
    with tempfile.TemporaryDirectory(prefix="compdd_bench_", dir=config.output_dir) as place, _quiet():
        bench = _Bench(Path(place), config, progress)
        return [*bench.building(), *bench.archives(), *bench.memory(), *bench.opening(), *bench.decoding()]


class _Bench:
    """The source that is drawn, and the timings on it."""

    def __init__(self, place: Path, config: BenchConfig, progress: bool) -> None:
        self.place, self.config, self.progress = place, config, progress
        self.tree, self.cache = place / "imagenet", place / "cache"
        with self._telling("drawing images"):
            self.pool = _draw_pool(config.side)
            self.images, self.bytes = _draw_tree(self.tree, self.pool, config.images)

    def building(self) -> Iterator[Figure]:
        """Building from class folders, against copying the same files."""
        subset = load_subset(_ONE)
        folders = [f"{split}/{wnid}" for split in ("train", "val") for wnid in subset.wnids]
        copied, built = self._time(
            "building one subset",
            lambda: _copy(self.tree, folders, self.place / "copy"),
            lambda: self._prepare(self.tree, _ONE.split("-")),
            building=True,
        )
        yield _ratio("build one subset, rate against copying its files", copied / built, 0.8)
        copied, self.built = self._time(
            "building sixteen subsets",
            lambda: shutil.copytree(self.tree, self.place / "copy"),
            lambda: self._prepare(self.tree),
            building=True,
        )
        ratio = self.built / copied
        value = f"{ratio:.2f} x ({self._rate(self.built)})"
        yield Figure("build sixteen subsets, time against copying", ratio, value, "at most 1.5 x", ratio < 1.5)
        for flags, options in (("--num_proc 2", {"num_proc": 2}), ("--link", {"link": True})):
            build = functools.partial(self._prepare, self.tree, **options)
            (seconds,) = self._time(f"building with {flags}", build, building=True)
            ratio = seconds / copied
            yield Figure(f"the same with {flags}", ratio, f"{ratio:.2f} x ({self._rate(seconds)})")

    def archives(self) -> Iterator[Figure]:
        """Building from the official archives, against building from class folders."""
        with self._telling("packing archives"):
            _pack(self.tree, self.place / "archives")
        (packed,) = self._time("building from archives", lambda: self._prepare(self.place / "archives"), building=True)
        yield _ratio("build from tar archives, rate against the folder", self.built / packed, 0.5)
        shutil.rmtree(self.place / "archives")

    def memory(self) -> Iterator[Figure]:
        """Peak of a process that builds, for one subset and for sixteen."""
        peaks = []
        for selection in (_ONE.split("-"), None):
            with self._telling("peak memory"):
                peaks.append(_peak(self.tree, self._fresh("cache"), selection))
        value = f"{peaks[1]:.0f} MB (one subset: {peaks[0]:.0f} MB)"
        yield Figure("peak memory of prepare, sixteen subsets", peaks[1], value, "under 1000 MB", max(peaks) < 1000)

    def opening(self) -> Iterator[Figure]:
        """Opening what is prepared."""
        self._prepare(self.tree)
        original, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, self.cache
        try:
            (loaded,) = self._time("load_dataset", lambda: datasets.load_dataset("comp_dd", _ONE))
        finally:
            datasets.config.HF_DATASETS_CACHE = original
        (opened,) = self._time("load_comp_dd", self._open)
        for name, seconds in (('load_dataset("comp_dd", ...)', loaded), ("load_comp_dd, both splits", opened)):
            yield Figure(f"open a prepared subset: {name}", seconds, f"{seconds:.3f} s", "under 0.2 s", seconds < 0.2)

    def decoding(self) -> Iterator[Figure]:
        """Decoding to 128 x 128 pixels, against PIL alone and against the transform as it was published."""
        (ours,) = self._time("decoding", lambda: [_ours(data) for data in self.pool])
        (published,) = self._time("the published transform", lambda: [_published(data) for data in self.pool])
        (in_8_bits,) = self._time("PIL", lambda: [_pil(data) for data in self.pool])
        difference = max(float((_ours(data) - _published(data)).abs().mean()) for data in self.pool)
        in_255 = difference * 255 * float(np.mean(IMAGENET_STD))
        rate = len(self.pool) / ours
        yield Figure("decode to 128 px, one process", rate, f"{rate:,.0f} images/s")
        yield _ratio("rate against the published transform (PIL, same pixels)", published / ours, 1.5)
        name = "mean difference of the pixels from the published ones"
        yield Figure(name, in_255, f"{in_255:.5f} of 255", "under 0.1 of 255", in_255 < 0.1)
        ratio = in_8_bits / ours
        yield Figure("rate against PIL's own resize (pixels rounded to 8 bits)", ratio, f"{ratio:.2f} x")
        with multiprocessing.get_context("spawn").Pool(2, _one_thread) as processes:
            processes.map(_decoded, self.pool[:2])
            (both,) = self._time("two processes", lambda: processes.map(_decoded, self.pool * 2, chunksize=_POOL // 4))
        rate = 2 * len(self.pool) / both
        yield Figure("decode to 128 px, two processes", rate, f"{rate:,.0f} images/s")

    def _open(self) -> None:
        category, subset = _ONE.split("-")
        load_comp_dd(None, category, subset, cache_dir=self.cache)

    def _prepare(self, source: Path, selection: list[str] | None = None, **options: object) -> None:
        category, subset = selection or (None, None)
        cache = str(self._fresh("cache"))
        report = prepare(PrepareConfig(str(source), category, subset, cache_dir=cache, **options))
        report.raise_failures()

    def _fresh(self, name: str) -> Path:
        shutil.rmtree(self.place / name, ignore_errors=True)
        return self.place / name

    def _rate(self, seconds: float) -> str:
        return f"{self.images / seconds:,.0f} images/s, {self.bytes / seconds / 10**6:,.0f} MB/s"

    def _time(self, name: str, *works: Callable[[], object], building: bool = False) -> list[float]:
        """Return the least seconds of several timings of each work; they take turns, so that a busy disk slows all.

        What was built before is removed first, which is not timed.
        """
        least = [float("inf")] * len(works)
        with self._telling(name):
            for _ in range(self.config.repeats):
                for number, work in enumerate(works):
                    if building:
                        self._fresh("copy"), self._fresh("cache")
                        os.sync()  # what the last one left to write is not timed either
                    start = time.perf_counter()
                    work()
                    least[number] = min(least[number], time.perf_counter() - start)
        return least

    @contextlib.contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        with tqdm(desc=name, bar_format="{desc} {elapsed}", disable=not self.progress, leave=False):
            yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings that the source is not whole, and use one thread, as a data-loader process does."""
    loggers, threads = [logging.getLogger(name) for name in ("compdd_eval", "datasets")], torch.get_num_threads()
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        torch.set_num_threads(threads)


def _ratio(name: str, value: float, target: float) -> Figure:
    return Figure(name, value, f"{value:.2f} x", f"at least {target} x", value >= target)


def _draw_pool(side: int) -> list[bytes]:
    """Draw JPEG files that are as hard to decode as photographs."""
    rng, files = np.random.default_rng(0), []
    for number in range(_POOL):
        image = draw_image(number % 10, DIFFICULTIES["hard"], rng).resize((side, side * 7 // 8))
        pixels = np.asarray(image) + rng.normal(0, _NOISE, (image.height, image.width, 3))
        buffer = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=_QUALITY)
        files.append(buffer.getvalue())
    return files


def _draw_tree(root: Path, pool: list[bytes], train_images: int) -> tuple[int, int]:
    """Write all classes of the sixteen subsets; return the number of files and their bytes."""
    total = size = 0
    for name in subset_names():
        for entry in load_subset(name).classes:
            train = [f"train/{entry.wnid}/{entry.wnid}_{number}.JPEG" for number in range(train_images)]
            first = entry.imagenet_index * 50 + 1
            numbers = range(first, first + _VALIDATION)
            for path in [*train, *[f"val/{entry.wnid}/ILSVRC2012_val_{number:08}.JPEG" for number in numbers]]:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(pool[total % len(pool)])
                size += len(pool[total % len(pool)])
                total += 1
    return total, size


def _copy(tree: Path, folders: list[str], target: Path) -> None:
    for folder in folders:
        shutil.copytree(tree / folder, target / folder)


def _pack(tree: Path, out: Path) -> None:
    """Pack a tree as the official archives are, with Kaggle's table of validation labels."""
    out.mkdir()
    with tarfile.open(out / "ILSVRC2012_img_train.tar", "w") as outer:
        for folder in sorted((tree / "train").iterdir()):
            inner = out / f"{folder.name}.tar"
            with tarfile.open(inner, "w") as archive:
                for path in sorted(folder.iterdir()):
                    archive.add(path, path.name)
            outer.add(inner, inner.name)
            inner.unlink()
    with (
        tarfile.open(out / "ILSVRC2012_img_val.tar", "w") as archive,
        open(out / "LOC_val_solution.csv", "w", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(["ImageId", "PredictionString"])
        for path in sorted((tree / "val").glob("*/*"), key=lambda path: path.name):
            archive.add(path, path.name)
            table.writerow([path.stem, f"{path.parent.name} 1 1 2 2"])


def _peak(tree: Path, cache: Path, selection: list[str] | None) -> float:
    """Return the peak memory in MB of a process of its own that builds."""
    arguments = ["prepare", "--data_path", str(tree), "--cache_dir", str(cache)]
    if selection:
        arguments += ["--category", selection[0], "--subset", selection[1]]
    code = (
        "import contextlib, sys\n"
        "from compdd_eval.__main__ import main\n"
        "with contextlib.redirect_stdout(sys.stderr):\n"
        f"    main({arguments!r})\n"
        "from compdd_eval.utils.process_memory import peak_of_process\n"
        "print(peak_of_process())\n"
    )
    root = str(Path(__file__).resolve().parents[3])
    paths = os.pathsep.join(path for path in (root, os.environ.get("PYTHONPATH")) if path)
    env = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return float(done.stdout) / 10**6


def _one_thread() -> None:
    torch.set_num_threads(1)


def _ours(data: bytes) -> torch.Tensor:
    return preprocess(decode_rgb(data, "bench"), _SIZE)


def _decoded(data: bytes) -> int:
    return len(_ours(data))


def _published(data: bytes) -> torch.Tensor:
    """The transform of the Comp-DD release, on a PIL image."""
    chain = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD), transforms.Resize(_SIZE)]
    return transforms.Compose(chain)(Image.open(io.BytesIO(data)).convert("RGB"))


def _pil(data: bytes) -> torch.Tensor:
    image = Image.open(io.BytesIO(data)).convert("RGB").resize(_SIZE, Image.Resampling.BILINEAR)
    return normalise(transforms.functional.to_tensor(image))


def as_json(figures: list[Figure]) -> dict[str, object]:
    """Return what `--json` prints."""
    return {"rows": [asdict(figure) for figure in figures]}


def print_rows(config: BenchConfig, figures: list[Figure]) -> None:
    """Print a table of what was measured."""
    reached = {None: "", True: "reached", False: "missed"}
    rows = [[figure.name, figure.value, figure.target, reached[figure.reached]] for figure in figures]
    title = f"Bench: data, {len(CATEGORIES) * 2} subsets on {os.cpu_count()} CPU cores"
    print_table(title, ["", "measured", "target", ""], rows)
