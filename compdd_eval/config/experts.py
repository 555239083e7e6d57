"""Settings of `experts`."""

from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.checks import AUTO
from compdd_eval.config.distill import CROP_PAD, MOST_STEPS
from compdd_eval.config.network_names import plain_model
from compdd_eval.config.protocol import DSA_STRATEGY, parse_strategy
from compdd_eval.config.training_data import TrainingDataConfig


@dataclass(frozen=True)
class ExpertsConfig(TrainingDataConfig):
    """Train expert trajectories: networks on all training images, whose parameters are kept after every epoch.

    Args:
        model: Network, as --model of `evaluate` takes it.
        num_experts: Experts; their seeds are `seed`, `seed` + 1, ... They are shared out over the processes.
        epochs: Epochs of each expert.
        seed: Seed of the first expert.
        lr: Learning rate.
        momentum: Momentum of SGD.
        weight_decay: Weight decay.
        batch_train: Images in a batch.
        dsa: Augment the images by DSA.
        dsa_strategy: Operations of DSA, joined by "_".
        crop_pad: Padding of DSA's crop as a share of the image size.
        sam: Sharpness-aware training, for flat trajectories (FTD). The gradient is taken where the loss is worst within
            --rho, and changed by --sam_alpha as in GSAM.
        rho: Radius of SAM's neighbourhood in parameter space; 2 with --sam_adaptive is that of the releases.
        sam_alpha: Share of the surrogate gap's gradient; 0 is plain SAM.
        sam_adaptive: Scale the neighbourhood by the size of each weight (ASAM), as the releases of FTD and EDF do.
        output_dir: Folder for the experts.
        overwrite: Train finished experts again.
        compile: Compile the training steps: "auto" where it pays, "always" or "never".
        precision: "float32", "tf32" (matrix products of NVIDIA GPUs) or "bfloat16" (autocast); default: what
            accelerate launch --mixed_precision says, else float32.
        threads: CPU threads of each process; 0 shares the processor's cores among the processes.
        json: Print JSON, for programs.
    """

    model: str = "ConvNetD5"
    num_experts: int = 100
    epochs: int = 50
    seed: int = 0
    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_train: int = 256
    dsa: bool = True
    dsa_strategy: str = DSA_STRATEGY
    crop_pad: float = CROP_PAD
    sam: bool = False
    rho: float = 2.0
    sam_alpha: float = 0.3
    sam_adaptive: bool = True
    output_dir: str = "experts"
    overwrite: bool = False
    compile: Literal["auto", "always", "never"] = AUTO
    precision: Literal["float32", "tf32", "bfloat16"] | None = None
    threads: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("model", plain_model(self.model))
        self._check_students("num_experts")
        self._check_threads()
        self._check("epochs", lambda value: 2 <= value <= MOST_STEPS, "a number of epochs from 2")
        self._check_seed(self.num_experts)
        self._check_above_zero("lr", "rho")
        self._check_momentum("momentum")
        self._check_from_zero("weight_decay", "sam_alpha")
        self._check_whole("batch_train")
        self._check_share("crop_pad")
        parse_strategy(self.dsa_strategy)
        self._expand_home("output_dir")


CONFIG = ExpertsConfig
COMMON = {
    "Data": ("category", "subset", "data_path", "res"),
    "Experts": ("model", "num_experts", "epochs", "lr", "batch_train", "seed", "sam"),
    "Output": ("output_dir", "overwrite", "json"),
}
