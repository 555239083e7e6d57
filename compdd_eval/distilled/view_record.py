"""What labels of views are: the record in the header of their file, and the layout that follows from it."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from compdd_eval.config.protocol import MIXES, MOST_PATCHES, OF_VIEWS, VIEWS, Protocol
from compdd_eval.utils.errors import InputError

ADVICE = "get the set again, or `relabel` it"
NOT_STATED = "not stated"  # name of a teacher
_METADATA, SCHEMA_VERSION = "view_labels", 1
CODES = {"<i2": "I16", "<i4": "I32", "|b1": "BOOL", "|u1": "U8", "<f2": "F16", "<f8": "F64"}
_SRE2L_CROPS = 0.08  # least share of the area
_BITS = 8
_MAX_TEXT = 2000
_DIGITS = 64  # of a SHA-256


@dataclass(frozen=True)
class ViewRecord:
    """What labels of views are.

    Attributes:
        images: Images of the set, N.
        image_digest: SHA-256 over type, shape and bytes of its images.
        resolution: Their side in pixels.
        classes: Outputs of the teacher, K.
        passes: Passes that they are meant for.
        every: Of these, every so many-th is stored, and serves so many passes.
        batch: Images in a batch; the last one of a pass may have fewer.
        patches: Columns, and rows, of an image that are shuffled; 1: none.
        rrc: Least share of the area of a crop; 0: no crops; None: crops, and nobody knows of what least share.
        flip: Whether images are flipped.
        mix: `none`, `mixup` or `cutmix`.
        top_k: Outputs that are kept of each view; None: all.
        temperature: At which those that are not kept have the mean of their probabilities; None where all are.
        seed: Seed of the draws; None where they were made elsewhere.
        teacher: `name`, `digest`, `accuracy` (on validation images; 0 where nobody knows) and `recipe`.
    """

    images: int
    image_digest: str
    resolution: int
    classes: int
    passes: int
    every: int
    batch: int
    rrc: float | None
    flip: bool
    mix: str
    top_k: int | None
    temperature: float | None
    seed: int | None
    teacher: dict[str, object]
    patches: int = 1

    @property
    def stored(self) -> int:
        """Passes that are stored."""
        return -(-self.passes // self.every)

    @property
    def batches(self) -> int:
        """Batches of a pass."""
        return -(-self.images // self.batch)

    @property
    def layout(self) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        """Type and shape of each tensor."""
        views, batches = (self.stored, self.images), (self.stored, self.batches)
        index = "<i2" if self.images < 2**15 else "<i4"
        parts = {"order": (index, views)}
        if self.patches > 1:
            parts["shuffles"] = ("|u1", (*views, 2, self.patches))
        if self.rrc != 0:
            parts["crops"] = ("<i2", (*views, 4))
        if self.flip:
            parts["flips"] = ("|b1", views)
        if self.mix != "none":
            parts |= {"partners": (index, views), "shares": ("<f8", batches)}
        if self.mix == "cutmix":
            parts["boxes"] = ("<i2", (*batches, 4))
        parts["logits"] = ("<f2", (*views, self.top_k or self.classes))
        if self.top_k:
            parts |= {"classes": ("|u1", (*views, self.top_k)), "rest": ("<f2", views)}
        return {name: (np.dtype(code), shape) for name, (code, shape) in parts.items()}

    @property
    def bits(self) -> dict[str, int]:
        """Bits of the teacher's outputs (`outputs`) and of the draws (`views`)."""
        sizes = {name: _BITS * math.prod(shape) * dtype.itemsize for name, (dtype, shape) in self.layout.items()}
        outputs = sum(size for name, size in sizes.items() if name in ("logits", "classes", "rest"))
        return {"outputs": outputs, "views": sum(sizes.values()) - outputs}

    @property
    def storage(self) -> str:
        """Their bits beside those of the images, in words."""
        a_byte = _BITS * 3 * self.resolution**2
        an_image = sum(self.bits.values()) / self.images
        return (
            f"{an_image:,.0f} bits an image, {an_image / a_byte:.3g} x an image of 8-bit pixels ({a_byte:,} bits), "
            f"{an_image / (4 * a_byte):.3g} x one of float32"
        )

    @property
    def views(self) -> str:
        """What was drawn and kept, in words."""
        drawn = [
            f"{self.patches} x {self.patches} parts shuffled" if self.patches > 1 else "",
            "crops" + (f" from {self.rrc:g} of the area" if self.rrc else "") if self.rrc != 0 else "",
            "flips" if self.flip else "",
            self.mix if self.mix != "none" else "",
        ]
        stored = f" ({self.stored} stored)" if self.every > 1 else ""
        kept = f"the {self.top_k} largest outputs" if self.top_k else "all outputs"
        name = self.teacher["name"]
        whose = "a teacher that is not stated" if name == NOT_STATED else f"the teacher {name}"
        passes = f"{self.passes:,} pass{'es' if self.passes > 1 else ''}{stored}"
        batches = f"in batches of {min(self.batch, self.images)}"
        return f"{passes} {batches}, {', '.join(filter(None, drawn)) or 'whole images'}; {kept} of {whose}"

    def in_words(self) -> str:
        """Say in one line what they are, and what they take."""
        return f"{self.views}; {self.storage}"

    def differences(self, protocol: Protocol) -> dict[str, object]:
        """Return the settings of a protocol that are not those of the views, with the value that each must have."""
        wanted = {name: getattr(self, name) for name in ("patches", "flip", "mix")}
        wanted = {"batch_train": self.batch, **wanted, "dsa": False}
        if self.rrc is not None:
            wanted["rrc"] = self.rrc
        elif not protocol.rrc:
            wanted["rrc"] = _SRE2L_CROPS  # any will do, for the boxes are stored
        if self.top_k:
            wanted["temperature"] = self.temperature
        return {name: value for name, value in wanted.items() if getattr(protocol, name) != value}

    def preset(self) -> dict[str, object]:
        """Return the flags of a protocol whose views these are: the nearest preset, and what it has otherwise."""
        changes = {name: self.differences(Protocol(name)) for name in OF_VIEWS}
        name = min(changes, key=lambda name: len(changes[name]))
        return {"protocol": name, **changes[name]}

    def flags(self) -> dict[str, object]:
        """Return the flags of `evaluate` that train on them, for as many passes as they are meant for."""
        return {"labels": VIEWS, **self.preset(), "epoch_eval_train": max(1, self.passes - 1)}  # 0 is no setting


