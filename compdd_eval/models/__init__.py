"""Student networks: a registry of functions, one file a family."""

from compdd_eval.models import convnet  # noqa: F401  (registers its networks)
from compdd_eval.models.registry import create_model, list_models, register_model

__all__ = ["create_model", "list_models", "register_model"]
