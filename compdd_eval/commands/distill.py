"""Distil a subset into a few images."""

import os
from dataclasses import asdict

from compdd_eval.config.distill import DistillConfig, DistillSetsConfig
from compdd_eval.config.many_sets import CONFIG_NAME, SET_NAME
from compdd_eval.config.protocol import OF_VIEWS, RDED_LARGE, RDED_LARGE_IPC, Protocol
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.methods.distill import DistillationCost, distill
from compdd_eval.methods.distill_all import SetToMake, cost_of_all, distill_all
from compdd_eval.results.command import command_line
from compdd_eval.utils.console import counted, duration, print_json, print_table, stdout_to_stderr
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import make_accelerator


def run(config: DistillSetsConfig) -> None:
    """Make the set, or those of the whole benchmark, and print what was made."""
    one = None if config.all else config.of_one()
    with stdout_to_stderr(config.json):
        accelerator = make_accelerator()
        if one is not None:
            made = distill(one, accelerator)
        else:
            made = (cost_of_all if config.dry_run else distill_all)(config, accelerator)
    if accelerator.is_main_process:
        if one is None:
            (_print_costs if config.dry_run else _print_sets)(config, made)
        elif config.dry_run:
            print_cost(one, made)
        elif config.json:
            facts = {"folder": config.output_dir, "sha256": made.sha256, "lr": made.lr}
            print_json(facts | made.metadata)
        else:
            print_distilled(one, made)
    if one is None and not config.dry_run:
        _raise_failures(made)


def _print_costs(config: DistillSetsConfig, costs: dict[int, tuple[DistillationCost, int]]) -> None:
    """Print what all sets take, one after the other."""
    if config.json:
        print_json({"costs": [asdict(cost) | {"ipc": ipc, "sets": sets} for ipc, (cost, sets) in costs.items()]})
        return
    rows = [
        [ipc, cost.steps, duration(cost.seconds_of_a_step), duration(cost.seconds), sets]
        + [f"{cost.peak_bytes / 1e9:.1f} GB"]
        for ipc, (cost, sets) in costs.items()
    ]
    total = duration(sum(cost.seconds * sets for cost, sets in costs.values()))
    columns = ["IPC>", "steps>", "a step>", "a set>", "sets>", "peak memory>"]
    print_table(f"{config.method}: {total} of this device for all sets", columns, rows)


def _print_sets(config: DistillSetsConfig, sets: list[SetToMake]) -> None:
    """Print what was made, and how it is evaluated."""
    if config.json:
        facts = [{name: value for name, value in vars(made).items() if name != "config"} for made in sets]
        print_json({"folder": config.output_dir, "sets": facts})
        return
    done = [made for made in sets if made.error is None]
    rows = [[made.name, made.images, "-" if made.last_loss is None else f"{made.last_loss:.4g}"] for made in done]
    if done:
        print_table(f"{config.method}: {counted(len(done), 'set')}", ["set", "images>", "last loss>"], rows)
    for error in dict.fromkeys(made.error for made in sets if made.error is not None):
        names = ", ".join(made.name for made in sets if made.error == error)
        print(f"not made: {names}: {error}")
    benchmarks = _benchmarks_of(config, done)
    for flags in benchmarks:
        which = "them" if len(benchmarks) == 1 else f"those of IPC {flags['ipc']}"
        print(f"evaluate {which}: {command_line('benchmark', flags)}")


def _benchmarks_of(config: DistillSetsConfig, sets: list[SetToMake]) -> list[dict[str, object]]:
    """Return the flags that evaluate all sets: one benchmark, or one for each way in which students are trained."""
    changes = {made.config.ipc: _as_pasted(made.config.factor, made.config.ipc) for made in sets}
    ipcs: dict[tuple[tuple[str, object], ...], list[str]] = {}
    for ipc, changed in changes.items():
        ipcs.setdefault(tuple(changed.items()), []).append(str(ipc))
    flags = {"sets": f"{config.output_dir}/{SET_NAME}", "method": config.method}
    if config.configs is not None:
        flags["configs"] = config.configs
    trained = any(made.config.teacher is not None for made in sets)
    teacher = config.teacher or (os.path.join(config.output_dir, "teacher", CONFIG_NAME) if trained else None)
    flags |= _as_distilled(config, teacher)
    return [
        {**flags, "ipc": ",".join(numbers), **dict(changed)}
        | ({"output_dir": f"results_ipc{'_'.join(numbers)}"} if len(ipcs) > 1 else {})
        for changed, numbers in ipcs.items()
    ]


