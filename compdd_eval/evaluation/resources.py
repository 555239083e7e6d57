"""What evaluations with the same settings share: real images, networks and their steps, results that are in memory."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from accelerate import Accelerator

from compdd_eval.config.checks import AUTO
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.data.subset_files import Subset
from compdd_eval.evaluation.by_complexity import complexity_of
from compdd_eval.evaluation.image_sets import TestSet, TrainingSet
from compdd_eval.evaluation.plan import Teacher
from compdd_eval.evaluation.real_images import RealImages
from compdd_eval.evaluation.records import Records
from compdd_eval.evaluation.train_group import GroupTrainer
from compdd_eval.utils.processes import on_main_process, shared_from_main_process

T = TypeVar("T")


class Resources:
    """Those of one process. Every process makes them, and asks for the same.

    Args:
        config: All settings, with the resolution.
        subset: The subset.
        accelerator: Devices and processes.
        environment: Where the numbers are made.
        cache_dir: Cache to look for the prepared subset in; default: that of `datasets`.
        progress: Show bars.
        real: Real images of an earlier run, which are used where they serve this one.

    Attributes:
        real: Real images; those of the main process count.
        group_trainer: Has test images and compiled steps on the device.
        records: Results of students.
        validation: Validation images.
        held_out: Training images that are held out for the search of the rate, or None.
        complexity: Complexity of each validation image, where it is asked for.
        teacher: What gives soft labels, once it is there.
    """

    def __init__(
        self,
        config: EvaluateConfig,
        subset: Subset,
        accelerator: Accelerator,
        environment: dict[str, object],
        cache_dir: str | os.PathLike | None = None,
        progress: bool = True,
        real: RealImages | None = None,
    ) -> None:
        self.config, self.accelerator, self.environment, self.progress = config, accelerator, environment, progress
        fits = real is not None and real.serves(config, subset)
        self.real = real if fits else RealImages(config, subset, cache_dir, progress)
        self.group_trainer, self.records = GroupTrainer(config, accelerator), Records()
        self.teacher: Teacher | None = None

        def read() -> tuple[list[float] | None, TestSet | None, TestSet]:
            names = self.real.validation_names()
            complexity = complexity_of(config.complexity, names, subset.wnids) if config.complexity else None
            held_out = self.real.held_out() if config.lr_net == AUTO else None
            return complexity, held_out, self.real.validation()

        # real images stay on the main process, which sends the others what they need
        self.complexity, self.held_out, self.validation = on_main_process(accelerator, read)

    @functools.cached_property
    def everything(self) -> TrainingSet:
        """All training images, with hard labels; every process must ask for them."""
        return self.shared(self.real.everything)

    def shared(self, work: Callable[[], T]) -> T:
        """Do the work on the main process, whose result has many images, and give it to every process."""
        folder = self.config.output_dir
        return shared_from_main_process(self.accelerator, work, None if folder is None else Path(folder))
