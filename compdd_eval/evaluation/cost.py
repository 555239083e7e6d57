"""What the students of a run will take on this device: time and memory, from a few measured steps."""

from collections import defaultdict
from dataclasses import dataclass, replace

from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.evaluation.image_sets import TrainingSet
from compdd_eval.evaluation.plan import EvaluationInputs, Planner, conditions, students_of_a_network
from compdd_eval.evaluation.train_group import GroupTrainer, Timing
from compdd_eval.results.student_result import FULL, SET
from compdd_eval.utils.console import duration


@dataclass(frozen=True)
class Cost:
    """What the students of one network take.

    Attributes:
        model: The network.
        students: Their number, those of baselines and of a search for the rate, too.
        students_at_a_time: How many a device trains together.
        compiled: Whether their steps are compiled.
        seconds_of_a_pass: Of one student over the distilled set.
        seconds: Of all of them, on all processes; compiling is left out.
        peak_bytes: The most memory that was in use: on a GPU that of tensors, else that of the process.
    """

    model: str
    students: int
    students_at_a_time: int
    compiled: bool
    seconds_of_a_pass: float
    seconds: float
    peak_bytes: int

    def in_words(self) -> str:
        """Say it in one line."""
        together = f" ({self.students_at_a_time} together)" if self.students_at_a_time > 1 else ""
        return (
            f"{self.model}: {duration(self.seconds_of_a_pass)} a pass, {duration(self.seconds)} for {self.students} "
            f"students{together}, {self.peak_bytes / 1e9:.1f} GB at the peak"
        )


def measure_costs(inputs: EvaluationInputs, trainer: GroupTrainer, real_images: int) -> list[Cost]:
    """Train students of each network for a few steps, and write nothing; every process must call this.

    A teacher that labels every batch is left out: it is not there before the run.

    Args:
        inputs: The run.
        trainer: Trains its students.
        real_images: Training images of the subset, all of which students of `--baseline full` see.
    """
    config, own = inputs.config, TrainingSet.of(inputs.distilled, inputs.digest)
    planner, costs = Planner(inputs, defaultdict(lambda: own)), []
    condition = conditions(config)[0]
    if condition.labels == "soft+kd":
        condition = replace(condition, labels="given")
    for model in config.models:
        task = planner.task(SET, condition, model, config.seed, config.rate, "measured")
        costs.append(_cost(config, model, trainer.time_steps(task), len(own.images), real_images))
    return costs


def _cost(config: EvaluateConfig, model: str, timing: Timing, images: int, real_images: int) -> Cost:
    a_pass = timing.seconds_of_an_image * images
    students, full = students_of_a_network(config), config.num_eval * (FULL in config.baselines)
    seconds = (students - full) * config.passes * a_pass
    seconds += full * config.full_protocol.passes * timing.seconds_of_an_image * real_images
    seconds = (seconds + students * timing.seconds_of_a_test) / timing.processes
    return Cost(model, students, timing.students, timing.compiled, a_pass, seconds, timing.peak_bytes)
