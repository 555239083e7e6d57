"""README, guides and card: generated parts do not drift, commands and examples run, links and names exist."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import datasets
import pytest
import torch
import yaml
from huggingface_hub import DatasetCard

import compdd_eval
from compdd_eval import load_comp_dd, random_images
from compdd_eval.commands import COMMANDS
from compdd_eval.data.subsets import load_subset, subset_names
from compdd_eval.distilled.formats.published import save_published
from tests.conftest import ROOT, environment, save_image, served
from tests.support.generated_docs import GUIDES, regenerated
from tests.support.hub_client import Client
from tests.support.hub_stand_in import FakeHub

README = (ROOT / "README.md").read_text(encoding="utf-8")
CARD = (ROOT / "dataset_card.md").read_text(encoding="utf-8")
DOCS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *GUIDES)}
FENCED = r"```.*?```"
# what stands beside our own flags: launchers, pip
FOREIGN_FLAGS = {"multi_gpu", "cpu", "num_processes", "num_machines", "machine_rank", "main_process_ip"}
FOREIGN_FLAGS |= {"main_process_port", "nproc_per_node", "max_restarts", "mixed_precision"}
BIRDS = "--category bird --subset easy"
TINY_STUDENT = "--epoch_eval_train 1 --full_epochs 2 --num_eval 2 --res 32 --model ConvNetD1"
TINY_METHOD = "--preset smoke --res 16 --model ConvNetD1"
TINY_EXPERTS = "--res 16 --model ConvNetD1 --num_experts 1 --epochs 20 --compile never"
TINY_TEACHER = "--res 32 --model ConvNetD1BN --epochs 2"
TINY_BENCH = "--images 1 --side 64 --repeats 1 --res 8 --ipc 1 --model ConvNetD1 --passes 1"
# what commands read, and how it is made
MADE = {
    "my_set_dd": f"convert my_set my_set_dd {BIRDS}",
    "random_set": f"distill random {BIRDS} --ipc 1 --res 32 --output_dir random_set",
    "scores": "complexity --data_path IMAGENET --category bird --model efficientnet-lite0 --output_dir scores",
    "my_subsets": "select scores --output_dir my_subsets",
    "benchmark_edf": "benchmark --sets my_set_dd --configs bird-easy --ipc 1 --output_dir benchmark_edf",
    "experts": f"experts {BIRDS} --output_dir experts",
    "teacher": f"teacher {BIRDS} --output_dir teacher",
    "my_set_views": "relabel my_set_dd --teacher teacher --output_dir my_set_views",
    "out/comp_dd": f"export {BIRDS} --output_dir out/comp_dd",
    "tester/name": "push my_set_dd --repo_id tester/name --results results",
}
MADE["regimes_rded"] = (
    f"evaluate --distilled my_set {BIRDS} --regimes hard,soft,soft+kd --teacher teacher --output_dir regimes_rded"
)
for _name in ("results", "results_edf", "results_datm"):
    MADE[_name] = f"evaluate --distilled my_set {BIRDS} --output_dir {_name}"
STAND_INS = {"USER/NAME": "tester/name", "USER/leaderboard": "tester/board", "USER/comp_dd": "tester/comp_dd"}


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands():
    """Every command of README and guides, once."""
    found = []
    for text in DOCS.values():
        for block in blocks(text, "bash"):
            found += re.sub(r"\\\n\s*", "", block).strip().splitlines()
    return list(dict.fromkeys(found))


def prose(text):
    """A document without its code, pictures and comments."""
    return re.sub(rf"{FENCED}|<!--.*?-->|<img[^>]*>", "", text, flags=re.DOTALL)


def test_generated_parts_are_current():
    """Otherwise: python -m tests.support.generated_docs"""
    for name, text in {**DOCS, "dataset_card.md": CARD}.items():
        assert regenerated(text) == text, name
    assert "music-hard-published" in DOCS["compdd_eval/data/README.md"] and "nine classes" in README


def test_the_readme_is_short():
    text = re.sub(r"\]\([^)]*\)", "]", prose(README))
    assert 1200 <= len([word for word in text.split() if re.search(r"\w", word)]) <= 1500


def test_the_card_is_valid_and_complete():
    data = DatasetCard(CARD).data
    assert [config["config_name"] for config in data.configs] == subset_names()
    infos = datasets.info.DatasetInfosDict.from_dataset_card_data(data)
    for name in subset_names():
        subset = load_subset(name)
        assert infos[name].features["label"].names == subset.label_names
        assert infos[name].features["image"] == datasets.Image(mode="RGB")
        assert {split: info.num_examples for split, info in infos[name].splits.items()} == subset.splits
    assert "dataset-distillation" in data.tags and data.license == "other"


def test_the_card_serves_a_folder_of_parquet_files(tmp_path, drawn, cache):
    """What the YAML says about files is what `datasets` reads."""
    from comp_dd import CompDD

    builder = CompDD(config_name="bird-easy", data_dir=str(drawn), cache_dir=str(cache))
    builder.download_and_prepare()
    for split, data in builder.as_dataset().items():
        (tmp_path / "out/bird-easy").mkdir(parents=True, exist_ok=True)
        data.to_parquet(tmp_path / f"out/bird-easy/{split}-00000-of-00001.parquet")
    (tmp_path / "out/README.md").write_text(CARD)
    loaded = datasets.load_dataset(
        str(tmp_path / "out"), "bird-easy", cache_dir=str(cache), verification_mode="no_checks"
    )
    assert loaded["train"].features == builder.info.features and loaded["train"].num_rows == 120


def runnable(line):
    """CI runs the installations, tests and lint; two machines are not here."""
    elsewhere = ("pip ", "pytest", "ruff ", "export ", "python -m tests.support.generated_docs")
    return not line.startswith(elsewhere) and "--num_machines" not in line


def test_which_commands_are_run():
    left_out = [line for line in commands() if not runnable(line)]
    assert len(left_out) == 8 and len(commands()) - len(left_out) >= 39
    assert left_out[:2] == [
        "pip install -e . && accelerate launch -m compdd_eval demo",
        'pip install -e ".[test]" && pytest',
    ]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory, drawn):
    """The drawn birds, and one image of each class of music-hard."""
    root = tmp_path_factory.mktemp("readme_imagenet")
    for split in ("train", "val"):
        (root / split).mkdir()
        for wnid in (drawn / split).iterdir():
            (root / split / wnid.name).symlink_to(wnid)
    for number, wnid in enumerate(load_subset("music-hard").wnids):
        save_image(root / f"train/{wnid}/{wnid}_1.JPEG", number)
        save_image(root / f"val/{wnid}/ILSVRC2012_val_{number + 1:08}.JPEG", number)
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory, drawn):
    """A folder with `my_set`, and the README's own method."""
    folder = tmp_path_factory.mktemp("readme")
    data = load_comp_dd(drawn, "bird", "easy", (32, 32), cache_dir=folder / "none")
    save_published(random_images(data.dst_train, 1), folder / "my_set")
    torch.save(torch.tensor(0.02), folder / "my_set/lr.pt")
    code = next(block for block in blocks(README, "python") if "@register_method" in block)
    (folder / "pixel_means.py").write_text(code)
    return folder


