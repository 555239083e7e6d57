"""What TorchInductor makes of a student's step on a GPU, found without one.

A step is compiled as `compdd_eval.training.train.Training` does it, up to the source of its kernels; its tensors are
fake ones on `cuda`, and no kernel is built or run. In a process of its own, for it changes torch:

    python -m tests.support.lowered_step '[["ConvNetD5", 128, 100, "float32", 1, false]]'

takes steps as JSON, each with the fields of `Step`, and prints what is found, each as the fields of `Lowered`; without
an argument, it prints the table of compdd_eval/training/README.md.
"""

import collections
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable
from typing import NamedTuple

from compdd_eval.config.protocol import Protocol
from tests.support.simulated_cuda import load_driver


class Step(NamedTuple):
    """A step of students: network, side of the images in pixels, images of each student, precision, students.

    With `matching`, a step of trajectory matching, differentiated by parameters, images and soft labels; `fused`: norms
    with ReLU and pooling as one operation.
    """

    network: str
    resolution: int
    batch: int
    precision: str = "float32"
    students: int = 1
    soft: bool = False  # labels
    matching: bool = False
    fused: bool = False


class Lowered(NamedTuple):
    """What a step became, forward and backward.

    Attributes:
        kernels: Launches of Triton's kernels, ours, too.
        gigabytes: What all kernels, those of libraries, too, read and write: 10^9 bytes, each tensor once a kernel.
        timed_reductions: Kernels that reduce and whose configuration, so the order of a sum, is chosen by timing.
        unordered: Kernels that add in any order, with atomic operations.
        no_graphs: Why the step is no CUDA graph, or has parts that stay outside of it.
    """

    kernels: int
    gigabytes: float
    timed_reductions: list[str]
    unordered: list[str]
    no_graphs: list[str]


def main(arguments: list[str]) -> None:
    """Print what becomes of steps: JSON for JSON, else the table."""
    driver = load_driver()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        from tests.support.lowered_step_mode import Lowering

        lowering = Lowering(driver)
        if arguments:
            print(json.dumps([lowering(Step(*step)) for step in json.loads(arguments[0])]))
        else:
            _print_table(lowering)


def _print_table(lowering: Callable[[Step], Lowered]) -> None:
    """Print a row for each norm, IPC, precision and number of students: kernels of a step, gigabytes of a pass."""
    choices = itertools.product((False, True), (1, 10, 50), ("float32", "bfloat16"), (1, 2))
    for fused, ipc, precision, students in choices:
        images, batch = 10 * ipc, Protocol().batch_train
        sizes = collections.Counter(min(batch, images - start) for start in range(0, images, batch))
        found = {size: lowering(Step("ConvNetD5", 128, size, precision, students, fused=fused)) for size in sizes}
        moved = sum(found[size].gigabytes * steps for size, steps in sizes.items())
        kernels, name = found[max(sizes)].kernels, f"{ipc}, fused norm" if fused else ipc
        print(
            f"| {name} | {precision} | {students} | {kernels} | {moved:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
