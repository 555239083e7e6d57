"""Results of the students of a run: in their files, or in memory where there is no folder for them."""

from pathlib import Path

from compdd_eval.evaluation.plan import Task
from compdd_eval.evaluation.student_weights import is_done
from compdd_eval.results.student_result import StudentResult, read_student, weights_path, write_student


class Records:
    """Those of one process."""

    def __init__(self) -> None:
        self._in_memory: dict[Path, StudentResult] = {}

    def has(self, task: Task) -> bool:
        """Whether a student has its result, and its weights where they are to be kept."""
        return is_done(task) or task.path in self._in_memory

    def read(self, task: Task) -> StudentResult:
        """Return the result of a student.

        Raises:
            InputError: As from `read_student`.
        """
        return read_student(task.path) if task.in_file else self._in_memory[task.path]

    def write(self, task: Task, result: StudentResult) -> None:
        """Keep the result of a student, in the place of an older one."""
        if not task.in_file:
            self._in_memory[task.path] = result
            return
        if task.weights is None:  # those of an earlier training are not of this result
            weights_path(task.path).unlink(missing_ok=True)
        write_student(task.path, result)

    def forget(self, source: str) -> None:
        """Let go of results in memory: of students of the set, or of a baseline."""
        self._in_memory = {path: kept for path, kept in self._in_memory.items() if kept.source != source}
