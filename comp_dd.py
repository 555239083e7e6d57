"""Comp-DD: sixteen ten-class subsets of ImageNet-1K for dataset distillation in complex scenes.

A builder for the `datasets` library. It reads the user's own copy of ImageNet and keeps the original bytes:

    from comp_dd import CompDD
    builder = CompDD(config_name="bird-easy", data_dir="/path/to/imagenet")
    builder.download_and_prepare()
    train = builder.as_dataset("train")

After that (or after `python -m compdd_eval prepare`) `load_dataset("comp_dd", "bird-easy")` works in any process.
"""

import os
import sys
from dataclasses import dataclass
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
_NO_FOLDER = "unprepared"  # name of a cache folder that never exists: what is served depends on the source's rows


@dataclass(eq=False)
class CompDDConfig(datasets.BuilderConfig):
    """One subset.

    The folder of ImageNet is no part of its identity: the same subset is the same cache entry wherever the
    images came from. With `published=True` `music-hard` has the nine classes of the published list and a cache
    entry of its own, `music-hard-published`; the other subsets do not change.
    """

    published: bool = False

    def create_config_id(self, config_kwargs, custom_features=None):
        """Return the name of the cache folder."""
        return f"{self.name}-published" if self.published and self.name == "music-hard" else self.name

    def __eq__(self, other):
        if not isinstance(other, CompDDConfig):
            return NotImplemented
        return (self.name, self.version) == (other.name, other.version)


