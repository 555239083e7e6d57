"""Settings of the commands for the benchmark's images: `prepare`, `info`, `export`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compdd_eval.config.checks import LAYOUTS, check_num_proc, check_published
from compdd_eval.errors import InputError
from compdd_eval.subsets import (
    CATEGORIES,
    DIFFICULTIES,
    Subset,
    load_classes,
    load_subset,
    own_names,
    selected_subset,
    subset_name,
    subset_names,
)


@dataclass(frozen=True)
class PrepareConfig:
    """Build Comp-DD subsets from ImageNet, so that load_dataset("comp_dd", "bird-easy") works anywhere.

    Args:
        data_path: A copy of ImageNet: its folder (class folders, the competition's tree, the official archives,
            Parquet or WebDataset shards), or ILSVRC/imagenet-1k on the Hub; else the environment variable
            COMP_DD_IMAGENET.
        category: Only this category (bird, car, dog, fish, snake, insect, round, music).
        subset: Only easy or only hard.
        published: Build music-hard as published, with nine classes, under the name music-hard-published instead.
        classes: Only these ten, joined by commas, for labels 0-9 (WordNet ids, ImageNet indices or names), or a list
            that the field uses: fruit, idc10, meow, nette, squawk, woof, yellow.
        subsets_dir: Folder with subset files of your own in place of the sixteen, such as `select` writes.
        layout: How that copy of ImageNet is stored; "auto" looks at it.
        num_proc: Subsets that are built at a time, each in a process of its own, and shards that are read at a time;
            where it is more than the subsets, images of a subset that are read at a time.
        strict: Refuse a copy that lacks images of a class, or a class; default: warn and build.
        verify: Decode every image, list those that are bad, and build only if there are none.
        link: Keep the paths of the images in place of their bytes: tiny, but bound to this disk and to that folder.
        cache_dir: Where to; default: the cache of `datasets`, the only one that load_dataset looks into.
        json: Print JSON, for programs.
    """

    data_path: str | None = None
    category: str | None = None
    subset: str | None = None
    published: bool = False
    classes: str | list | None = None
    subsets_dir: str | None = None
    layout: Literal["auto", *LAYOUTS] = "auto"
    num_proc: int = 1
    strict: bool = False
    verify: bool = False
    link: bool = False
    cache_dir: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        self.subsets()
        check_num_proc(self.num_proc)
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", os.path.expanduser(self.cache_dir))

    def subsets(self) -> list[Subset]:
        """Return the subsets that are asked for."""
        if self.classes is not None:
            return [selected_subset(self._selection(), "--")]
        if self.subsets_dir is not None:
            return [load_subset(name, self.published, self.subsets_dir) for name in self._own_names()]
        categories = CATEGORIES if self.category is None else (self.category,)
        difficulties = DIFFICULTIES if self.subset is None else (self.subset,)
        names = [subset_name(category, difficulty) for category in categories for difficulty in difficulties]
        subsets = [load_subset(name, self.published) for name in names]
        check_published(self.published, subsets)
        return subsets

    @property
    def narrowed(self) -> bool:
        """Whether less than everything is asked for."""
        return any(value is not None for value in (self.category, self.subset, self.classes))

    def _selection(self) -> dict[str, object]:
        names = ("category", "subset", "published", "subsets_dir", "classes")
        return {name: getattr(self, name) for name in names}

    def _own_names(self) -> list[str]:
        """Return the names of the user's own files that are asked for."""
        folder = Path(self.subsets_dir).expanduser()
        wanted = [(name, *name.rpartition("-")[::2]) for name in own_names(folder)]
        names = [
            name
            for name, category, difficulty in wanted
            if self.category in (None, category) and self.subset in (None, difficulty)
        ]
        if not names:
            asked = f"{self.category or '*'}-{self.subset or '*'}"
            raise InputError(f"{folder}: no subset file {asked}.json; there are {', '.join(own_names(folder))}")
        return names


@dataclass(frozen=True)
class InfoConfig:
    """Show the sixteen subsets, one of them, or what a copy of ImageNet can serve.

    Args:
        name: One subset, such as bird-hard or music-hard-published, a related list, such as nette, or ten classes
            joined by commas; default: all sixteen.
        data_path: A copy of ImageNet to look into: its folder, or ILSVRC/imagenet-1k on the Hub.
        layout: How that copy is stored; "auto" looks at it.
        num_proc: Shards that are listed at a time.
        json: Print JSON, for programs.
    """

    name: str | None = None
    data_path: str | None = None
    layout: Literal["auto", *LAYOUTS] = "auto"
    num_proc: int = 1
    json: bool = False

    def __post_init__(self) -> None:
        check_num_proc(self.num_proc)
        self.subsets()

    def subsets(self) -> list[Subset]:
        """Return the subsets that are asked for."""
        if self.name is None:
            return [load_subset(name) for name in subset_names()]
        return [load_classes(self.name) if "," in self.name else load_subset(self.name.lower())]


@dataclass(frozen=True)
class ExportConfig(PrepareConfig):
    """Write subsets as Parquet files with a card, so that load_dataset(FOLDER, "bird-easy") works anywhere.

    Without --data_path (or COMP_DD_IMAGENET), or with --data_path prepared, the subsets that are prepared are written;
    with it, they are prepared first. What the folder holds already is not written again.

    Args:
        output_dir: Folder for the card and one folder of Parquet files for each subset.
    """

    output_dir: str = "out/comp_dd"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "output_dir", os.path.expanduser(self.output_dir))
