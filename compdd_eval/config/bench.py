"""Settings of `bench`."""

from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.checks import AUTO, MANY
from compdd_eval.config.network_names import plain_model
from compdd_eval.config.settings import Settings
from compdd_eval.utils.errors import require, unknown

TIMED_METHODS = ("dm", "dc", "mtt", "edf")


@dataclass(frozen=True)
class BenchConfig(Settings):
    """Measure how fast this machine does the work; all figures are ratios of two timings in one run.

    Args:
        what: "data": building, opening and decoding subsets, against copying files and plain PIL. "train": passes of
            students, against a plain loop. "distill": steps of dm, dc, mtt and edf, against loops as the releases write
            them. "evaluator": calls of an Evaluator, against the release's way. "scaling": students in one process and
            in several at a time, and a grid. "complexity": scoring images, against the bare passes through the network.
        images: Training images of each class in the source that is drawn, in each of the sixteen subsets; for
            `complexity`, images that are scored.
        side: Pixels of a side of the drawn images; ImageNet's are about 400 x 350, 110 KB.
        repeats: Timings of each figure, of which the best counts.
        output_dir: Folder for the source and the copies, which is removed in the end; default: a temporary one.
        res: Resolution in pixels, for `train`, `distill`, `evaluator` and `scaling`, as are the flags below.
        ipc: Images per class, or several numbers joined by commas.
        model: Student network, as --model of `evaluate` takes it.
        passes: Timed passes, or steps, of each loop, after one that is not timed; passes of a call of `evaluator`.
        method: Methods that `distill` times, joined by commas.
        syn_steps: Student steps of mtt and edf.
        threads: CPU threads, shared by the processes that work at a time; 0 takes all cores.
        students_per_device: Students that `train` trains together, beside one; "auto" as in `evaluate`.
        json: Print JSON, for programs.
    """

    what: Literal["data", "train", "distill", "evaluator", "scaling", "complexity"] = "data"
    images: int = 20
    side: int = 400
    repeats: int = 3
    output_dir: str | None = None
    res: int = 128
    ipc: str = "1,10,50"
    model: str = "ConvNetD5"
    passes: int = 20
    method: str = ",".join(TIMED_METHODS)
    syn_steps: int = 10
    threads: int = 0
    students_per_device: int | Literal["auto"] = AUTO
    json: bool = False

    def __post_init__(self) -> None:
        self._check_choices()
        self._set("model", plain_model(self.model))
        parts = self.ipc.split(",")
        whole = all(part.strip().isdigit() and 1 <= int(part) <= MANY for part in parts)
        require("--ipc", self.ipc, whole, "numbers of images from 1, joined by commas, for example 1,10,50")
        self._check_number_of("res", "pixels", least=2)
        self._check_number_of("passes", "passes")
        self._check_number_of("syn_steps", "student steps")
        for name in self.methods:
            if name not in TIMED_METHODS:
                raise unknown("value of --method", name, TIMED_METHODS)
        self._check_number_of("threads", "threads", least=0)
        self._check_number_of("images", "images")
        self._check_number_of("side", "pixels", least=16)
        self._check_number_of("repeats", "timings")
        self._check_together()

    @property
    def ipcs(self) -> list[int]:
        """Images per class, each number once."""
        return list(dict.fromkeys(int(part) for part in self.ipc.split(",")))

    @property
    def methods(self) -> list[str]:
        """Methods that are timed, each once."""
        return list(dict.fromkeys(name.strip() for name in self.method.split(",")))


CONFIG = BenchConfig
POSITIONAL = ("what",)
