"""Send a distilled set, or an export of the benchmark's images, to the Hugging Face Hub."""

from compdd_eval.config import PushConfig

CONFIG = PushConfig
POSITIONAL = ("path",)


def run(config: PushConfig) -> None:
    """Push and print where it lies."""
    if config.benchmark:
        from compdd_eval.hub import push_benchmark

        print(push_benchmark(config))
        return
    from compdd_eval.exchange import print_pushed, push

    print_pushed(push(config))
