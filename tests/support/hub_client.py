"""The real clients in a process of their own, since they read where the Hub is when they are imported.

It runs one call after another: {"arguments": [...]} for the command line or {"code": "..."}, with
{"environment": {...}} for this call, and answers with status, stdout and stderr.
"""

import contextlib
import io
import os
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from tests.support.forked import CONTEXT


class Client:
    """A process that runs calls one after another."""

    def __init__(self, cwd: Path, environment: dict[str, str]) -> None:
        self._calls, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_serve, args=(theirs, str(cwd), environment))
        self._process.start()
        theirs.close()

    def __call__(self, *arguments: object, **environment: str) -> tuple[int, str, list[str]]:
        """Run the command line: exit status, stdout, lines of stderr that are ours."""
        answer = self._ask({"arguments": [str(argument) for argument in arguments], "environment": environment})
        lines = [line.rpartition("\r")[2] for line in answer["stderr"].splitlines()]
        assert "hf_of_a_test" not in answer["stdout"] + answer["stderr"]
        assert "Traceback" not in answer["stderr"], answer["stderr"]
        return answer["status"], answer["stdout"], [line for line in lines if line.startswith("compdd_eval:")]

    def run(self, code: str, **environment: str) -> str:
        """Run Python and return what it prints."""
        answer = self._ask({"code": code, "environment": environment})
        assert answer["status"] == 0, answer["stderr"]
        return answer["stdout"]

    def stop(self) -> None:
        self._calls.send(None)
        self._process.join()

    def _ask(self, call: dict) -> dict:
        self._calls.send(call)
        return self._calls.recv()


def _run(call: dict) -> int:
    if "code" in call:
        exec(compile(call["code"], "<test>", "exec"), {})
        return 0
    from compdd_eval.__main__ import main

    return main(call["arguments"])


def answer(call: dict) -> dict:
    before = dict(os.environ)
    os.environ.update(call["environment"])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = _run(call)
        except SystemExit as stop:  # after help and --print_config
            status = stop.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
    os.environ.clear()
    os.environ.update(before)
    return {"status": status, "stdout": out.getvalue(), "stderr": err.getvalue()}


def _serve(calls: Connection, cwd: str, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path.insert(0, cwd)
    while (call := calls.recv()) is not None:
        calls.send(answer(call))
