"""Send a distilled set, a student, or an export of the benchmark's images, to the Hugging Face Hub."""

from compdd_eval.config import PushConfig

CONFIG = PushConfig
POSITIONAL = ("path",)


def run(config: PushConfig) -> None:
    """Push and print where it lies."""
    if config.student:
        from compdd_eval.student_repository import print_pushed_student, push_student

        print_pushed_student(push_student(config))
        return
    if config.benchmark:
        from compdd_eval.hub import push_benchmark

        print(push_benchmark(config))
        return
    from compdd_eval.exchange import print_pushed, push

    print_pushed(push(config))
