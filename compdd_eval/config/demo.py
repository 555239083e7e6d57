"""Settings of `demo`."""

from dataclasses import dataclass

from compdd_eval.config.settings import Settings


@dataclass(frozen=True)
class DemoConfig(Settings):
    """The whole job in minutes, without ImageNet and without a network, on drawn images: distil, evaluate, report.

    Args:
        output_dir: Folder for distilled sets, results and the report.
        steps: Updates of each of the distilled sets, by dm.
        num_eval: Students of each distilled set.
        epoch_eval_train: Epochs of each student.
        threads: CPU threads of each process; networks as small as these are slower with more. 0 shares the processor's
            cores among the processes.
        json: Print JSON, for programs.
    """

    output_dir: str = "demo_results"
    steps: int = 200
    num_eval: int = 5
    epoch_eval_train: int = 30
    threads: int = 1
    json: bool = False

    def __post_init__(self) -> None:
        self._check_whole("steps", "epoch_eval_train")
        self._check_students()
        self._check_threads()
        self._expand_home("output_dir")


CONFIG = DemoConfig
