"""Whether a copy of ImageNet is whole: the images of each class, found and expected."""

from dataclasses import dataclass

from compdd_eval.data.imagenet.reader import Reader
from compdd_eval.data.subset_files import VALIDATION_IMAGES_PER_CLASS, Subset, SubsetClass


@dataclass(frozen=True)
class ClassCount:
    """Images of one class in one split: how many there are, and how many a whole ImageNet has."""

    subset: str
    split: str
    wnid: str
    name: str
    found: int
    expected: int

    def __str__(self) -> str:
        return f"{self.wnid} {self.name} {self.found}/{self.expected}"


def expected_images(entry: SubsetClass, split: str) -> int:
    """Return how many images of a class ILSVRC2012 has in a split."""
    return entry.train_images if split == "train" else VALIDATION_IMAGES_PER_CLASS


def class_counts(subset: Subset, wnids: dict[str, list[str]]) -> list[ClassCount]:
    """Count the images of each class.

    Args:
        subset: The subset.
        wnids: Split -> WordNet id of each image.
    """
    return [
        ClassCount(subset.name, split, entry.wnid, entry.name, ids.count(entry.wnid), expected_images(entry, split))
        for split, ids in wnids.items()
        for entry in subset.classes
    ]


def missing_classes(source: Reader, subset: Subset) -> str | None:
    """Say of which classes a source has no images at all; None if it has some of each."""
    wnids = subset.wnids
    missing = {split: len(wnids) - source.class_count(split, wnids) for split in source.splits}
    found = [f"{count} of {len(wnids)} in {split}" for split, count in missing.items() if count]
    return f"classes are missing: {', '.join(found)}" if found else None
