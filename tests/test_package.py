"""The package as users get it: a wheel installed elsewhere, an editable install, a checkout."""

import ast
import configparser
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
    (folder / "source").mkdir()
    for name in ("comp_dd.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "dataset_card.md"):
        shutil.copy(ROOT / name, folder / "source")
    for name in ("compdd_eval", "subsets"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignore, symlinks=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "./source"]
    subprocess.run(command, check=True, cwd=folder)
    return next(folder.glob("*.whl"))


def test_the_wheel_has_all_and_no_package_called_subsets(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"comp_dd.py", "compdd_eval"}
    lists = {path.relative_to(ROOT / "subsets").as_posix() for path in (ROOT / "subsets").rglob("*.*")}
    assert {name.removeprefix("compdd_eval/data/_subsets/") for name in names if "/_subsets/" in name} == lists
    assert len(lists) == 16 + 2 + 7
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "compdd_eval").rglob("*.py")}
    assert modules <= set(names) and {"compdd_eval/data/_dataset_card.md", "compdd_eval/py.typed"} <= set(names)


def test_the_wheel_installed_elsewhere(wheel, tmp_path, drawn):
    """Without this checkout on the path, from another folder."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True)
    code = "import compdd_eval.data.subsets as s, comp_dd; n = len(s.load_subset('dog-hard').classes)"
    code += "; print(s.subsets_dir(), comp_dd.__file__, n)"
    done = python("-c", code, cwd=tmp_path, PYTHONPATH=str(site))
    assert done.stdout.split() == [str(site / "compdd_eval/data/_subsets"), str(site / "comp_dd.py"), "10"], done.stderr
    arguments = ["prepare", "--data_path", drawn, "--category", "bird", "--subset", "easy"]
    places = {"PYTHONPATH": str(site), "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = python(site / "bin/compdd-eval", *arguments, cwd=tmp_path, **places)
    assert done.returncode == 0 and "bird-easy" in done.stdout, done.stderr
    done = python(site / "bin/compdd-eval", "--category", "brid", cwd=tmp_path, **places)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_a_checkout_works_without_installing(tmp_path):
    code = "import compdd_eval.data.subsets as s; print(s.subsets_dir())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert Path(done.stdout.strip()).samefile(ROOT / "subsets")


def test_folders_of_our_names_in_the_working_directory(tmp_path):
    """An installation, editable or not, wins over folders that are called like our modules."""
    for name in ("comp_dd", "compdd_eval", "subsets"):
        (tmp_path / name).mkdir()
    done = python("-m", "compdd_eval", "--version", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("compdd_eval "), done.stderr
    done = python("-c", "import compdd_eval.data.splits", cwd=tmp_path)
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


OF_TORCH = {"triton"}  # comes with builds of torch for GPUs
IMPORTED_AS = {"pillow": "PIL", "pyyaml": "yaml"}  # where that is not the name of the package with "_" for "-"


def test_every_import_is_declared():
    """What the package imports is what setup.cfg asks for, and nothing is asked for that it does not import."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = dict(config["options.extras_require"])
    del extras["test"]
    texts = [config["options"]["install_requires"], *extras.values()]
    asked = {re.match(r"[\w-]+", line)[0] for text in texts for line in text.split("\n") if line}
    declared = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in asked}
    imported = set()
    for path in [ROOT / "comp_dd.py", *(ROOT / "compdd_eval").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {module.partition(".")[0] for module in modules}
    others = imported - set(sys.stdlib_module_names) - {"compdd_eval", "comp_dd"}
    assert others - OF_TORCH <= declared
    assert declared - others == {"tensorboard", "trackio", "wandb"}  # Accelerate imports these trackers


def test_bars_are_for_terminals_and_notebooks(tmp_path):
    """`tqdm.auto` chooses; in a terminal it says nothing of widgets."""
    for path in (ROOT / "compdd_eval").rglob("*.py"):
        assert not re.search(r"from tqdm import|^ *import tqdm", path.read_text(encoding="utf-8"), re.M), path
    done = python("-W", "error", "-c", "from compdd_eval.utils.console import tqdm; list(tqdm([1]))", cwd=tmp_path)
    assert done.returncode == 0 and "IProgress" not in done.stderr and "100%" in done.stderr, done.stderr
