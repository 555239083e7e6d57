"""Write prepared subsets as Parquet files with a card."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from compdd_eval.commands.prepare import PrepareReport, counts_of, prepare
from compdd_eval.config.export import ExportConfig
from compdd_eval.data.card import CardEntry, benchmark_card
from compdd_eval.data.imagenet.open import find_imagenet
from compdd_eval.data.imagenet.reader import read_linked
from compdd_eval.data.prepared import Record, config_root, find_prepared, not_prepared, open_arrow
from compdd_eval.data.subset_files import Subset
from compdd_eval.data.subsets import SPLITS, config_names, load_subset, selected_subset
from compdd_eval.results.hub_eval_results import EVAL_NAME, eval_yaml
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable, locked_or_refused, write_json, write_text

_logger = logging.getLogger(__name__)


def run(config: ExportConfig) -> None:
    """Export the subsets that are asked for and print what was written."""
    with stdout_to_stderr(config.json):
        report = export(config, progress=True)
    print_exported(report, config.json)
    if report.prepared is not None:
        report.prepared.raise_failures()


CARD_NAME = "README.md"
_ROWS = 100  # images in a row group, so that one is read without reading many
_FILE_SIZE = 500 * 10**6  # bytes after which a new file begins
_RECORD = "export.json"
_EARLIER = "from an earlier export"
_MARK = "dataset-distillation"  # is in every card of ours


@dataclass
class ExportReport:
    """What one `export` did.

    Attributes:
        folder: Where to.
        statuses: Configuration -> `written` or `current`.
        entries: All configurations that the folder holds now.
        prepared: What was prepared for it; None where it was prepared before.
    """

    folder: Path
    statuses: dict[str, str] = field(default_factory=dict)
    entries: list[CardEntry] = field(default_factory=list)
    prepared: PrepareReport | None = None

    def content(self) -> dict[str, object]:
        """Return all of it as JSON can hold it: `folder`, `subsets` that it holds now, and what was `prepared`."""
        return {
            "folder": str(self.folder),
            "subsets": [self._content_of(entry) for entry in self.entries],
            "prepared": self.prepared.content() if self.prepared is not None else None,
        }

    def _content_of(self, entry: CardEntry) -> dict[str, object]:
        name = entry.subset.name
        facts = {"bytes": entry.files, "folder": str(self.folder / name), "state": self.statuses.get(name, _EARLIER)}
        return counts_of(entry.subset, entry.images) | facts


def export(config: ExportConfig, progress: bool = False) -> ExportReport:
    """Write the subsets that are asked for; each whole or not at all, and not again what is there.

    Args:
        config: Which subsets, and where to.
        progress: Show progress bars.

    Raises:
        InputError: Nothing is prepared and no ImageNet was given; the folder is another one's or in use.
    """
    root = Path(config.output_dir).absolute()
    check_writable(root, "--output_dir")
    _check_ours(root)
    report = ExportReport(root)
    with locked_or_refused(root / ".lock", f"{root}: another export writes into it now; wait for it"):
        for subset in config.subsets():
            _check_free(root / subset.name)
        if find_imagenet(config.data_path) is not None:
            report.prepared = prepare(config, progress)
        prepared = _prepared(config, report.prepared)
        total = sum(sum(record.images.values()) for _, _, record in prepared)
        with tqdm(total=total, unit="image", desc="exporting", disable=not progress) as bar:
            for subset, folder, record in prepared:
                report.statuses[subset.name] = _export_one(root / subset.name, subset, folder, record, bar)
        report.entries = list(_entries(root))
        write_text(root / CARD_NAME, benchmark_card(report.entries))
        if tasks := eval_yaml(report.entries):
            write_text(root / EVAL_NAME, tasks)
        else:  # without validation images it is no benchmark on the Hub
            (root / EVAL_NAME).unlink(missing_ok=True)
    return report


def _check_ours(root: Path) -> None:
    """Refuse to write over a card that `export` did not write."""
    card = root / CARD_NAME
    if card.exists() and _MARK not in card.read_text(encoding="utf-8", errors="replace"):
        raise InputError(f"{card}: is no card of Comp-DD; give a new or empty --output_dir")


def _check_free(target: Path) -> None:
    """Refuse to replace a folder that `export` did not write."""
    if os.path.lexists(target) and not (target / _RECORD).is_file():
        raise InputError(f"{target}: lies where the export would go and is none; move it or give another --output_dir")


def _prepared(config: ExportConfig, report: PrepareReport | None) -> list[tuple[Subset, Path, Record]]:
    """Return what is prepared: each subset with folder and record."""
    subsets = config.subsets() if report is None else [item.subset for item in report.prepared]
    places = [(subset, find_prepared(config_root(config.cache_dir, subset.name))) for subset in subsets]
    found = [(subset, *place) for subset, place in places if place and place[1].subset_digest == subset.digest]
    absent = [subset for subset in subsets if subset not in [there for there, *_ in found]]
    if absent and (config.narrowed or not found):
        raise not_prepared(absent, config.cache_dir)
    if absent:
        _logger.warning(f"not prepared, so not written: {', '.join(subset.name for subset in absent)}")
    return found


def _export_one(target: Path, subset: Subset, folder: Path, record: Record, bar: tqdm) -> str:
    """Write one configuration beside its place, then put it there."""
    written = _read_record(target)
    digests = {"subset_digest": record.subset_digest, "rows": record.rows}
    if written is not None and {key: written.get(key) for key in digests} == digests:
        bar.update(sum(record.images.values()))
        return "current"
    stage = target.with_name(f".{target.name}.stage")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    try:
        sizes = {split: _write_split(stage, folder, record, split, bar) for split in record.images}
        files = sum(path.stat().st_size for path in stage.iterdir())
        facts = {"selection": subset.selection, "images": record.images, "sizes": sizes, "files": files}
        write_json(stage / _RECORD, digests | facts)
        if target.exists():
            shutil.rmtree(target)
        os.rename(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return "written"


def _write_split(stage: Path, folder: Path, record: Record, split: str, bar: tqdm) -> int:
    """Write one split as Parquet files; return the bytes of its images."""
    dataset = open_arrow(folder, record, split)
    schema, size, written, paths, writer = dataset.features.arrow_schema, 0, 0, [], None
    for table in _tables(dataset):
        if writer is None or written > _FILE_SIZE:
            if writer is not None:
                writer.close()
            paths.append(stage / f"{len(paths)}.{split}")
            writer, written = pq.ParquetWriter(paths[-1], schema), 0
        writer.write_table(table.cast(schema))
        written += table.nbytes
        size += table.nbytes
        bar.update(len(table))
    writer.close()
    for number, path in enumerate(paths):
        path.rename(stage / f"{split}-{number:05}-of-{len(paths):05}.parquet")
    return size


def _tables(dataset: datasets.Dataset) -> Iterator[pa.Table]:
    """Yield the rows with the bytes of their images, where only paths are kept, too."""
    for table in dataset.with_format("arrow").iter(_ROWS):
        images = table["image"].to_pylist()
        if images[0]["bytes"] is None:
            names = table["file_name"].to_pylist()
            pairs = zip(images, names, strict=True)
            embedded = [{"bytes": read_linked(image["path"]), "path": name} for image, name in pairs]
            place, kind = table.schema.get_field_index("image"), table.schema.field("image")
            table = table.set_column(place, kind, pa.array(embedded, kind.type))
        yield table


def _read_record(target: Path) -> dict[str, object] | None:
    """Return what `export` noted of a configuration, if its files are all there."""
    try:
        record = json.loads((target / _RECORD).read_text(encoding="utf-8"))
        files = sum(path.stat().st_size for path in target.glob("*.parquet"))
        return record if files == record["files"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _entries(root: Path) -> Iterator[CardEntry]:
    """Yield the configurations that a folder holds: those of the benchmark in its order, then other lists."""
    others = sorted({path.parent.name for path in root.glob(f"[!.]*/{_RECORD}")} - set(config_names()))
    for name in [*config_names(), *others]:
        record = _read_record(root / name)
        subset = None if record is None else _subset_of(name, record)
        if subset is not None:
            images = {split: record["images"][split] for split in SPLITS if split in record["images"]}
            yield CardEntry(subset, images, record["sizes"], record["files"])


def _subset_of(name: str, record: dict[str, object]) -> Subset | None:
    """Return the subset that a record is of; None where the folder is called otherwise, or it cannot be told."""
    try:
        subset = selected_subset(record["selection"]) if "selection" in record else load_subset(name)
    except (InputError, AttributeError):
        return None
    return subset if subset is not None and subset.name == name else None


def exported(root: Path) -> list[CardEntry]:
    """Return what `export` wrote into a folder.

    Raises:
        InputError: It is no such folder.
    """
    entries = list(_entries(root)) if (root / CARD_NAME).is_file() else []
    if not entries:
        raise InputError(f"{root}: nothing that `export` wrote; run export --output_dir {root} first")
    return entries


def print_exported(report: ExportReport, as_json: bool = False) -> None:
    """Print a table of what the folder holds, or JSON."""
    if as_json:
        print_json(report.content())
        return
    rows = []
    for entry in report.entries:
        counts = [f"{entry.images.get(split, '-')} / {entry.subset.splits[split]}" for split in SPLITS]
        status = report.statuses.get(entry.subset.name, _EARLIER)
        rows.append([entry.subset.name, *counts, f"{entry.files / 10**6:,.1f} MB", status])
    title = f"Comp-DD as Parquet in {report.folder} (images / expected)"
    print_table(title, ["config", "train>", "validation>", "size>", ""], rows)
    if rows:
        name = next((row[0] for row in rows if row[-1] != _EARLIER), rows[0][0])
        print(f'load_dataset("{report.folder}", "{name}") now works on any machine that has this folder')
