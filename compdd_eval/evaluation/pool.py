"""One pool of students: those of many evaluations, taken by whichever process is idle.

Every evaluation is a piece of work: planned by one process, it gives the students of its first round. Once all are
planned, these go into the queue, the costliest first. From there on all processes do the same: take some students,
train them, write their results, and see which evaluations have all that they wait for; the first to see it plans the
next round of such a one, or writes its summary. A process has the images of one evaluation at a time, two while it
plans another, and reads them itself: all have to see the same files.
"""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from accelerate import Accelerator
from tqdm.auto import tqdm

from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.evaluation.evaluate import Evaluation
from compdd_eval.evaluation.plan import EvaluationInputs, Task, expected_students
from compdd_eval.evaluation.real_images import RealImages
from compdd_eval.evaluation.train_students import StudentTrainer, alike
from compdd_eval.results.student_result import SET, StudentResult
from compdd_eval.utils.console import warnings_kept
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import Alone, set_torch
from compdd_eval.utils.work_queue import WorkQueue

BEGUN, TRAINED, DONE, FAILED = "begun", "trained", "done", "failed"
_QUEUED = "queued"
_PIECES = 4  # of each process at least, so that the last ones end together; of alike students a GPU may train several
_PATIENCE = 60  # seconds that a disk may take to show one machine what another has written


@dataclass(frozen=True)
class Piece:
    """What one process does: plan an evaluation, or train alike students of one of its rounds.

    Attributes:
        index: Number of the evaluation.
        round: Number of the round.
        keys: Which students; none: the evaluation is planned.
        own: Whether no other evaluation can ask for them.
        cost: Floating-point operations.
    """

    index: int
    round: int = 0
    keys: tuple[str, ...] = ()
    own: bool = True
    cost: float = 0.0


