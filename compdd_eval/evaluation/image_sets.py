"""Images with labels, as students train and are tested on them."""

from dataclasses import dataclass

import torch

from compdd_eval.distilled.set import DistilledSet
from compdd_eval.distilled.view_labels import ViewLabels


@dataclass(frozen=True)
class TrainingSet:
    """Images and labels that students train on.

    Attributes:
        images: float32 `[N, 3, H, H]`, normalised.
        labels: int64 `[N]`, or float32 `[N, 10]`.
        label_kind: `hard`, `logits` or `probabilities`.
        digest: SHA-256 over both, or over what they were made from.
        files: Official names of real images, where they are few.
        remark: Where the labels come from, if not from the set.
        views: The labels of views that are replayed in place of `labels`, or None.
    """

    images: torch.Tensor
    labels: torch.Tensor
    label_kind: str
    digest: str
    files: list[str] | None = None
    remark: str = ""
    views: ViewLabels | None = None

    @classmethod
    def of(cls, distilled: DistilledSet, digest: str | None = None) -> "TrainingSet":
        """Return images and labels of a set, whose digest is taken where it is not given."""
        files = distilled.metadata.get("file_names")
        digest = digest or distilled.sha256
        return cls(distilled.images, distilled.labels, distilled.label_kind, digest, files)


@dataclass(frozen=True)
class TestSet:
    """Real images that students are tested on.

    Attributes:
        images: float32 `[M, 3, H, H]`, normalised.
        labels: int64 `[M]`.
        digest: SHA-256 over labels, names and bytes.
        origin: Where they come from, in words.
        expected: How many there would be in the whole of ImageNet.
    """

    images: torch.Tensor
    labels: torch.Tensor
    digest: str
    origin: str
    expected: int
