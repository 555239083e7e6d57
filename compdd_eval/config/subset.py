"""Which subset is meant: settings that several commands share."""

from dataclasses import dataclass, replace

from compdd_eval.config.checks import check_published
from compdd_eval.config.settings import Settings
from compdd_eval.data.subset_files import Subset
from compdd_eval.data.subsets import selected_subset
from compdd_eval.utils.errors import InputError


@dataclass(frozen=True)
class SubsetConfig(Settings):
    """Which subset. A list of a user's own is kept here by its classes, so that these settings tell it anywhere.

    Args:
        category: Category of the benchmark: bird, car, dog, fish, snake, insect, round or music; with --subsets_dir,
            one of that folder.
        subset: Subset of the category: easy or hard; or both in one word, such as bird-easy.
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
        self._check_choices()
        in_cells = getattr(self, "grid", None) is not None  # the cells of a grid give theirs
        if self.subsets_dir is not None and not in_cells and self.category is self.subset is self.classes is None:
            raise InputError("--subsets_dir is given without --category and --subset; give one of its subsets")
        subset = selected_subset(vars(self), "--")
        if subset is not None:
            check_published(self.published, [subset])
            # the subset itself, not how it was asked for: results keep these settings
            for name, value in (_NO_SUBSET | subset.selection).items():
                self._set(name, value)
        elif self.published:
            raise InputError("--published needs --category music --subset hard")

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
