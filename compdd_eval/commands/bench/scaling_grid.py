"""Time a grid of eight evaluations in one process and in several, as users run it."""

import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from compdd_eval.config.bench import BenchConfig
from compdd_eval.data.drawn_imagenet import draw_imagenet
from compdd_eval.data.splits import load_comp_dd
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.distilled.random_images import random_images
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import write_text

_CELLS = 8  # one student each
_SECONDS = 30.0
_CATEGORY, _SUBSET = "bird", "bird-easy"


def time_grid(config: BenchConfig, rate: float, processes: int, threads: int) -> dict[str, object]:
    """Time the grid in one process and in several, each with as many threads.

    The same command is run once more when all students are there: what that takes, such as importing torch, is left
    out.

    Args:
        config: Resolution, network, least passes of a student; the first of its IPCs.
        rate: Images a second that a process trains on: with it, the grid takes one process half a minute or more.
        processes: How many are compared with one.
        threads: CPU threads of each process.

    Returns:
        `cells`, `passes`, `ipc`, `processes`, `threads`, `seconds` of one process and of several, and their ratio,
        `speedup`.

    Raises:
        InputError: The grid fails.
    """
    ipc = config.ipcs[0]
    passes = max(config.passes, 2, math.ceil(_SECONDS * rate / (_CELLS * ipc * NUM_CLASSES)))
    with tempfile.TemporaryDirectory(prefix="compdd_bench_") as place:
        root = Path(place)
        draw_imagenet(root / "imagenet", _CATEGORY, train_images=max(12, ipc), validation_images=2)
        train = load_comp_dd(root / "imagenet", _SUBSET, im_size=(config.res, config.res)).dst_train
        sets = [str(root / f"set{seed}") for seed in range(_CELLS)]
        for seed, path in enumerate(sets):
            random_images(train, ipc, seed=seed).save(path)
        write_text(root / "grid.yaml", f"distilled: {sets}\nsubset: {_SUBSET}\n")
        seconds = [_seconds(config, passes, root, number, threads) for number in (1, processes)]
    facts = {"cells": _CELLS, "passes": passes, "ipc": ipc, "processes": processes, "threads": threads}
    return facts | {"seconds": seconds, "speedup": seconds[0] / seconds[1]}


def _seconds(config: BenchConfig, passes: int, root: Path, processes: int, threads: int) -> float:
    launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m", "compdd_eval"]
    settings = {
        "grid": root / "grid.yaml",
        "data_path": root / "imagenet",
        "model": config.model,
        "res": config.res,
        "num_eval": 1,
        "epoch_eval_train": passes - 1,  # a protocol makes one pass more
        "compile": "never",
        "threads": threads,
        "output_dir": root / f"results{processes}",
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", *launcher, "evaluate", *flags]
    on_cpu = {} if torch.cuda.is_available() else {"ACCELERATE_USE_CPU": "true"}
    times = []
    for _ in ("all students", "none, for they are there"):
        start = time.perf_counter()
        done = subprocess.run(command, env={**os.environ, **on_cpu}, capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - start)
        if done.returncode != 0:
            reason = next((line for line in done.stderr.splitlines() if "error: " in line), done.stderr[-500:])
            raise InputError(f"a grid in {processes} processes failed: {reason}")
    return times[0] - times[1]
