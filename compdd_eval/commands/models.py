"""List the students."""

from compdd_eval.config.models import ModelsConfig
from compdd_eval.config.network_names import is_user_network
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.models.cost import count_parameters, smallest_resolution
from compdd_eval.models.registry import is_listed, list_models
from compdd_eval.utils.console import print_json, print_table
from compdd_eval.utils.errors import InputError, unknown


def run(config: ModelsConfig) -> None:
    """Print a table, or JSON.

    For each its `name`, `parameters` (None where it cannot take images of `resolution`), `resolution` and
    `smallest_resolution` (None for networks that are not ours).

    Raises:
        InputError: No network has such a name.
    """
    content = [_content(name, config.res) for name in _names(config.pattern)]
    if config.json:
        print_json(content)
        return
    rows = [[e["name"], _shown(e["parameters"], ","), _shown(e["smallest_resolution"])] for e in content]
    print_table(f"Students for images of {config.res} px", ["student", "parameters>", "smallest images in px>"], rows)


def _names(pattern: str) -> list[str]:
    if ":" in pattern or is_user_network(pattern):
        return [pattern]
    names = list_models(pattern)
    if not names:
        raise unknown("model", pattern, list_models())
    return names


def _content(name: str, res: int) -> dict[str, object]:
    smallest = smallest_resolution(name) if is_listed(name) else None
    try:
        parameters = count_parameters(name, NUM_CLASSES, (res, res))
    except InputError:
        if smallest is None or res >= smallest:
            raise
        parameters = None
    return {"name": name, "parameters": parameters, "resolution": res, "smallest_resolution": smallest}


def _shown(value: int | None, form: str = "") -> str:
    return "-" if value is None else format(value, form)
