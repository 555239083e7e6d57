"""From students to numbers: beside the random baseline, against all real images, under every kind of labels."""

from dataclasses import dataclass

from compdd_eval.evaluation.plan import Condition, Task
from compdd_eval.results.aggregate import aggregate
from compdd_eval.results.dd_ranking import (
    augmentation_robust_score,
    hard_label_recovery,
    improvement_over_random,
    label_robust_score,
)
from compdd_eval.results.statistics import (
    Ratio,
    clear_sign,
    paired_bootstrap_interval,
    paired_difference,
    ratio_interval,
)
from compdd_eval.results.student_result import FULL, RANDOM, SET, StudentResult
from compdd_eval.results.summary import Compared, Improvement, Scores, Students

BEATS, LOSES, UNCLEAR, UNKNOWN = "beats random", "loses to random", "no clear difference from random", "one student"


@dataclass(frozen=True)
class Outcome:
    """All students of a run.

    Args:
        tasks: What was trained.
        students: Its results, in the same order.
    """

    tasks: list[Task]
    students: list[StudentResult]

    def of(self, source: str, condition: Condition | None, model: str | None = None) -> list[StudentResult]:
        """Return the students of one source (under one condition, of one network)."""
        return [
            student
            for task, student in zip(self.tasks, self.students, strict=True)
            if task.source == source
            and condition in (None, task.condition)
            and model in (None, task.model)
            and not task.searching
        ]

    def entries(self, condition: Condition) -> list[Compared]:
        """Return one entry a model, with what it is compared to; None where that was not asked for."""
        return [self._compared(students, condition) for students in aggregate(self.of(SET, condition))]

    def _compared(self, students: Students, condition: Condition) -> Compared:
        model = students.model
        ours, random = self.of(SET, condition, model), self.of(RANDOM, condition, model)
        full = self.of(FULL, None, model)  # one recipe of all images for every regime
        return Compared(
            **vars(students),
            random=aggregate(random)[0] if random else None,
            improvement=_improvement(ours, random) if random else None,
            full=aggregate(full)[0] if full else None,
            recovery_ratio=_ratio(ours, full),
            random_recovery_ratio=_ratio(random, full),
        )

    def scores(self, wanted: list[str], labels: str) -> list[Scores]:
        """Return LRS and ARS of each model with what they are made of, as fractions in [0, 1]."""
        models = dict.fromkeys(task.model for task in self.tasks if task.source == SET)
        robust = {"lrs": self._label_robustness, "ars": self._augmentation_robustness}
        return [
            Scores(model, **{k: v for n in wanted for k, v in robust[n](model, labels).items()}) for model in models
        ]

    def _label_robustness(self, model: str, labels: str) -> dict[str, float]:
        given = Condition(labels)
        real, hard = self._mean(FULL, None, model), self._mean(SET, Condition("hard"), model)
        recovery = hard_label_recovery(real, hard)
        improvement = improvement_over_random(self._mean(SET, given, model), self._mean(RANDOM, given, model))
        return {"lrs": label_robust_score(recovery, improvement), "hlr": recovery, "ior": improvement}

    def _augmentation_robustness(self, model: str, labels: str) -> dict[str, float | dict[str, float]]:
        parts = {
            f"{side}_{name}": self._mean(source, Condition(labels, augmented=augmented), model)
            for name, augmented in (("aug", True), ("noaug", False))
            for side, source in (("syn", SET), ("random", RANDOM))
        }
        return {"ars": augmentation_robust_score(**parts), "ars_accuracies": parts}

    def _mean(self, source: str, condition: Condition | None, model: str) -> float:
        return aggregate(self.of(source, condition, model))[0].accuracy_mean


def _improvement(ours: list[StudentResult], random: list[StudentResult]) -> Improvement:
    difference = paired_difference([run.accuracy for run in ours], [run.accuracy for run in random])
    over_images = paired_bootstrap_interval([run.right for run in ours], [run.right for run in random])
    return Improvement(**vars(difference), bootstrap_interval=over_images, verdict=verdict(difference.interval))


def verdict(interval: list[float] | None) -> str:
    """Say in words what a 95 % interval of the improvement over random means."""
    if interval is None:
        return UNKNOWN
    return {1: BEATS, -1: LOSES, 0: UNCLEAR}[clear_sign(interval)]


def _ratio(students: list[StudentResult], full: list[StudentResult]) -> Ratio | None:
    if not students or not full:
        return None
    return ratio_interval([run.accuracy for run in students], [run.accuracy for run in full])
