"""Real images for an evaluation: validation, held out for the search of a rate, drawn at random, all."""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace

import torch
from accelerate import PartialState

from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.training_data import TrainingDataConfig
from compdd_eval.data.decoded_cache import decode_once
from compdd_eval.data.splits import SubsetSplit, open_split
from compdd_eval.data.subset_files import Subset
from compdd_eval.data.zca import Whitening
from compdd_eval.distilled.random_images import draw_indices, images_at
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.evaluation.image_sets import TestSet, TrainingSet
from compdd_eval.evaluation.plan import baseline_dir
from compdd_eval.results.student_result import FULL
from compdd_eval.utils.devices import repeatable_here, send
from compdd_eval.utils.digests import digest_of
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable, locked

_logger = logging.getLogger(__name__)
HELD_OUT = 50  # training images a class that choose the rate, as many as ImageNet has for validation
_HELD_OUT_SHARE = 0.2  # or this share of a class, where it is small
_HELD_OUT_SEED = 0  # the same images for every set, so that rates of sets are chosen alike


def open_as_asked(
    config: EvaluateConfig | TrainingDataConfig, subset: Subset, split: str, cache_dir: str | os.PathLike | None = None
) -> SubsetSplit:
    """Open a split of a subset from the copy of ImageNet, and at the resolution, that settings name.

    Raises:
        InputError: As from `open_split`.
    """
    size = (config.res, config.res)
    how = {"antialias": config.antialias, "resize": config.resize, "layout": config.layout, "cache_dir": cache_dir}
    return open_split(subset, split, config.data_path, size, **how)


class RealImages:
    """Real images of one subset, at the resolution of a run; nothing is decoded before it is asked for."""

    def __init__(
        self, config: EvaluateConfig, subset: Subset, cache_dir: str | os.PathLike | None, progress: bool = True
    ) -> None:
        self._config, self._subset, self._cache_dir, self._progress = config, subset, cache_dir, progress
        self._splits: dict[str, SubsetSplit] = {}
        self._drawn: dict[tuple, TrainingSet] = {}
        self._decoded_training: tuple[torch.Tensor, str] | None = None
        self._whitening: Whitening | None = None

    def serves(self, config: EvaluateConfig, subset: Subset) -> bool:
        """Whether these are the images of other settings, too, so that nothing is decoded twice."""

        def decisive(settings: EvaluateConfig) -> tuple:
            kept = settings.output_dir is None, baseline_dir(settings)
            names = ("data_path", "layout", "res", "antialias", "resize", "zca", "baselines")
            return *kept, *(getattr(settings, name) for name in names)

        return subset == self._subset and decisive(config) == decisive(self._config)

    def validation(self) -> TestSet:
        """Decode the validation images."""
        split, expected = self._split("validation"), self._subset.splits["validation"]
        keep = self._config.output_dir is not None
        images, digest = decode_once(split, self._cache_dir, self._progress, keep)
        return TestSet(self._whitened(images), split.labels, digest, split.origin, expected)

    def validation_names(self) -> list[str]:
        """Return the official names of the validation images, in row order."""
        return self._split("validation").file_names

    def number_of_training_images(self) -> int:
        """Return how many there are; 0 where nothing will be trained on them and there may be none."""
        return len(self._split("train")) if FULL in self._config.baselines else 0

    def held_out(self) -> TestSet:
        """Decode the training images that are held out for the search of a rate; random draws leave them out."""
        train, indices = self._split("train"), self.held_out_indices()
        images = torch.stack([train[index][0] for index in indices])
        digest = train.digest_of(indices)
        origin = f"{len(indices)} training images of {train.origin}"
        return TestSet(self._whitened(images), train.labels[indices], digest, origin, len(indices))

    def held_out_indices(self) -> list[int]:
        """Return the indices of the held-out images in the training split."""
        labels, indices = self._split("train").labels, []
        generator = torch.Generator().manual_seed(_HELD_OUT_SEED)
        for label in labels.unique().tolist():
            members = (labels == label).nonzero().flatten()
            number = min(HELD_OUT, int(len(members) * _HELD_OUT_SHARE))
            if not number:
                raise InputError(
                    f"label {label} has {len(members)} training images, too few to hold some out for --lr_net auto; "
                    "give a rate"
                )
            indices += members[torch.randperm(len(members), generator=generator)[:number]].sort().values.tolist()
        return indices

    def drawn(self, ipc: float, seed: int, exclude: list[int]) -> TrainingSet:
        """Return random training images, drawn by a seed; kept in the baselines' folder."""
        key = ipc, seed, *exclude
        if key not in self._drawn:
            self._drawn[key] = self._draw(ipc, seed, exclude)
        return self._drawn[key]

    def _draw(self, ipc: float, seed: int, exclude: list[int]) -> TrainingSet:
        if ipc != int(ipc):
            raise InputError(f"--baseline random: the set has {ipc:g} images per class, expected a whole number")
        train = self._split("train")
        indices = draw_indices(train.labels, int(ipc), seed, exclude)
        made_from = [train.digest_of(indices), *self._transform]
        name = f"random-ipc{ipc:g}-seed{seed}-{digest_of(made_from)}"
        drawn = self._cached(name, lambda: images_at(train, indices, seed))
        if self._config.zca:  # after caching: the cached images are not whitened, whatever --zca says
            drawn = replace(drawn, images=self._whitened(drawn.images))
        # of the files, not the tensors: another processor resizes them with other last bits
        return replace(TrainingSet.of(drawn), digest=digest_of([*made_from, self._config.zca]))

    def everything(self) -> TrainingSet:
        """Return all training images, with hard labels."""
        images, digest = self._decode_all()
        digest = digest_of([digest, *self._transform, self._config.zca])
        return TrainingSet(self._whitened(images), self._split("train").labels, "hard", digest)

    @property
    def _transform(self) -> list[object]:
        return [self._config.res, self._config.antialias, self._config.resize]

    def _cached(self, name: str, draw: Callable[[], DistilledSet]) -> DistilledSet:
        """Return what lies in the baselines' folder under a name, or draw it and put it there."""
        root = baseline_dir(self._config)
        if root is None:
            return draw()
        folder = root / "images" / name
        check_writable(folder.parent, "--baseline_dir")
        with locked(root / ".images.lock", f"it draws {folder}"):
            if folder.exists():
                try:
                    return DistilledSet.load(folder)
                except InputError as error:  # of another version, or cut short
                    _logger.warning(f"{error}; drawn again")
                    shutil.rmtree(folder)
            drawn = draw()
            drawn.save(folder)
            return drawn

    def _decode_all(self) -> tuple[torch.Tensor, str]:
        if self._decoded_training is None:
            self._decoded_training = self._split("train").decode(self._progress)
        return self._decoded_training

    def _whitened(self, images: torch.Tensor) -> torch.Tensor:
        if not self._config.zca:
            return images
        with repeatable_here():  # students may train in TF32, images are whitened in float32
            if self._whitening is None:
                _logger.info("fitting the whitening (--zca) on the training images")
                # eigenvectors of thousands of photographs take minutes on a CPU
                self._whitening = Whitening.fit(send(self._decode_all()[0], PartialState().device))
            return self._whitening(images)

    def _split(self, name: str) -> SubsetSplit:
        if name not in self._splits:
            self._splits[name] = open_as_asked(self._config, self._subset, name, self._cache_dir)
        return self._splits[name]
