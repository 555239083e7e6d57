"""Settings of the commands for distilled sets: how one is read, `validate`, `convert`, `push`, `pull`."""

import math
import os
import re
from dataclasses import dataclass, replace
from typing import Literal

from compdd_eval.config.checks import LABEL_KINDS, LAYOUTS, MOST_FACTOR, PIXEL_RANGES, check_published, require
from compdd_eval.errors import InputError
from compdd_eval.subsets import Subset, selected_subset

FORMATS = ("comp-dd", "published", "png", "npy", "pt", "npz", "safetensors")


@dataclass(frozen=True)
class SubsetConfig:
    """Which subset. A list of a user's own is kept here by its classes, so that these settings tell it anywhere.

    Args:
        category: bird, car, dog, fish, snake, insect, round or music; with --subsets_dir, one that is there.
        subset: easy or hard.
        subsets_dir: Folder with subset files of your own in place of the benchmark's, such as `select` writes.
        published: Take music-hard as published, with nine classes; the other subsets have no such list.
        classes: In place of --category and --subset: ten classes joined by commas, for labels 0-9 (WordNet ids,
            ImageNet indices or names), or a list that the field uses: fruit, idc10, meow, nette, squawk, woof, yellow.
    """

    category: str | None = None
    subset: str | None = None
    subsets_dir: str | None = None
    published: bool = False
    classes: str | list | None = None

    def __post_init__(self) -> None:
        in_cells = getattr(self, "grid", None) is not None  # the cells of a grid give theirs
        if self.subsets_dir is not None and self.category is None and self.classes is None and not in_cells:
            raise InputError("--subsets_dir is given without --category and --subset; give one of its subsets")
        subset = selected_subset(vars(self), "--")
        if subset is not None:
            check_published(self.published, [subset])
            self._take(subset)
        elif self.published:
            raise InputError("--published needs --category music --subset hard")

    def _take(self, subset: Subset) -> None:
        for name, value in (_NO_SUBSET | subset.selection).items():
            object.__setattr__(self, name, value)

    @property
    def selects(self) -> bool:
        """Whether a subset is asked for."""
        return self.category is not None or self.classes is not None

    @property
    def selection(self) -> dict[str, object]:
        """The settings that select the subset, by name."""
        return {name: getattr(self, name) for name in _NO_SUBSET}

    def load_subset(self) -> Subset | None:
        """Return the subset that is asked for, or None."""
        return selected_subset(self.selection, "--")

    def of_subset(self, subset: Subset) -> "SubsetConfig":
        """Return these settings for another subset."""
        return replace(self, **(_NO_SUBSET | subset.selection))


_NO_SUBSET = {"category": None, "subset": None, "subsets_dir": None, "published": False, "classes": None}


