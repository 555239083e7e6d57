"""Settings of `prepare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compdd_eval.config.checks import MOST_CORES, check_published
from compdd_eval.config.settings import Settings
from compdd_eval.data.choices import LAYOUTS
from compdd_eval.data.subset_files import DIFFICULTIES, Subset
from compdd_eval.data.subsets import CATEGORIES, load_subset, named_in_one_word, own_names, selected_subset, subset_name
from compdd_eval.utils.errors import InputError


@dataclass(frozen=True)
class PrepareConfig(Settings):
    """Build Comp-DD subsets from ImageNet, so that load_dataset("comp_dd", "bird-easy") works anywhere.

    Args:
        data_path: A copy of ImageNet: its folder (class folders, the competition's tree, the official archives, Parquet
            or WebDataset shards), or ILSVRC/imagenet-1k on the Hub; default: the environment variable COMP_DD_IMAGENET.
        category: Only this category (bird, car, dog, fish, snake, insect, round, music).
        subset: Only easy or only hard; or one subset in one word, such as bird-easy.
        published: Build music-hard as published, with nine classes, under the name music-hard-published.
        classes: Only these ten, joined by commas, for labels 0-9 (WordNet ids, ImageNet indices or names), or a list
            that the field uses: fruit, idc10, meow, nette, squawk, woof, yellow.
        subsets_dir: Folder with subset files of your own in place of the sixteen, such as `select` writes.
        layout: How that copy of ImageNet is stored; "auto" looks at it.
        num_proc: Processes: subsets that are built at a time, or, where there are fewer subsets, images that are read
            at a time; also shards that are read at a time.
        strict: Refuse a copy that lacks a class, or images of one; without it, warn and build.
        verify: Decode every image, list the bad ones, and build only if there are none.
        link: Keep the paths of the images in place of their bytes: tiny, but bound to this disk and this folder.
        cache_dir: Cache to build in; default: that of `datasets`, the only one that load_dataset looks into.
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
        self._check_choices()
        for name, value in named_in_one_word(vars(self), "--").items():
            self._set(name, value)
        self.subsets()
        self._check_number_of("num_proc", "processes", most=MOST_CORES)
        self._expand_home("cache_dir")

    def subsets(self) -> list[Subset]:
        """Return the subsets that are asked for."""
        if self.classes is not None:
            return [selected_subset(vars(self), "--")]
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

    def _own_names(self) -> list[str]:
        """Return the names of the user's own files that are asked for."""
        folder = Path(self.subsets_dir).expanduser()
        names = own_names(folder)
        wanted = [name for name in names if self._wants(*name.rpartition("-")[::2])]
        if not wanted:
            asked = f"{self.category or '*'}-{self.subset or '*'}"
            raise InputError(f"{folder}: no subset file {asked}.json; there are {', '.join(names)}")
        return wanted

    def _wants(self, category: str, difficulty: str) -> bool:
        return self.category in (None, category) and self.subset in (None, difficulty)


CONFIG = PrepareConfig