def note_of(record: ViewRecord) -> dict[str, str]:
    """Return the metadata of a file's header."""
    return {_METADATA: json.dumps({"schema_version": SCHEMA_VERSION, **asdict(record)}, sort_keys=True)}


def header_of(record: ViewRecord) -> tuple[bytes, dict[str, int]]:
    """Return what a file begins with, as the format of safetensors has it, and where each tensor begins.

    The library writes whole tensors only, all in memory; so the header is written here, and passes one by one.
    """
    header, end = {"__metadata__": note_of(record)}, 0
    # wide types first: each tensor begins at a multiple of its type's size
    for name, (dtype, shape) in sorted(record.layout.items(), key=lambda part: -part[1][0].itemsize):
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": CODES[dtype.str], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    return head, {name: len(head) + header[name]["data_offsets"][0] for name in record.layout}


def record_of(metadata: object, file: Path) -> ViewRecord:
    """Return the record of a header's metadata.

    Raises:
        InputError: There is none, it is of another version, or says what cannot be.
    """
    try:
        content = json.loads(metadata[_METADATA])
        version = content.pop("schema_version")
        record = ViewRecord(**content) if version == SCHEMA_VERSION else None
        valid = record is None or _is_valid(record)
    except (TypeError, KeyError, ValueError, AttributeError, RecursionError):
        valid = False
    if not valid:
        raise InputError(f"{file}: holds no record of labels of views, or a damaged one; {ADVICE}")
    if record is None:
        raise InputError(f"{file}: schema_version {version}, expected {SCHEMA_VERSION}; update compdd_eval")
    return record


def _is_line(text: str) -> bool:
    return text.isprintable() and len(text) <= _MAX_TEXT


def _is_valid(record: ViewRecord) -> bool:
    """Whether a record says what can be; or an error of Python's where a value is of another type."""
    numbers = (record.images, record.resolution, record.classes, record.passes, record.every, record.batch)
    teacher, temperature = record.teacher, record.temperature
    return (
        all(type(number) is int and 0 < number < 2**31 for number in numbers)
        and record.resolution < 2**15
        and record.every <= record.passes
        and record.classes <= 2**8
        and (record.top_k is None or (type(record.top_k) is int and 0 < record.top_k < record.classes))
        and ((record.top_k is None) == (temperature is None))
        and (temperature is None or 0 < temperature < math.inf)
        and type(record.patches) is int
        and 1 <= record.patches <= MOST_PATCHES
        and type(record.flip) is bool
        and record.mix in MIXES
        and (record.rrc is None or (type(record.rrc) in (int, float) and 0 <= record.rrc <= 1))
        and (record.seed is None or (type(record.seed) is int and 0 <= record.seed < 2**63))
        and len(record.image_digest) == _DIGITS
        and teacher.keys() == {"name", "digest", "accuracy", "recipe"}
        and all(_is_line(teacher[name]) for name in ("name", "digest", "recipe"))
        and 0 <= teacher["accuracy"] <= 1
    )
