"""Build subsets from ImageNet into the cache of `datasets`."""

import contextlib
import functools
import hashlib
import logging
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import datasets
from tqdm.auto import tqdm

from comp_dd import CompDD
from compdd_eval.config.prepare import PrepareConfig
from compdd_eval.data.build_progress import BuildLog
from compdd_eval.data.completeness import ClassCount, class_counts, missing_classes
from compdd_eval.data.imagenet.open import open_source
from compdd_eval.data.imagenet.reader import Reader
from compdd_eval.data.imagenet.rows import rows_digest
from compdd_eval.data.imagenet.scan_copy import scan_copied
from compdd_eval.data.prepared import remove_scans, scan_folder
from compdd_eval.data.subset_files import Subset
from compdd_eval.data.subsets import SPLITS
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable
from compdd_eval.utils.worker_pool import processes

_logger = logging.getLogger(__name__)


def run(config: PrepareConfig) -> None:
    """Prepare the subsets that are asked for and print what was built and where it lies."""
    with stdout_to_stderr(config.json):
        report = prepare(config, progress=True)
    print_prepared(report, config.json)
    report.raise_failures()


def print_counts(counts: list[ClassCount]) -> None:
    """Print the classes that are not whole, one line for each subset and split."""
    groups = defaultdict(list)
    for count in counts:
        groups[count.subset, count.split].append(str(count))
    rows = [[*key, ", ".join(classes)] for key, classes in groups.items()]
    print_table("Classes that are not whole (images found / expected)", ["config", "split", "classes"], rows)


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
    """What one `prepare` did.

    Attributes:
        prepared: Subsets in the cache.
        absent: Subset -> why it was left out: classes that the source lacks.
        partial: Classes of which the source has another number of images than a whole ImageNet.
        failed: Subset -> what went wrong.
    """

    prepared: list[PreparedSubset] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    partial: list[ClassCount] = field(default_factory=list)
    failed: dict[str, InputError] = field(default_factory=dict)

    def raise_failures(self) -> None:
        """Raise InputError if anything went wrong; a single failure as it is."""
        if len(self.failed) > 1:
            reasons = "; ".join(f"{name}: {error}" for name, error in self.failed.items())
            raise InputError(f"{len(self.failed)} subsets were not built: {reasons}")
        if self.failed:
            raise next(iter(self.failed.values()))

    def content(self) -> dict[str, object]:
        """Return all of it as JSON can hold it: `subsets`, `partial`, `absent`, `failed`."""
        return {
            "subsets": [
                counts_of(item.subset, item.images) | {"folder": item.folder, "state": item.status}
                for item in self.prepared
            ],
            "partial": [asdict(count) for count in self.partial],
            "absent": self.absent,
            "failed": {name: str(error) for name, error in self.failed.items()},
        }


def counts_of(subset: Subset, images: dict[str, int]) -> dict[str, object]:
    """Return how many images a copy of a subset has in each split, and how many a whole ImageNet has."""
    counts = {split: images.get(split, 0) for split in SPLITS}
    return {"config": subset.name, **counts, "expected": {split: subset.splits[split] for split in SPLITS}}


