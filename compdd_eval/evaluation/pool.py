"""One pool of students: those of many evaluations, taken by whichever process is idle.

The main process plans the first round of every evaluation and puts its students into a queue, the costliest first. From
there on all processes do the same: take some students, train them, write their results, and see which evaluations have
all that they wait for; the first to see it plans the next round of such a one, or writes its summary. A process has the
images of one evaluation at a time, and reads them itself: all have to see the same files.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from accelerate import Accelerator
from tqdm.auto import tqdm

from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.evaluation.evaluate import Evaluation, set_torch
from compdd_eval.evaluation.plan import Task
from compdd_eval.evaluation.train_students import StudentTrainer, alike
from compdd_eval.results.summary import Summary
from compdd_eval.utils.console import warnings_kept
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import Alone
from compdd_eval.utils.work_queue import WorkQueue

BEGUN, DONE, FAILED = "begun", "done", "failed"
_TRAINED, _QUEUED = "trained", "queued"
_PIECES = 4  # of each process at least, so that the last ones end together; of alike students a GPU may train several


@dataclass(frozen=True)
class Piece:
    """Students that one process trains: alike ones of one round of an evaluation.

    Attributes:
        index: Number of the evaluation.
        round: Number of the round.
        paths: Their result files.
        cost: Floating-point operations.
    """

    index: int
    round: int
    paths: list[str]
    cost: float


class StudentPool:
    """Trains the students of many evaluations; every process must make one, and call `run`.

    Args:
        configs: Settings of each evaluation, with an `output_dir`.
        accelerator: Devices and processes.
        changed: `(index, state, summary or error)`, called on the main process when an evaluation has `begun`, is
            `done` or has `failed`.
        quiet: Show no bar.
        cache_dir: Cache to look for prepared subsets in; default: that of `datasets`.
    """

    def __init__(
        self,
        configs: list[EvaluateConfig],
        accelerator: Accelerator,
        changed: Callable[[int, str, object], None],
        quiet: bool = False,
        cache_dir: str | os.PathLike | None = None,
    ) -> None:
        self._configs, self._accelerator, self._cache_dir = configs, accelerator, cache_dir
        self._main, self._changed = accelerator.is_main_process, changed
        self._queue = WorkQueue(accelerator)
        self._here: _Opened | None = None
        self._bar = _StudentBar(self._hear, shown=self._main and not quiet)

    def run(self) -> None:
        """Train, test and compare everything; evaluations that fail do not stop the others."""
        with self._bar:
            if self._main:
                self._plan()
            while (piece := self._queue.take(self._hear)) is not None:
                self._train(Piece(**piece))
            self._accelerator.wait_for_everyone()
            self._hear()

    def _plan(self) -> None:
        """Put the first round of all evaluations into the queue."""
        pieces: list[Piece] = []
        for index in range(len(self._configs)):
            pieces += self._go_on(index, 0)
        for piece in sorted(pieces, key=lambda piece: -piece.cost):
            self._queue.put(vars(piece))
        if not self._configs:
            self._queue.close()

    def _go_on(self, index: int, number: int) -> list[Piece]:
        """Plan a round of an evaluation, and those after it if all is there; return what nobody has in hand yet."""
        try:
            with contextlib.ExitStack() as locks:
                with warnings_kept(shown=number == 0):  # nobody wants to read them twice
                    opened = self._open(index, locks)
                opened.go_to(number)
                while opened.summary is None:
                    pieces = self._missing(opened)
                    self._queue.note(f"waits/{index}", [opened.number, [str(task.path) for task in opened.tasks]])
                    # noted first: who ends the last one looks here after it has said so
                    if pieces or not self._is_complete(index):
                        return pieces
                    if self._queue.count(f"next/{index}/{opened.number}") != 1:
                        return []
                    opened.go_to(opened.number + 1)
                self._end(index, DONE, opened.summary)
        except InputError as error:
            self._end(index, FAILED, str(error))
        return []

    def _open(self, index: int, locks: contextlib.ExitStack | None = None) -> "_Opened":
        return _Opened(index, self._configs[index], Alone(self._accelerator), self._cache_dir, locks)

    def _missing(self, opened: "_Opened") -> list[Piece]:
        """Return the students of a round that have no result and are in no process's hands."""
        queue, overwrite = self._queue, self._configs[opened.index].overwrite
        missing: dict[str, Task] = {}
        for task in opened.tasks:
            path = str(task.path)
            if queue.noted([_trained(path)]):
                continue
            if not overwrite and opened.records.has(task):
                queue.note(_trained(path))
            elif queue.count(f"asked/{path}") == 1:  # evaluations may share students, and one may ask for one twice
                missing[path] = task
        self._tell(_QUEUED, len(missing))
        together = 1
        if self._accelerator.device.type == "cuda":
            students = sum(config.num_eval for config in self._configs)
            together = max(1, students // (_PIECES * self._accelerator.num_processes))
        return [
            Piece(
                opened.index,
                opened.number,
                [str(task.path) for task in members[start : start + together]],
                sum(task.flops for task in members[start : start + together]),
            )
            for members in alike(list(missing.values()))
            for start in range(0, len(members), together)
        ]

    def _train(self, piece: Piece) -> None:
        """Train the students of a piece, unless all that wait for them have failed, and see who can go on."""
        if not self._waiting(piece.paths):
            return
        try:
            if self._here is None or self._here.index != piece.index:
                self._here = None  # lets go of its images before others are read
                self._here = self._open(piece.index)
            self._here.go_to(piece.round)
            for index in self._waiting(piece.paths):
                self._tell(BEGUN, index)
            self._here.train(piece.paths, self._bar)
        except InputError as error:
            self._here = None
            for index in self._waiting(piece.paths):
                self._end(index, FAILED, str(error))
            return
        waiting = self._waiting(piece.paths)
        for path in piece.paths:
            self._queue.note(_trained(path))
        self._tell(_TRAINED, len(piece.paths))
        for index in waiting:
            number = self._queue.read(f"waits/{index}")[0]
            if self._is_complete(index) and self._queue.count(f"next/{index}/{number}") == 1:
                for found in self._go_on(index, number + 1):
                    self._queue.put(vars(found))

    def _waiting(self, paths: list[str]) -> list[int]:
        """Return the evaluations that wait for some of these students, and have not ended."""
        asked = set(paths)
        return [
            index
            for index in range(len(self._configs))
            if not self._queue.noted([f"ended/{index}"]) and asked & set(self._queue.read(f"waits/{index}")[1])
        ]

    def _is_complete(self, index: int) -> bool:
        paths = self._queue.read(f"waits/{index}")[1]
        return self._queue.noted([_trained(path) for path in paths])

    def _end(self, index: int, state: str, outcome: Summary | str) -> None:
        """Note that an evaluation is over; close the queue after the last one."""
        if self._queue.count(f"ends/{index}") != 1:
            return
        self._queue.note(f"ended/{index}")
        self._tell(state, index, outcome.content() if isinstance(outcome, Summary) else outcome)
        if self._queue.count("ends") == len(self._configs):
            self._queue.close()

    def _tell(self, *message: object) -> None:
        self._queue.tell(message)

    def _hear(self) -> None:
        """Show and hand on what has happened; nothing is computed here, since students may be in training."""
        if not self._main:
            return
        for what, value, *outcome in self._queue.hear():
            if what == _QUEUED:
                self._bar.expect(value)
            elif what == _TRAINED:
                self._bar.finished(value)
            else:
                self._changed(value, what, *(outcome or [None]))


def _trained(path: str) -> str:
    return f"trained/{path}"


class _Opened:
    """An evaluation on this process: its images, and the students of one round.

    Attributes:
        number: Of the round.
        tasks: Its students.
        summary: What the last round gave, once it is over.
    """

    def __init__(
        self,
        index: int,
        config: EvaluateConfig,
        accelerator: Alone,
        cache_dir: str | os.PathLike | None,
        locks: contextlib.ExitStack | None,
    ) -> None:
        self.index, self._accelerator, self._records_runs = index, accelerator, locks is not None
        self._evaluation = Evaluation(config, accelerator, locks, cache_dir=cache_dir, progress=False)
        self.records = self._evaluation.resources.records
        self._trainer = StudentTrainer(self._evaluation.inputs, self._evaluation.resources)
        if self._records_runs:
            self._evaluation.look_for_doubts()
        self._rounds = self._evaluation.rounds(quiet=True)
        self.number, self.tasks, self.summary = 0, next(self._rounds), None
        self._expect()

    def go_to(self, number: int) -> None:
        """Go to a round; all students of those before it have their results."""
        while self.number < number:
            students = [self.records.read(task) for task in self.tasks]
            try:
                self.tasks = self._rounds.send(students)
            except StopIteration as end:
                self.summary, self.tasks = end.value[0], []
            self.number += 1
            self._expect()

    def train(self, paths: list[str], bar: "_StudentBar") -> None:
        """Train some students of the round."""
        by_path = {str(task.path): task for task in self.tasks}
        if not by_path.keys() >= set(paths):
            raise InputError(
                "its teacher gives other labels on this device than on that of the main process; give all processes "
                "alike devices"
            )
        set_torch(self._evaluation.config, self._accelerator)  # another evaluation may have been opened meanwhile
        self._trainer.choose_compiled(self.tasks)
        self._trainer.train([by_path[path] for path in paths], bar)

    def _expect(self) -> None:
        """Keep `run.json`, for `status`."""
        if self._records_runs:
            self._evaluation.expect(self.tasks, finished=self.summary is not None)


class _StudentBar:
    """A bar over the students of all processes; hears of those of the others while one is trained here."""

    def __init__(self, hear: Callable[[], None], shown: bool) -> None:
        self._hear, self._bar = hear, tqdm(total=0, unit="student", disable=not shown)
        self.n = 0  # passes of the students that are trained here, which a failed attempt sets back

    def __enter__(self) -> "_StudentBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def expect(self, students: int) -> None:
        self._bar.total += students
        self._bar.refresh()

    def finished(self, students: int) -> None:
        self._bar.update(students)

    def set_description(self, text: str) -> None:
        """Say what is trained here."""
        self._bar.set_postfix_str(text)

    def update(self, passes: int = 1) -> None:
        """Count passes of the students that are trained here."""
        self.n += passes
        self._hear()
