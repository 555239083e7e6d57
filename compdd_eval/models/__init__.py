"""Student networks: a registry of functions, one file a family; those of torchvision and timm by their names."""

from compdd_eval.models import classic, convnet, resnet, vgg  # noqa: F401  (register their networks)
from compdd_eval.models.cost import count_flops
from compdd_eval.models.pools import EVAL_MODES, eval_pool
from compdd_eval.models.registry import create_model, list_models, register_model

__all__ = ["EVAL_MODES", "count_flops", "create_model", "eval_pool", "list_models", "register_model"]