class CompDD(datasets.ArrowBasedBuilder):
    """Builder of the sixteen configurations; splits `train` and `validation`.

    Rows are ordered by label and then by ImageNet's own file name. Features: `image` (the original bytes, decoded
    as RGB), `label` (0-9), `imagenet_label` (0-999), `wnid`, `file_name`.

    Args:
        config_name: `bird-easy`, ..., `music-hard`.
        data_dir: Folder of ImageNet with `train/<WordNet id>/` and `val/<WordNet id>/`; else the environment
            variable `COMP_DD_IMAGENET`.
        published: Take `music-hard` as published, with nine classes.

    Raises:
        InputError: (a ValueError) while preparing: no ImageNet, a missing or empty class folder, a bad image.
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
        self.on_images = None  # called with the number of images each time some were read
        self.status = None  # after download_and_prepare: "built", "current" or "replaced ..."
        self._rows = None
        super().__init__(*args, **kwargs)
        self.info.config_name = self.config_id  # as the folder is named: `load_dataset` compares the two

    @property
    def subset(self):
        """The `compdd_eval.subsets.Subset` of this configuration."""
        _find_library(self.base_path)
        from compdd_eval.subsets import load_subset
        from compdd_eval.subsets import subset_names

        name = self.config.name
        if name not in subset_names():
            raise ValueError(f"Comp-DD has no configuration {name!r}; give one of {', '.join(subset_names())}")
        return load_subset(name, published=self.config.published)

    def _info(self):
        subset = self.subset
        return datasets.DatasetInfo(
            description=f"{_DESCRIPTION} This is {subset.name}: {', '.join(c.name for c in subset.classes)}.",
            features=features_of(subset),
            homepage=_HOMEPAGE,
            license=_LICENSE,
            citation=_CITATION,
        )

    @property
    def source(self):
        """The opened copy of ImageNet."""
        _find_library(self.base_path)
        from compdd_eval.sources import open_source

        return open_source(self.config.data_dir)

    @property
    def rows(self):
        """Split -> the rows that it is built from, as `compdd_eval.sources.ImageRow`; listed once."""
        if self._rows is None:
            from compdd_eval.sources import subset_rows

            source = self.source
            self._rows = {split: subset_rows(source, self.subset, split) for split in source.splits}
        return self._rows

    @property
    def record(self):
        """The `compdd_eval.cache.Record` of what would be built now."""
        source = self.source
        from compdd_eval.cache import Record
        from compdd_eval.sources import rows_digest

        return Record(
            subset_digest=self.subset.digest,
            source=str(source.root),
            layout=source.layout,
            rows={split: rows_digest(rows) for split, rows in self.rows.items()},
            images={split: len(rows) for split, rows in self.rows.items()},
        )

    def download_and_prepare(self, output_dir=None, *args, **kwargs):
        """Build the dataset, in the cache unless `output_dir` is given.

        In the cache it is staged and put in its place at once, so that a killed build leaves nothing behind and
        two builds at a time do not disturb each other. What is current is not built again; what came from other
        images is replaced. Where no ImageNet is given, what is prepared is taken. `status` then says what was done.
        """
        if output_dir is not None:
            self._build(output_dir, *args, **kwargs)
            return
        _find_library(self.base_path)
        from compdd_eval import cache
        from compdd_eval.errors import InputError
        from compdd_eval.sources import find_imagenet

        if kwargs.get("file_format", "arrow") != "arrow":
            raise InputError("the cache holds Arrow files; give an output_dir for another file_format")
        version_folder = Path(self.cache_dir).absolute().parent
        root, final = version_folder.parent, version_folder / cache.folder_name()
        found = cache.find_prepared(root)
        usable = found is not None and found[0] == final and found[1].subset_digest == self.subset.digest
        if usable and find_imagenet(self.config.data_dir) is None:
            self.status = "current"
        else:
            with cache.staging(root) as stage:
                self._stage(root, final, stage, *args, **kwargs)
        self._cache_dir = self._output_dir = str(final)
        self.info = self._load_info()

    def _stage(self, root, final, stage, *args, **kwargs):
        """Build into the cache unless the same rows lie there."""
        from compdd_eval import cache

        record, found = self.record, cache.find_prepared(root)
        force = kwargs.get("download_mode") in ("force_redownload", datasets.DownloadMode.FORCE_REDOWNLOAD)
        if found is not None and found[0] == final and found[1].same_rows(record) and not force:
            self.status = "current"
            return
        self.status = "built" if found is None else f"replaced {found[1]}"
        self._build(str(stage / "built"), *args, **kwargs)
        cache.publish(stage / "built", final, record, stage)

    def _build(self, output_dir, *args, **kwargs):
        try:
            super().download_and_prepare(output_dir, *args, **kwargs)
        except datasets.exceptions.DatasetGenerationError as error:
            raise _first_cause(error) from error

    def _split_generators(self, dl_manager):
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"source": self.source, "rows": tuple(rows)})
            for split, rows in self.rows.items()
        ]

    def _generate_tables(self, source, rows):
        from compdd_eval.sources import check_image

        for start in range(0, len(rows), _TABLE_ROWS):
            part = rows[start : start + _TABLE_ROWS]
            images = [source.read(row) for row in part]
            for data, row in zip(images, part):
                check_image(data, row)
            yield _key(start), self._table(part, images)
            if self.on_images is not None:
                self.on_images(len(part))

    def _table(self, rows, images):
        """Make one Arrow table: the original bytes and what is known of each image."""
        columns = columns_of(self.subset, rows)
        parts = [pa.array(images, pa.binary()), pa.array(columns["file_name"], pa.string())]
        columns["image"] = pa.StructArray.from_arrays(parts, ["bytes", "path"])
        return pa.table(columns).select(list(self.info.features)).cast(self.info.features.arrow_schema)


def columns_of(subset, rows):
    """Return what is known of the images of `compdd_eval.sources.ImageRow`s, as a list for each column."""
    classes = {c.wnid: c for c in subset.classes}
    return {
        "label": [classes[row.wnid].label for row in rows],
        "imagenet_label": [classes[row.wnid].imagenet_index for row in rows],
        "wnid": [row.wnid for row in rows],
        "file_name": [row.file_name for row in rows],
    }


def features_of(subset):
    """Return the features of a `compdd_eval.subsets.Subset`, as a `datasets.Features`."""
    features = {
        "image": datasets.Image(mode="RGB"),
        "label": datasets.ClassLabel(names=subset.label_names),
        "imagenet_label": datasets.Value("int32"),
        "wnid": datasets.Value("string"),
        "file_name": datasets.Value("string"),
    }
    return datasets.Features(features)


def _find_library(base_path):
    """Make `compdd_eval` importable when this file runs as a loading script, out of a checkout."""
    try:
        import compdd_eval  # noqa: F401
    except ImportError:
        here = base_path or os.path.dirname(os.path.abspath(__file__))
        if not os.path.isdir(os.path.join(here, "compdd_eval")):
            raise ImportError(f"comp_dd.py needs the package compdd_eval, installed or beside it in {here}") from None
        sys.path.append(here)


def _key(start):
    """Return the key of a table in the form that the installed `datasets` wants."""
    key = getattr(datasets.builder, "Key", None)
    return key(0, start // _TABLE_ROWS) if key else start // _TABLE_ROWS


def _first_cause(error):
    """Return the error that `datasets` wrapped."""
    while isinstance(error, datasets.exceptions.DatasetGenerationError) and error.__cause__ is not None:
        error = error.__cause__
    return error
