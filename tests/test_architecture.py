"""The layout of the package: twelve packages, each of which imports only those before it."""

import ast
import graphlib
import subprocess
from functools import cache
from importlib import import_module

import pytest

from compdd_eval.commands import COMMANDS
from compdd_eval.data.choices import LAYOUTS
from compdd_eval.methods.registry import list_methods
from tests.conftest import ROOT, python

PACKAGE = ROOT / "compdd_eval"
# each may import what stands before it, and nothing after it; comp_dd.py, the builder, stands with `data`
ORDER = (
    "utils",
    "data",
    "config",
    "models",
    "training",
    "results",
    "distilled",
    "complexity",
    "evaluation",
    "methods",
    "reports",
    "commands",
)
FILES = [ROOT / "comp_dd.py", *sorted(PACKAGE.rglob("*.py"))]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


@cache
def imports() -> dict[str, set[str]]:
    """Each module -> the modules of ours that it imports, at its top or inside a function."""
    found = {}
    for name, path in MODULES.items():
        targets = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports of ours are absolute"
                parts = [f"{node.module}.{alias.name}" for alias in node.names]
                targets |= {part if part in MODULES else node.module for part in parts}
            elif isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
        found[name] = {target for target in targets if target in MODULES}
    return found


def level(name: str) -> int:
    """The place of a module in the order; `compdd_eval` itself, which holds the version alone, comes first."""
    parts = name.split(".")
    if name == "comp_dd":
        return ORDER.index("data")
    if name == "compdd_eval":
        return -1
    return len(ORDER) if parts[1] in ("__main__", "compat") else ORDER.index(parts[1])


def test_the_top_level():
    names = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert names == {*ORDER, "__init__.py", "__main__.py", "compat.py", "py.typed"}
    every = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    ours = {"comp_dd.py", "compdd_eval", "subsets", "tests", "setup.cfg", "pyproject.toml", "LICENSE"}
    ours |= {"README.md", "dataset_card.md"}
    assert ours <= every
    if (ROOT / ".git").exists():  # what commands leave beside it is not ours, what is committed is
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert {path.partition("/")[0] for path in listed.splitlines() if not path.startswith(".")} == ours


def test_imports_go_down():
    for name, targets in imports().items():
        for target in targets:
            assert level(target) <= level(name), f"{name} imports {target}"
            assert target != "comp_dd" or name.startswith("compdd_eval.commands."), f"{name} imports the builder"


def test_no_circles():
    list(graphlib.TopologicalSorter(imports()).static_order())  # CycleError names the files


def test_a_command_is_a_file():
    for name in COMMANDS:
        settings = import_module(f"compdd_eval.config.{name}")
        assert settings.CONFIG.__module__ == settings.__name__
        assert callable(import_module(f"compdd_eval.commands.{name}").run), name


def test_a_method_is_a_file():
    ours = [method for method in list_methods() if method.is_ours]
    assert len(ours) == 11  # a plugin of another test may be there, too
    for method in ours:
        assert method.run.__module__ == f"compdd_eval.methods.{method.name.replace('-', '_')}"


def test_a_layout_is_a_file():
    names = {layout.replace("-", "_").replace("imagefolder", "image_folder") for layout in LAYOUTS} - {"auto"}
    assert names <= {path.stem for path in (PACKAGE / "data/imagenet").iterdir()}


def test_packages_compute_and_commands_print():
    """Beside the commands: tables of a run that go on while it trains, and a table that is a format of its own."""
    printing = set()
    for name, path in MODULES.items():
        called = {node.func.id for node in ast.walk(ast.parse(path.read_text())) if is_call(node)}
        if called & {"print", "print_table", "print_json"}:
            printing.add(name)
    others = {name for name in printing if not name.startswith("compdd_eval.commands")}
    assert others == {
        "compdd_eval.__main__",
        "compdd_eval.utils.console",
        "compdd_eval.evaluation.tables",
        "compdd_eval.evaluation.grid",
        "compdd_eval.reports.compare.table_formats",
    }


def test_no_name_means_two_things():
    """A public function or class is defined once; but for what a command, or a kind of `bench`, has by agreement."""
    homes = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name)
    twice = {name: found for name, found in homes.items() if len(found) > 1 and name != "run"}
    assert {name for name in twice if not all(".commands.bench." in home for home in twice[name])} == set(), twice


def is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


@pytest.mark.parametrize("name", ["compdd_eval", *(f"compdd_eval.{package}" for package in ORDER)])
def test_importing_a_package_imports_no_torch(name, tmp_path):
    """`__init__.py` holds a sentence, and names that are loaded when used."""
    body = ast.parse(MODULES[name].read_text(encoding="utf-8")).body
    if name not in ("compdd_eval", "compdd_eval.commands"):
        assert len(body) == 1 and isinstance(body[0], ast.Expr), name
    done = python("-c", f"import sys, {name}; print('torch' in sys.modules)", cwd=tmp_path)
    assert done.stdout.strip() == "False", done.stderr


def test_small_functions_and_modules():
    lengths = []
    for path in [ROOT / "comp_dd.py", *(ROOT / "compdd_eval").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lengths.append((node.end_lineno - node.lineno + 1, f"{path.name}:{node.name}"))
    lengths.sort()
    assert lengths[-1][0] <= 80, lengths[-1]
    assert lengths[int(0.9 * len(lengths))][0] <= 40
