"""`Evaluator`: scores distilled images inside somebody's own training loop."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from compdd_eval.config.arguments import arguments_of, checked_arguments
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.data.splits import open_split
from compdd_eval.distilled.result_pictures import sheet_of
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.evaluation.evaluate import Evaluation
from compdd_eval.evaluation.open import checked, with_networks
from compdd_eval.evaluation.resources import Resources
from compdd_eval.evaluation.score import Score
from compdd_eval.results.student_result import SET
from compdd_eval.training.precision import precision_of
from compdd_eval.utils.callers_state import callers_state_kept
from compdd_eval.utils.console import counted, warnings_kept
from compdd_eval.utils.errors import InputError, named_as_arguments, with_arguments
from compdd_eval.utils.processes import on_main_process, processes_here

_ARGUMENTS = arguments_of(EvaluateConfig)
_AT_CALLS = "the set is given at each call, as images and labels or a DistilledSet"
_NO_FILES = "an Evaluator writes no files; evaluator.save(score, output_dir) does"
_NOT_TAKEN = {
    **dict.fromkeys(("distilled", "data_dir", "label_dir", "lr_dir", "label_order", "factor", "run"), _AT_CALLS),
    **dict.fromkeys(("output_dir", "overwrite", "save_students", "log_with", "grid"), _NO_FILES),
    **dict.fromkeys(("dry_run", "json"), "it is of the command; an Evaluator returns a Score"),
}
_TAKEN = tuple(name for name in _ARGUMENTS if name not in _NOT_TAKEN)


class Evaluator:
    """Trains students on distilled images and tests them on real ones, as `evaluate` does, to the same numbers.

        evaluator = Evaluator("bird-easy", model="ConvNetD5", num_eval=3, data_path="/path/to/imagenet")
        for step in range(20_000):
            ...
            if step % 1000 == 0:
                print(step, evaluator(images, labels, lr=syn_lr))

    The first call decodes the validation images, and compiles the students' steps where that pays; both stay on the
    device for the next one, and so do the students of the baselines, in memory. Nothing is written or printed, and all
    that the caller has set of torch is as it was; but the process keeps memory that tensors gave back, as `evaluate`
    does (`compdd_eval.utils.process_memory.keep_memory`), and after many compiled networks lets go of all compiled
    code, the caller's too. Every process must make one, and call it; the set of the first process counts, and all get
    its score.

    Args:
        subset: A subset in one word, such as `bird-easy`, or a list that the field uses, such as `nette`; None where
            `category` and `subset`, or `classes`, say it.
        accelerator: Devices and processes; None takes those that the launcher has set up.
        cache_dir: Cache to look for the prepared subset in; default: that of `datasets`.
        progress: Show bars and warnings; without it, these are in the `remarks` of a score.
        settings: Those of `EvaluateConfig`, by name, such as `protocol="mtt"` or `baseline="random"`; but for those
            that name the set, or files to write. `res` follows from the images.

    Raises:
        InputError: Anything in the settings or the data that the user can mend.
    """

    def __init__(
        self,
        subset: str | None = None,
        /,
        *,
        accelerator: Accelerator | None = None,
        cache_dir: str | os.PathLike | None = None,
        progress: bool = False,
        **settings: Any,
    ) -> None:
        self._cache_dir, self._progress = cache_dir, progress
        self._resources: Resources | None = None
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if not isinstance(subset, str | None):
            raise InputError(f"subset {subset!r}: expected a text, for example 'bird-easy'")
        with named_as_arguments(_ARGUMENTS), callers_state_kept(device):
            config = EvaluateConfig(*([] if subset is None else [subset]), **_checked(settings), output_dir=None)
            self.accelerator = accelerator or processes_here()
            precision_of(config.precision, self.accelerator.device)
            config = on_main_process(self.accelerator, lambda: self._before_a_set(config))
            self.config = with_networks(config)  # on every process: each runs the files of networks itself

    def _before_a_set(self, config: EvaluateConfig) -> EvaluateConfig:
        """Refuse what can be refused before there is a set: networks, and a copy of ImageNet that is not there."""
        config = checked(config)
        options = {"layout": config.layout, "cache_dir": self._cache_dir}
        open_split(config.load_subset(), "validation", config.data_path, **options)
        return config

    def __call__(
        self,
        images: torch.Tensor | DistilledSet | tuple[torch.Tensor, torch.Tensor],
        labels: torch.Tensor | None = None,
        *,
        lr: float | torch.Tensor | None = None,
    ) -> Score:
        """Score a set.

        Args:
            images: Float `[N, 3, H, H]`, ImageNet-normalised (or as `pixel_range`, `mean`, `std` say), on any device,
                with or without gradients; or a set, or a pair of images and labels.
            labels: int64 `[N]` with values 0-9, or float `[N, 10]`.
            lr: Learning rate of the students, a number or a tensor of one; None takes that of the set, else `lr_net`.
                A rate that is searched (`lr_net="auto"`) wins over both.

        Raises:
            InputError: No set can be made of it, or one of another subset; what `evaluate` refuses.
        """
        given = images if labels is None else (images, labels)
        with self._in_peace() as remarks:
            run = Evaluation(
                self.config,
                self.accelerator,
                contextlib.ExitStack(),
                given,
                self._cache_dir,
                lr=lr,
                resources=self._resources,
                progress=self._progress,
            )
            self._resources = run.resources
            try:
                summary, students = run.results(quiet=True)
                run.warn()
            finally:
                run.resources.records.forget(SET)  # the next set is another, or is to be trained on again
            said = [with_arguments(remark, _ARGUMENTS) for remark in dict.fromkeys(remarks)]
            return Score(summary, students, said, sheet_of(run.inputs.distilled))

    def save(self, score: Score, output_dir: str | os.PathLike) -> None:
        """Write the files that `evaluate` writes: `summary.json`, a file for each student, pictures of the set.

        Raises:
            InputError: The folder cannot be written, or holds results of another set or subset.
        """
        if not isinstance(score, Score):
            raise InputError(f"score is a {type(score).__name__}, expected what the Evaluator returned")
        if not isinstance(output_dir, str | os.PathLike):
            raise InputError(f"output_dir {output_dir!r}: expected the name of a folder")
        with self._in_peace():
            on_main_process(self.accelerator, lambda: score.write(Path(output_dir).expanduser()))

    @contextlib.contextmanager
    def _in_peace(self) -> Iterator[list[str]]:
        """Let a call leave no trace but the warnings that it yields."""
        device = self.accelerator.device
        with named_as_arguments(_ARGUMENTS), callers_state_kept(device), warnings_kept(self._progress) as remarks:
            yield remarks

    def __repr__(self) -> str:
        config = self.config
        students = f"{counted(config.num_eval, 'student')} of {config.passes} passes"
        return f"Evaluator({config.load_subset().name}, {', '.join(config.models)}, {students})"


def _checked(settings: dict[str, object]) -> dict[str, object]:
    for name in settings:
        if name in _NOT_TAKEN:
            raise InputError(f"{name}: {_NOT_TAKEN[name]}")
    return checked_arguments(EvaluateConfig, settings, _TAKEN)
