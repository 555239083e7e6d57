"""What an `Evaluator` gives: the numbers of one distilled set, in memory."""

import contextlib
import html
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from compdd_eval.distilled.result_pictures import Sheet
from compdd_eval.evaluation.open import claim_output_dir
from compdd_eval.evaluation.tables import percent_span
from compdd_eval.results.aggregate import mean_and_spread
from compdd_eval.results.run_folder import RunFile
from compdd_eval.results.student_result import SET, StudentResult, write_student
from compdd_eval.results.summary import Improvement, Summary, SummaryEntry

_HEADER = ("student", "accuracy in %", "95 % over seeds", "n", "set - random")


@dataclass(frozen=True, eq=False, repr=False)
class Score:
    """How students do that were trained on a set; all accuracies are fractions in [0, 1].

        score = evaluator(images, labels)
        print(score)  # 41.3 ± 0.8 % (n = 3)
        if score.improvement and score.improvement.verdict == "beats random": ...  # by its 95 % interval

    Of several networks, `mean`, `std` and the like are those of the first; `results` has all of them.

    Attributes:
        summary: All that `summary.json` holds.
        students: The record of each student, in the order of `summary.students`: those of the set, then of baselines.
        remarks: What `evaluate` would warn of, a line each; of its checks before training, those that students who
            guess give rise to.
        sheet: Pictures of the set, at most ten a class.
    """

    summary: Summary
    students: list[StudentResult]
    remarks: list[str]
    sheet: Sheet

    @property
    def results(self) -> list[SummaryEntry]:
        """One entry for each network."""
        return self.summary.results

    @property
    def mean(self) -> float:
        """Mean accuracy of the students."""
        return self.results[0].accuracy_mean

    @property
    def std(self) -> float | None:
        """Sample standard deviation; None for one student."""
        return self.results[0].accuracy_std

    @property
    def interval(self) -> list[float] | None:
        """95 % interval of the mean over students, as of `accuracy_interval`; None for one."""
        return self.results[0].accuracy_interval

    @property
    def accuracies(self) -> list[float]:
        """Accuracy of each student, in the order of the seeds."""
        return self.results[0].accuracies

    @property
    def per_class(self) -> list[float | None]:
        """Mean accuracy of each of the ten labels; None for a label without validation images."""
        return self.results[0].per_class_accuracy

    @property
    def improvement(self) -> Improvement | None:
        """What the set gains over random images, with a paired interval; None without `baseline="random"`."""
        return self.results[0].improvement

    @property
    def predictions(self) -> torch.Tensor:
        """int64 `[n, M]`: the label that each student gives to each validation image."""
        return torch.tensor([list(map(int, run.predictions)) for run in self.students[: self.results[0].n]])

    @property
    def truth(self) -> torch.Tensor:
        """int64 `[M]`: the true labels of the validation images."""
        return torch.tensor(list(map(int, self.students[0].truth)))

    def to_dict(self) -> dict[str, object]:
        """Return what `summary.json` holds."""
        return self.summary.content()

    def write(self, folder: Path) -> None:
        """Write the files of `evaluate`; `Evaluator.save` is for several processes, too.

        Raises:
            InputError: The folder cannot be written, or holds results of another set or subset.
        """
        moved = {"output_dir": str(folder)}
        # baselines that have files of their own are not written twice
        kept = self.summary.config["baseline_dir"] is not None
        inside = [record.source == SET or not kept for record in self.students]
        paths = [folder / path if new else Path(path) for path, new in zip(self.summary.students, inside, strict=True)]
        with contextlib.ExitStack() as locks:
            claim_output_dir(folder, self.summary.set, self.summary.config_name, locks)
            for path, record, new in zip(paths, self.students, inside, strict=True):
                if new:
                    write_student(path, replace(record, config=record.config | moved))
            self.sheet.write(folder / self.summary.set)
            config = self.summary.config | moved
            replace(self.summary, config=config, students=list(map(str, paths))).write(folder)
            RunFile(folder, [], finished=True).add(paths)

    def __str__(self) -> str:
        several = len(self.results) > 1
        parts = [f"{entry.model} " * several + f"{mean_and_spread(vars(entry), 1)} %" for entry in self.results]
        return f"{', '.join(parts)} (n = {self.results[0].n})"

    def __repr__(self) -> str:
        models = ", ".join(entry.model for entry in self.results)
        return f"Score({self}, {models}, {self.summary.config_name})"

    def _repr_html_(self) -> str:
        rows = [
            (
                entry.model,
                mean_and_spread(vars(entry), 1),
                percent_span(entry.accuracy_interval),
                entry.n,
                f"{100 * entry.improvement.mean:+.1f}, {entry.improvement.verdict}" if entry.improvement else "-",
            )
            for entry in self.results
        ]
        head = "".join(f"<th>{name}</th>" for name in _HEADER)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
        return f"<table><tr>{head}</tr>{body}</table>"
