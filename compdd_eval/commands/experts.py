"""Train expert trajectories."""

from statistics import mean

from compdd_eval.config.experts import ExpertsConfig
from compdd_eval.methods.train_experts import train_experts
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr
from compdd_eval.utils.processes import make_accelerator


def run(config: ExpertsConfig) -> None:
    """Train those that are missing and print all."""
    with stdout_to_stderr(config.json):
        accelerator = make_accelerator()
        content = train_experts(config, accelerator)
    if accelerator.is_main_process:
        if config.json:
            print_json(content)
        else:
            print_experts(content)


def print_experts(content: dict[str, object]) -> None:
    """Print what `train_experts` returned."""
    experts, settings = content["experts"], content["settings"]
    right = [100 * expert["accuracy"] for expert in experts]
    kind = f"SGD, rate {settings['lr']:g}, batches of {settings['batch_train']}"
    if settings["sam"]:
        kind += f", sharpness-aware (rho {settings['rho']:g}, alpha {settings['sam_alpha']:g})"
    speed = content["seconds_per_epoch"]
    rows = [
        ["network", f"{settings['model']}, {settings['res']} px, {content['parameters']:,} parameters"],
        ["training", f"{content['training_images']} images, {kind}"],
        ["experts", f"{len(experts)}, {content['new']} of them new"],
        ["epochs", f"{settings['epochs']}" + ("" if speed is None else f", {speed:.2f} s each")],
        ["training accuracy", f"{mean(right):.2f} % after the last epoch ({min(right):.2f} to {max(right):.2f})"],
        ["size", f"{sum(expert['bytes'] for expert in experts) / 1e6:,.1f} MB"],
    ]
    print_table(f"{content['subset']}: expert trajectories", ["", ""], rows)
    print(f"experts: {content['folder']}")
