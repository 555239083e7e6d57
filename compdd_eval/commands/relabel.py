"""Store a teacher's outputs for augmented views of a distilled set."""

from dataclasses import asdict

from compdd_eval.config.relabel import RelabelConfig
from compdd_eval.evaluation.relabel import relabel
from compdd_eval.results.command import command_line
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr
from compdd_eval.utils.processes import make_accelerator


def run(config: RelabelConfig) -> None:
    """Make them, unless they are there; print what they are, and their bits beside those of the images."""
    with stdout_to_stderr(config.json):
        accelerator = make_accelerator()
        distilled = relabel(config, accelerator)
    if not accelerator.is_main_process:
        return
    labels = distilled.view_labels
    if config.json:
        facts = asdict(labels.record) | {"sha256": labels.sha256, "bits": labels.record.bits}
        print_json({"folder": str(labels.file.parent), **facts})
        return
    record, teacher, pixels = labels.record, labels.record.teacher, distilled.images.numel()
    accuracy = f", {100 * teacher['accuracy']:.2f} % on validation images" if teacher["accuracy"] else ""
    bits = record.bits
    rows = [
        ["teacher", f"{teacher['name']}{accuracy}"],
        ["labels", record.views],
        ["bits", f"{sum(bits.values()):,}: the teacher's outputs {bits['outputs']:,}, the views {bits['views']:,}"],
        ["beside", f"the images' {8 * pixels:,} with 8 bits a value, {32 * pixels:,} as they are stored"],
        ["", record.storage],
    ]
    print_table(f"{distilled.definition.name}: labels of views", ["", ""], rows)
    print(f"labels: {labels.file}")
    flags = {"distilled": str(labels.file.parent), **config.views.flags()}
    if config.passes != config.views.passes:
        flags["epoch_eval_train"] = config.passes - 1
    print(f"train on them: {command_line('evaluate', flags)}")
