"""Distil a subset into a few images."""

from dataclasses import asdict

from compdd_eval.config.distill import DistillConfig
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.methods.distill import DistillationCost, distill
from compdd_eval.results.command import evaluate_line
from compdd_eval.utils.console import duration, print_json, print_table, stdout_to_stderr
from compdd_eval.utils.processes import make_accelerator


def run(config: DistillConfig) -> None:
    """Make the set and print what was made."""
    with stdout_to_stderr(config.json):
        accelerator = make_accelerator()
        made = distill(config, accelerator)
    if not accelerator.is_main_process:
        return
    if config.dry_run:
        print_cost(config, made)
    elif config.json:
        facts = {"folder": config.output_dir, "sha256": made.sha256, "lr": made.lr}
        print_json(facts | made.metadata)
    else:
        print_distilled(config, made)


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
    losses = made.get("last_losses")
    if losses:
        rows.append(["steps", f"{made['steps']}, {made['seconds']:.0f} s, last loss {losses[-1]:.4g}"])
    for found in made.get("evaluations") or []:
        mean, std = 100 * found["accuracy_mean"], 100 * (found["accuracy_std"] or 0)
        rows.append([f"accuracy at step {found['step']}", f"{mean:.2f} ± {std:.2f} %, {found['n']} students"])
    if "kept_step" in made:
        rows.append(["kept", f"step {made['kept_step']}, the best on the validation images (--keep best)"])
    print_table(f"{distilled.definition.name}, distilled", ["", ""], rows)
    print(f"distilled set: {config.output_dir}")
    print(f"evaluate it: {evaluate_line(_evaluation(config))}")


def _evaluation(config: DistillConfig) -> dict[str, object]:
    """Return the flags that evaluate the set on the same real images; those that are defaults are left out."""
    names = ("data_path", "layout", "res", "antialias", "resize", "model")
    chosen = {name: getattr(config, name) for name in names if getattr(config, name) != getattr(DistillConfig, name)}
    taught = {} if config.teacher is None else {"labels": "soft+kd", "teacher": config.teacher}
    return {"distilled": config.output_dir, **config.load_subset().selection, **chosen, **taught}
