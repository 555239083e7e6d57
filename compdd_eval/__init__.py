"""Comp-DD: evaluate distilled datasets on complex scenes. Importing this is cheap; names are loaded when used."""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "ByIPC": "compdd_eval.methods.registry",
    "DistillConfig": "compdd_eval.config.distill",
    "DistilledSet": "compdd_eval.distilled.set",
    "EvaluateConfig": "compdd_eval.config.evaluate",
    "Evaluator": "compdd_eval.evaluation.evaluator",
    "InputError": "compdd_eval.utils.errors",
    "Job": "compdd_eval.methods.job",
    "Protocol": "compdd_eval.config.protocol",
    "ReadConfig": "compdd_eval.config.reading",
    "RelabelConfig": "compdd_eval.config.relabel",
    "Score": "compdd_eval.evaluation.score",
    "SharpnessAware": "compdd_eval.methods.sharpness_aware",
    "Synthetic": "compdd_eval.methods.job",
    "accuracy": "compdd_eval.training.predict",
    "compare": "compdd_eval.reports.compare.compare",
    "complexity_from_maps": "compdd_eval.complexity.measure",
    "create_model": "compdd_eval.models.registry",
    "diff_augment": "compdd_eval.training.augment",
    "distill": "compdd_eval.methods.distill",
    "enhancement_factors": "compdd_eval.methods.edf_maps",
    "evaluate": "compdd_eval.evaluation.evaluate",
    "feature_distance": "compdd_eval.methods.dm",
    "gradient_distance": "compdd_eval.methods.dc",
    "list_methods": "compdd_eval.methods.registry",
    "list_models": "compdd_eval.models.registry",
    "load_comp_dd": "compdd_eval.data.splits",
    "match_trajectory": "compdd_eval.methods.student_steps",
    "random_images": "compdd_eval.distilled.random_images",
    "read_distilled": "compdd_eval.distilled.set",
    "register_method": "compdd_eval.methods.registry",
    "register_model": "compdd_eval.models.registry",
    "relabel": "compdd_eval.evaluation.relabel",
    "report": "compdd_eval.reports.report.write",
    "save_published": "compdd_eval.distilled.formats.published",
    "soft_cross_entropy": "compdd_eval.training.losses",
    "soft_labels_of_experts": "compdd_eval.methods.trajectory_matching",
    "train_student": "compdd_eval.training.train",
    "validate": "compdd_eval.distilled.validate",
}
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
