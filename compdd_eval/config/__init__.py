"""Every default in one place: frozen dataclasses, from which flags, help texts and YAML files follow."""

from compdd_eval.config.benchmark import ExportConfig, InfoConfig, PrepareConfig
from compdd_eval.config.checks import LABEL_KINDS, LAYOUTS, PIXEL_RANGES, digest_of, require
from compdd_eval.config.complexity import ComplexityConfig
from compdd_eval.config.distill import (
    DISTILL_PRESETS,
    DistillConfig,
    ExpertsConfig,
    MatchingConfig,
    MethodsConfig,
    TrainingDataConfig,
)
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.figure import FigureConfig
from compdd_eval.config.protocol import (
    DSA_OPERATIONS,
    DSA_STRATEGY,
    PRESET_SOURCES,
    PRESETS,
    REGIMES,
    Protocol,
    parse_strategy,
)
from compdd_eval.config.reports import TABLE_FORMATS, CompareConfig, LeaderboardConfig, ReportConfig
from compdd_eval.config.selection import SelectConfig
from compdd_eval.config.sets import FORMATS, ConvertConfig, PullConfig, PushConfig, ReadConfig, ValidateConfig
from compdd_eval.config.trials import BenchConfig, DemoConfig, ReproduceConfig, StatusConfig

__all__ = [
    "DISTILL_PRESETS",
    "DSA_OPERATIONS",
    "DSA_STRATEGY",
    "FORMATS",
    "LABEL_KINDS",
    "LAYOUTS",
    "PIXEL_RANGES",
    "PRESETS",
    "PRESET_SOURCES",
    "REGIMES",
    "TABLE_FORMATS",
    "BenchConfig",
    "CompareConfig",
    "ComplexityConfig",
    "ConvertConfig",
    "DemoConfig",
    "DistillConfig",
    "EvaluateConfig",
    "ExpertsConfig",
    "ExportConfig",
    "FigureConfig",
    "InfoConfig",
    "LeaderboardConfig",
    "MatchingConfig",
    "MethodsConfig",
    "PrepareConfig",
    "Protocol",
    "PullConfig",
    "PushConfig",
    "ReadConfig",
    "ReportConfig",
    "ReproduceConfig",
    "SelectConfig",
    "StatusConfig",
    "TrainingDataConfig",
    "ValidateConfig",
    "digest_of",
    "parse_strategy",
    "require",
]