def prepare(config: PrepareConfig, progress: bool = False) -> PrepareReport:
    """Build the subsets that are asked for, each whole or not at all; what is current is left as it is.

    Every image is read once, whatever the layout of the source.

    Args:
        config: Source, subsets and cache.
        progress: Show a progress bar.

    Raises:
        InputError: No such source, or none of the subsets can be built from it; with `strict`, it is not whole.
    """
    subsets = {subset.name: subset for subset in config.subsets()}
    cache = Path(config.cache_dir or datasets.config.HF_DATASETS_CACHE)
    check_writable(cache, "cache with HF_DATASETS_CACHE or --cache_dir")
    source = open_source(config.data_path, config.layout, config.num_proc)
    report, builders = PrepareReport(), {}
    if len(subsets) > 1:
        report.absent = {name: why for name, subset in subsets.items() if (why := missing_classes(source, subset))}
    wanted = [name for name in subsets if name not in report.absent]
    for name in tqdm(wanted, "listing", unit="subset", leave=False, disable=not progress):
        try:
            builders[name] = _builder(config, source, subsets[name])
        except InputError as error:
            report.failed[name] = error
    if not builders and not report.failed:
        name, reason = next(iter(report.absent.items()))
        reason = f"none of {len(subsets)} subsets can be built from it ({name}: {reason})"
        raise InputError(f"{source.root}: {reason}; give a copy of ImageNet that has these classes")
    report.partial = [count for builder in builders.values() for count in _not_whole(builder)]
    if config.strict:
        _refuse_partial(source, report, quiet=config.json)
    with _no_other_bars(), _scanned(config, builders, progress):
        _build_all(config, builders, report, progress)
    built = [item.subset.name for item in report.prepared]
    report.partial = [count for count in report.partial if count.subset in built]
    _warn(source, report)
    return report


def _build_all(config: PrepareConfig, builders: dict[str, CompDD], report: PrepareReport, progress: bool) -> None:
    """Build one subset after another, or several at a time in processes of their own."""
    total = sum(_number_of_images(builder) for builder in builders.values())
    workers = min(config.num_proc, len(builders))
    with (
        tqdm(total=total, unit="image", desc="preparing", disable=not progress or not total) as bar,
        tempfile.TemporaryDirectory() as place,
        contextlib.ExitStack() as stack,
    ):
        log = BuildLog(Path(place))
        for builder in builders.values():
            builder.sharing, builder.readers = max(1, workers), config.num_proc // max(1, workers)
        each = functools.partial(_build, log=log)
        if workers > 1:
            pool = stack.enter_context(processes(workers))
            waiting = [pool.submit(each, builder) for builder in builders.values()]
            outcomes = (future.result() for future in waiting)
        else:
            outcomes = map(each, builders.values())
        stack.enter_context(log.watched(bar.update))
        for (name, builder), outcome in zip(builders.items(), outcomes, strict=True):
            _add_outcome(report, name, builder, outcome)


@contextlib.contextmanager
def _no_other_bars() -> Iterator[None]:
    """Silence what `datasets` tells of each split: our bar counts all subsets."""
    shown, logger = not datasets.are_progress_bars_disabled(), logging.getLogger("datasets.builder")
    level = logger.level
    datasets.disable_progress_bars()
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if shown:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def _scanned(config: PrepareConfig, builders: dict[str, CompDD], progress: bool) -> Iterator[None]:
    """Where images lie scattered over large shards, read those of all subsets in one scan, for the builders to take."""
    waiting = [builder for builder in builders.values() if config.verify or not builder.is_current()]
    if not waiting or not waiting[0].source.scattered:
        remove_scans(config.cache_dir)  # a run that was killed may have built all and left its copies
        yield
        return
    source = waiting[0].source
    rows = [row for builder in waiting for split in builder.rows.values() for row in split]
    digest = hashlib.sha256(f"{source.root} {rows_digest(rows)}".encode()).hexdigest()
    with scan_folder(config.cache_dir, digest) as folder:
        try:
            with tqdm(total=len(rows), unit="image", desc="reading", disable=not progress) as bar:
                copied = scan_copied(source, rows, folder, config.num_proc, bar.update)
        except OSError as error:
            raise InputError(f"{error.filename or folder}: {error.strerror or error}; nothing was built") from error
        for builder in waiting:
            builder.source = copied
        yield


def _builder(config: PrepareConfig, source: Reader, subset: Subset) -> CompDD:
    builder = CompDD(
        config_name=subset.name,
        classes=subset.selection.get("classes"),
        link=config.link,
        verify=config.verify,
        cache_dir=config.cache_dir,
    )
    builder.source = source
    builder.record  # noqa: B018  (lists the rows: a bad folder is found before anything is built)
    return builder


def _number_of_images(builder: CompDD) -> int:
    return sum(len(rows) for rows in builder.rows.values())


