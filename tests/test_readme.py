"""README and card: generated parts do not drift, commands run, links and names exist."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields

import datasets
import pytest
import torch
import yaml
from huggingface_hub import DatasetCard

import compdd_eval
from compdd_eval import load_comp_dd, random_images
from compdd_eval.commands.export import export
from compdd_eval.config.bench import BenchConfig
from compdd_eval.config.compare import CompareConfig
from compdd_eval.config.complexity import ComplexityConfig
from compdd_eval.config.convert import ConvertConfig
from compdd_eval.config.distill import DistillConfig
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.experts import ExpertsConfig
from compdd_eval.config.export import ExportConfig
from compdd_eval.config.figure import FigureConfig
from compdd_eval.config.info import InfoConfig
from compdd_eval.config.leaderboard import LeaderboardConfig
from compdd_eval.config.methods import MethodsConfig
from compdd_eval.config.pull import PullConfig
from compdd_eval.config.push import PushConfig
from compdd_eval.config.report import ReportConfig
from compdd_eval.config.select import SelectConfig
from compdd_eval.config.validate import ValidateConfig
from compdd_eval.data.subsets import load_subset, subset_names
from compdd_eval.distilled.formats.published import save_published
from tests.conftest import ROOT, environment
from tests.support.generated_docs import regenerated

README = (ROOT / "README.md").read_text(encoding="utf-8")
CARD = (ROOT / "dataset_card.md").read_text(encoding="utf-8")
SHORT = ["--epoch_eval_train", "1", "--full_epochs", "2", "--num_eval", "1", "--model", "ConvNetD5"]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_generated_parts_are_current():
    """Otherwise: python -m tests.support.generated_docs"""
    assert regenerated(README) == README
    assert regenerated(CARD) == CARD
    assert "music-hard-published" in README and "nine classes" in README


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


def commands():
    found = []
    for block in blocks("bash"):
        found += re.sub(r"\\\n\s*", "", block).strip().splitlines()
    return found


def runnable(line):
    """CI runs the two installations as they are; `--multi_gpu` needs several GPUs."""
    return not line.startswith(("pip ", "export ")) and "--multi_gpu" not in line


def test_which_commands_are_run():
    left_out = [line for line in commands() if not runnable(line)]
    assert len(left_out) == 5 and len(commands()) - len(left_out) == 39
    assert left_out[:2] == [
        "pip install -e . && accelerate launch -m compdd_eval demo",
        'pip install -e ".[test]" && pytest',
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory, drawn):
    """A folder with `my_set`, and caches of its own."""
    folder = tmp_path_factory.mktemp("readme")
    data = load_comp_dd(drawn, "bird", "easy", (128, 128), cache_dir=folder / "none")
    save_published(random_images(data.dst_train, 1), folder / "my_set")
    torch.save(torch.tensor(0.02), folder / "my_set/lr.pt")
    return folder


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory, drawn):
    """The drawn birds, and one image of each class of music-hard."""
    from tests.conftest import save_image

    root = tmp_path_factory.mktemp("readme_imagenet")
    for split in ("train", "val"):
        (root / split).mkdir()
        for wnid in (drawn / split).iterdir():
            (root / split / wnid.name).symlink_to(wnid)
    for number, wnid in enumerate(load_subset("music-hard").wnids):
        save_image(root / f"train/{wnid}/{wnid}_1.JPEG", number)
        save_image(root / f"val/{wnid}/ILSVRC2012_val_{number + 1:08}.JPEG", number)
    return root


def make_distilled(place, hub, pushed, with_results):
    """Make what the README converts, and send it to the stand-in, with its results where they are asked for."""
    calls = []
    if not (place / "distilled").exists():
        calls.append(["convert", "my_set", "distilled", "--category", "bird", "--subset", "easy"])
    if pushed:
        calls.append(["push", "distilled", "--repo_id", "tester/name", *(["--results", "results"] * with_results)])
    for arguments in calls:
        command = [sys.executable, "-m", "compdd_eval", *arguments]
        subprocess.run(command, cwd=place, env=environment(**hub.environment), check=True, capture_output=True)


def make_scores(place, imagenet, also_subsets):
    """Make what the README selects from, draws and evaluates on."""
    calls = []
    if not (place / "scores/classes.csv").exists():
        source = ["--data_path", str(imagenet), "--model", "efficientnet-lite0", "--method", "gradcam"]
        calls.append(["complexity", *source, "--category", "bird", "--images_per_class", "1"])
        calls[-1] += ["--output_dir", "scores"]
    if also_subsets and not (place / "my_subsets").exists():
        calls.append(["select", "scores", "--output_dir", "my_subsets"])
    for arguments in calls:
        command = [sys.executable, "-m", "compdd_eval", *arguments]
        subprocess.run(command, cwd=place, env=environment(), check=True, capture_output=True)


TRAINED = ["--res", "16", "--model", "ConvNetD1", "--num_experts", "1", "--epochs", "20", "--compile", "never"]


def distilling(words, place, imagenet):
    """Return what makes a distillation of the README short; make the experts that it matches."""
    if "tests.support.smoke_table" in words:
        short = ["--methods", "random,mtt", "--ipc", "1", "--num_experts", "1", "--num_eval", "2"]
        return [*short, "--category", "bird", "--steps", "1", "--epoch_eval_train", "1"]
    if "distill" not in words:
        return TRAINED
    if "--experts" in words and not (place / "experts/experts.json").exists():
        made = ["experts", "--data_path", str(imagenet), "--category", "bird", "--subset", "easy"]
        command = [sys.executable, "-m", "compdd_eval", *made, *TRAINED]
        subprocess.run(command, cwd=place, env=environment(), check=True, capture_output=True)
    return ["--preset", "smoke", "--steps", "2", "--res", "16", "--model", "ConvNetD1"]


def marked(line):
    """Through launchers, and what trains or measures at length, commands take too long for every day."""
    takes_long = not line.startswith("python ") or " bench " in line or "smoke_table" in line
    return pytest.param(line, marks=pytest.mark.slow if takes_long else ())


@pytest.mark.parametrize("line", [marked(line) for line in commands() if runnable(line)])
def test_commands_run(line, place, imagenet, hub):
    line = line.replace("/path/to/imagenet", str(imagenet))
    words = shlex.split(line)
    changes = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        changes[name] = value
    if "experts" in words[:5] or "distill" in words or "tests.support.smoke_table" in words:
        words += distilling(words, place, imagenet)
    elif "complexity" in words and "bench" not in words:
        words += ["--images_per_class", "1", "--overwrite"]
        words += [] if "--category" in words else ["--category", "bird"]  # all whose candidates are drawn
    elif "--data_dir" in words or "--distilled" in words:
        words += SHORT
    elif "bench" in words:
        words += ["--images", "1", "--side", "64", "--repeats", "1"]
        words += ["--res", "8", "--ipc", "1", "--model", "ConvNetD1", "--passes", "1"]
    elif "export" in words or "--benchmark" in words:  # each of them runs alone here
        export(
            ExportConfig(str(imagenet), "bird", cache_dir=str(place / "cache"), output_dir=str(place / "out/comp_dd"))
        )
        changes |= hub.environment
    looked = {"status", "reproduce", "report", "compare", "leaderboard"}
    if looked & set(words) and not (place / "results/summary.json").exists():
        evaluated = ["--data_path", str(imagenet), "--category", "bird", "--subset", "easy", "--distilled", "my_set"]
        command = [sys.executable, "-m", "compdd_eval", *evaluated, *SHORT]
        subprocess.run(command, cwd=place, env=environment(), check=True, capture_output=True)
    if "convert" not in words and {"USER/NAME", "my_set_dd"} & set(words):
        make_distilled(place, hub, "push" not in words, with_results="leaderboard" in words)
        changes |= hub.environment
        names = {"USER/NAME": "tester/name", "my_set_dd": f"{place}/distilled", "USER/leaderboard": "tester/board"}
        words = [names.get(word, word) for word in words]
    if "compare" in words:
        for method in ("results_edf", "results_datm"):
            shutil.copytree(place / "results", place / method)
    if "select" in words or "scores" in words[-1:] or "--subsets_dir" in words:
        make_scores(place, imagenet, "--subsets_dir" in words)
    if "select" in words and "--check" not in words:
        words.append("--overwrite")
    words = [str(ROOT / word) if word.startswith("tests/") else word for word in words]
    launchers = {
        "python": [sys.executable],
        "accelerate": [sys.executable, "-m", "accelerate.commands.accelerate_cli"],
        "torchrun": [sys.executable, "-m", "torch.distributed.run"],
    }
    command = [*launchers[words[0]], *words[1:]] if words[0] in launchers else [sys.executable, "-m", *words]
    env = environment(HF_DATASETS_CACHE=str(place / "cache"), **changes)
    if "--benchmark" in words:
        command[command.index("USER/comp_dd")] = "tester/comp_dd"
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_python_examples_run(place, imagenet, cache):
    """The examples, one after another, as the README has them."""
    subprocess.run(
        [sys.executable, "-m", "compdd_eval", "prepare", "--data_path", str(imagenet), "--category", "bird"],
        check=True,
        cwd=place,
        env=environment(HF_DATASETS_CACHE=str(cache)),
        capture_output=True,
    )
    code = "\n".join(blocks("python")).replace("/path/to/imagenet", str(imagenet))
    code = code.replace('subset="easy", output_dir', 'subset="easy", epoch_eval_train=1, num_eval=1, output_dir')
    env = environment(HF_DATASETS_CACHE=str(cache))
    done = subprocess.run([sys.executable, "-c", code], cwd=place, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "flamingo" in done.stdout


def test_pictures_and_anchors_exist():
    pictures = re.findall(r'src="([^"]+)"', README)
    assert len(pictures) == 5 and all((ROOT / name).stat().st_size < 100_000 for name in pictures)
    headings = {
        re.sub(r"[^\w -]", "", line[3:].lower()).replace(" ", "-") for line in README.splitlines() if line[:3] == "## "
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", README)) <= headings


def test_names_in_the_readme_exist():
    line = README[README.index("Also importable:") :].splitlines()
    for name in re.findall(r"`(\w+)`", " ".join(line[:2])):
        assert name in compdd_eval.__all__, name
    flags = set(re.findall(r"`--(\w+)", README)) - {"machine_rank"}
    configs = (EvaluateConfig, ExportConfig, PushConfig, PullConfig, InfoConfig, ValidateConfig, ConvertConfig)
    configs += (ComplexityConfig, SelectConfig, FigureConfig, BenchConfig)
    configs += (ReportConfig, CompareConfig, LeaderboardConfig, DistillConfig, ExpertsConfig, MethodsConfig)
    known = {field.name for config in configs for field in fields(config)} | {"config", "print_config"}
    assert flags <= known, flags - known


def test_yaml_header_parses():
    assert yaml.safe_load(CARD.split("---\n")[1])["pretty_name"] == "Comp-DD"
