"""Comp-DD: sixteen ten-class subsets of ImageNet-1K for dataset distillation in complex scenes.

A builder for the `datasets` library. It reads the user's own copy of ImageNet and keeps the original bytes:

    from comp_dd import CompDD
    builder = CompDD(config_name="bird-easy", data_dir="/path/to/imagenet")
    builder.download_and_prepare()
    train = builder.as_dataset("train")

After that (or after `python -m compdd_eval prepare`) `load_dataset("comp_dd", "bird-easy")` works in any process.
"""

import functools
import importlib.util
import json
import logging
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow as pa

_VERSION = "1.0.0"  # of the class lists and of what is built from them; the subset files say the same
_HOMEPAGE = "https://github.com/NUS-HPC-AI-Lab/EDF"
_LICENSE = "The images are ImageNet's and stay under its terms of access (https://image-net.org/download.php)"
_CITATION = """\
@inproceedings{wang2025emphasizing,
  title={Emphasizing Discriminative Features for Dataset Distillation in Complex Scenarios},
  author={Wang, Kai and Li, Zekai and Cheng, Zhi-Qi and Khaki, Samir and Sajedi, Ahmad
          and Vedantam, Ramakrishna and Plataniotis, Konstantinos N. and Hauptmann, Alexander and You, Yang},
  booktitle={Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year={2025}
}"""
_DESCRIPTION = """\
Comp-DD is a benchmark for dataset distillation in complex scenes: eight categories of ImageNet-1K (bird, car, dog, \
fish, snake, insect, round, music), each with an easy and a hard subset of ten classes, chosen by the complexity of \
their images (one minus the share of pixels whose class-activation value reaches 0.5)."""
_CATEGORIES = ("bird", "car", "dog", "fish", "snake", "insect", "round", "music")
_TABLE_ROWS = 100  # images in one Arrow table: large enough to be fast, small enough for any memory
_logger = logging.getLogger("compdd_eval")
_NO_FOLDER = "unprepared"  # name of a cache folder that never exists: what is served depends on the source's rows


@dataclass(eq=False)
class CompDDConfig(datasets.BuilderConfig):
    """One subset.

    The copy of ImageNet is no part of its identity: the same subset is the same cache entry wherever the images came
    from. With `published=True` `music-hard` has the nine classes of the published list and a cache entry of its own,
    `music-hard-published`; the other subsets do not change. A list of a user's own, out of `subsets_dir` or given as
    `classes`, has a cache entry whose name holds a digest of its classes.
    """

    published: bool = False
    subsets_dir: str = None
    classes: object = None
    layout: str = "auto"
    link: bool = False
    verify: bool = False

    def create_config_id(self, config_kwargs, custom_features=None):
        """Return the name of the cache folder."""
        return f"{self.name}-published" if self.published and self.name == "music-hard" else self.name

    def __eq__(self, other):
        return isinstance(other, CompDDConfig) and (self.name, self.version) == (other.name, other.version)