@pytest.fixture(scope="module")
def client(place, imagenet):
    """A process that runs one command line after another, with the stand-in as its Hub; the birds are prepared."""
    hub = served(FakeHub(), place, HF_DATASETS_CACHE=str(place / "cache"))
    client = Client(place, environment(**next(hub).environment))
    status, _, errors = client("prepare", "--data_path", imagenet, "--category", "bird", "--subset", "easy")
    assert status == 0, errors
    yield client
    client.stop()
    next(hub, None)


def made_tiny(words):
    """Add what makes a command take a second."""
    command = words[0]
    if command in ("evaluate", "benchmark"):
        return [*words, *TINY_STUDENT.split()]
    if command == "relabel":
        return [*words, "--passes", "2"]
    if command == "teacher":
        return [*words, *TINY_TEACHER.split()]
    if command == "experts":
        return [*words, *TINY_EXPERTS.split()]
    if command == "distill":
        steps = ["--syn_steps", "2"] if "--experts" in words or "edf" in words else []
        steps += ["--configs", "bird-easy", "--ipc", "1", "--preset", "smoke"] if "--all" in words else []
        steps += [] if words[1] in ("random", "k-center", "herding") else ["--steps", "2"]
        return [*words, *(TINY_METHOD.split() if words[1] != "random" else []), *steps]
    if command == "complexity":
        category = [] if "--category" in words else ["--category", "bird"]  # all whose candidates are drawn
        return [*words, *category, "--images_per_class", "1"]
    if command == "bench":
        return [*words, *TINY_BENCH.split()]
    return words


def output_of(words):
    """Return the place that a command writes to, or None."""
    for flag in ("--output_dir", "--output"):
        if flag in words:
            return words[words.index(flag) + 1]
    return words[2] if words[0] in ("convert", "pull") else None


