"""The folder that `complexity` writes: tables, finished classes to go on from, and examples as PNG files."""

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from compdd_eval.complexity.candidates import COLUMNS
from compdd_eval.complexity.measure import class_complexity
from compdd_eval.utils.errors import InputError, first_line
from compdd_eval.utils.files import atomic_write, csv_text, write_json, write_text


def png_of_image(image: torch.Tensor) -> bytes:
    """Return a PNG of an image, float `[3, H, W]` in [0, 1]."""
    return _png(Image.fromarray(_bytes(image).permute(1, 2, 0).numpy()))


def png_of_map(activation: torch.Tensor, side: int) -> bytes:
    """Return a greyscale PNG of a map, float `[h, w]` in [0, 1], brought to `side` pixels, bilinear."""
    larger = torch.nn.functional.interpolate(activation[None, None].float(), (side, side), mode="bilinear")
    return _png(Image.fromarray(_bytes(larger[0, 0]).numpy()))


def _bytes(values: torch.Tensor) -> torch.Tensor:
    return values.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


SCHEMA_VERSION = 1
PARTS = "parts"  # folder of the finished classes: what a run goes on from
EXAMPLES = "examples"
_IMAGES = pa.schema(
    {
        "key": pa.string(),
        "imagenet_label": pa.int32(),
        "wnid": pa.string(),
        "complexity": pa.float64(),
        "predicted": pa.int32(),
        "confidence": pa.float32(),
    }
)


@dataclass(frozen=True)
class ClassScores:
    """All images of one class, scored.

    Attributes:
        label: ImageNet index; of other data, the index of the class there.
        wnid: WordNet id, or empty.
        name: Name of the class.
        source: Digest of which images these are.
        keys: Official names of the images, or their paths or positions in the data.
        complexity: Of each image, in [0, 1].
        predicted: Class that the classifier sees, of each.
        confidence: Softmax probability of that, of each.
        example: What is shown of the class: `key`, `complexity`, `predicted`.
        pictures: PNG files of the example: `image` and `map`.
    """

    label: int
    wnid: str
    name: str
    source: str
    keys: list[str]
    complexity: list[float]
    predicted: list[int]
    confidence: list[float]
    example: dict[str, object]
    pictures: dict[str, bytes] = field(repr=False, default_factory=dict)


class ScoresFolder:
    """The folder that `complexity` writes.

    Args:
        folder: The folder.
        digest: Digest of the settings and the classifier: scores of others are not taken over.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder, self._digest = folder, digest

    def foreign(self) -> bool:
        """Whether the folder holds scores of other settings, or of other data."""
        return any(_read_part(part).get("settings") != self._digest for part in self._parts())

    def stale(self, label: int, source: str) -> bool:
        """Whether a class was scored from other images."""
        path = self._part(label)
        return path.exists() and _read_part(path).get("source") != source

    def clear(self) -> None:
        """Remove all scores."""
        for part in [*self._parts(), *(self.folder / EXAMPLES).glob("[0-9]*.png")]:
            part.unlink()

    def _parts(self) -> list[Path]:
        """Return the files of the finished classes; what a killed process left has a name that begins with a dot."""
        return sorted((self.folder / PARTS).glob("[0-9]*.json"))

    def has(self, label: int, source: str) -> bool:
        """Whether a class is finished, of just these images."""
        path = self._part(label)
        if not path.exists():
            return False
        content = _read_part(path)
        pictures = all(path.exists() for path in self._pictures(label).values())
        return content.get("settings") == self._digest and content.get("source") == source and pictures

    def write(self, scores: ClassScores) -> None:
        """Keep a finished class."""
        for name, path in self._pictures(scores.label).items():
            with atomic_write(path) as temporary:
                temporary.write_bytes(scores.pictures[name])
        content = {"settings": self._digest, **asdict(scores)}
        del content["pictures"]
        write_json(self._part(scores.label), content)

    def finish(self, settings: dict[str, object], imagenet: bool) -> list[dict[str, object]]:
        """Write the tables from all finished classes; return the rows of `classes.csv`."""
        parts = [_read_part(path) for path in self._parts()]
        rows, columns = [], {name: [] for name in _IMAGES.names}
        for part in parts:
            measured = class_complexity(part["complexity"])
            named = {"imagenet_label": part["label"], "wnid": part["wnid"], "name": part["name"]}
            rows.append(named | asdict(measured))
            columns["imagenet_label"] += [part["label"]] * len(part["keys"])
            columns["wnid"] += [part["wnid"]] * len(part["keys"])
            columns["key"] += part["keys"]
            for name in ("complexity", "predicted", "confidence"):
                columns[name] += part[name]
        with atomic_write(self.folder / "images.parquet") as temporary:
            pq.write_table(pa.table(columns, schema=_IMAGES), temporary)
        write_text(self.folder / "classes.csv", csv_text(COLUMNS, [[row[name] for name in COLUMNS] for row in rows]))
        write_json(self.folder / "examples.json", {f"{part['label']:04d}": part["example"] for part in parts})
        right = sum(a == b for a, b in zip(columns["predicted"], columns["imagenet_label"], strict=True))
        facts = {"images": len(columns["key"]), "top1": right / len(columns["key"]) if imagenet else None}
        write_json(self.folder / "scores.json", {"schema_version": SCHEMA_VERSION, **settings, **facts})
        return rows

    def _part(self, label: int) -> Path:
        return self.folder / PARTS / f"{label:04d}.json"

    def _pictures(self, label: int) -> dict[str, Path]:
        place = self.folder / EXAMPLES
        return {"image": place / f"{label:04d}.png", "map": place / f"{label:04d}_map.png"}


def read_complexity(folder: Path) -> dict[str, float]:
    """Return the complexity of each image by its name, from `images.parquet`.

    Raises:
        InputError: It is not there, or not what `complexity` writes.
    """
    path = folder / "images.parquet"
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a folder that `complexity` wrote")
    try:
        table = pq.read_table(path, columns=["key", "complexity"])
        found = dict(zip(table["key"].to_pylist(), table["complexity"].to_pylist(), strict=True))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, KeyError) as error:
        raise InputError(f"{path}: not a table of scores ({first_line(error)}); run `complexity` again") from error
    if not all(isinstance(value, float) and 0 <= value <= 1 for value in found.values()):
        raise InputError(f"{path}: a complexity is no fraction in [0, 1]; run `complexity` again")
    return found


def _read_part(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    except (OSError, ValueError):
        pass
    raise InputError(f"{path}: damaged; remove it and run again")