@dataclass(frozen=True)
class ReadConfig(SubsetConfig):
    """What the files of a distilled set may leave unsaid; what they say is taken from them.

    Args:
        label_dir: The labels, where they lie elsewhere: a file, or a folder with labels.pt (or labels_best.pt).
        lr_dir: The learned rate, where it lies elsewhere: a file, or a folder with lr.pt (or lr_best.pt). "none"
            ignores the rate.
        label_kind: What the labels are; "auto" looks at them.
        label_order: What label 0, 1, ... means: "subset" as in the subset, "sorted" the subset's classes sorted by
            WordNet id, "imagenet" the labels are ImageNet indices 0-999, or ten WordNet ids, ImageNet indices or class
            names joined by commas; "auto" looks at the labels. Of --label_dir beside image folders, "sorted" are the
            folders sorted by name.
        pixel_range: Range of the stored images: normalised by `mean` and `std`, [0, 1] or [0, 255]; "auto" looks at
            them.
        mean: Mean by which the images are normalised: three numbers joined by commas, for RGB in [0, 1]; default:
            ImageNet's, 0.485,0.456,0.406.
        std: Standard deviation by which they are; default: ImageNet's, 0.229,0.224,0.225.
        factor: Images of a side that are stored in one, as in mosaics of IDC, DANCE and NCFM: they are cut, and each
            part is resized to the size of the whole. 1: they are no mosaics.
        run: Which of the runs that DC, DSA and DM save in one file, from 0; default: the first.
    """

    label_dir: str | None = None
    lr_dir: str | None = None
    label_kind: Literal["auto", *LABEL_KINDS] = "auto"
    label_order: str = "auto"
    pixel_range: Literal["auto", *PIXEL_RANGES] = "auto"
    mean: str | None = None
    std: str | None = None
    factor: int | None = None
    run: int | None = None

    def __post_init__(self) -> None:
        SubsetConfig.__post_init__(self)
        self.statistics()
        valid = self.factor is None or 1 <= self.factor <= MOST_FACTOR
        require("--factor", self.factor, valid, f"a whole number from 1 to {MOST_FACTOR}")
        require("--run", self.run, self.run is None or self.run >= 0, "the number of a run, from 0")

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return mean and standard deviation where they are given."""
        if self.mean is None and self.std is None:
            return None
        if self.mean is None or self.std is None:
            given, missing = ("mean", "std") if self.std is None else ("std", "mean")
            raise InputError(f"--{given} is given without --{missing}; give both")
        require("--mean with --pixel_range", self.pixel_range, self.pixel_range in ("auto", "normalised"), "normalised")
        mean, std = _three_numbers("--mean", self.mean), _three_numbers("--std", self.std)
        require("--std", self.std, min(std) > 0, "numbers above 0")
        return mean, std


@dataclass(frozen=True)
class ValidateConfig(ReadConfig):
    """Check a distilled set without training: shapes, ranges, labels, normalisation, duplicates, digests.

    Args:
        path: The set, as --distilled of `evaluate` takes it: a folder, a file, or USER/NAME[@REVISION] on the Hub.
        data_path: A copy of ImageNet, or "prepared" for what `prepare` made, to compare with real images; else the
            environment variable COMP_DD_IMAGENET, else what is prepared. Without any of them that is left out.
        layout: How that copy is stored; "auto" looks at it.
        res: Resolution in pixels that the images must have; default: the one that they have.
        json: Print JSON, for programs.
    """

    path: str | None = None
    data_path: str | None = None
    layout: Literal["auto", *LAYOUTS] = "auto"
    res: int | None = None
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_given("PATH", self.path, "validate my_set --category bird --subset easy")
        _check_res(self.res)


@dataclass(frozen=True)
class ConvertConfig(ReadConfig):
    """Read a distilled set in any format and write it in another.

    Args:
        source: The set, as --distilled of `evaluate` takes it: a folder, a file, or USER/NAME[@REVISION] on the Hub.
        target: Where to: a folder, or a file that ends with .pt, .npz or .safetensors.
        format: What to write. "comp-dd": a folder with distilled.safetensors, distilled.json, preview.png, README.md;
            "published": images.pt, labels.pt, lr.pt; "png": a folder of images for each class (8 bits, hard labels);
            "npy": images.npy, labels.npy, lr.npy; "pt", "npz", "safetensors": one file. "auto" goes by the name.
        overwrite: Replace what lies at the target.
        res: Resize image files to this resolution in pixels, as real images are; default: they keep theirs.
        method: Name of the method that made the set, to be kept with it.
        source_url: Where the set or its code comes from.
        paper: The paper, as a URL or a citation.
        licence: Licence of the set, as the Hub spells it, for example mit or cc-by-4.0.
        protocol: Protocol that the set was made for, for example comp-dd.
        json: Print JSON, for programs.
    """

    source: str | None = None
    target: str | None = None
    format: Literal["auto", *FORMATS] = "auto"
    overwrite: bool = False
    res: int | None = None
    method: str | None = None
    source_url: str | None = None
    paper: str | None = None
    licence: str | None = None
    protocol: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        example = "convert my_set my_set_comp_dd --category bird --subset easy"
        _check_given("SOURCE", self.source, example)
        _check_given("TARGET", self.target, example)
        _check_res(self.res)
        object.__setattr__(self, "target", os.path.expanduser(self.target))

    def facts(self) -> dict[str, str]:
        """Return what is said of the set on the command line."""
        names = ("method", "source_url", "paper", "licence", "protocol")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True)
class PushConfig(ReadConfig):
    """Send a distilled set, a student, or an export of the benchmark's images, to the Hugging Face Hub, in one commit.

    Args:
        path: The distilled set: a folder or a file, as --distilled of `evaluate` takes it.
        repo_id: Dataset repository for the set (of a student, model repository), USER/NAME; it is made where there is
            none.
        private: Make a new repository private; refuse one that is public.
        results: Results of `evaluate` on the set: a folder of a run or a grid, a summary.json, or several joined by
            commas. They go into a table in the card and, for `leaderboard`, into the folder results/ of the repository,
            without places on this machine.
        revision: Branch to push to; it is made where there is none. Default: main.
        overwrite: Replace another set or student that the repository holds; its commits stay in the history.
        student: In place of PATH: a student's result, seedK.json of `evaluate --save_students`, whose weights lie
            beside it; it becomes a model repository.
        benchmark: Repository for an export of the benchmark's images instead, USER/NAME; a new one is private. With
            --student, the repository of the benchmark that it was tested on: then the result is sent along as the
            Hub's leaderboard of that benchmark reads it.
        folder: That export: what `export` wrote.
        public: Let everybody download the benchmark's images. ImageNet's terms of access: "Researcher may provide
            research associates and colleagues with access to the Database provided that they first agree to be bound by
            these terms and conditions", and "Researcher shall use the Database only for non-commercial research and
            educational purposes" (https://image-net.org/download.php). A public copy breaks them, unless ImageNet's
            team allows it.
    """

    path: str | None = None
    repo_id: str | None = None
    private: bool = False
    results: str | None = None
    revision: str | None = None
    overwrite: bool = False
    student: str | None = None
    benchmark: str | None = None
    folder: str = "out/comp_dd"
    public: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.student:
            self._check_student()
        if not self.repo_id and (self.student or not self.benchmark):
            raise InputError(
                "--repo_id is missing; give the repository, as in push my_set --repo_id USER/NAME (for the benchmark's "
                "images: push --benchmark USER/comp_dd)"
            )
        if self.benchmark and not self.student and (self.repo_id or self.path):
            raise InputError("--benchmark is for an export of the benchmark's images, --repo_id for a set; give one")
        if self.revision is not None:
            valid = re.fullmatch(r"[\w./-]+", self.revision) is not None
            require("--revision", repr(self.revision), valid, "the name of a branch")
        if self.repo_id is not None:
            require("--repo_id", repr(self.repo_id), "/" in self.repo_id, "USER/NAME")
        if self.results is not None:
            expected = "what evaluate wrote: a folder, a summary.json, or several joined by commas"
            require("--results", repr(self.results), bool(self.listed_results), expected)
        if self.public and (self.student or not self.benchmark):
            raise InputError("--public is for --benchmark; what else is pushed is public unless you say --private")
        if not self.benchmark and not self.student:
            _check_given("PATH", self.path, "push my_set --repo_id USER/NAME")
        object.__setattr__(self, "folder", os.path.expanduser(self.folder))

    @property
    def listed_results(self) -> list[str]:
        """The places that --results names; a path that exists may have commas in it."""
        given = os.path.expanduser(self.results or "")
        parts = [given] if os.path.exists(given) else [part.strip() for part in given.split(",")]
        return [part for part in parts if part]

    def _check_student(self) -> None:
        for flag, value in (("PATH", self.path), ("--results", self.results), ("--revision", self.revision)):
            if value is not None:
                raise InputError(f"{flag} is for a distilled set, --student for a network; give one")
        if self.benchmark is not None:
            require("--benchmark", repr(self.benchmark), self.benchmark.count("/") == 1, "USER/NAME")
        object.__setattr__(self, "student", os.path.expanduser(self.student))


@dataclass(frozen=True)
class PullConfig:
    """Download a distilled set from the Hugging Face Hub.

    Args:
        repo: The set: USER/NAME, or USER/NAME@REVISION for a branch, a tag or a commit.
        folder: Where to.
        overwrite: Replace another set that lies there.
    """

    repo: str | None = None
    folder: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        _check_given("REPO", self.repo, "pull USER/NAME my_set")
        _check_given("FOLDER", self.folder, "pull USER/NAME my_set")
        object.__setattr__(self, "folder", os.path.expanduser(self.folder))


def _check_given(name: str, value: str | None, example: str) -> None:
    if not value:
        raise InputError(f"{name} is missing, as in: compdd_eval {example}")


def _check_res(res: int | None) -> None:
    require("--res", res, res is None or 1 <= res <= 4096, "a number of pixels from 1 to 4096, for example 128")


def _three_numbers(flag: str, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    valid = len(numbers) == 3 and all(map(math.isfinite, numbers))
    require(flag, text, valid, "three numbers joined by commas, for example 0.5,0.5,0.5")
    return numbers
