"""Evaluations of a distillation in between: a few students on what there is, and the best set so far."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from compdd_eval.config.distill import DistillConfig
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.evaluation.evaluate import evaluate
from compdd_eval.evaluation.open import name_of_set
from compdd_eval.methods.learning_loop import Learning
from compdd_eval.results.aggregate import mean_and_spread
from compdd_eval.utils.devices import repeatable_here
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import on_main_process

BEST_NAME, EVALUATIONS_NAME = "best", "evaluations"  # in the folder of the progress


def _remove_others(folder: Path, set_name: str) -> None:
    """Remove students of another set at the same step: of a run that was killed, and went on with other last bits."""
    if any(path.parts[len(folder.parts)] != set_name for path in folder.glob("*/*/*/*/seed*.json")):
        shutil.rmtree(folder)


class Evaluations:
    """Those of one run, on every process.

    Args:
        config: All settings.
        folder: Where the progress is written.
        accelerator: Devices and processes.
        say: Tells the user something.
    """

    def __init__(
        self, config: DistillConfig, folder: Path, accelerator: Accelerator, say: Callable[[str], None]
    ) -> None:
        self._config, self._folder, self._accelerator, self._say = config, folder, accelerator, say

    def check(self, evaluations: list[dict[str, object]]) -> None:
        """Refuse to go on with evaluations that cannot be compared with those that were made.

        Raises:
            InputError: Those that were made have other students.
        """
        config = self._config
        for found in evaluations if config.eval_every else ():
            if (found["n"], found["epochs"]) != (config.num_eval, config.epoch_eval_train):
                raise InputError(
                    f"{self._folder}: evaluated {found['n']} students of {found['epochs']} epochs; go on with "
                    f"--num_eval {found['n']} --epoch_eval_train {found['epochs']}, or give --overwrite"
                )

    def evaluate(self, learning: Learning, metadata: dict[str, object]) -> None:
        """Train a few students on what there is now; keep it where it is the best so far.

        Args:
            learning: The distillation.
            metadata: What is recorded with the set.
        """
        config, step = self._config, learning.progress.step
        distilled = learning.synthetic.as_set(metadata)
        folder = self._folder / EVALUATIONS_NAME / f"step-{step:06}"
        if self._accelerator.is_main_process:
            _remove_others(folder, name_of_set(distilled, distilled.sha256))
        self._accelerator.wait_for_everyone()
        settings = EvaluateConfig(
            **config.selection,
            data_path=config.data_path,
            layout=config.layout,
            model=config.model,
            res=config.res,
            antialias=config.antialias,
            resize=config.resize,
            num_eval=config.num_eval,
            epoch_eval_train=config.epoch_eval_train,
            threads=config.threads,
            output_dir=str(folder),
        )
        with repeatable_here():  # students train in float32, whatever the method does
            entry = evaluate(settings, distilled, self._accelerator, quiet=True)["results"][0]
        best = max((found["accuracy_mean"] for found in learning.progress.evaluations), default=-1.0)
        found = {"step": step, "epochs": config.epoch_eval_train}
        found |= {name: entry[name] for name in ("accuracy_mean", "accuracy_std", "n")}
        learning.progress.evaluations.append(found)
        self._say(f"step {step}: {mean_and_spread(entry)} %, {entry['n']} students")
        if self._accelerator.is_main_process and entry["accuracy_mean"] > best:
            distilled.save(self._folder / BEST_NAME)

    def kept(self, distilled: DistilledSet, learning: Learning) -> DistilledSet:
        """Return the set that is kept: this one, or the best of the evaluations.

        Raises:
            InputError: --keep best, and the best one is not there.
        """
        if self._config.keep == "last":
            return distilled
        evaluations = learning.progress.evaluations
        if not evaluations:
            raise InputError(f"{self._folder}: --keep best, but no step was evaluated; give --overwrite to begin anew")
        best = on_main_process(self._accelerator, lambda: DistilledSet.load(self._folder / BEST_NAME))
        chosen = max(evaluations, key=lambda found: (found["accuracy_mean"], -found["step"]))
        if best.metadata["distillation"]["step"] != chosen["step"]:
            raise InputError(f"{self._folder / BEST_NAME}: is not step {chosen['step']}; give --overwrite")
        made = {**distilled.metadata["distillation"], "kept_step": chosen["step"], "step": chosen["step"]}
        return replace(best, metadata={**distilled.metadata, "distillation": made}, origin={})
