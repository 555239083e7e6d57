"""How students are trained: the protocol, and the presets that the field uses."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal

from compdd_eval.config.checks import AUTO
from compdd_eval.config.settings import Settings
from compdd_eval.utils.errors import unknown

DSA_OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
DSA_STRATEGY = "color_crop_cutout_flip_scale_rotate"
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("step", "cosine", "half-cosine", "linear", "constant")
REGIMES = ("given", "hard", "soft", "soft+kd")  # under which set and random images can be compared
VIEWS = "views"
OF_VIEWS = ("rded", "sre2l")  # presets that train on the labels of views
MIXES = ("none", "mixup", "cutmix")
RESIZES = ("squash", "crop")
MOST_PATCHES = 16
RATE_FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)  # times the preset's rate: the candidates of that search
_NO_CHANGES = ("protocol", "lr_net")  # of what students are compared under
_COMP_DD = {
    "epoch_eval_train": 1000,
    "batch_train": 128,
    "optimizer": "sgd",
    "lr_net": 0.01,
    "schedule": "step",
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "decay_all": True,
    "ema": 0.0,
    "labels": "given",
    "temperature": 1.0,
    "dsa": True,
    "dsa_strategy": DSA_STRATEGY,
    "crop_pad": 0.25,
    "patches": 1,
    "rrc": 0.0,
    "flip": False,
    "mix": "none",
    "mix_alpha": 1.0,
    "zca": False,
    "antialias": True,
    "resize": "squash",
}
_RDED = {
    "epoch_eval_train": 299,  # 300 passes
    "batch_train": 50,  # RDED's for IPC 10
    "optimizer": "adamw",
    "lr_net": 0.001,
    "schedule": "half-cosine",
    "weight_decay": 0.01,
    "decay_all": False,
    "labels": "soft+kd",
    "temperature": 20.0,
    "dsa": False,
    "patches": 2,  # RDED's factor for IPC 10, as the area of crops, 1 / factor
    "rrc": 0.5,
    "flip": True,
    "mix": "cutmix",
    "resize": "crop",
}
RDED_LARGE = MappingProxyType({"batch_train": 100, "patches": 1, "rrc": 1.0})  # at IPC 50: an image is one crop
RDED_LARGE_IPC = 50
PRESETS = MappingProxyType(
    {
        "comp-dd": _COMP_DD,
        "mtt": _COMP_DD | {"batch_train": 256, "crop_pad": 0.125, "labels": "hard", "antialias": False},
        "datm": _COMP_DD | {"batch_train": 256, "crop_pad": 0.125},
        "dc-bench": _COMP_DD
        | {"epoch_eval_train": 300, "batch_train": 256, "crop_pad": 0.125, "dsa": False, "labels": "hard"},
        "rded": _COMP_DD | _RDED,
        "sre2l": _COMP_DD | _RDED | {"schedule": "cosine", "labels": "soft", "patches": 1, "rrc": 0.08},
    }
)
# fields that results of earlier versions do not have, with what was done then
LATER_FIELDS = MappingProxyType({"patches": 1, "decay_all": True})
WITH_DSA = MappingProxyType({"dc-bench": {"epoch_eval_train": 1000}})  # where --dsa true is given
PRESET_SOURCES = MappingProxyType(
    {
        "comp-dd": "evaluator of the Comp-DD release (Wang, Li et al., CVPR 2025)",
        "mtt": "Cazenavette et al., CVPR 2022, and its release: 1001 passes, batch 256, crop padding 0.125, labels by "
        "class position, images resized by a torchvision without antialiasing",
        "datm": "Guo et al., ICLR 2024, a descendant of MTT: its numbers, with the learned soft labels",
        "dc-bench": "Cui et al., NeurIPS 2022: 301 passes, or 1001 with DSA; batch 256, crop padding 0.125",
        "rded": "Sun et al., CVPR 2024, release for ten classes: 300 passes, AdamW 0.001 with decay 0.01 of weights "
        "alone, half a cosine period over twice the passes, the four parts of an image shuffled, crops of 0.5 to 1 of "
        "the area, CutMix, the teacher's outputs at temperature 20, real images with the shorter side at 144 and "
        "their central 128 pixels; batch, parts and crops are those of IPC 10 (IPC 50, where an image is one crop: "
        "`--batch_train 100 --patches 1 --rrc 1`). Left out: its script gives the best of six accuracies in the last "
        "60 passes, and the running statistics of a student's batch norms see each batch unmixed, too",
        "sre2l": "Yin et al., NeurIPS 2023: as rded, with soft labels that are stored with the images (one row each, "
        "not one for each view), a whole cosine, nothing shuffled and crops from 0.08 of the area",
    }
)


def parse_strategy(strategy: str) -> list[str]:
    """Split a DSA strategy such as `color_crop_flip` into its operations; `none` has none.

    Raises:
        InputError: An unknown operation; the message names the nearest valid one.
    """
    if strategy.lower() == "none":
        return []
    operations = strategy.lower().split("_")
    for operation in operations:
        if operation not in DSA_OPERATIONS:
            raise unknown("operation of the augmentation strategy", operation, DSA_OPERATIONS)
    return operations


def _is_rate(value: object) -> bool:
    return value == AUTO or (isinstance(value, int | float) and 0 < value < float("inf"))


@dataclass(frozen=True)
class Protocol(Settings):
    """How a student is trained. What is left out (None) is taken from the preset.

        short = Protocol("mtt", epoch_eval_train=300)
        train_student(network, images, labels, label_kind="hard", lr=0.01, protocol=short)

    Args:
        protocol: Preset: comp-dd (the benchmark's evaluator), mtt, datm, dc-bench, rded or sre2l.
        epoch_eval_train: Epochs E; E + 1 passes are made over the distilled images, as in the published evaluator.
        batch_train: Distilled images in a batch.
        optimizer: sgd, adam or adamw.
        lr_net: Learning rate of the students where the distilled set has no learned one; "auto" searches it. The search
            is on real training images that are held out, for the set (whatever rate it has) and for the baseline alike.
        schedule: "step" multiplies the rate by 0.1 after pass E // 2 + 1 and starts the optimiser afresh, "cosine" and
            "linear" fall to 0, "half-cosine" falls to a half as in RDED, "constant".
        momentum: Momentum of SGD.
        weight_decay: Weight decay.
        decay_all: Weight decay on norms and biases, too; false: on weights of convolutions and linear layers alone.
        ema: Decay of an exponential moving average of the weights, which is tested in their place; 0 for none.
        labels: "given" with the set, "hard" by class, "soft" (its own or the teacher's), "soft+kd" (the teacher's,
            batch by batch) or "views". With soft+kd, knowledge distillation, the teacher labels every augmented batch;
            where the set has soft labels, "soft" takes these. "views" replays the augmented batches and outputs that
            `relabel` stored with the set.
        temperature: Divides the logits of student and soft labels (or teacher) in the loss.
        dsa: Augment the distilled images by DSA (differentiable siamese augmentation).
        dsa_strategy: Operations of DSA, joined by "_"; one of them is drawn for each batch.
        crop_pad: Padding of DSA's crop as a share of the image size. 0.25 in the benchmark's evaluator, 0.125 in MTT,
            DATM, DC and DC-BENCH.
        patches: Cut each image into so many columns, and rows, and shuffle these, as RDED does with images that are
            pasted together; 1 for none.
        rrc: Random resized crops: the least share of the image's area; 0 for none.
        flip: Flip each image horizontally with probability 0.5.
        mix: "mixup" or "cutmix" mix the images of a batch and their labels; or "none".
        mix_alpha: Parameter of the Beta distribution from which the mixing shares are drawn.
        zca: Whiten real images (ZCA), by the training images of the subset; distilled images are taken as whitened
            already.
        antialias: Resize real images with antialiasing; false for sets made before torchvision 0.17.
        resize: "squash" real images to the resolution, or "crop": 8/7 of it for the shorter side, then the centre.
    """

    protocol: Literal["comp-dd", "mtt", "datm", "dc-bench", "rded", "sre2l"] = "comp-dd"
    epoch_eval_train: int | None = None
    batch_train: int | None = None
    optimizer: Literal[*OPTIMIZERS] | None = None
    lr_net: float | Literal["auto"] | None = None
    schedule: Literal[*SCHEDULES] | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    decay_all: bool | None = None
    ema: float | None = None
    labels: Literal[*REGIMES, VIEWS] | None = None
    temperature: float | None = None
    dsa: bool | None = None
    dsa_strategy: str | None = None
    crop_pad: float | None = None
    patches: int | None = None
    rrc: float | None = None
    flip: bool | None = None
    mix: Literal[*MIXES] | None = None
    mix_alpha: float | None = None
    zca: bool | None = None
    antialias: bool | None = None
    resize: Literal[*RESIZES] | None = None

    def __post_init__(self) -> None:
        self._check_choices()
        for name, value in self._defaults.items():
            if getattr(self, name) is None:
                self._set(name, value)
        self._check_values()

    def _check_values(self) -> None:
        self._check_whole("epoch_eval_train", "batch_train")
        self._check("lr_net", _is_rate, 'a finite number above 0, or "auto"')
        self._check_momentum("momentum")
        self._check_from_zero("weight_decay")
        self._check("ema", lambda value: 0 <= value < 1, "a number in [0, 1), for example 0.999")
        self._check_above_zero("temperature", "mix_alpha")
        self._check_share("crop_pad")
        self._check("patches", lambda value: 1 <= value <= MOST_PATCHES, f"a number of parts from 1 to {MOST_PATCHES}")
        self._check("rrc", lambda value: 0 <= value <= 1, "a share of the area in (0, 1], or 0 for none")
        parse_strategy(self.dsa_strategy)

    @property
    def preset(self) -> dict[str, object]:
        """All fields of the preset, by name."""
        return dict(PRESETS[self.protocol])

    @property
    def _defaults(self) -> dict[str, object]:
        """What the preset sets; in some, --dsa true changes more than itself."""
        return self.preset | (WITH_DSA.get(self.protocol, {}) if self.dsa else {})

    @property
    def rate(self) -> float:
        """The learning rate without a search: --lr_net, or the preset's where that is "auto"."""
        return self.preset["lr_net"] if self.lr_net == AUTO else self.lr_net

    @property
    def candidates(self) -> list[float]:
        """Rates that `--lr_net auto` tries."""
        return [float(f"{self.preset['lr_net'] * factor:.6g}") for factor in RATE_FACTORS]

    @property
    def augmented(self) -> bool:
        """Whether training images are augmented or mixed at all."""
        strategy = self.dsa and bool(parse_strategy(self.dsa_strategy))
        return bool(strategy or self.patches > 1 or self.rrc or self.flip or self.mix != "none")

    @property
    def passes(self) -> int:
        """Passes over the training images."""
        return self.epoch_eval_train + 1

    def settings(self) -> dict[str, object]:
        """Return the fields of the protocol alone, for printing and for the results."""
        return {field.name: getattr(self, field.name) for field in fields(Protocol)}

    def identity(self) -> dict[str, object]:
        """Return the fields that a result is known by; later ones only where they change what was done before."""
        return {name: value for name, value in self.settings().items() if LATER_FIELDS.get(name) != value}

    def flags(self) -> dict[str, object]:
        """Return the settings that make this protocol: the preset, and what it does not set."""
        given = {name: getattr(self, name) for name, value in self._defaults.items() if getattr(self, name) != value}
        return {"protocol": self.protocol, **given}

    def alone(self, **changes: object) -> "Protocol":
        """Return the protocol without what else the object holds, with changes."""
        return Protocol(**self.settings() | changes)

    def on_all_images(self, passes: int, lr: float | None) -> "Protocol":
        """Return how networks are trained on all training images: the same optimiser and augmentation, hard labels.

        But photographs are whole: nothing is shuffled.

        Args:
            passes: Passes over them.
            lr: Learning rate; None: the preset's.
        """
        rate = lr or self.preset["lr_net"]
        return self.alone(epoch_eval_train=passes - 1, lr_net=rate, labels="hard", temperature=1.0, patches=1)

    def changes(self) -> dict[str, object]:
        """Return the fields in which this differs from its preset."""
        return {name: getattr(self, name) for name, value in self.preset.items() if getattr(self, name) != value}

    def doubt_at(self, ipc: float) -> str | None:
        """Say how the preset's release trains sets of so many images per class otherwise; None where it does not."""
        if self.protocol != "rded" or ipc < RDED_LARGE_IPC or RDED_LARGE.keys() & self.changes().keys():
            return None
        flags = " ".join(f"--{name} {flag_value(value)}" for name, value in RDED_LARGE.items())
        return f"IPC {ipc:g} as RDED trains IPC 10; its release has {flags} here"

    def in_words(self) -> str:
        """Return the preset and what was changed, as of `protocol_in_words`."""
        return protocol_in_words(self.protocol, self.changes())


def protocol_in_words(preset: str, changes: Mapping[str, object]) -> str:
    """Name a preset and what differs from it, such as `comp-dd with ema 0.5`; the learning rate belongs to the set."""
    changed = [f"{name} {flag_value(value)}" for name, value in sorted(changes.items()) if name not in _NO_CHANGES]
    return f"{preset} with {', '.join(changed)}" if changed else preset


def flag_value(value: object) -> str:
    """Write the value of a setting as its flag takes it: `true`, and a float as short as it can be without a loss."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


NO_AUGMENTATION = MappingProxyType({"dsa": False, "patches": 1, "rrc": 0.0, "flip": False, "mix": "none"})
