"""Export and push of the prepared subsets, with the real clients against a stand-in for the Hub."""

import json
import re
import shutil

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard

from compdd_eval.commands.export import export
from compdd_eval.commands.prepare import prepare
from compdd_eval.config.export import ExportConfig
from compdd_eval.config.prepare import PrepareConfig
from compdd_eval.data.subsets import load_subset
from compdd_eval.utils.errors import InputError
from tests.support.forked import forked
from tests.support.hub_stand_in import Err

EASY = load_subset("bird-easy")


def raw(data):
    return data.cast_column("image", datasets.Image(decode=False)).to_list()


@pytest.fixture(scope="module")
def prepared(drawn, tmp_path_factory):
    """A cache with both bird subsets."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare(PrepareConfig(str(drawn), "bird", cache_dir=str(folder)))
    return folder


@pytest.fixture
def out(prepared, tmp_path):
    export(ExportConfig(cache_dir=str(prepared), output_dir=str(tmp_path / "out/comp_dd")))
    return tmp_path / "out/comp_dd"


def test_load_dataset_from_the_folder(out, prepared, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", prepared)
    expected = {
        split: raw(datasets.load_dataset("comp_dd", "bird-easy", split=split)) for split in ("train", "validation")
    }
    data = datasets.load_dataset(str(out), "bird-easy", cache_dir=str(tmp_path / "c"))
    assert {split: raw(rows) for split, rows in data.items()} == expected
    assert data["train"].features["label"].names == EASY.label_names
    assert data["train"][0]["image"].mode == "RGB"
    stream = datasets.load_dataset(str(out), "bird-hard", split="validation", streaming=True)
    assert sum(1 for _ in stream) == 50
    with pytest.raises(ValueError, match="bird-easy.*bird-hard"):
        datasets.load_dataset(str(out), cache_dir=str(tmp_path / "c"))
    monkeypatch.chdir(out.parent)
    assert (
        datasets.load_dataset("comp_dd", "bird-easy", split="train[:10%]", cache_dir=str(tmp_path / "c")).num_rows == 12
    )


def test_the_card_tells_what_this_copy_holds(out):
    card = DatasetCard.load(out / "README.md")
    assert [config["config_name"] for config in card.data.configs] == ["bird-easy", "bird-hard"]
    assert "| `bird-easy` | 120 of 13,000 | 50 of 500 |" in card.text and card.text.count("## This copy") == 1
    assert card.text.count("load_dataset(") == 1 and "## Content" in card.text
    infos = datasets.info.DatasetInfosDict.from_dataset_card_data(card.data)
    assert infos["bird-hard"].splits["train"].num_examples == 120
    assert infos["bird-hard"].download_size == sum(p.stat().st_size for p in (out / "bird-hard").glob("*.parquet"))
    text = "".join(path.read_text() for path in [*out.rglob("*.md"), *out.rglob("*.json")])
    assert str(out.parent.parent) not in text, "where ImageNet lies is nobody else's business"


def test_the_tasks_of_the_benchmark(out, prepared, drawn, tmp_path):
    """As the Hub's documentation shows `eval.yaml`: a task for each configuration and IPC of the benchmark."""
    content = yaml.safe_load((out / "eval.yaml").read_text())
    assert list(content) == ["name", "description", "evaluation_framework", "tasks"]
    assert all(isinstance(content[name], str) for name in ("name", "description", "evaluation_framework"))
    assert content["tasks"] == [
        {"id": f"{name}-ipc{ipc}", "config": name, "split": "validation"}
        for name in ("bird-easy", "bird-hard")
        for ipc in (1, 10, 50)
    ]
    (tmp_path / "i/train").mkdir(parents=True)
    for wnid in EASY.wnids:
        shutil.copytree(drawn / "train" / wnid, tmp_path / "i/train" / wnid)
    config = ExportConfig(
        str(tmp_path / "i"), "bird", "easy", cache_dir=str(tmp_path / "c"), output_dir=str(tmp_path / "train")
    )
    export(config)
    assert not (tmp_path / "train/eval.yaml").exists(), "nothing to test on"


