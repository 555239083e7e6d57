"""The whole job on drawn images."""

from compdd_eval.config import DemoConfig

CONFIG = DemoConfig


def run(config: DemoConfig) -> None:
    """Draw, prepare, evaluate; leave results and pictures in the output folder."""
    from compdd_eval.demo import run_demo

    run_demo(config)
