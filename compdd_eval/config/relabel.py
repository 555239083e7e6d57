"""Settings of `relabel`."""

from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.network_names import plain_teacher
from compdd_eval.config.protocol import MIXES, OF_VIEWS, VIEWS, Protocol
from compdd_eval.config.reading import ReadConfig
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.utils.errors import InputError

_VIEWS = ("batch_train", "patches", "rrc", "flip", "mix", "temperature")  # settings of a protocol


@dataclass(frozen=True)
class RelabelConfig(ReadConfig):
    """Store a teacher's outputs for augmented views of a distilled set, pass by pass: its labels of views.

    Args:
        distilled: The set, as --distilled of `evaluate` takes it.
        teacher: Network that labels: a folder that `teacher` made, or NAME=FILE with its weights; of weights with
            ImageNet's 1000 outputs, those of the subset's classes are taken.
        passes: Passes that students will make: --epoch_eval_train of `evaluate`, and one; default: those of the preset.
        every: Store one of so many passes; each serves so many times.
        top_k: Outputs that are kept of each view, the largest; the others share the rest evenly. Default: all.
        protocol: Preset whose augmentation and batches are taken, rded or sre2l.
        batch_train: Distilled images in a batch; default: the preset's.
        patches: Cut each image into so many columns, and rows, and shuffle these; 1 for none; default: the preset's.
        rrc: Random resized crops: the least share of the image's area; 0 for none; default: the preset's.
        flip: Flip each image horizontally with probability 0.5; default: the preset's.
        mix: "mixup" or "cutmix" mix the images of a batch; or "none"; default: the preset's.
        temperature: At which outputs that are not kept share the rest evenly: that of the students' loss; default: the
            preset's.
        seed: Seed of the views.
        output_dir: Folder for the set with its labels; default: that of the set, where it is one of our format.
        overwrite: Replace labels of views that are there.
        threads: CPU threads; 0 takes all cores.
        json: Print JSON, for programs.
    """

    distilled: str | None = None
    teacher: str | None = None
    passes: int | None = None
    every: int = 1
    top_k: int | None = None
    protocol: Literal[*OF_VIEWS] = "rded"
    batch_train: int | None = None
    patches: int | None = None
    rrc: float | None = None
    flip: bool | None = None
    mix: Literal[*MIXES] | None = None
    temperature: float | None = None
    seed: int = 0
    output_dir: str | None = None
    overwrite: bool = False
    threads: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_given("distilled", "relabel my_set --teacher teacher")
        if self.teacher is None:
            raise InputError("--teacher is missing; give a folder that `teacher` made, or NAME=FILE with its weights")
        self._set("teacher", plain_teacher(self.teacher))
        views = self.views  # checks its settings
        for name in _VIEWS:
            self._set(name, getattr(views, name))
        if self.passes is None:
            self._set("passes", views.passes)
        self._check_number_of("passes", "passes", least=2)
        self._check("every", lambda value: 1 <= value <= self.passes, f"a number from 1 to --passes, {self.passes}")
        kept = f"a number from 1 to {NUM_CLASSES - 1}; all are kept where it is left out"
        self._check("top_k", lambda value: 1 <= value < NUM_CLASSES, kept)
        self._check_seed()
        self._check_threads()
        self._expand_home("output_dir")

    @property
    def views(self) -> Protocol:
        """How students train on the labels."""
        changes = {name: getattr(self, name) for name in _VIEWS}
        return Protocol(self.protocol, labels=VIEWS, **changes)


CONFIG = RelabelConfig
POSITIONAL = ("distilled",)
COMMON = {
    "Set and teacher": ("teacher", "category", "subset"),
    "Views": ("passes", "every", "top_k", "protocol", "batch_train", "rrc", "flip", "mix", "seed"),
    "Output": ("output_dir", "overwrite", "json"),
}