def _raise_failures(sets: list[SetToMake]) -> None:
    """Raise InputError if sets were not made."""
    failed = [made for made in sets if made.error is not None]
    if failed:
        first = f"{failed[0].name}: {failed[0].error}"
        raise InputError(f"{len(failed)} of {len(sets)} sets were not made; the first, {first}")


def print_cost(config: DistillConfig, cost: DistillationCost) -> None:
    """Print what the steps take."""
    if config.json:
        print_json(asdict(cost))
        return
    print(
        f"{config.method}: {duration(cost.seconds_of_a_step)} a step, {duration(cost.seconds)} for {cost.steps:,} "
        f"steps, {cost.peak_bytes / 1e9:.1f} GB at the peak"
    )


def print_distilled(config: DistillConfig, distilled: DistilledSet) -> None:
    """Print what was made and how it is evaluated."""
    made = distilled.metadata["distillation"]
    rows = [
        ["method", f"{config.method}, preset {made['preset']}, seed {config.seed}"],
        ["images", f"{len(distilled.images)} ({config.ipc} per class), {distilled.resolution} px"],
        ["labels", distilled.label_kind],
        ["learned rate", "none" if distilled.lr is None else f"{distilled.lr:g}"],
    ]
    losses = [loss for loss in made.get("last_losses") or [] if loss is not None]
    if losses:
        rows.append(["steps", f"{made['steps']}, {made['seconds']:.0f} s, last loss {losses[-1]:.4g}"])
    for found in made.get("evaluations") or []:
        mean, std = 100 * found["accuracy_mean"], 100 * (found["accuracy_std"] or 0)
        rows.append([f"accuracy at step {found['step']}", f"{mean:.2f} ± {std:.2f} %, {found['n']} students"])
    if "kept_step" in made:
        rows.append(["kept", f"step {made['kept_step']}, the best on the validation images (--keep best)"])
    print_table(f"{distilled.definition.name}, distilled", ["", ""], rows)
    print(f"distilled set: {config.output_dir}")
    flags = {"distilled": config.output_dir, **config.load_subset().selection, **_as_distilled(config, config.teacher)}
    flags |= _as_pasted(made["settings"].get("factor"), config.ipc)
    print(f"evaluate it: {command_line('evaluate', flags)}")


def _as_pasted(factor: int | None, ipc: int) -> dict[str, object]:
    """Return the flags of how RDED trains students on its images where it is not as the preset says.

    The preset has the release's batch for IPC 10, and what belongs to crops that are pasted 2 x 2.
    """
    flags: dict[str, object] = {}
    if factor is not None and ipc >= RDED_LARGE_IPC:
        flags["batch_train"] = RDED_LARGE["batch_train"]
    if factor not in (None, Protocol("rded").patches):
        flags |= {"patches": factor, "rrc": 1 / factor}
    return flags


def _as_distilled(config: DistillConfig, teacher: str | None) -> dict[str, object]:
    """Return the flags that evaluate sets on the same real images, with the labels of a teacher where there is one.

    Those that are defaults are left out.
    """
    names = ("data_path", "layout", "res", "antialias", "resize", "model")
    taught = {} if teacher is None else {"labels": "soft+kd", "teacher": teacher}
    if config.method in OF_VIEWS:
        taught = {"protocol": config.method, **taught}
    return taught | {
        name: getattr(config, name) for name in names if getattr(config, name) != getattr(DistillConfig, name)
    }
