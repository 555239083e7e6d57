"""Send an export to the Hugging Face Hub."""

from compdd_eval.config import PushConfig

CONFIG = PushConfig


def run(config: PushConfig) -> None:
    """Push and print where it lies."""
    from compdd_eval.hub import push_benchmark

    print(push_benchmark(config))