class StudentPool:
    """Trains the students of many evaluations; every process must make one, and call `run`.

    Args:
        configs: Settings of each evaluation, with an `output_dir`.
        accelerator: Devices and processes.
        changed: `(index, state, value)`, called on the main process when an evaluation has `begun`, has some students
            `trained` (their result files), is `done` (its summary) or has `failed` (why).
        quiet: Show no bar.
        check: `(index, inputs)`, called before anything is trained; raises InputError to refuse an evaluation.
    """

    def __init__(
        self,
        configs: list[EvaluateConfig],
        accelerator: Accelerator,
        changed: Callable[[int, str, object], None],
        quiet: bool = False,
        check: Callable[[int, EvaluationInputs], None] = lambda index, inputs: None,
    ) -> None:
        self._configs, self._accelerator, self._check = configs, accelerator, check
        self._main, self._changed = accelerator.is_main_process, changed
        self._queue = WorkQueue(accelerator)
        self._here: _Opened | None = None
        self._real: RealImages | None = None
        self._bar = _StudentBar(self._hear, shown=self._main and not quiet)

    def run(self) -> None:
        """Train, test and compare everything; evaluations that fail do not stop the others."""
        try:
            if self._main:
                for index in range(len(self._configs)):
                    self._put([Piece(index)])
                if not self._configs:
                    self._queue.close()
            while (taken := self._queue.take(self._hear)) is not None:
                piece = Piece(**taken)
                if piece.keys:
                    self._train(piece)
                else:
                    self._plan(piece.index)
            self._accelerator.wait_for_everyone()
        finally:
            self._hear()
            self._bar.close()

    def _put(self, pieces: list[Piece]) -> None:
        for piece in sorted(pieces, key=lambda piece: -piece.cost):
            self._queue.put(vars(piece))

    def _plan(self, index: int) -> None:
        """Plan an evaluation; the last one to be planned lets all begin."""
        self._queue.note(f"planned/{index}", [vars(piece) for piece in self._go_on(index, 0)])
        number = len(self._configs)
        if self._queue.count("planned") == number:
            plans = (self._queue.read(f"planned/{each}") for each in range(number))
            self._put([Piece(**found) for plan in plans for found in plan])

    def _go_on(self, index: int, number: int) -> list[Piece]:
        """Plan a round of an evaluation, and those after it if all is there; return what nobody has in hand yet."""
        queue = self._queue
        try:
            with contextlib.ExitStack() as locks:
                opened = self._opened(index, locks if number == 0 else None)
                if number == 0:
                    self._check(index, opened.inputs)
                    opened.look_for_doubts()
                opened.prepare()
                opened.go_to(number)
                while opened.summary is None:
                    opened.record()
                    pieces = self._missing(opened)
                    keys = list(map(_key, opened.tasks))
                    queue.note(f"waits/{index}", [opened.number, keys])
                    # noted before it is looked for; who trains a student, or fails to, notes that before looking here
                    for key in keys:
                        if queue.noted([_failed(key)]):
                            self._end(index, FAILED, queue.read(_failed(key)))
                            return [piece for piece in pieces if not piece.own]  # others may wait for these
                    if pieces or not self._is_complete(index):
                        return pieces
                    if queue.count(f"next/{index}/{opened.number}") != 1:
                        return []
                    opened.go_to(opened.number + 1)
                opened.record()
                self._end(index, DONE, opened.summary.content())
        except InputError as error:
            self._end(index, FAILED, str(error))
        return []

    def _opened(self, index: int, locks: contextlib.ExitStack | None = None) -> "_Opened":
        """Return an evaluation on this process; its images are read anew only where the last ones were others."""
        if self._here is not None and self._here.index == index:
            return self._here
        with warnings_kept(shown=locks is not None):  # said once, when it is planned
            opened = _Opened(index, self._configs[index], Alone(self._accelerator), self._real, locks)
        self._real = opened.real
        return opened

    def _missing(self, opened: "_Opened") -> list[Piece]:
        """Return the students of a round that have no result and are in no process's hands."""
        queue, overwrite = self._queue, self._configs[opened.index].overwrite
        missing: dict[str, Task] = {}
        for task in opened.tasks:
            key = _key(task)
            if queue.noted([_trained(key)]):
                continue
            if not overwrite and opened.records.has(task):
                queue.note(_trained(key))
            elif queue.count(f"asked/{key}") == 1:  # evaluations may share students, and one may ask for one twice
                missing[key] = task
        self._tell(_QUEUED, len(missing))
        tasks = list(missing.values())
        pieces = []
        for own in (True, False):
            for members in alike([task for task in tasks if (task.source == SET) == own]):
                most = self._together(len(members))
                parts = [members[start : start + most] for start in range(0, len(members), most)]
                pieces += [
                    Piece(opened.index, opened.number, tuple(map(_key, part)), own, sum(task.flops for task in part))
                    for part in parts
                ]
        return pieces

    def _together(self, students: int) -> int:
        """Return how many alike students are a piece: what a GPU may train as one, where there is enough for all."""
        processes = self._accelerator.num_processes
        if processes == 1 or self._accelerator.device.type != "cuda":
            return students if processes == 1 else 1
        return max(1, sum(map(expected_students, self._configs)) // (_PIECES * processes))

    def _train(self, piece: Piece) -> None:
        """Train the students of a piece, and see who can go on; not those of an evaluation that has failed."""
        queue = self._queue
        if piece.own and queue.noted([f"ended/{piece.index}"]):
            return
        new: list[str] = []
        try:
            if self._here is None or self._here.index != piece.index:
                self._here = None  # lets go of its images before others are read
                self._here = self._opened(piece.index)
            here = self._here
            here.prepare()
            here.go_to(piece.round)
            here.take_compiled(queue, piece.round)
            self._tell(BEGUN, piece.index)
            for key, path in here.train(piece.keys, self._bar):
                queue.note(_trained(key))
                new.append(path)
        except InputError as error:
            self._here = None
            for key in piece.keys:
                if not queue.noted([_trained(key)]):
                    queue.note(_failed(key), str(error))
            for index in self._waiting(piece.keys):
                if any(queue.noted([_failed(key)]) for key in self._waits(index)[1]):
                    self._end(index, FAILED, str(error))
        self._tell(TRAINED, piece.index, new)
        for index in self._waiting(piece.keys):
            number = self._waits(index)[0]
            if self._is_complete(index) and queue.count(f"next/{index}/{number}") == 1:
                self._put(self._go_on(index, number + 1))

    def _waits(self, index: int) -> tuple[int, list[str]]:
        number, keys = self._queue.read(f"waits/{index}")
        return number, keys

    def _waiting(self, keys: tuple[str, ...]) -> list[int]:
        """Return the evaluations that wait for some of these students, and have not ended."""
        indices = range(len(self._configs))
        living = [index for index in indices if not self._queue.noted([f"ended/{index}"])]
        return [index for index in living if set(keys) & set(self._waits(index)[1])]

    def _is_complete(self, index: int) -> bool:
        return self._queue.noted([_trained(key) for key in self._waits(index)[1]])

    def _end(self, index: int, state: str, outcome: object) -> None:
        """Note that an evaluation is over; close the queue after the last one."""
        if self._queue.count(f"ends/{index}") != 1:
            return
        self._queue.note(f"ended/{index}")
        self._tell(state, index, outcome)
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
                continue
            if what == TRAINED:
                self._bar.finished(len(outcome[0]))
            try:
                self._changed(value, what, *(outcome or [None]))
            except InputError as error:  # it is not of the student that is in training
                raise OSError(str(error)) from error


def _key(task: Task) -> str:
    """Return what tells a student: a teacher is kept with its weights, and has the result file of a full baseline."""
    return str(task.weights or task.path)


def _trained(key: str) -> str:
    return f"trained/{key}"


def _failed(key: str) -> str:
    return f"failed/{key}"


class _Opened:
    """An evaluation on this process: its images, and the students of one round.

    Attributes:
        inputs: What is evaluated.
        real: Its real images.
        records: Where its students' results are.
        number: Of the round.
        tasks: Its students.
        summary: What the last round gave, once it is over.
    """

    def __init__(
        self,
        index: int,
        config: EvaluateConfig,
        accelerator: Alone,
        real: RealImages | None,
        locks: contextlib.ExitStack | None,
    ) -> None:
        self.index, self._accelerator = index, accelerator
        self._evaluation = Evaluation(config, accelerator, locks, progress=False, real=real)
        resources = self._evaluation.resources
        self.real, self.records = resources.real, resources.records
        self._trainer = StudentTrainer(self.inputs, resources)
        self._rounds = self._evaluation.rounds(quiet=True)
        self.number, self.tasks, self.summary = 0, next(self._rounds), None
        self._known = list(self.tasks)  # of all rounds so far

    @property
    def inputs(self) -> EvaluationInputs:
        return self._evaluation.inputs

    def prepare(self) -> None:
        """Set torch for its students: another evaluation may have been opened meanwhile."""
        set_torch(self._evaluation.config.threads, self._accelerator, self._evaluation.config.precision)

    def look_for_doubts(self) -> None:
        """Warn of what can be known to be wrong before a student is trained."""
        self._evaluation.look_for_doubts()

    def record(self) -> None:
        """Keep `run.json`, for `status`."""
        self._evaluation.expect(self._known, finished=self.summary is not None)

    def go_to(self, number: int) -> None:
        """Go to a round; all students of those before it have their results."""
        while self.number < number:
            students = [self._read(task) for task in self.tasks]
            try:
                self.tasks = self._rounds.send(students)
            except StopIteration as end:
                self.summary, self.tasks = end.value[0], []
            self.number += 1
            self._known += self.tasks

    def _read(self, task: Task) -> StudentResult:
        """Read a result, which another machine may have written a moment ago."""
        end = time.monotonic() + _PATIENCE
        while not self.records.has(task) and time.monotonic() < end:
            time.sleep(1)
            with contextlib.suppress(OSError):
                os.listdir(task.path.parent)  # a network's disk looks again
        if not self.records.has(task):
            raise InputError(f"{task.path}: another process has written it; all of them must see the same --output_dir")
        return self.records.read(task)

    def take_compiled(self, queue: WorkQueue, number: int) -> None:
        """Let the first process choose which networks of a round are compiled: students of one run train alike."""
        name = f"compiled/{self.index}/{number}"
        if queue.count(name) == 1:
            try:
                queue.note(name, [self._trainer.choose_compiled(self.tasks), None])
            except InputError as error:  # whoever waits for the choice hears of it
                queue.note(name, [None, str(error)])
        chosen, error = queue.read(name)
        if error is not None:
            raise InputError(error)
        self._trainer.compile_only(chosen)

    def train(self, keys: tuple[str, ...], bar: "_StudentBar") -> list[tuple[str, str]]:
        """Train some students of the round; return key and result file of each."""
        by_key = {_key(task): task for task in self.tasks}
        if not by_key.keys() >= set(keys):
            raise InputError(
                "its teacher gives other labels on this device than on that of the process that planned it; give all "
                "processes alike devices"
            )
        self._trainer.train([by_key[key] for key in keys], bar)
        return [(key, str(by_key[key].path)) for key in keys]


class _StudentBar:
    """A bar over the students of all processes; hears of those of the others while one is trained here."""

    def __init__(self, hear: Callable[[], None], shown: bool) -> None:
        self._hear, self._bar = hear, tqdm(total=0, unit="student", disable=not shown)
        self.n = 0  # passes of the students that are trained here, which a failed attempt sets back

    def close(self) -> None:
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
