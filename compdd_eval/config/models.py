"""Settings of `models`."""

from dataclasses import dataclass

from compdd_eval.config.settings import Settings


@dataclass(frozen=True)
class ModelsConfig(Settings):
    """List the students: their parameters, and the smallest images that they take.

    Args:
        pattern: Names to list, such as "*D3*" (capitals do not count), or one network as --model of `evaluate` takes
            it: torchvision:NAME, timm:NAME, FILE.py; default: all of ours.
        res: Resolution in pixels for which parameters are counted; the last layer grows with it.
        json: Print JSON, for programs.
    """

    pattern: str = "*"
    res: int = 128
    json: bool = False

    def __post_init__(self) -> None:
        self._check_number_of("res", "pixels")
        self._make_code_absolute("pattern")


CONFIG = ModelsConfig
POSITIONAL = ("pattern",)
