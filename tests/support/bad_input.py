"""What bad input does: one clear line, and files that would do harm where they are opened carelessly."""

import os
from pathlib import Path


def one_line(result: tuple[int, str, list[str]], *parts: object) -> None:
    """Check that a call ended with status 2 and one clear line that has all these parts."""
    status, _, errors = result
    assert status == 2, result
    lines = [line for line in errors if "warning" not in line]
    assert len(lines) == 1 and lines[0].startswith("compdd_eval: error: "), errors
    for part in parts:
        assert str(part) in lines[0], lines[0]


class RunsCode:
    """What a hostile pickle holds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)
