"""List the distillation methods."""

from compdd_eval.config.distill import DISTILL_PRESETS
from compdd_eval.config.methods import MethodsConfig
from compdd_eval.methods.registry import Method, find_method, list_methods, load_plugin
from compdd_eval.utils.console import print_json, print_table


def run(config: MethodsConfig) -> None:
    """Print all methods, or one with its settings, for an IPC and a subset.

    Raises:
        InputError: There is no such method, or a plugin that fails.
    """
    if config.plugin is not None:
        load_plugin(config.plugin)
    methods = list_methods() if config.name is None else [find_method(config.name)]
    content = [_content(method, config) for method in methods]
    if config.json:
        print_json(content)
    elif config.name is None:
        rows = [[entry[name] or "-" for name in ("name", "title", "paper", "cost", "needs")] for entry in content]
        print_table("Distillation methods", ["method", "", "paper", "cost", "needs"], rows)
        print("settings of one: python -m compdd_eval methods NAME --ipc 10")
    else:
        _print_method(content[0])
        if note := methods[0].settings_note(config.subset_name):
            print(note)


def _content(method: Method, config: MethodsConfig) -> dict[str, object]:
    """Return what a method is, as JSON can hold it."""
    names = ("name", "title", "paper", "cost", "needs", "selects", "shared")
    presets = {
        method.preset_name(preset): method.settings(preset, config.ipc, config.subset_name)
        for preset in DISTILL_PRESETS
    }
    shown = {"ipc": config.ipc, "settings_of": method.whose_settings(config.subset_name), "presets": presets}
    return {name: getattr(method, name) for name in names} | shown


def _print_method(entry: dict[str, object]) -> None:
    facts = [[name, entry[name] or "-"] for name in ("title", "paper", "cost", "needs")]
    facts.append(["several processes", "share each step" if entry["shared"] else "do the same"])
    print_table(entry["name"], ["", ""], facts)
    presets = entry["presets"]
    names = next(iter(presets.values()))
    rows = [[f"--{name}", *(_shown(values[name]) for values in presets.values())] for name in names]
    print_table(f"settings for IPC {entry['ipc']}", ["", *(f"{preset}>" for preset in presets)], rows)


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