def _not_whole(builder: CompDD) -> list[ClassCount]:
    wnids = {split: [row.wnid for row in rows] for split, rows in builder.rows.items()}
    return [count for count in class_counts(builder.subset, wnids) if count.found != count.expected]


def _refuse_partial(source: Reader, report: PrepareReport, quiet: bool) -> None:
    """Raise InputError unless the source has all images of all that was asked for."""
    report.raise_failures()
    for name, reason in report.absent.items():
        raise InputError(f"{source.root}: --strict, and {name} cannot be built: {reason}")
    for split in SPLITS:
        if split not in source.splits:
            raise InputError(f"{source.root}: --strict, and there are no {split} images")
    if report.partial:
        if not quiet:
            print_counts(report.partial)
        first, more = report.partial[0], len(report.partial) - 1
        also = f", and {more} more" if more else ""
        raise InputError(
            f"{source.root}: --strict, and this copy is not whole: {first} images ({first.split}){also}; "
            "complete it, or leave --strict out"
        )


def _build(builder: CompDD, log: BuildLog) -> tuple[str, str] | InputError:
    """Build one subset; return its folder and the builder's status, or what went wrong.

    This may be a process of its own, in which the builder is a copy.
    """
    counted = 0

    def count(images: int) -> None:
        nonlocal counted
        counted += images
        log.add_images(images)

    builder.on_images = count
    try:
        builder.download_and_prepare()
    except InputError as error:
        return error
    except OSError as error:
        reason = f"{error.filename or Path(builder.cache_dir).parents[3]}: {error.strerror or error}"
        advice = "finished subsets are kept; make room or give another --cache_dir, and run again"
        return InputError(f"{builder.config_id}: {reason}; {advice}")
    log.add_images(_number_of_images(builder) - counted)  # nothing was read of what is current
    return builder.cache_dir, builder.status


def _add_outcome(report: PrepareReport, name: str, builder: CompDD, outcome: tuple[str, str] | InputError) -> None:
    if isinstance(outcome, InputError):
        report.failed[name] = outcome
        return
    folder, status = outcome
    images = {split: len(rows) for split, rows in builder.rows.items()}
    if status.startswith("replaced"):
        counts = ", ".join(f"{images.get(split, 0)} {split} images" for split in SPLITS)
        _logger.warning(f"{name}: {status}; it has {counts} now")
    report.prepared.append(PreparedSubset(builder.subset, images, folder, status.split()[0]))


def _warn(source: Reader, report: PrepareReport) -> None:
    for split in SPLITS:
        if split not in source.splits:
            _logger.warning(f"{source.root}: has no {split} images; only {', '.join(source.splits)} was built")
    if report.partial:
        names = dict.fromkeys(count.subset for count in report.partial)
        _logger.warning(f"not as many images as a whole ImageNet has: {', '.join(names)}")


def print_prepared(report: PrepareReport, as_json: bool = False) -> None:
    """Print what is prepared, the classes that are not whole, and the subsets that are not there; or all as JSON."""
    if as_json:
        print_json(report.content())
        return
    rows = []
    for item in report.prepared:
        counts = [f"{item.images.get(split, '-')} / {item.subset.splits[split]}" for split in SPLITS]
        folder = Path(item.folder)
        rows.append([item.subset.name, *counts, item.status, folder.relative_to(folder.parents[2])])
    if report.partial:
        print_counts(report.partial)
    if rows:
        title = f"Subsets in {folder.parents[2]} (images / expected)"
        print_table(title, ["config", "train>", "validation>", "", "folder"], rows)
        call = f'load_dataset("comp_dd", "{report.prepared[0].subset.name}")'
        in_default = folder.parents[3] == Path(datasets.config.HF_DATASETS_CACHE).absolute()
        where = "in any process" if in_default else f"in processes with HF_DATASETS_CACHE={folder.parents[3]}"
        print(f"{call} now works {where}")
    for name, reason in report.absent.items():
        print(f"not built: {name}: {reason}")
