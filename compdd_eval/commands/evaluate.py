"""Train students on a distilled set and test them on real images."""

from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.evaluation.evaluate import accelerator_of, evaluate
from compdd_eval.evaluation.grid import grid_content, raise_failures, run_grid
from compdd_eval.evaluation.summary import summary_path
from compdd_eval.utils.console import print_json, stdout_to_stderr


def run(config: EvaluateConfig) -> None:
    """Evaluate, or evaluate a grid; print the tables and write the results."""
    cells = []
    with stdout_to_stderr(config.json):
        accelerator = accelerator_of(config)
        if config.grid is not None:
            cells = run_grid(config, accelerator, quiet=config.json)
            content = grid_content(config, cells)
        else:
            path = summary_path(config)
            content = {"summary": path and str(path), **evaluate(config, accelerator=accelerator, quiet=config.json)}
    if config.json and accelerator.is_main_process:
        print_json(content)
    raise_failures(cells)
