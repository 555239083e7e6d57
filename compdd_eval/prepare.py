"""Build subsets from a copy of ImageNet into the cache of `datasets`."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import datasets
from tqdm import tqdm

from comp_dd import CompDD
from compdd_eval.config import PrepareConfig
from compdd_eval.console import print_table
from compdd_eval.errors import InputError
from compdd_eval.files import check_writable
from compdd_eval.sources import Source, open_source
from compdd_eval.subsets import PUBLISHED_SUFFIX, SPLITS, Subset, load_subset

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedSubset:
    """One subset in the cache.

    Attributes:
        subset: The subset.
        images: Split -> number of images.
        folder: Where it lies.
        status: `built`, `replaced` (other images lay there) or `current` (nothing to do).
    """

    subset: Subset
    images: dict[str, int]
    folder: str
    status: str


@dataclass
class PrepareReport:
    """What one `prepare` did: subsets in the cache, those whose classes the source lacks, and failures."""

    prepared: list[PreparedSubset] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    failed: dict[str, InputError] = field(default_factory=dict)

    def raise_failures(self) -> None:
        """Raise InputError if anything went wrong; a single failure as it is."""
        if len(self.failed) > 1:
            reasons = "; ".join(f"{name}: {error}" for name, error in self.failed.items())
            raise InputError(f"{len(self.failed)} subsets were not built: {reasons}")
        if self.failed:
            raise next(iter(self.failed.values()))


def prepare(config: PrepareConfig, progress: bool = False) -> PrepareReport:
    """Build the subsets that are asked for, each whole or not at all; what is current is left as it is.

    Args:
        config: Source, subsets and cache.
        progress: Show a progress bar.

    Raises:
        InputError: No such source, or none of the subsets can be built from it.
    """
    source, names = open_source(config.data_path), config.names()
    check_writable(
        Path(config.cache_dir or datasets.config.HF_DATASETS_CACHE), "cache with HF_DATASETS_CACHE or --cache_dir"
    )
    report = PrepareReport()
    if len(names) > 1:
        report.absent = _absent(source, names)
    builders = {}
    for name in [name for name in names if name not in report.absent]:
        try:
            builders[name] = _builder(config, name)
        except InputError as error:
            report.failed[name] = error
    if not builders and not report.failed:
        first = next(iter(report.absent.items()))
        reason = f"none of {len(names)} subsets can be built from it ({first[0]}: {first[1]})"
        raise InputError(f"{source.root}: {reason}; give a copy of ImageNet that has these classes")
    total = sum(len(rows) for builder in builders.values() for rows in builder.rows.values())
    bar = tqdm(total=total, unit="image", desc="preparing", disable=not progress or not total)
    with _no_other_bars(), bar:
        for name, builder in builders.items():
            _build(builder, name, bar, report)
    _warn(source, report)
    return report


@contextlib.contextmanager
def _no_other_bars() -> Iterator[None]:
    """Silence the bar that `datasets` shows for each split: ours counts all subsets."""
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _absent(source: Source, names: list[str]) -> dict[str, str]:
    """Return the subsets of which the source lacks class folders, with the reason in words."""
    absent = {}
    for name in names:
        wnids = load_subset(name).wnids
        missing = {split: len(wnids) - source.class_count(split, wnids) for split in source.splits}
        if any(missing.values()):
            found = [f"{count} of {len(wnids)} in {split}" for split, count in missing.items() if count]
            absent[name] = f"class folders are missing: {', '.join(found)}"
    return absent


def _builder(config: PrepareConfig, name: str) -> CompDD:
    published = name.endswith(PUBLISHED_SUFFIX)
    base = name.removesuffix(PUBLISHED_SUFFIX)
    builder = CompDD(config_name=base, published=published, data_dir=config.data_path, cache_dir=config.cache_dir)
    builder.rows  # noqa: B018  (listed here, so that a bad folder is found before anything is built)
    return builder


def _build(builder: CompDD, name: str, bar: tqdm, report: PrepareReport) -> None:
    """Build one subset and add it to the report."""
    images = {split: len(rows) for split, rows in builder.rows.items()}
    start, builder.on_images = bar.n, bar.update
    try:
        builder.download_and_prepare()
    except InputError as error:
        report.failed[name] = error
        return
    except OSError as error:
        reason = f"{error.filename or Path(builder.cache_dir).parents[3]}: {error.strerror or error}"
        report.failed[name] = InputError(f"{name}: {reason}; finished subsets are kept")
        return
    bar.update(start + sum(images.values()) - bar.n)  # nothing was read of what is current
    if builder.status.startswith("replaced"):
        _logger.warning(f"{name}: {builder.status}; it has {_counts(images)} now")
    report.prepared.append(PreparedSubset(builder.subset, images, builder.cache_dir, builder.status.split()[0]))


def _counts(images: dict[str, int]) -> str:
    return ", ".join(f"{images.get(split, 0)} {split} images" for split in SPLITS)


def _warn(source: Source, report: PrepareReport) -> None:
    for split in SPLITS:
        if split not in source.splits:
            _logger.warning(f"{source.root}: has no {split} images; only {', '.join(source.splits)} was built")
    partial = [
        item.subset.name
        for item in report.prepared
        if any(item.subset.splits[split] != count for split, count in item.images.items())
    ]
    if partial:
        _logger.warning(f"not as many images as a whole ImageNet has: {', '.join(partial)}")


def print_report(report: PrepareReport) -> None:
    """Print a table of what is prepared, and a line for each subset that is not."""
    rows = []
    for item in report.prepared:
        counts = [f"{item.images.get(split, '-')} / {item.subset.splits[split]}" for split in SPLITS]
        folder = Path(item.folder)
        rows.append([item.subset.name, *counts, item.status, folder.relative_to(folder.parents[2])])
    if rows:
        title = f"Comp-DD subsets in {folder.parents[2]} (images / expected)"
        print_table(title, ["config", "train>", "validation>", "", "folder"], rows)
        call = f'load_dataset("comp_dd", "{report.prepared[0].subset.name}")'
        in_default = folder.parents[3] == Path(datasets.config.HF_DATASETS_CACHE).absolute()
        where = "in any process" if in_default else f"in processes with HF_DATASETS_CACHE={folder.parents[3]}"
        print(f"{call} now works {where}")
    for name, reason in report.absent.items():
        print(f"not built: {name}: {reason}")
