"""Measure how fast students train, as ratios to a plain loop; both take turns, each in a process of its own.

Of its own, since the memory that a process keeps, its peak and its compiled code are a process's.
"""

import json
import multiprocessing
import os
import re
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from tqdm import tqdm

from compdd_eval.bench_plain import plain_passes
from compdd_eval.config import BenchConfig, Protocol
from compdd_eval.console import print_table
from compdd_eval.models import count_flops, create_model
from compdd_eval.speed import keep_memory, set_precision
from compdd_eval.subsets import NUM_CLASSES
from compdd_eval.train import Feed, Training

_MATRIX, _PRODUCTS = 2048, 5  # the peak is that of square matrix products
_BACKWARD = 3  # operations of forward and backward together, against forward alone
_PASSES_OF_A_STUDENT = 1001


@dataclass(frozen=True)
class Contestant:
    """A way to train: its name, the precision, and whether it is the plain loop, compiled, keeps memory."""

    name: str
    precision: str = "float32"
    plain: bool = False
    compiled: bool = False
    keeps_memory: bool = False


def contestants(device: str) -> list[Contestant]:
    """Return the plain loop and ours, a lever more at a time."""
    found = [Contestant("plain loop", plain=True), Contestant("eager")]
    if device == "cpu":
        found.append(Contestant("eager, memory kept", keeps_memory=True))
    kept = device == "cpu"
    precisions = ["float32", *(["tf32"] if device == "cuda" else []), "bfloat16"]
    return found + [Contestant("compiled", precision, compiled=True, keeps_memory=kept) for precision in precisions]


def bench_train(config: BenchConfig) -> list[dict[str, object]]:
    """Time all contestants in turns for every IPC; return a row for each."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    count_flops(config.model, NUM_CLASSES, (config.res, config.res))  # refuses an unknown network before any process
    for ipc in config.ipcs:
        with tqdm(desc=f"IPC {ipc}", total=len(contestants(device)) * (config.passes + 1), leave=False) as bar:
            rows += _turns(config, ipc, device, bar)
    return rows


def _turns(config: BenchConfig, ipc: int, device: str, bar: tqdm) -> list[dict[str, object]]:
    context = multiprocessing.get_context("spawn")
    workers = []
    try:
        for contestant in contestants(device):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, contestant, config, ipc, device), daemon=True)
            process.start()
            theirs.close()
            first, peak = ours.recv()  # one at a time: each has the machine for itself
            workers.append((contestant, process, ours, first, peak, []))
            bar.update()
        for _ in range(config.passes):
            for _, _, pipe, _, _, seconds in workers:
                pipe.send("pass")
                seconds.append(pipe.recv())
                bar.update()
        return list(_rows(config, ipc, workers))
    finally:
        for _, process, pipe, *_ in workers:
            pipe.close()  # which ends it
            process.join()


def _rows(config: BenchConfig, ipc: int, workers: list[tuple]) -> Iterator[dict[str, object]]:
    images = ipc * NUM_CLASSES
    flops = _BACKWARD * count_flops(config.model, NUM_CLASSES, (config.res, config.res))
    plain = sum(workers[0][-1])
    for contestant, _, pipe, first, peak, seconds in workers:
        pipe.send("memory")
        memory, rate = pipe.recv(), images * len(seconds) / sum(seconds)
        yield {
            "name": contestant.name,
            "precision": contestant.precision,
            "resolution": config.res,
            "ipc": ipc,
            "images_per_second": rate,
            "students_per_hour": 3600 * rate / (_PASSES_OF_A_STUDENT * images),
            "ratio_to_plain": plain / sum(seconds),
            "share_of_peak": rate * flops / peak,
            "peak_memory_bytes": memory,
            "first_pass_seconds": first,
        }


def _work(pipe: Connection, contestant: Contestant, config: BenchConfig, ipc: int, device: str) -> None:
    """Train a pass whenever the other side says so, until it closes the pipe."""
    if config.threads:
        torch.set_num_threads(config.threads)
    if contestant.keeps_memory:
        keep_memory()
    set_precision(contestant.precision)
    torch.manual_seed(0)
    peak = _peak_rate(contestant.precision, device)
    size = (config.res, config.res)
    images, labels = torch.randn(ipc * NUM_CLASSES, 3, *size), torch.arange(NUM_CLASSES).repeat_interleave(ipc)
    model = create_model(config.model, NUM_CLASSES, size).to(device)
    protocol = Protocol(epoch_eval_train=config.passes + 1)
    if contestant.plain:
        passes = plain_passes(model, images, labels, protocol)
    else:
        options = {"precision": contestant.precision, "compiled": contestant.compiled}
        feed = Feed(images, labels, "hard", protocol, 0)
        passes = Training(model, [feed], protocol.rate, protocol, **options).passes()
    pipe.send((_seconds(passes, device), peak))
    try:
        while True:
            pipe.send(_seconds(passes, device) if pipe.recv() == "pass" else _peak_memory(device))
    except (EOFError, KeyboardInterrupt):
        pass


def _seconds(passes: Iterator[object], device: str) -> float:
    start = time.perf_counter()
    next(passes)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _peak_rate(precision: str, device: str) -> float:
    """Return the floating-point operations a second of large matrix products."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    matrix = torch.randn(_MATRIX, _MATRIX, device=device).to(dtype)
    products = ((matrix @ matrix) for _ in iter(int, 1))
    least = min(_seconds(products, device) for _ in range(_PRODUCTS))
    return 2 * _MATRIX**3 / least


def _peak_memory(device: str) -> int:
    """Return the peak in bytes: of the GPU's memory, or of the whole process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    known = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(known[1]) * 1024 if known else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def print_rows(config: BenchConfig, rows: list[dict[str, object]]) -> None:
    """Print a table, or JSON where that is asked for."""
    if config.json:
        print(json.dumps({"rows": rows}))
        return
    lines = [
        [
            f"{row['ipc']}",
            f"{row['name']}, {row['precision']}",
            f"{row['images_per_second']:,.1f}",
            f"{row['students_per_hour']:.2f}",
            f"{row['ratio_to_plain']:.2f} x",
            f"{100 * row['share_of_peak']:.0f} %",
            f"{row['peak_memory_bytes'] / 10**6:,.0f} MB",
            f"{row['first_pass_seconds']:.1f} s",
        ]
        for row in rows
    ]
    header = ["IPC>", "loop", "images/s>", "students/h>", "ratio>", "of peak>", "memory>", "first pass>"]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    print_table(f"Bench: {config.model} at {config.res} px, {config.passes} passes, {device}", header, lines)
