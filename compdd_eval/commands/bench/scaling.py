"""Measure what several processes give: students of their own, side by side, against one process."""

import contextlib
import functools
import heapq
import os
import statistics

import torch
from tqdm.auto import tqdm

from compdd_eval.commands.bench.machine import machine
from compdd_eval.commands.bench.scaling_grid import time_grid
from compdd_eval.commands.bench.students import begin_training
from compdd_eval.commands.bench.train import contestants
from compdd_eval.commands.bench.worker import Worker, before_workers
from compdd_eval.config.bench import BenchConfig
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.network_names import without_folders
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.data.subsets import subset_names
from compdd_eval.utils.console import counted, print_table

_DEVICES = (8, 64, 512)  # for which the whole table is planned


def bench_scaling(config: BenchConfig) -> dict[str, object]:
    """Time one process, and one for each GPU (two that share the CPU's cores, or a single GPU), in turns; then a grid.

    Returns:
        `rows`: two for each IPC. `efficiency` is the rate against that of one process, for each GPU; where both share
        what one process has, simply against that. `grid`: what `time_grid` returns, None on a single GPU.

    Raises:
        InputError: An unknown network; memory that ran out.
    """
    config, device = before_workers(config)
    rows = []
    for ipc in config.ipcs:
        with tqdm(desc=f"IPC {ipc}", total=2 * config.passes, leave=False) as bar:
            rows += _turns(config, ipc, device, bar)
    several = rows[1]
    shared = torch.cuda.device_count() == 1  # which two processes of a grid may not
    rate = several["images_per_second"] / several["processes"]
    grid = None if shared else time_grid(config, rate, several["processes"], several["threads"])
    return {"rows": rows, "grid": grid}


def _turns(config: BenchConfig, ipc: int, device: str, bar: tqdm) -> list[dict[str, object]]:
    how = next(contestant for contestant in contestants(device) if contestant.compiled)
    cores = config.threads or os.cpu_count() or 1
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    gain = max(1, len(gpus))
    devices = gpus if len(gpus) > 1 else 2 * (gpus or ["cpu"])
    threads = max(1, cores // len(devices))
    with contextlib.ExitStack() as stack:

        def start(place: str, threads: int) -> Worker:
            worker = Worker(how.name, functools.partial(begin_training, how, config, ipc), place, threads)
            stack.callback(worker.close)
            return worker

        teams = [[start(devices[0], cores)], [start(place, threads) for place in devices]]
        seconds = [[], []]
        for _ in range(config.passes):
            for team, times in zip(teams, seconds, strict=True):
                for worker in team:
                    worker.start_turn()
                for worker in team:
                    worker.end_turn()
                times.append(max(worker.seconds[-1] for worker in team))
                bar.update()
    images = ipc * NUM_CLASSES
    rates = [len(team) * images / statistics.median(times) for team, times in zip(teams, seconds, strict=True)]
    return [
        {
            "name": f"{len(team)} process{'es' if len(team) > 1 else ''}",
            "processes": len(team),
            "threads": cores if len(team) == 1 else threads,
            "precision": how.precision,
            "resolution": config.res,
            "ipc": ipc,
            "images_per_second": rate,
            "efficiency": rate / rates[0] / (gain if len(team) > 1 else 1),
        }
        for team, rate in zip(teams, rates, strict=True)
    ]


def plan_of_the_table(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Plan all of Comp-DD on paper, with the times measured here: the costliest student first, to whoever is idle.

    That is how `benchmark` shares students out; reading images and compiling are left out.

    Returns:
        For each number of devices `devices`, `hours`, and `share_of_ideal`: the least that so many devices could take,
        as of `least_makespan`, against that.
    """
    images = {row["ipc"]: Protocol().passes * row["ipc"] * NUM_CLASSES for row in rows}
    costs = {row["ipc"]: images[row["ipc"]] / row["images_per_second"] for row in rows if row["processes"] == 1}
    students = sorted(len(subset_names()) * EvaluateConfig.num_eval * list(costs.values()), reverse=True)
    plans = []
    for devices in _DEVICES if students else ():
        ends = [0.0] * devices
        for seconds in students:
            heapq.heapreplace(ends, ends[0] + seconds)
        ideal = least_makespan(students, devices)
        plans.append({"devices": devices, "hours": max(ends) / 3600, "share_of_ideal": ideal / max(ends)})
    return plans


def least_makespan(seconds: list[float], devices: int) -> float:
    """Return what no plan can beat where a student stays on its device: for each share of the work, and each round.

    Of the n k + 1 longest students on n devices, some device has k + 1, which take it k + 1 times the shortest of them
    or more.

    Args:
        seconds: Of each student, the longest first; one at least.
        devices: How many.
    """
    rounds = [(first // devices + 1) * seconds[first] for first in range(0, len(seconds), devices)]
    return max(sum(seconds) / devices, *rounds)


def as_json(measured: dict[str, object]) -> dict[str, object]:
    """Return what `--json` prints."""
    return measured | {"plan_of_the_table": plan_of_the_table(measured["rows"])}


def print_rows(config: BenchConfig, measured: dict[str, object]) -> None:
    """Print a table, what a grid took, and the plan."""
    rows, grid = measured["rows"], measured["grid"]
    lines = [
        [
            row["ipc"],
            row["name"],
            row["threads"],
            f"{row['images_per_second']:,.1f}",
            f"{100 * row['efficiency']:.0f} %",
        ]
        for row in rows
    ]
    header = ["IPC>", "students of", "threads of each>", "images/s>", "efficiency>"]
    title = f"Scaling: {without_folders(config.model)} at {config.res} px, compiled, {machine()}"
    print_table(title, header, lines)
    if grid is not None:
        one, several = grid["seconds"]
        print(
            f"A grid of {grid['cells']} cells, IPC {grid['ipc']}, one student of {grid['passes']} passes each, "
            f"{counted(grid['threads'], 'thread')} a process: {one:,.1f} s in one process, {several:,.1f} s in "
            f"{grid['processes']}: {grid['speedup']:.2f} x"
        )
    print(f"All {len(subset_names())} subsets, {EvaluateConfig.num_eval} students each, on paper:")
    for plan in plan_of_the_table(rows):
        share = f"{100 * plan['share_of_ideal']:.0f} % of the ideal"
        print(f"  {plan['devices']} such devices: {plan['hours']:,.2f} h, {share}")
