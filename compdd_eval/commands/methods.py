"""List the distillation methods."""

from compdd_eval.config import MethodsConfig

CONFIG = MethodsConfig
POSITIONAL = ("name",)


def run(config: MethodsConfig) -> None:
    """Print all methods, or one with its settings."""
    from compdd_eval.baselines.overview import methods_content, print_methods
    from compdd_eval.console import print_json

    content = methods_content(config)
    if config.json:
        print_json(content)
    else:
        print_methods(config, content)