class CompDD(datasets.ArrowBasedBuilder):
    """Builder of the sixteen configurations, and of other lists of ten classes; splits `train` and `validation`.

    Rows are ordered by label and then by ImageNet's own file name. Features: `image` (the original bytes, decoded
    as RGB), `label` (0-9), `imagenet_label` (0-999), `wnid`, `file_name`.

    Where EXIF data hold an orientation, `datasets` turns the image as it decodes it; published loader and evaluator
    do not. Only other bytes could undo that here: decode those of `cast_column("image", datasets.Image(decode=False))`.

    Args:
        config_name: `bird-easy`, ..., `music-hard`; or a list that the field uses, such as `nette`.
        data_dir: A copy of ImageNet: its folder, or `ILSVRC/imagenet-1k` on the Hub; else the environment variable
            `COMP_DD_IMAGENET`. "prepared" takes what is prepared, in any case.
        published: Take `music-hard` as published, with nine classes.
        subsets_dir: A folder with subset files of a user's own: `config_name` is the name of one, without `.json`.
        classes: In place of `config_name`: ten WordNet ids, ImageNet indices or names of classes, in a list or joined
            by commas, for labels 0-9.
        layout: How the copy is stored, one of `compdd_eval.data.choices.LAYOUTS`; "auto" looks at it.
        link: Keep the paths of the images in place of their bytes: tiny, and bound to this disk.
        verify: Decode every image while building.

    Raises:
        InputError: (a ValueError) while preparing: no ImageNet, a missing or empty class folder, bad images.
    """

    BUILDER_CONFIG_CLASS = CompDDConfig
    BUILDER_CONFIGS = [
        CompDDConfig(
            name=f"{category}-{difficulty}",
            version=datasets.Version(_VERSION),
            description=f"Comp-DD, category {category}, subset {difficulty}",
        )
        for category in _CATEGORIES
        for difficulty in ("easy", "hard")
    ]

    def __init__(self, *args, **kwargs):
        kwargs["hash"] = _NO_FOLDER
        self.on_images = None  # called, from a thread, with the number of images each time some were read
        self.sharing = 1  # builders that work at the same time, and share the processor's cores
        self.readers = 1  # images that are read at a time
        self.status = None  # after download_and_prepare: "built", "current" or "replaced ..."
        self._log = None  # of a build that runs
        self._threads = 0  # that decode every image while building
        super().__init__(*args, **kwargs)
        self.info.config_name = self.config_id  # as the folder is named: `load_dataset` compares the two

    def __getstate__(self):
        """Leave the callback behind: it belongs to this process."""
        return {**self.__dict__, "on_images": None}

    def _create_builder_config(self, config_name=None, custom_features=None, **kwargs):
        """Take another list than the sixteen as it is; `datasets` knows those."""
        ours = config_name in self.builder_configs
        if ours and kwargs.get("subsets_dir") is None and kwargs.get("classes") is None:
            return super()._create_builder_config(config_name, custom_features, **kwargs)
        kwargs = {"version": datasets.Version(_VERSION), **kwargs}
        kwargs.pop("config_id", None)  # only newer versions of `datasets` have it
        self.subset = self._find(config_name, *map(kwargs.get, ("published", "subsets_dir", "classes")))
        return CompDDConfig(name=self.subset.name, **kwargs), self.subset.name

    @functools.cached_property
    def subset(self):
        """The `compdd_eval.data.subset_files.Subset` of this configuration."""
        return self._find(self.config.name, self.config.published)

    def _find(self, name, published=False, subsets_dir=None, classes=None):
        _find_library(self.base_path)  # here, since a builder asks for its subset before anything else of ours
        from compdd_eval.data.subsets import load_subset

        return load_subset(name, bool(published), subsets_dir, classes)

    def _info(self):
        subset = self.subset
        from compdd_eval.data.features import features_of

        names = ", ".join(c.name for c in subset.classes)
        other = f"{subset.name}, which is no subset of it but ten other classes of ImageNet-1K"
        this = subset.name if subset.category in _CATEGORIES else other
        source = f" Source: {subset.paper}; {subset.source}." if subset.paper else ""
        return datasets.DatasetInfo(
            description=f"{_DESCRIPTION} This is {this}: {names}.{source}",
            features=features_of(subset),
            homepage=_HOMEPAGE,
            license=_LICENSE,
            citation=_CITATION,
        )

    @functools.cached_property
    def source(self):
        """The opened copy of ImageNet; one that several builders share can be set."""
        from compdd_eval.data.imagenet.open import open_source

        return open_source(self.config.data_dir, self.config.layout)

    @functools.cached_property
    def rows(self):
        """Split -> the rows that it is built from, as `compdd_eval.data.imagenet.rows.ImageRow`; listed once."""
        source = self.source
        from compdd_eval.data.imagenet.reader import subset_rows

        return {split: subset_rows(source, self.subset, split) for split in source.splits}

    @property
    def record(self):
        """The `compdd_eval.data.prepared.Record` of what would be built now."""
        source = self.source
        from compdd_eval.data.prepared import Record
        from compdd_eval.utils.errors import InputError
        from compdd_eval.data.imagenet.rows import rows_digest

        if self.config.link and not source.plain_files:
            raise InputError(f"{source.root}: stored as {source.layout}, and only files can be linked; leave link out")
        listed = {split: rows_digest(rows) for split, rows in self.rows.items()}
        return Record(
            subset_digest=self.subset.digest,
            source=source.root,
            layout=source.layout,
            rows=listed,
            images={split: len(rows) for split, rows in self.rows.items()},
            listed=listed,
            linked=self.config.link,
        )

    def is_current(self):
        """Whether what lies in the cache was built from the rows that the source has now."""
        root, final = self._places()
        from compdd_eval.data.prepared import find_prepared

        found = find_prepared(root)
        return found is not None and found[0] == final and found[1].is_of(self.record)

    def _places(self):
        """Return the cache folder of this configuration, and that of what is built into it."""
        from compdd_eval.data.prepared import folder_name

        version_folder = Path(self.cache_dir).absolute().parent
        return version_folder.parent, version_folder / folder_name()

    def download_and_prepare(self, output_dir=None, *args, **kwargs):
        """Build the dataset, in the cache unless `output_dir` is given.

        In the cache it is staged and put in its place at once, so that a killed build leaves nothing behind and
        two builds at a time do not disturb each other. What is current is not built again; what came from other
        images is replaced. Where no ImageNet is given, what is prepared is taken. `status` then says what was done.

        All bad images are named on the logger `compdd_eval` before the InputError is raised.
        """
        root, final = self._places()
        from compdd_eval.data import prepared
        from compdd_eval.utils.errors import InputError
        from compdd_eval.data.imagenet.open import find_imagenet

        if output_dir is not None:
            if len(args) < 2:  # `datasets` would take what lies there, whatever it was made from
                kwargs.setdefault("download_mode", datasets.DownloadMode.FORCE_REDOWNLOAD)
            with tempfile.TemporaryDirectory() as place:
                self._build(Path(place), output_dir, *args, **kwargs)
            return
        if kwargs.get("file_format", "arrow") != "arrow":
            raise InputError("the cache holds Arrow files; give an output_dir for another file_format")
        found = prepared.find_prepared(root)
        usable = found is not None and found[0] == final and found[1].subset_digest == self.subset.digest
        if "source" not in vars(self) and find_imagenet(self.config.data_dir) is None:  # neither set nor given
            if not usable:
                raise prepared.not_prepared([self.subset], root.parent.parent)
            self.status = "current"
        else:
            with prepared.staging(root) as stage:
                self._stage(root, final, stage, *args, **kwargs)
        self._cache_dir = self._output_dir = str(final)
        self.info = self._load_info()

    def _stage(self, root, final, stage, *args, **kwargs):
        """Build into the cache unless the same rows lie there."""
        from compdd_eval.data import prepared
        from compdd_eval.utils.errors import InputError

        record, found = self.record, prepared.find_prepared(root)
        forced = kwargs.get("download_mode") in ("force_redownload", datasets.DownloadMode.FORCE_REDOWNLOAD)
        if not forced and not self.config.verify and self.is_current():
            self.status = "current"
            return
        lost = [] if found is None else [split for split in found[1].images if split not in record.images]
        if lost and found[1].subset_digest == record.subset_digest:
            raise InputError(
                f"{self.config_id}: what is prepared has {lost[0]} images, {record.source} has none; give a whole "
                "copy, or another cache"
            )
        same = found is not None and found[0] == final and found[1].is_of(record)
        self.status = "built" if found is None or same else f"replaced {found[1]}"
        self._build(stage, str(stage / "built"), *args, **kwargs)
        if not record.linked:
            stored = {split: prepared.stored_digest(stage / "built", split) for split in record.rows}
            record = replace(record, rows=stored)
        prepared.publish(stage / "built", final, record, stage)

    def _build(self, place, output_dir, *args, **kwargs):
        """Let `datasets` build, with a folder for what the processes tell and copy."""
        from compdd_eval.data.build_progress import BuildLog
        from compdd_eval.utils.errors import InputError
        from compdd_eval.data.imagenet.scan_copy import scan_copied

        rows = [row for split in self.rows.values() for row in split]
        original, num_proc = self.source, kwargs.get("num_proc") or 1
        self.source = scan_copied(original, rows, place / "scan", num_proc)
        self._log = BuildLog(place)
        self._threads = max(1, (os.cpu_count() or 1) // (num_proc * self.sharing)) if self.config.verify else 0
        try:
            with self._log.watched(self.on_images):
                super().download_and_prepare(output_dir, *args, **kwargs)
            if self._log.problems:  # with bad images in it, it is no dataset
                Path(output_dir, datasets.config.DATASET_INFO_FILENAME).unlink(missing_ok=True)
        except datasets.exceptions.DatasetGenerationError as error:
            if not self._log.problems:
                raise _first_cause(error) from error
        finally:
            self.source, problems = original, self._log.problems
            self._log = None
        if len(problems) > 1:
            for problem in problems:
                _logger.warning(problem)
            raise InputError(f"{self.config_id}: {len(problems)} bad images, named above; replace them and run again")
        if problems:
            raise InputError(problems[0])

    def _split_generators(self, dl_manager):
        options = {"source": self.source, "log": self._log, "threads": self._threads, "readers": self.readers}
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"tables": _parts(rows), **options})
            for split, rows in self.rows.items()
        ]

    def _generate_tables(self, tables, source, log, threads, readers):
        """Yield one Arrow table for each list of rows; `datasets` shares the lists out over its processes."""
        from compdd_eval.utils.errors import InputError
        from compdd_eval.data.imagenet.image_checks import read_checked

        for number, rows in enumerate(tables):
            try:
                images, problems = read_checked(source, rows, self.config.link, threads, readers)
            except InputError as error:  # unreadable: there is no table to make
                images, problems = None, [error]
            for problem in problems:
                if log is not None:  # an error in a process of `datasets` arrives as text only
                    log.add_problem(str(problem))
                if log is None or images is None:
                    raise problem
            yield _key(number), self._table(rows, images)
            if log is not None:
                log.add_images(len(rows))

    def _table(self, rows, images):
        """Make one Arrow table: the original bytes (or the path) and what is known of each image."""
        from compdd_eval.data.features import columns_of

        columns = columns_of(self.subset, rows)
        paths = [row.file for row in rows] if self.config.link else columns["file_name"]
        parts = [pa.array(images, pa.binary()), pa.array(paths, pa.string())]
        columns["image"] = pa.StructArray.from_arrays(parts, ["bytes", "path"])
        return pa.table(columns).select(list(self.info.features)).cast(self.info.features.arrow_schema)


