"""Train a teacher."""

from compdd_eval.config.teacher import TeacherConfig
from compdd_eval.evaluation.train_teacher import train_teacher
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr
from compdd_eval.utils.processes import make_accelerator


def run(config: TeacherConfig) -> None:
    """Train it, unless it is there, and print what it is."""
    with stdout_to_stderr(config.json):
        accelerator = make_accelerator()
        record = train_teacher(config, accelerator)
    if not accelerator.is_main_process:
        return
    if config.json:
        print_json({"folder": config.output_dir, **record})
        return
    protocol = config.training
    rows = [
        ["network", f"{record['model']}, {record['res']} px"],
        ["training", f"{record['training_images']} images, {protocol.passes} passes, {record['seconds']:.0f} s"],
        ["protocol", f"{protocol.protocol}: {protocol.optimizer}, rate {protocol.rate:g}"],
        ["accuracy", f"{100 * record['accuracy']:.2f} % on {record['validation_images']} validation images"],
    ]
    print_table(f"{record['subset']}: teacher", ["", ""], rows)
    print(f"teacher: {config.output_dir}")
    print(f"use it: --teacher {config.output_dir}, of `evaluate`, `relabel`, `distill rded` and `distill sre2l`")
