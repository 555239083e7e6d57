"""Train expert trajectories."""

from compdd_eval.config import ExpertsConfig

CONFIG = ExpertsConfig


def run(config: ExpertsConfig) -> None:
    """Train those that are missing and print all."""
    from compdd_eval.baselines.experts import print_experts, train_experts
    from compdd_eval.console import free_stdout, print_json
    from compdd_eval.processes import make_accelerator

    with free_stdout(config.json):
        accelerator = make_accelerator()
        content = train_experts(config, accelerator)
    if accelerator.is_main_process:
        if config.json:
            print_json(content)
        else:
            print_experts(content)
