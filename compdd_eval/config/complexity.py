"""Settings of `complexity`."""

from dataclasses import dataclass
from typing import Literal

from compdd_eval.config.settings import Settings
from compdd_eval.data.choices import LAYOUTS
from compdd_eval.data.subset_files import DIFFICULTIES
from compdd_eval.data.subsets import CATEGORIES, named_in_one_word, singular
from compdd_eval.utils.errors import InputError, require

METHODS = ("smoothgradcampp", "gradcam", "gradcampp", "layercam")
TARGETS = ("predicted", "true")
OFFLINE_MODEL = "efficientnet-lite0"


@dataclass(frozen=True)
class ComplexityConfig(Settings):
    """Measure the complexity of images: one minus the share of their class-activation map that reaches a threshold.

    Args:
        data_path: Labelled images: a copy of ImageNet, another dataset, or "prepared"; default: the environment
            variable COMP_DD_IMAGENET, else "prepared". The copy may have any layout that `prepare` reads; another
            dataset is a folder with one folder a class (or with train/ and val/ that have these), or a dataset on the
            Hub with a column `label`.
        layout: How a copy of ImageNet is stored; "auto" looks at it.
        distilled: A distilled set to measure, in any format that `evaluate` reads. With --data_path ("prepared", too),
            it is measured beside real images of its classes, of which --images_per_class are then enough.
        category: Score the classes of one category of the benchmark (bird, car, ...): every candidate.
        subset: With --category: only the ten classes of its subset, easy or hard; or both in one word, such as
            bird-easy.
        classes: "published": those of the sixteen subsets; "all": every class of the source; or classes joined by
            commas. These are WordNet ids, indices, names, or lists that the field uses, such as nette. Data that is not
            ImageNet has all of its classes scored.
        split: Split of the source: train or validation; of other data, the name of its split.
        model: Classifier: torchvision:NAME, efficientnet-lite0, or FILE.py of your own. Weights are torchvision's or
            those of --weights; of efficientnet-lite0 they are in a package. FILE.py has a function create_model() that
            returns a classifier.
        weights: File with the classifier's weights (.safetensors, .pt, .pth), where they are not to be downloaded.
        method: How maps are made: smoothgradcampp (Smooth Grad-CAM++, the published one), gradcam, gradcampp, layercam.
        layer: Module whose activations are mapped; default: layer4 of a ResNet, else the last convolution.
        target: Class that a map explains: the predicted one (as published), or the true one.
        threshold: Activation from which a pixel counts as active.
        image_size: Side in pixels to which images are resized; the aspect ratio is not kept.
        images_per_class: Images of each class, drawn by the seed; default: all.
        batch_size: Images that pass the network at a time.
        seed: Seed of the noise of Smooth Grad-CAM++ and of the images that are drawn.
        output_dir: Folder for images.parquet, classes.csv, scores.json and the examples.
        overwrite: Replace scores of other settings that the folder holds.
        threads: CPU threads of each process; 0 shares the processor's cores among the processes.
        json: Print JSON, for programs.
    """

    data_path: str | None = None
    layout: Literal["auto", *LAYOUTS] = "auto"
    distilled: str | None = None
    category: str | None = None
    subset: str | None = None
    classes: str = "published"
    split: str = "train"
    model: str = "torchvision:resnet18"
    weights: str | None = None
    method: Literal[*METHODS] = "smoothgradcampp"
    layer: str | None = None
    target: Literal[*TARGETS] = "predicted"
    threshold: float = 0.5
    image_size: int = 224
    images_per_class: int | None = None
    batch_size: int = 32
    seed: int = 0
    output_dir: str = "complexity"
    overwrite: bool = False
    threads: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        self._check_choices()
        self._check("threshold", lambda value: 0 < value <= 1, "an activation in (0, 1]")
        self._check_number_of("image_size", "pixels", least=8)
        self._check_number_of("batch_size", "images")
        self._check("images_per_class", lambda value: value >= 1, "a number of images from 1")
        self._check_seed()
        self._check_threads()
        self._check_classes()
        self._set("split", "validation" if self.split in ("val", "valid") else self.split)
        self._make_code_absolute("model")
        self._expand_home("output_dir", "weights")

    def _check_classes(self) -> None:
        self._take_one_word()
        if self.distilled is not None and self.subset is None and self.classes in ("published", "all"):
            raise InputError("--distilled needs its classes; give --category and --subset, or --classes")
        if self.subset is not None and self.category is None:
            raise InputError("--subset is given without --category; give both, or --category alone for every candidate")
        self._check("subset", DIFFICULTIES.__contains__, " or ".join(DIFFICULTIES))
        if self.category is None:
            return
        if self.classes != "published":
            raise InputError("--classes and --category: give one of them")
        known = singular(self.category)
        require("--category", self.category, known in CATEGORIES, f"one of {', '.join(CATEGORIES)}")
        self._set("category", known)

    def _take_one_word(self) -> None:
        classes = None if self.classes == "published" else self.classes  # the default
        said = named_in_one_word({"category": self.category, "subset": self.subset, "classes": classes}, "--")
        if said.pop("published", False):
            said = {"category": None, "subset": None, "classes": f"{said['category']}-{said['subset']}-published"}
        for name, value in said.items():
            self._set(name, value)

    def decisive(self) -> dict[str, object]:
        """Return the settings that decide the numbers, beside the images themselves."""
        names = ("method", "layer", "target", "threshold", "image_size", "images_per_class", "batch_size", "seed")
        return {name: getattr(self, name) for name in (*names, "model", "split")}


CONFIG = ComplexityConfig
COMMON = {
    "Images": ("data_path", "distilled", "category", "subset", "classes", "split", "images_per_class"),
    "Measure": ("model", "method", "threshold", "batch_size"),
    "Output": ("output_dir", "overwrite", "json"),
}
