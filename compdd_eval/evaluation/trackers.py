"""Trackers (TensorBoard, Weights & Biases, trackio) through Accelerate: one run, curves by student."""

import importlib.util
from pathlib import Path

import accelerate
from accelerate import Accelerator
from accelerate.utils import LoggerType

from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.results.student_result import StudentResult
from compdd_eval.utils.errors import InputError

_TRACKIO = "1.9"  # Accelerate that has trackio, the newest of the trackers


def check_trackers(names: list[str]) -> None:
    """Raise InputError where a tracker is not installed, or this version of Accelerate does not know it."""
    for name in names:
        if name not in LoggerType.list():
            found = f"accelerate {accelerate.__version__} does not know it"
            raise InputError(f"--log_with {name}: {found}, expected {_TRACKIO} or later; run pip install -U accelerate")
        if importlib.util.find_spec(name) is None:
            raise InputError(f'--log_with {name}: it is not installed; pip install "compdd-eval[{name}]"')


class Tracker:
    """Sends the curves of every student to the trackers of `--log_with`, when it is trained.

    Names are `SOURCE/LABELS/MODEL/seedK/...`: `loss` and `accuracy` with the pass as step.
    """

    def __init__(self, accelerator: Accelerator, config: EvaluateConfig, set_name: str, config_name: str) -> None:
        self._accelerator, self._used = accelerator, bool(config.listed("log_with"))
        if self._used:
            flat = {key: value for key, value in vars(config).items() if isinstance(value, str | int | float | bool)}
            accelerator.init_trackers("comp_dd", flat | {"set": set_name, "config_name": config_name})

    def log(self, student: StudentResult) -> None:
        """Send one student, on the main process."""
        if not self._used:
            return
        search = "search/" if student.tested_on != "validation" else ""
        name = f"{search}{student.source}/{student.labels}/{student.model}/rate{student.lr:g}/seed{student.seed}"
        for number, loss in enumerate(student.losses):
            if loss is not None:
                self._accelerator.log({f"{name}/loss": loss}, step=number)
        for number, accuracy in student.curve or [[len(student.losses), student.accuracy]]:
            self._accelerator.log({f"{name}/accuracy": accuracy}, step=number)

    def close(self) -> None:
        """Finish the tracker's run."""
        if self._used:  # not by `end_training`, which ends the process group, too
            for tracker in self._accelerator.trackers:
                tracker.finish()
            self._accelerator.trackers = []


def logging_dir(config: EvaluateConfig) -> Path:
    """Return where trackers that write files put them."""
    return Path(config.output_dir) / "logs"
