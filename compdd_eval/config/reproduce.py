"""Settings of `reproduce`."""

from dataclasses import dataclass, field

from compdd_eval.config.network_names import is_user_network, plain_model, plain_teacher, split_teacher
from compdd_eval.config.settings import Settings
from compdd_eval.utils.errors import require


@dataclass(frozen=True)
class ReproduceConfig(Settings):
    """Train recorded students again, with their own settings, and compare; exit status 1 where something differs.

    Args:
        results: Results of students (seedK.json), summaries (summary.json) for all their students, folders that
            `evaluate` wrote, or folders of such.
        data_path: The copy of ImageNet, where it is elsewhere, or "prepared" for what `prepare` made.
        distilled: The distilled set, where it is elsewhere.
        model: FILE.py of a network of your own that the results name, or several joined by commas. It is run, and no
            file that you do not give is; its content must be the recorded one.
        teacher: The same for the teacher: FILE.py, or FILE.py=FILE with its weights.
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
        self._check_list("results", 1, "reproduce results")
        if self.model is not None:
            self._set("model", plain_model(self.model))
            files = [part for part in self.model.split(",") if not is_user_network(part)]
            require("--model", self.model, bool(self.model) and not files, "files of networks of your own, FILE.py")
        if self.teacher is not None:
            self._set("teacher", plain_teacher(self.teacher))
            own = is_user_network(split_teacher(self.teacher)[0])
            require("--teacher", self.teacher, own, "a network of your own, FILE.py or FILE.py=FILE with its weights")
        self._check_threads()


CONFIG = ReproduceConfig
POSITIONAL = ("results...",)
