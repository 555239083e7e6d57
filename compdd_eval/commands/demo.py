"""The whole job on drawn images."""

from compdd_eval.config import DemoConfig

CONFIG = DemoConfig


def run(config: DemoConfig) -> None:
    """Draw, prepare, evaluate; leave results and pictures in the output folder."""
    from accelerate import PartialState

    from compdd_eval.console import free_stdout, print_json
    from compdd_eval.demo import demo_content, run_demo

    with free_stdout(config.json):
        summaries = run_demo(config, quiet=config.json)
    if config.json and PartialState().is_main_process:
        print_json(demo_content(config, summaries))
