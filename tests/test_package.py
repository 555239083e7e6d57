"""The package as users get it: a wheel installed elsewhere, an editable install, a checkout."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment, python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    skip = shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__", "tests", "results", "demo_results")
    shutil.copytree(ROOT, folder / "source", ignore=skip, symlinks=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "./source"]
    subprocess.run(command, check=True, cwd=folder)
    return next(folder.glob("*.whl"))


def test_the_wheel_has_all_and_no_package_called_subsets(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"comp_dd.py", "compdd_eval"}
    lists = {path.relative_to(ROOT / "subsets").as_posix() for path in (ROOT / "subsets").rglob("*.*")}
    assert {name.removeprefix("compdd_eval/_subsets/") for name in names if "/_subsets/" in name} == lists
    assert len(lists) == 16 + 2 + 7
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "compdd_eval").rglob("*.py")}
    assert modules <= set(names) and "compdd_eval/_dataset_card.md" in names


def test_the_wheel_installed_elsewhere(wheel, tmp_path, drawn):
    """Without this checkout on the path, from another folder."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True)
    code = "import compdd_eval.subsets as s, comp_dd; n = len(s.load_subset('dog-hard').classes)"
    code += "; print(s.subsets_dir(), comp_dd.__file__, n)"
    done = python("-c", code, cwd=tmp_path, PYTHONPATH=str(site))
    assert done.stdout.split() == [str(site / "compdd_eval/_subsets"), str(site / "comp_dd.py"), "10"], done.stderr
    arguments = ["prepare", "--data_path", drawn, "--category", "bird", "--subset", "easy"]
    places = {"PYTHONPATH": str(site), "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = python(site / "bin/compdd-eval", *arguments, cwd=tmp_path, **places)
    assert done.returncode == 0 and "bird-easy" in done.stdout, done.stderr
    done = python(site / "bin/compdd-eval", "--category", "brid", cwd=tmp_path, **places)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_a_checkout_works_without_installing(tmp_path):
    code = "import compdd_eval.subsets as s; print(s.subsets_dir())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert Path(done.stdout.strip()).samefile(ROOT / "subsets")


def test_folders_of_our_names_in_the_working_directory(tmp_path):
    """An installation, editable or not, wins over folders that are called like our modules."""
    for name in ("comp_dd", "compdd_eval", "subsets"):
        (tmp_path / name).mkdir()
    done = python("-m", "compdd_eval", "--version", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("compdd_eval "), done.stderr
    done = python("-c", "import compdd_eval.data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_every_dependency_has_a_lowest_version():
    """CI installs what this script prints; a bound that it cannot take would go untested."""
    done = subprocess.run([sys.executable, ROOT / ".ci/lowest.py"], capture_output=True, text=True, check=True)
    printed = done.stdout.splitlines()
    names = {re.split(r"\[|==", line)[0] for line in printed}
    text = (ROOT / "setup.cfg").read_text()
    asked = re.search(r"install_requires =\n((?: {4}.*\n)+)", text)[1].splitlines()
    assert {re.match(r" *([\w-]+)", line)[1] for line in asked} <= names and {"timm", "torchcam"} <= names
    assert all(re.fullmatch(r"[\w-]+(\[signatures\])?==\d+(\.\d+)+", line) for line in printed), printed
    assert len(names) == len(printed)


def test_a_module_imports_only_from_lower_layers():
    """The direction of data; heavy imports inside functions count, too."""
    layers = [
        {
            "errors",
            "hub_errors",
            "files",
            "synsets",
            "subset_files",
            "subsets",
            "config",
            "labels",
            "statistics",
            "results",
            "console",
            "user_code",
            "code_digest",
            "user_networks",
            "__init__",
        },
        {
            "sources",
            "preprocess",
            "whitening",
            "scores",
            "cache",
            "build_log",
            "workers",
            "processes",
            "drawn_imagenet",
        },
        {"comp_dd"},
        {
            "data",
            "models",
            "augment",
            "completeness",
            "card",
            "hub_results",
            "public_results",
            "student_card",
            "prepare",
            "info",
            "label_order",
            "run_file",
            "result_files",
            "speed",
            "stack",
        },
        {"train", "export", "bench_data", "bench_plain", "bench_worker", "bench_train", "bench_scaling", "decoded"},
        {"hub", "selection", "selection_check", "selection_input"},
        {"distilled"},
        {"weights"},
        {"baselines", "reports", "complexity", "exchange", "set_checks", "evaluated_set"},
        {"evaluation", "validate", "bench_complexity", "student_repository"},
        {"demo", "distill", "grid", "status", "reproduce"},
        {"commands"},
        {"__main__"},
    ]
    level = {name: number for number, names in enumerate(layers) for name in names}
    for path in [ROOT / "comp_dd.py", *(ROOT / "compdd_eval").rglob("*.py")]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        own = parts[1] if len(parts) > 1 else parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                pieces = name.split(".")
                if pieces[0] not in ("compdd_eval", "comp_dd"):
                    continue
                other = "comp_dd" if pieces[0] == "comp_dd" else next((p for p in pieces[1:] if p in level), "__init__")
                assert level[other] <= level[own], f"{path.name} imports {name}"


def test_small_functions_and_modules():
    lengths = []
    for path in [ROOT / "comp_dd.py", *(ROOT / "compdd_eval").rglob("*.py")]:
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lengths.append((node.end_lineno - node.lineno + 1, f"{path.name}:{node.name}"))
    lengths.sort()
    assert lengths[-1][0] <= 80, lengths[-1]
    assert lengths[int(0.9 * len(lengths))][0] <= 40