def make_inputs(words, place, client, imagenet):
    """Make what a command reads and nobody has made, as other commands of the README do."""
    for word in words:
        name = word.removesuffix("/summary.json")
        if name in MADE and name != output_of(words) and not (place / name).exists():
            needed = MADE[name].replace("IMAGENET", str(imagenet)).split()
            if needed[0] == words[0] == "push":
                continue
            make_inputs(needed, place, client, imagenet)
            status, _, errors = client(*made_tiny(needed))
            assert status == 0, (needed, errors)


def arguments_of(line, imagenet):
    """Return the arguments of `compdd_eval` of a command, on drawn birds."""
    line = line.replace("/path/to/imagenet", str(imagenet)).replace("insect", "bird")
    words = [STAND_INS.get(word, word) for word in shlex.split(line)]
    start = words.index("compdd_eval") + 1 if "compdd_eval" in words else words.index("compdd-eval") + 1
    words = words[start:]
    return words if not words[0].startswith("--") else ["evaluate", *words]


LAUNCHED = [line for line in commands() if runnable(line) and "compdd-eval" not in line and "tests." not in line]
MEASURING = [line for line in commands() if " bench " in line]  # which tests/commands/test_bench.py runs
IN_PROCESS = [line for line in commands() if line.startswith("compdd-eval") and line not in MEASURING]


@pytest.mark.parametrize("line", IN_PROCESS)
def test_commands_run(line, place, imagenet, client):
    words = arguments_of(line, imagenet)
    make_inputs(words, place, client, imagenet)
    if output_of(words):  # another test may have written it, with other settings
        shutil.rmtree(place / output_of(words), ignore_errors=True)
    status, out, errors = client(*made_tiny(words))
    assert status == 0, errors
    assert out.strip()


@pytest.mark.slow
@pytest.mark.parametrize("line", LAUNCHED)
def test_launchers(line, place, imagenet):
    """A process by `accelerate launch`, two by `torchrun`."""
    launcher = {"accelerate": "accelerate.commands.accelerate_cli", "torchrun": "torch.distributed.run"}
    before = shlex.split(line.replace("--multi_gpu", "--cpu --num_processes 1"))
    before = before[: before.index("compdd_eval") + 1]
    changes = {}
    while "=" in before[0]:
        name, _, value = before.pop(0).partition("=")
        changes[name] = value
    command = [sys.executable, "-m", launcher[before[0]], *before[1:]]
    words = [*made_tiny(arguments_of(line, imagenet)), "--data_path", str(imagenet)]
    shutil.rmtree(place / output_of(words), ignore_errors=True)  # another test may have written it, with other settings
    if "benchmark" in words:  # one of the sets is there
        drawn = load_comp_dd(imagenet, "bird-easy", im_size=(32, 32)).dst_train
        random_images(drawn, 1).save(place / "distilled/bird-easy-ipc1")
    done = launched([*command, *words], place, **changes)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


def test_the_short_command(place):
    done = launched([str(Path(sys.executable).with_name("compdd-eval")), "info", "bird-hard"], place)
    assert done.returncode == 0 and "bird-hard" in done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--methods random,mtt --num_experts 1", "mtt"),
        ("--methods random,rded --regimes hard,soft+kd --teacher_model ConvNetD1BN --full_epochs 2", "soft+kd: rded"),
    ],
)
def test_the_smoke_table(place, imagenet, more, said):
    short = "--ipc 1 --num_eval 2 --steps 1 --epoch_eval_train 1 --model ConvNetD1"
    words = ["--data_path", str(imagenet), *BIRDS.split(), "--output_dir", f"smoke {said}", *more.split()]
    done = launched([sys.executable, "-m", "tests.support.smoke_table", *words, *short.split()], place)
    assert done.returncode == 0 and said in done.stdout, (done.stdout, done.stderr)


def launched(command, place, **changes):
    """Run a command in a process of its own."""
    env = environment(HF_DATASETS_CACHE=str(place / "cache"), **changes)
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=600)


def made_small(code, imagenet):
    """Let an example read drawn images, and train a second."""
    code = code.replace("/path/to/imagenet", str(imagenet))
    code = code.replace("insect", "bird").replace("im_size=(128, 128))\nbaseline", "im_size=(32, 32))\nbaseline")
    code = code.replace('model="ConvNetD5", num_eval=3', 'epoch_eval_train=1, num_eval=2, model="ConvNetD1"')
    return code.replace(', output_dir="', ', epoch_eval_train=1, num_eval=1, model="ConvNetD1", output_dir="')