def test_files_and_row_groups(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("compdd_eval.commands.export._FILE_SIZE", 20_000)
    monkeypatch.setattr("compdd_eval.commands.export._ROWS", 25)
    root = tmp_path / "out"
    export(ExportConfig(category="bird", subset="easy", cache_dir=str(prepared), output_dir=str(root)))
    names = sorted(path.name for path in root.glob("bird-easy/train-*"))
    assert len(names) > 2 and names[0] == f"train-00000-of-{len(names):05}.parquet"
    assert all(pq.ParquetFile(path).metadata.row_group(0).num_rows <= 25 for path in root.glob("bird-easy/*.parquet"))
    data = datasets.load_dataset(str(root), "bird-easy", split="train", cache_dir=str(tmp_path / "c"))
    assert data["label"][:] == [label for label in range(10) for _ in range(12)]


def test_an_export_adds_and_does_not_write_again(drawn, prepared, tmp_path, run):
    root = tmp_path / "out"
    arguments = ["export", "--cache_dir", prepared, "--output_dir", root, "--category", "bird"]
    assert run(*arguments, "--subset", "easy")[0] == 0
    stamp = next(root.glob("bird-easy/train-*")).stat().st_mtime_ns
    status, out, errors = run(*arguments)
    assert status == 0 and re.search("bird-easy .* current", out) and re.search("bird-hard .* written", out)
    assert next(root.glob("bird-easy/train-*")).stat().st_mtime_ns == stamp
    next(root.glob("bird-easy/train-*")).unlink()
    assert re.search("bird-easy .* written", run(*arguments, "--subset", "easy")[1])
    assert "from an earlier export" in run(*arguments, "--subset", "easy")[1]
    assert len(DatasetCard.load(root / "README.md").data.configs) == 2


def test_export_from_imagenet_and_from_links(drawn, prepared, cache, tmp_path, run, monkeypatch):
    """Paths of a linked cache become bytes."""
    first, second = tmp_path / "first", tmp_path / "second"
    arguments = ["export", "--data_path", drawn, "--category", "bird", "--subset", "easy", "--output_dir"]
    status, out, errors = run(*arguments, first, "--link")
    assert status == 0 and "now works on any machine" in out
    export(ExportConfig(category="bird", subset="easy", cache_dir=str(prepared), output_dir=str(second)))
    tables = [pq.read_table(next(root.glob("bird-easy/train-*"))) for root in (first, second)]
    assert tables[0].equals(tables[1])


def test_what_is_not_prepared(prepared, cache, tmp_path, run):
    arguments = ["export", "--output_dir", tmp_path / "out"]
    status, _, errors = run(*arguments)
    assert status == 2 and "not prepared, and no ImageNet given" in errors[-1]
    status, _, errors = run(*arguments, "--cache_dir", prepared, "--category", "fish")
    assert status == 2 and "fish-easy, fish-hard: not prepared" in errors[-1]
    status, out, errors = run(*arguments, "--cache_dir", prepared)
    assert status == 0 and "not prepared, so not written: car-easy" in errors[-1] and "bird-hard" in out


def test_other_folders_are_left_alone(prepared, tmp_path, run):
    (tmp_path / "README.md").write_text("my notes")
    status, _, errors = run("export", "--cache_dir", prepared, "--output_dir", tmp_path)
    assert status == 2 and "is no card of Comp-DD" in errors[0]
    (tmp_path / "file").write_text("x")
    assert run("export", "--cache_dir", prepared, "--output_dir", tmp_path / "file")[0] == 2


def test_folders_that_are_no_export_are_never_replaced(prepared, tmp_path, run):
    (tmp_path / "out/bird-hard").mkdir(parents=True)
    (tmp_path / "out/bird-hard/notes.txt").write_text("mine")
    status, _, errors = run("export", "--cache_dir", prepared, "--output_dir", tmp_path / "out", "--category", "bird")
    assert status == 2 and len(errors) == 1 and "bird-hard: lies where the export would go" in errors[0]
    assert (tmp_path / "out/bird-hard/notes.txt").read_text() == "mine" and not (tmp_path / "out/bird-easy").exists()


def test_a_killed_export_leaves_whole_configurations(prepared, tmp_path, monkeypatch):
    root = tmp_path / "out"
    config = ExportConfig(category="bird", cache_dir=str(prepared), output_dir=str(root))
    original = pq.ParquetWriter.write_table
    calls = []

    def killed(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:  # in bird-hard
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", killed)
    with pytest.raises(KeyboardInterrupt):
        export(config)
    assert [path.name for path in root.iterdir() if path.is_dir()] == ["bird-easy"]
    monkeypatch.setattr(pq.ParquetWriter, "write_table", original)
    assert export(config).statuses == {"bird-easy": "current", "bird-hard": "written"}


def test_the_published_list(tmp_path, cache, drawn):
    from tests.conftest import save_image

    for wnid in load_subset("music-hard").wnids:
        save_image(tmp_path / f"i/train/{wnid}/{wnid}_1.JPEG", 1)
    config = ExportConfig(str(tmp_path / "i"), "music", "hard", published=True, output_dir=str(tmp_path / "out"))
    report = export(config)
    assert [entry.subset.name for entry in report.entries] == ["music-hard-published"]
    data = datasets.load_dataset(
        str(tmp_path / "out"), "music-hard-published", split="train", cache_dir=str(tmp_path / "c")
    )
    assert data["label"][:] == list(range(1, 10))


def push(hub, out, *arguments, repo="tester/comp_dd", **changes):
    arguments = ["-m", "compdd_eval", "push", "--benchmark", repo, "--folder", out, *arguments]
    done = forked(*arguments, cwd=out, **{**hub.environment, **changes})
    assert "Traceback" not in done.stderr and "hf_of_a_test" not in done.stdout + done.stderr
    return done.returncode, done.stdout, [line for line in done.stderr.splitlines() if line.startswith("compdd_eval:")]


def test_push_to_a_private_repository(hub, out, tmp_path):
    status, printed, errors = push(hub, out)
    assert status == 0 and "pushed 2 configurations to tester/comp_dd (private" in printed, errors
    repo = hub.repos["dataset", "tester/comp_dd"]
    tree = repo.commits[repo.refs["main"]]
    assert repo.private and len(repo.commits) == 2
    assert {name.split("/")[0] for name in tree} == {
        ".gitattributes",
        "README.md",
        "eval.yaml",
        "bird-easy",
        "bird-hard",
    }
    code = """if True:
        import datasets
        data = datasets.load_dataset("tester/comp_dd", "bird-easy")
        stream = datasets.load_dataset("tester/comp_dd", "bird-hard", split="validation", streaming=True)
        print(data.num_rows, data["train"].features["label"].names[0], sum(1 for _ in stream))
    """
    places = {**hub.environment, "HF_DATASETS_CACHE": str(tmp_path / "c")}
    done = forked("-c", code, cwd=tmp_path, **places)
    assert done.stdout.strip() == "{'train': 120, 'validation': 50} flamingo 50", done.stderr
    done = forked("-c", code, cwd=tmp_path, **{**places, "HF_TOKEN": "", "HF_DATASETS_CACHE": str(tmp_path / "d")})
    assert done.returncode != 0, "private"
    status, printed, _ = push(hub, out)
    assert status == 0 and "nothing has changed in tester/comp_dd" in printed and len(repo.commits) == 2


def test_public_only_if_said(hub, out):
    assert push(hub, out)[0] == 0
    repo = hub.repos["dataset", "tester/comp_dd"]
    repo.private = False
    status, _, errors = push(hub, out)
    assert status == 2 and len(errors) == 1 and "is public, and ImageNet's images may not be" in errors[0]
    repo.private = True
    status, printed, _ = push(hub, out, "--public")
    assert status == 0 and not repo.private and "(public" in printed
    help_text = forked("-m", "compdd_eval", "push", "--help", cwd=out).stdout
    assert "non-commercial research and educational purposes" in " ".join(help_text.split())


def test_a_repository_with_more_is_not_cut_down(hub, out):
    assert push(hub, out)[0] == 0
    shutil.rmtree(out / "bird-easy")
    status, _, errors = push(hub, out)
    assert status == 2 and "holds bird-easy, which" in errors[0]
    assert (
        "bird-easy/export.json"
        in hub.repos["dataset", "tester/comp_dd"].commits[hub.repos["dataset", "tester/comp_dd"].refs["main"]]
    )


def test_what_a_new_export_lacks_of_a_configuration_is_removed(hub, out):
    shutil.copy(next(out.glob("bird-easy/train-*")), out / "bird-easy/train-00001-of-00002.parquet")
    record = json.loads((out / "bird-easy/export.json").read_text())
    record["files"] += (out / "bird-easy/train-00001-of-00002.parquet").stat().st_size
    (out / "bird-easy/export.json").write_text(json.dumps(record))
    assert push(hub, out)[0] == 0
    (out / "bird-easy/train-00001-of-00002.parquet").unlink()
    record["files"] = sum(path.stat().st_size for path in out.glob("bird-easy/*.parquet"))
    (out / "bird-easy/export.json").write_text(json.dumps(record))
    assert push(hub, out)[0] == 0
    repo = hub.repos["dataset", "tester/comp_dd"]
    assert "bird-easy/train-00001-of-00002.parquet" not in repo.commits[repo.refs["main"]]


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ({}, {"HF_TOKEN": ""}, "hf auth login"),
        ({}, {"HF_TOKEN": "hf_wrong"}, "hf auth login"),
        ({"repo": "no name"}, {}, "no name of a dataset on the Hub"),
        ({}, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ({}, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub cannot be reached"),
    ],
)
def test_failures(hub, out, arguments, environment, message):
    hub.token = "hf_of_a_test"
    status, _, errors = push(hub, out, **arguments, **environment)
    assert status == 2 and len(errors) == 1 and message in errors[0], errors
    assert not hub.repos


def test_what_the_hub_says_is_passed_on(hub, out):
    text = "Private repository storage limit reached, please upgrade your plan"
    hub.refusals = [("POST", "/lfs/objects/batch", Err(403, None, text))]
    status, _, errors = push(hub, out)
    assert status == 2 and len(errors) == 1 and f"tester/comp_dd: the Hub refuses it: {text}; make room" in errors[0]


def test_an_export_of_an_older_version(hub, out):
    (out / "eval.yaml").unlink()
    status, _, errors = push(hub, out)
    assert status == 2 and len(errors) == 1 and "has no eval.yaml; run export" in errors[0] and not hub.repos


def test_nothing_to_push(tmp_path, run):
    status, _, errors = run("push", "--benchmark", "a/b", "--folder", tmp_path)
    assert status == 2 and "nothing that `export` wrote" in errors[0]
    status, _, errors = run("push")
    assert status == 2 and "--benchmark USER/comp_dd" in errors[0]


def test_a_record_that_is_damaged(out, tmp_path):
    for content in ("{", "[]", '{"files": 1}'):
        (out / "bird-easy/export.json").write_text(content)
        with pytest.raises(InputError, match="nothing that"):
            from compdd_eval.commands.export import exported

            shutil.rmtree(out / "bird-hard", ignore_errors=True)
            exported(out)
