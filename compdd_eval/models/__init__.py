"""Student networks: a registry of functions, one file a family; libraries' and users' own beside them."""

from compdd_eval.models import (  # noqa: F401  (they register their networks)
    alexnet,
    convnet,
    lenet,
    mlp,
    resnet,
    timm_models,
    torchvision_models,
    vgg,
)
from compdd_eval.models.cost import count_flops
from compdd_eval.models.pools import EVAL_MODES, eval_pool
from compdd_eval.models.registry import create_model, find_model, is_listed, list_models, register_model

__all__ = [
    "EVAL_MODES",
    "count_flops",
    "create_model",
    "eval_pool",
    "find_model",
    "is_listed",
    "list_models",
    "register_model",
]