def reads(code):
    """Name what commands make and an example reads."""
    return ["random_set", *(made for made in MADE if re.search(rf'(?<!output_dir=)"{made}"', code))]


@pytest.mark.parametrize("name", [name for name, text in DOCS.items() if blocks(text, "python")])
def test_python_examples_run(name, place, imagenet, client):
    """The examples of a document, one after another."""
    examples = [block for block in blocks(DOCS[name], "python") if "notebook_launcher" not in block]
    # that block is a file of its own, which is run as a plugin
    code = made_small("\n".join(block for block in examples if "@register_method" not in block), imagenet)
    make_inputs(reads(code), place, client, imagenet)
    client.run(code)


def test_the_readme_in_a_notebook(place, imagenet, client):
    """Every example is a cell; no cell prints a warning."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = [made_small(block, imagenet) for block in blocks(README, "python")]
    make_inputs(reads("\n".join(cells)), place, client, imagenet)
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    run = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(place)}})
    places = {name: str(place / "jupyter") for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    run.execute(env=environment(HF_DATASETS_CACHE=str(place / "cache"), **places))
    printed = [output for cell in notebook.cells for output in cell.outputs]
    assert any(output.get("name") == "stdout" for output in printed)
    assert not any(output.output_type == "error" for output in printed)


@pytest.mark.slow
def test_two_processes_from_a_notebook(place, imagenet, client):
    """By the guide's own code, on CPUs: they share the students, and give the accuracies of one process."""
    text = DOCS["compdd_eval/evaluation/README.md"]
    (code,) = (made_small(block, imagenet) for block in blocks(text, "python") if "notebook_launcher" in block)
    make_inputs(reads(code), place, client, imagenet)
    code = code.replace("num_eval=1", "num_eval=2")
    done = launched([sys.executable, "-c", code], place, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    single = code.replace("notebook_launcher(train, num_processes=2)", "train()").replace("notebook", "single")
    done = launched([sys.executable, "-c", single.partition("\n")[2]], place, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    both = [json.loads((place / f"results_{kind}/summary.json").read_text()) for kind in ("notebook", "single")]
    assert both[0]["results"][0]["accuracies"] == both[1]["results"][0]["accuracies"]
    assert len(both[0]["results"][0]["accuracies"]) == 2


def test_the_picture_exists():
    pictures = re.findall(r'src="([^"]+)"', "".join(DOCS.values()))
    assert pictures == [".gallery/demo.png"]
    assert os.listdir(ROOT / ".gallery") == ["demo.png"]
    assert (ROOT / pictures[0]).stat().st_size < 100_000


def anchors(text):
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", re.sub(FENCED, "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCS)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(FENCED, "", DOCS[name], flags=re.DOTALL)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), target
        assert not anchor or anchor in anchors(found.read_text(encoding="utf-8")), target


def test_every_guide_is_linked():
    for path in GUIDES:
        assert f"]({path.relative_to(ROOT)})" in README


def test_public_names_are_listed():
    text = DOCS["compdd_eval/evaluation/README.md"]
    listed = re.search(r"Also importable from `compdd_eval`: (.*?)\.\n\n", text, flags=re.DOTALL)[1]
    in_examples = {"__version__", "EvaluateConfig", "evaluate", "load_comp_dd", "random_images"}
    assert set(re.findall(r"`(\w+)`", listed)) | in_examples == set(compdd_eval.__all__)


def test_names_in_the_docs_exist():
    """Functions, classes and attributes that are named, and every flag."""
    files = [ROOT / "comp_dd.py", *(ROOT / "compdd_eval").rglob("*.py")]
    ours = {word for path in files for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}
    configs = [import_module(f"compdd_eval.config.{name}").CONFIG for name in COMMANDS]
    flags = {field.name for config in configs for field in fields(config)} | {"config", "print_config", "help", "json"}
    for name, text in DOCS.items():
        code = re.findall(r"`([^`\n]+)`", prose(text))
        called = {found for part in code for found in re.findall(r"\b([A-Za-z_]\w*)\(", part)}
        camel = {part for part in code if re.fullmatch(r"(?:[A-Z][a-z]+){2,}", part)}
        assert called | camel <= ours, (name, (called | camel) - ours)
        unknown = set(re.findall(r"(?<![\w-])--(\w+)", " ".join([*code, *blocks(text, "bash")]))) - flags
        assert unknown <= FOREIGN_FLAGS | {"check", "version"}, (name, unknown)


def test_yaml_header_parses():
    assert yaml.safe_load(CARD.split("---\n")[1])["pretty_name"] == "Comp-DD"
