"""Settings of `teacher`."""

from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.distill import MOST_STEPS
from compdd_eval.config.network_names import plain_model
from compdd_eval.config.protocol import PRESETS, RESIZES, Protocol
from compdd_eval.config.training_data import TrainingDataConfig
from compdd_eval.utils.errors import require


@dataclass(frozen=True)
class TeacherConfig(TrainingDataConfig):
    """Train a network on all training images of a subset: the teacher of `evaluate`, rded and sre2l.

    Args:
        model: Network, as --model of `evaluate` takes it; sre2l needs one with batch norm.
        protocol: Preset whose optimiser, augmentation and way to resize images are taken, as --protocol of `evaluate`
            takes it: comp-dd, mtt, datm, dc-bench, rded or sre2l.
        epochs: Passes over the training images.
        lr: Learning rate; default: the preset's.
        seed: Seed of weights, order and augmentation.
        output_dir: Folder for the weights (teacher.safetensors) and their record (teacher.json).
        overwrite: Train again where the folder holds a teacher with other settings.
        precision: "float32", "tf32" (matrix products of NVIDIA GPUs) or "bfloat16" (autocast); default: what
            accelerate launch --mixed_precision says, else float32.
        threads: CPU threads; 0 takes all cores.
        json: Print JSON, for programs.
    """

    antialias: bool | None = None
    resize: Literal[*RESIZES] | None = None
    model: str = "ResNet18BN"
    protocol: Literal[*PRESETS] = "comp-dd"
    epochs: int = 60
    lr: float | None = None
    seed: int = 0
    output_dir: str = "teacher"
    overwrite: bool = False
    precision: Literal["float32", "tf32", "bfloat16"] | None = None
    threads: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("model", plain_model(self.model))
        require("--model", self.model, "," not in self.model, "one network")
        self._check("epochs", lambda value: 2 <= value <= MOST_STEPS, "a number of passes from 2")
        self._check_above_zero("lr")
        training = self.training
        self._set("antialias", training.antialias)
        self._set("resize", training.resize)
        self._check_seed()
        self._check_threads()
        self._expand_home("output_dir")

    @property
    def training(self) -> Protocol:
        """How it is trained; as `evaluate` trains a teacher of which it is given the name alone."""
        return Protocol(self.protocol, antialias=self.antialias, resize=self.resize).on_all_images(self.epochs, self.lr)


CONFIG = TeacherConfig
COMMON = {
    "Data": ("category", "subset", "data_path", "res"),
    "Training": ("model", "epochs", "lr", "protocol", "seed"),
    "Output": ("output_dir", "overwrite", "json"),
}
