"""An output folder: who writes into it, and `run.json`, what a run wants to train and how it ended, for `status`."""

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from compdd_eval.utils.files import check_writable, locked_or_refused, write_json

RUN_NAME = "run.json"
LOCK_NAME = ".lock"
INDEX_NAME = "index.json"  # of a grid


@dataclass
class RunFile:
    """The file in an output folder.

    Attributes:
        folder: The output folder.
        students: Result files of all students that are known of so far, relative to the folder where they lie in it.
        error: The line that the run ended with, or None.
        finished: Whether the summary is written.
    """

    folder: Path
    students: list[str]
    error: str | None = None
    finished: bool = False

    def write(self) -> None:
        """Write it whole."""
        content = {name: getattr(self, name) for name in ("students", "error", "finished")}
        write_json(self.folder / RUN_NAME, content | {"updated": datetime.now(UTC).isoformat(timespec="seconds")})

    def add(self, paths: list[Path]) -> None:
        """Add students and write the file."""
        known = dict.fromkeys(self.students) | dict.fromkeys(str(_relative(path, self.folder)) for path in paths)
        self.students = list(known)
        self.write()

    @classmethod
    def read(cls, folder: Path) -> "RunFile | None":
        """Read the file of a folder; None where there is none, or no whole one."""
        try:
            content = json.loads((folder / RUN_NAME).read_text(encoding="utf-8"))
            return cls(folder, content["students"], content["error"], content["finished"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def done(self) -> int:
        """How many of the students have a result file."""
        return sum((self.folder / path).exists() for path in self.students)


def claim(root: Path, held: contextlib.ExitStack) -> None:
    """Take an output folder for this run, as long as `held` is open; if it is empty then, it goes.

    Raises:
        InputError: It cannot be written, or another run writes into it.
    """
    absent = [folder for folder in (root, *root.parents) if not folder.exists()]
    check_writable(root, "--output_dir")
    in_use = f"{root}: another run writes into it now; wait for it or give another --output_dir"
    held.enter_context(locked_or_refused(root / LOCK_NAME, in_use))
    if not (root / LOCK_NAME).exists():  # whoever had it has left nothing, and taken the folder away
        claim(root, held)
        return
    held.callback(_leave_nothing, root / LOCK_NAME, absent)


def _leave_nothing(lock: Path, made: list[Path]) -> None:
    """Remove the folders that were made for a run, innermost first, if it wrote nothing into them."""
    with contextlib.suppress(OSError):  # they may be gone, or others write into one
        if made and [*lock.parent.iterdir()] == [lock]:
            lock.unlink()
            for folder in made:
                folder.rmdir()


def _relative(path: Path, folder: Path) -> Path:
    path, folder = path.absolute(), folder.absolute()
    return path.relative_to(folder) if path.is_relative_to(folder) else path