def _find_library(base_path):
    """Make `compdd_eval` importable when this file runs as a loading script, out of a checkout."""
    spec = importlib.util.find_spec("compdd_eval")
    if spec is not None and spec.origin is not None:  # a mere folder of that name has no origin
        return
    here = base_path or os.path.dirname(_script_path())
    if not os.path.isdir(os.path.join(here, "compdd_eval")):
        raise ImportError(f"comp_dd.py needs the package compdd_eval, installed or beside it in {here}")
    sys.path.append(os.path.abspath(here))


def _script_path():
    """Return where this file lies; `datasets` below 4 runs a copy and notes beside it where the script was."""
    path = os.path.abspath(__file__)
    try:
        return json.loads(Path(path).with_suffix(".json").read_text(encoding="utf-8"))["original file path"]
    except (OSError, ValueError, KeyError):
        return path


def _parts(rows):
    """Cut rows into those of one table each."""
    return [rows[start : start + _TABLE_ROWS] for start in range(0, len(rows), _TABLE_ROWS)]


def _key(number):
    """Return the key of a table in the form that the installed `datasets` wants."""
    key = getattr(datasets.builder, "Key", None)
    return key(0, number) if key else number


def _first_cause(error):
    """Return the error that `datasets` wrapped; one that came from another process only as text is made again."""
    while isinstance(error, datasets.exceptions.DatasetGenerationError) and error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip(' "\n').splitlines() if type(error).__name__ == "RemoteTraceback" else []
    for line in lines:
        if match := re.match(r"OSError: \[Errno (\d+)\] ", line):
            return OSError(int(match[1]), os.strerror(int(match[1])))
    return error
