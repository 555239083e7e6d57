"""Processes that start at once, for tests that need a process of its own, but not a start of Python.

They are forked from a process that has loaded the large libraries, which takes Python four seconds of each start, and
neither our package nor the clients of the Hub, which read the environment when they are loaded. What is about starting
itself (imports, launchers, exit statuses) starts Python with `tests.conftest.python`.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch._dynamo", "torchvision", "scipy.stats", "pyarrow.dataset", "jsonargparse"])


class Forked:
    """`python *arguments` with `-m MODULE`, `-c CODE` or a file, as `subprocess.Popen` would start it.

    The environment is that of the tests with these changes; None takes a variable away.
    """

    def __init__(self, *arguments: object, cwd: Path, session: bool = False, **changes: str | None) -> None:
        changed = {**os.environ, "PYTHONPATH": str(ROOT), **changes}
        environment = {name: value for name, value in changed.items() if value is not None}
        self._folder = tempfile.TemporaryDirectory(prefix="compdd_forked_")
        self._files = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        given = (list(map(str, arguments)), str(cwd), environment, session, list(map(str, self._files)))
        self._process = CONTEXT.Process(target=_begin, args=given)
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, `-N` after signal N, or None where the process runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> None:
        """Kill the process where it still runs."""
        self._process.kill()
        self._process.join()

    def wait(self, timeout: float = 900) -> int:
        """Return the exit status; the process is killed and TimeoutError raised where it takes longer."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self.end()
            raise TimeoutError(f"{self._process}: {self.printed()[1]}")
        return self._process.exitcode

    def communicate(self, timeout: float = 900) -> tuple[str, str]:
        """Return what the process has printed when it is through."""
        self.wait(timeout)
        return self.printed()

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def printed(self) -> tuple[str, str]:
        """Return what the process has written so far to stdout and stderr."""
        out, err = (path.read_text() if path.exists() else "" for path in self._files)
        return out, err


def forked(*arguments: object, cwd: Path, **changes: str) -> subprocess.CompletedProcess:
    """Run Python in another folder, with changes of the environment, and collect what it prints."""
    process = Forked(*arguments, cwd=cwd, **changes)
    out, err = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def ranks(processes: int, *arguments: object, cwd: Path, **changes: str) -> list[Forked]:
    """Start `python *arguments` in CPU processes that are told of each other, as `torchrun` tells them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
    world |= {"MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **changes}
    numbers = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    return [Forked(*arguments, cwd=cwd, **world, **number) for number in numbers]


def launched(processes: int, *arguments: object, cwd: Path, **changes: str) -> subprocess.CompletedProcess:
    """Run `ranks` to their end: the first exit status that is not 0, and what they print, one after another."""
    started = ranks(processes, *arguments, cwd=cwd, **changes)
    out, err = map("".join, zip(*[process.communicate() for process in started], strict=True))
    statuses = [process.returncode for process in started]
    return subprocess.CompletedProcess(arguments, next(filter(None, statuses), 0), out, err)


def _begin(arguments: list[str], cwd: str, environment: dict[str, str], session: bool, printed: list[str]) -> None:
    if session:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in enumerate(printed, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    kind, *rest = arguments
    if kind == "-m":
        sys.path.insert(0, cwd)
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.path.insert(0, cwd)
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<test>", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(kind).parent))
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")
