"""Settings of the commands for the benchmark's images: `prepare`, `info`, `export`."""

import os
from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.checks import LAYOUTS, check_num_proc, check_published
from compdd_eval.subsets import CATEGORIES, DIFFICULTIES, load_subset, subset_name, subset_names


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
    layout: Literal["auto", *LAYOUTS] = "auto"
    num_proc: int = 1
    strict: bool = False
    verify: bool = False
    link: bool = False
    cache_dir: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        self.names()
        check_num_proc(self.num_proc)
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", os.path.expanduser(self.cache_dir))

    def names(self) -> list[str]:
        """Return the names of the configurations that are asked for."""
        categories = CATEGORIES if self.category is None else (self.category,)
        difficulties = DIFFICULTIES if self.subset is None else (self.subset,)
        names = [subset_name(category, difficulty) for category in categories for difficulty in difficulties]
        check_published(self.published, names)
        return [load_subset(name, published=self.published).name for name in names]


@dataclass(frozen=True)
class InfoConfig:
    """Show the sixteen subsets, one of them, or what a copy of ImageNet can serve.

    Args:
        name: One subset, such as bird-hard or music-hard-published; default: all sixteen.
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
        for subset in self.subsets():
            load_subset(subset)

    def subsets(self) -> list[str]:
        """Return the names of the subsets that are asked for."""
        return subset_names() if self.name is None else [self.name.lower()]


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
