"""Comp-DD: evaluate distilled datasets on complex scenes. Importing this is cheap; names are loaded when used."""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "DistilledSet": "compdd_eval.distilled",
    "EvaluateConfig": "compdd_eval.config",
    "InputError": "compdd_eval.errors",
    "ReadConfig": "compdd_eval.config",
    "complexity_from_maps": "compdd_eval.complexity.measure",
    "create_model": "compdd_eval.models",
    "diff_augment": "compdd_eval.augment",
    "evaluate": "compdd_eval.evaluation",
    "list_models": "compdd_eval.models",
    "load_comp_dd": "compdd_eval.data",
    "random_images": "compdd_eval.baselines",
    "read_distilled": "compdd_eval.distilled",
    "save_published": "compdd_eval.distilled",
    "soft_cross_entropy": "compdd_eval.train",
    "train_student": "compdd_eval.train",
}
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
