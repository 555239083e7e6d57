"""What a distilled set is, in words or as JSON."""

from compdd_eval.distilled.raw_set import notes_of
from compdd_eval.distilled.set import DistilledSet


def content_of(distilled: DistilledSet) -> dict[str, object]:
    """Return all of a set but its images and labels, as JSON can hold it."""
    return {
        "config_name": distilled.definition.name if distilled.definition else None,
        "images": len(distilled.images),
        "ipc": distilled.ipc,
        "decoded_ipc": distilled.decoded_ipc,
        "resolution": distilled.resolution,
        "label_kind": distilled.label_kind,
        "lr": distilled.lr,
        "view_labels": distilled.view_labels.summary() if distilled.view_labels else None,
        "sha256": distilled.sha256,
        "metadata": distilled.metadata,
        "origin": distilled.origin,
    }


def describe(distilled: DistilledSet) -> list[tuple[str, str]]:
    """Return what a set is, as rows of a table."""
    subset, labels = distilled.definition, distilled.view_labels
    size = f"{len(distilled.images)} of {distilled.resolution} px, {distilled.ipc_in_words}"
    return [
        ("subset", subset.name if subset else "not stated; --category and --subset, or --classes, state it"),
        ("images", size),
        ("labels", distilled.label_kind),
        *([("labels of views", labels.record.in_words())] if labels else []),
        ("learned rate", "none" if distilled.lr is None else f"{distilled.lr:g}"),
        ("sha256", distilled.sha256),
        *notes_of(distilled.origin),
    ]
