"""Settings of `bench`, `demo`, `status` and `reproduce`."""

import os
from dataclasses import dataclass, field
from typing import Literal

from compdd_eval.config.checks import (
    AUTO,
    MANY,
    check_epochs,
    check_results,
    check_students,
    check_together,
    require,
)
from compdd_eval.user_networks import is_user_network, plain_model, plain_teacher


@dataclass(frozen=True)
class BenchConfig:
    """Measure how fast this machine does the work; all figures are ratios of two timings in one run.

    Args:
        what: data: building, opening and decoding subsets, against copying files and plain PIL. train: passes of
            students, against a plain loop. scaling: students in one process and in several at a time.
            complexity: scoring images, against the bare passes through the network.
        images: Training images of each class in the source that is drawn, in each of the sixteen subsets; for
            `complexity`, images that are scored.
        side: Pixels of a side of the drawn images; ImageNet's are about 400 x 350, 110 KB.
        repeats: Timings of each figure, of which the best counts.
        output_dir: Folder for the source and the copies; it is removed in the end. Default: a temporary one.
        res: Resolution in pixels, for `train` and `scaling`, and so are the next ones.
        ipc: Images per class, or several numbers joined by commas.
        model: Student network, as --model of `evaluate` takes it.
        passes: Passes that are timed of each loop, after one that is not.
        threads: CPU threads, shared by processes that work at a time; 0 takes all cores.
        students_per_device: Students that `train` also trains together; "auto" as in `evaluate`.
        json: Print JSON, for programs.
    """

    what: Literal["data", "train", "scaling", "complexity"] = "data"
    images: int = 20
    side: int = 400
    repeats: int = 3
    output_dir: str | None = None
    res: int = 128
    ipc: str = "1,10,50"
    model: str = "ConvNetD5"
    passes: int = 20
    threads: int = 0
    students_per_device: int | Literal["auto"] = AUTO
    json: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", plain_model(self.model))
        parts = self.ipc.split(",")
        whole = all(part.strip().isdigit() and 1 <= int(part) <= MANY for part in parts)
        require("--ipc", self.ipc, whole, "numbers of images from 1, joined by commas, for example 1,10,50")
        require("--res", self.res, 2 <= self.res <= MANY, f"a number of pixels from 2 to {MANY}")
        require("--passes", self.passes, 1 <= self.passes <= MANY, f"a number of passes from 1 to {MANY}")
        require("--threads", self.threads, 0 <= self.threads <= MANY, f"a number of threads from 0 to {MANY}")
        check_together(self.students_per_device)
        require("--images", self.images, 1 <= self.images <= MANY, f"a number of images from 1 to {MANY}")
        require("--side", self.side, 16 <= self.side <= MANY, f"a number of pixels from 16 to {MANY}")
        require("--repeats", self.repeats, 1 <= self.repeats <= MANY, f"a number of timings from 1 to {MANY}")

    @property
    def ipcs(self) -> list[int]:
        """Images per class, each number once."""
        return list(dict.fromkeys(int(part) for part in self.ipc.split(",")))


@dataclass(frozen=True)
class DemoConfig:
    """The whole job in minutes, without ImageNet and without a network, on images that are drawn.

    Args:
        output_dir: Folder for results, distilled images and pictures.
        num_eval: Students of each distilled set.
        epoch_eval_train: Epochs of each student.
        threads: CPU threads of each process; 0 shares the processor's cores among the processes.
        json: Print JSON, for programs.
    """

    output_dir: str = "demo_results"
    num_eval: int = 3
    epoch_eval_train: int = 30
    threads: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        check_epochs(self.epoch_eval_train)
        check_students(self.num_eval, self.threads)
        object.__setattr__(self, "output_dir", os.path.expanduser(self.output_dir))


@dataclass(frozen=True)
class StatusConfig:
    """Show what of evaluations, or of all cells of grids, is done, running, failed or unfinished.

    Args:
        results: Folders that `evaluate` wrote (or folders of such), or files in them; default: results.
        json: Print JSON, for programs.
    """

    results: list[str] = field(default_factory=list)
    json: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "results", self.results or ["results"])
        check_results(self.results, 1, "status results")


@dataclass(frozen=True)
class ReproduceConfig:
    """Train recorded students again, with their own settings, and compare; exit status 1 where something differs.

    Args:
        results: Students' files (seedK.json), summaries (summary.json) for all their students, folders that `evaluate`
            wrote, or folders of such.
        data_path: The copy of ImageNet, where it lies elsewhere now, or "prepared" for what `prepare` made.
        distilled: The distilled set, where it lies elsewhere now.
        model: FILE.py of a network of your own that the results name, or several joined by commas: it is run, and no
            file that you do not give. Its content must be the recorded one.
        teacher: The same for the teacher, FILE.py or FILE.py=FILE with its weights.
        threads: CPU threads; 0 takes the recorded number, which decides the last bits of sums.
        json: Print JSON, for programs.
    """

    results: list[str] = field(default_factory=list)
    data_path: str | None = None
    distilled: str | None = None
    model: str | None = None
    teacher: str | None = None
    threads: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        check_results(self.results, 1, "reproduce results")
        if self.model is not None:
            object.__setattr__(self, "model", plain_model(self.model))
            files = [part for part in self.model.split(",") if not is_user_network(part)]
            require("--model", self.model, bool(self.model) and not files, "files of networks of your own, FILE.py")
        if self.teacher is not None:
            object.__setattr__(self, "teacher", plain_teacher(self.teacher))
            own = is_user_network(self.teacher.partition("=")[0])
            require("--teacher", self.teacher, own, "a network of your own, FILE.py or FILE.py=FILE with its weights")
        check_students(1, self.threads)
