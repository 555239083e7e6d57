"""The real clients in a process of their own, since they read where the Hub is when they are imported.

`python -m tests.support.hub_client` runs one call a line of stdin: {"arguments": [...]} for the command line or
{"code": "..."}, with {"environment": {...}} for this call, and answers with status, stdout and stderr.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path


class Client:
    """A process that runs calls one after another."""

    def __init__(self, cwd: Path, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.support.hub_client"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, cwd=cwd, env=environment, **pipes)

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
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, call: dict) -> dict:
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _run(call: dict) -> int:
    if "code" in call:
        exec(compile(call["code"], "<test>", "exec"), {})
        return 0
    from compdd_eval.__main__ import main

    return main(call["arguments"])


def _answer(call: dict) -> dict:
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


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=sys.__stdout__, flush=True)
