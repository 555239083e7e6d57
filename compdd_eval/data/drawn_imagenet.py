"""Draw a small stand-in for ImageNet: real JPEG files in the ImageFolder layout, but of drawn shapes.

Every label is one shape with a colour of its own, the same in the easy and the hard subset. As Comp-DD means it,
easy images show the object large on a plain ground; in hard ones it is smaller and the ground is busy.
"""

import colorsys
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm.auto import tqdm

from compdd_eval.data.subsets import load_subset
from compdd_eval.utils.files import locked

FORMAT = 1  # of the drawings; another one is drawn anew
_SIZE = 96  # pixels of an image
_SCALE = 2  # drawn larger and reduced, for smooth edges
_QUALITY = 90
_STAMP = "drawn.txt"
_NOTE = "These images were drawn by compdd_eval as a stand-in for ImageNet. They are not ImageNet.\n"


@dataclass(frozen=True)
class Difficulty:
    """How images of a subset look: radius of the object as a share of the image, and number of things behind it."""

    radius: tuple[float, float]
    clutter: int


DIFFICULTIES = {"easy": Difficulty((0.30, 0.42), 0), "hard": Difficulty((0.18, 0.28), 14)}


def draw_imagenet(
    root: Path, category: str, train_images: int = 60, validation_images: int = 50, progress: bool = False
) -> None:
    """Draw both subsets of a category, unless they are there already.

    Args:
        root: Folder that becomes the stand-in, with `train/<wnid>/` and `val/<wnid>/`; made whole or not at all.
        category: One of the eight categories.
        train_images: Images of each class in `train`.
        validation_images: Images of each class in `val`.
        progress: Show a progress bar.
    """
    stamp = f"{_NOTE}format {FORMAT}, {category}, {train_images} + {validation_images} images a class\n"
    stage = root.parent / f".{root.name}.stage"
    with locked(root.parent / f".{root.name}.lock", "it draws images"):
        if (root / _STAMP).is_file() and (root / _STAMP).read_text() == stamp:
            return
        for left in (stage, root):
            shutil.rmtree(left, ignore_errors=True)
        with tqdm(desc="drawing images", unit="image", disable=not progress, total=0) as bar:
            for difficulty in DIFFICULTIES:
                _draw_subset(stage, f"{category}-{difficulty}", train_images, validation_images, bar)
        (stage / _STAMP).write_text(stamp)
        os.rename(stage, root)


def _draw_subset(root: Path, name: str, train_images: int, validation_images: int, bar: tqdm) -> None:
    subset = load_subset(name)
    difficulty = DIFFICULTIES[subset.difficulty]
    bar.total += len(subset.classes) * (train_images + validation_images)
    for entry in subset.classes:
        rng = np.random.default_rng([FORMAT, entry.imagenet_index])
        train = [f"train/{entry.wnid}/{entry.wnid}_{number}.JPEG" for number in range(train_images)]
        first = entry.imagenet_index * validation_images + 1
        numbers = range(first, first + validation_images)
        validation = [f"val/{entry.wnid}/ILSVRC2012_val_{number:08}.JPEG" for number in numbers]
        for path in [*train, *validation]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            draw_image(entry.label, difficulty, rng).save(root / path, quality=_QUALITY)
            bar.update()


def draw_image(label: int, difficulty: Difficulty, rng: np.random.Generator) -> Image.Image:
    """Draw one object of a label (0-9) at a random place, size, angle and shade; RGB, 96 x 96."""
    side = _SIZE * _SCALE
    ground = np.linspace(*rng.uniform(60, 200, (2, 3)), side)[:, None, :]
    noise = rng.normal(0, 8, (side, side, 1))
    image = Image.fromarray((ground + noise).clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(difficulty.clutter):
        shape, radius = int(rng.integers(10)), rng.uniform(0.04, 0.14)
        _draw_shape(pen, shape, rng.uniform(0, side, 2), radius * side, rng.uniform(0, 2 * math.pi), _color(rng))
    radius = rng.uniform(*difficulty.radius) * side
    center = rng.uniform(radius, side - radius, 2)
    hue = label / 10 + rng.normal(0, 0.04)
    _draw_shape(pen, label, center, radius, rng.uniform(-0.4, 0.4), _color(rng, hue))
    return image.resize((_SIZE, _SIZE), Image.Resampling.LANCZOS)


def _color(rng: np.random.Generator, hue: float | None = None) -> tuple[int, int, int]:
    hue = rng.uniform() if hue is None else hue
    rgb = colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.5, 1), rng.uniform(0.55, 1))
    return tuple(int(255 * value) for value in rgb)


def _draw_shape(
    pen: ImageDraw.ImageDraw, shape: int, center: np.ndarray, radius: float, angle: float, color: tuple[int, int, int]
) -> None:
    """Draw one of ten shapes: two round ones, then polygons and stars."""
    box = [*(center - radius), *(center + radius)]
    if shape == 0:
        pen.ellipse(box, fill=color)
    elif shape == 1:
        pen.ellipse(box, outline=color, width=max(2, int(radius / 3)))
    else:
        corners, waist = [(3, 1), (4, 1), (5, 1), (6, 1), (4, 0.35), (5, 0.45), (8, 0.5), (3, 0.3)][shape - 2]
        pen.polygon(_star(center, radius, angle, corners, waist), fill=color)


def _star(center: np.ndarray, radius: float, angle: float, corners: int, waist: float) -> list[tuple[float, float]]:
    """Corners of a star, or of a regular polygon where the waist is 1."""
    points = []
    for number in range(0, 2 * corners, 2 if waist == 1 else 1):
        reach = radius if number % 2 == 0 else radius * waist
        turn = angle + math.pi * number / corners
        points.append((center[0] + reach * math.sin(turn), center[1] - reach * math.cos(turn)))
    return points
