"""Students and results on the Hub: what is kept, pushed and read back, with the real clients against a stand-in."""

import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import huggingface_hub
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from compdd_eval import EvaluateConfig, create_model, evaluate, load_comp_dd, random_images
from compdd_eval.commands.export import export
from compdd_eval.commands.parser import parse
from compdd_eval.config.export import ExportConfig
from compdd_eval.config.push import PushConfig
from compdd_eval.data.subsets import load_subset
from compdd_eval.distilled.formats.published import save_published
from compdd_eval.evaluation import student_weights
from compdd_eval.reports.summaries import read_run
from compdd_eval.results.hub_eval_results import eval_yaml, listed_tasks, results_yaml, task_id
from compdd_eval.results.public_summary import public_summary, results_file
from compdd_eval.results.push_student import _read as read_config
from compdd_eval.results.push_student import push_student
from compdd_eval.results.student_result import read_student, weights_path
from compdd_eval.training.predict import predict
from compdd_eval.utils.errors import InputError
from tests.conftest import ROOT, environment, served, students
from tests.support.forked import forked, launched
from tests.support.hub_client import Client
from tests.support.hub_stand_in import Blob, Err, FakeHub, Repo

BIRDS = ["--category", "bird", "--subset", "easy"]
SHORT = ["--model", "ConvNetD1", "--res", 32, "--epoch_eval_train", 2, "--num_eval", 2, "--threads", 1]
PUSHED = {"model.safetensors", "config.json", "README.md"}
eval_results = pytest.mark.skipif(
    not hasattr(huggingface_hub, "EvalResultEntry"), reason="needs huggingface_hub 1.4 or later"
)


def as_the_hub_reads(text):
    """The entries of an `.eval_results/*.yaml`, by the Hub's own client."""
    from huggingface_hub import parse_eval_result_entries

    return parse_eval_result_entries(yaml.safe_load(text))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("hub_results")


@pytest.fixture(scope="module")
def server(place):
    yield from served(FakeHub(token="hf_of_a_test"), place, HF_DATASETS_CACHE=str(place / "datasets_cache"))


@pytest.fixture(scope="module")
def client(server, place):
    client = Client(place, environment(**server.environment))
    yield client
    client.stop()


@pytest.fixture(scope="module")
def benchmark(server, client, drawn, place):
    """The benchmark in a repository, and its commit."""
    export(ExportConfig(str(drawn), "bird", "easy", cache_dir=str(place / "c"), output_dir=str(place / "comp_dd")))
    status, _, lines = client("push", "--benchmark", "tester/comp_dd", "--folder", place / "comp_dd")
    assert status == 0, lines
    return server.repos["dataset", "tester/comp_dd"].refs["main"]


@pytest.fixture(scope="module")
def published(client, drawn, place):
    """A set on the Hub, evaluated from there with its students kept: the folder of the results."""
    data = load_comp_dd(drawn, "bird", "easy", (32, 32), cache_dir=place / "none")
    save_published(random_images(data.dst_train, 1), place / "my_set")
    assert client("push", place / "my_set", *BIRDS, "--repo_id", "tester/set")[0] == 0
    arguments = ["--data_path", drawn, "--distilled", "tester/set", *SHORT, "--save_students"]
    status, _, lines = client("evaluate", *arguments, "--output_dir", place / "out")
    assert status == 0, lines
    return place / "out"


@pytest.fixture
def result(published, tmp_path):
    """A student of that evaluation, in a folder of its own."""
    shutil.copytree(published, tmp_path / "out")
    return students(tmp_path / "out")[0]


def tree_of(server, repo, kind="model"):
    repository = server.repos[kind, repo]
    return repository.commits[repository.refs["main"]]


def one_error(result, *parts):
    status, _, lines = result
    errors = [line for line in lines if "error" in line]
    assert status == 2 and len(errors) == 1, result
    for part in parts:
        assert part in errors[0], errors[0]


def predictions_of(record, weights, drawn):
    data = load_comp_dd(drawn, "bird", "easy", (record.resolution,) * 2, cache_dir=drawn / "none")
    network = create_model(record.model, 10, (record.resolution,) * 2)
    network.load_state_dict(weights)
    torch.set_num_threads(1)
    return "".join(map(str, predict(network, data.dst_test.tensors()[0]).tolist()))


# ---- weights that evaluate keeps


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"students_per_device": 2},
        {"students_per_device": 3, "ema": 0.5},
        {"ema": 0.5, "model": "ConvNetBN"},
        {"lr_net": "auto", "num_eval": 1, "baseline": "random"},
    ],
    ids=["alone", "stack", "stack of averages", "average with buffers", "searched"],
)
def test_the_weights_are_those_that_were_tested(settings, drawn, tmp_path, changes):
    evaluate(settings(save_students=True, **changes), quiet=True)
    files = [path for path in students(tmp_path / "results") if path.parts[-5].startswith("ipc")]
    records = {path: read_student(path) for path in files}
    reported = [path for path in files if records[path].tested_on == "validation"]
    kept_files = sorted((tmp_path / "results").rglob("seed*.safetensors"))
    assert kept_files == sorted(map(weights_path, reported)) and reported, "of the set's students, and no others"
    for path in reported:
        assert records[path].predictions == predictions_of(records[path], load_file(weights_path(path)), drawn)
    assert len({records[path].predictions for path in reported}) > 1 or len(reported) == 1


def test_keeping_weights_changes_no_result(settings, tmp_path, run):
    """Neither paths nor numbers; finished students are trained again only for weights that they lack."""
    first = evaluate(settings(), quiet=True)
    files = students(tmp_path / "results")
    stamps = [path.stat().st_mtime_ns for path in files]
    second = evaluate(settings(save_students=True), quiet=True)
    assert students(tmp_path / "results") == files and second["results"] == first["results"]
    assert all(path.stat().st_mtime_ns > stamp for path, stamp in zip(files, stamps, strict=True))
    weights_path(files[1]).unlink()
    stamps = [path.stat().st_mtime_ns for path in files]
    evaluate(settings(save_students=True), quiet=True)
    changed = [path.stat().st_mtime_ns > stamp for path, stamp in zip(files, stamps, strict=True)]
    assert changed == [False, True, False] and weights_path(files[1]).exists()
    evaluate(settings(), quiet=True)
    assert all(weights_path(path).exists() for path in files), "what is finished is left alone"
    evaluate(settings(overwrite=True), quiet=True)
    assert not any(weights_path(path).exists() for path in files), "weights of an earlier training"
    record = read_student(files[0])
    files[0].write_text(
        json.dumps(json.loads(files[0].read_text()) | {"config": record.config | {"save_students": True}})
    )
    status, printed, _ = run("reproduce", files[0])
    assert status == 0 and "equal" in printed and not weights_path(files[0]).exists()


@pytest.mark.parametrize("parallel", ["students", pytest.param("ddp", marks=pytest.mark.slow)])
def test_every_process_keeps_its_students(drawn, my_set, tmp_path, parallel):
    arguments = [*BIRDS, "--data_path", drawn, "--distilled", my_set, *SHORT, "--parallel", parallel, "--save_students"]
    done = launched(2, "-m", "compdd_eval", *arguments, "--output_dir", "results", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = students(tmp_path / "results")
    assert len(files) == 2
    for path in files:
        record = read_student(path)
        assert record.predictions == predictions_of(record, load_file(weights_path(path)), drawn)


def test_weights_on_the_disk_of_another_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(student_weights, "on_main_process", lambda accelerator, work: work())
    monkeypatch.setattr(student_weights, "gather_object", lambda mine: [*mine, b"of the other machine"])
    tasks = [SimpleNamespace(weights=tmp_path / "a/seed0.safetensors"), SimpleNamespace(weights=None)]
    student_weights.collect_weights(SimpleNamespace(num_processes=2, is_main_process=True), tasks)
    assert tasks[0].weights.read_bytes() == b"of the other machine"
    tasks[0].weights.write_bytes(b"mine")
    student_weights.collect_weights(SimpleNamespace(num_processes=2, is_main_process=True), tasks)
    assert tasks[0].weights.read_bytes() == b"mine"


# ---- a student on the Hub


@eval_results
def test_a_student_for_the_leaderboard_of_the_benchmark(server, client, result, benchmark, drawn, tmp_path):
    arguments = ["push", "--student", result, "--repo_id", "tester/student", "--benchmark", "tester/comp_dd"]
    status, printed, lines = client(*arguments)
    assert status == 0 and "pushed to tester/student (public" in printed, lines
    repository, record = server.repos["model", "tester/student"], read_student(result)
    file = ".eval_results/comp-dd-bird-easy-ipc1.yaml"
    assert len(repository.commits) == 2 and set(tree_of(server, "tester/student")) == {".gitattributes", *PUSHED, file}
    code = f"""if True:
        import json, yaml
        from dataclasses import asdict
        from huggingface_hub import ModelCard, hf_hub_download, parse_eval_result_entries
        text = open(hf_hub_download("tester/student", "{file}")).read()
        found = [asdict(entry) for entry in parse_eval_result_entries(yaml.safe_load(text))]
        print(json.dumps([found, ModelCard.load("tester/student").data.to_dict()]))
    """
    found, card = json.loads(client.run(code))
    commit = server.repos["dataset", "tester/set"].refs["main"]
    notes = found[0].pop("notes")
    assert found == [
        {
            "dataset_id": "tester/comp_dd",
            "task_id": "bird-easy-ipc1",
            "value": round(100 * record.accuracy, 2),
            "dataset_revision": benchmark,
            "verify_token": None,
            "date": record.created.replace("+00:00", "Z"),
            "source_url": f"https://huggingface.co/datasets/tester/set/tree/{commit}",
            "source_name": "distilled set tester/set",
            "source_user": None,
            "source_org": None,
        }
    ]
    for part in ("ConvNetD1 at 32 px", "protocol comp-dd with epoch_eval_train 2", "labels given (hard)"):
        assert part in notes
    assert "no teacher; seed 0; 50 of 500 validation images" in notes
    assert card["datasets"] == ["tester/set"] and card["pipeline_tag"] == "image-classification"
    assert card["library_name"] == "compdd_eval" and {"comp-dd", "bird-easy"} <= set(card["tags"])
    assert "nothing has changed in tester/student" in client(*arguments)[1] and len(repository.commits) == 2
    again = client(*arguments[:-2])
    assert "nothing has changed" in again[1] and file in tree_of(server, "tester/student"), again
    for name, blob in tree_of(server, "tester/student").items():
        for secret in (str(tmp_path), str(tmp_path.parent), str(drawn), str(ROOT), "hf_of_a_test", server.url):
            assert secret.encode() not in blob.data, name


def test_a_pushed_student_gives_the_recorded_predictions(server, client, result, drawn):
    """With the lines of its card as they are, and images prepared as `config.json` says."""
    assert client("push", "--student", result, "--repo_id", "tester/loaded")[0] == 0
    assert set(tree_of(server, "tester/loaded")) == {".gitattributes", *PUSHED}
    text = tree_of(server, "tester/loaded")["README.md"].data.decode()
    lines = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert len([line for line in lines.splitlines() if line.startswith("student")]) == 2
    code = f"""{lines}
import json
from compdd_eval import load_comp_dd
config = json.load(open(hf_hub_download("tester/loaded", "config.json")))
size = (config["image_size"],) * 2
images, labels = load_comp_dd({str(drawn)!r}, "bird", "easy", size, cache_dir="none").dst_test.tensors()
print("".join(str(int(label)) for label in student(images).argmax(1)), config["model"], config["num_classes"])
print(json.dumps([config["normalisation"], config["classes"]]))
"""
    printed = client.run(code).splitlines()
    record = read_student(result)
    assert printed[0] == f"{record.predictions} ConvNetD1 10"
    normalisation, classes = json.loads(printed[1])
    assert normalisation == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert [entry["wnid"] for entry in classes] == load_subset("bird-easy").wnids
    assert f"{100 * record.accuracy:.2f} % of 50 real validation images" in text
    command = re.search(r"```bash\n(.*?)```", text, re.DOTALL)[1].replace("\\\n", "")
    assert command.startswith("accelerate launch -m compdd_eval --")
    config = parse(EvaluateConfig, shlex.split(command)[4:])
    assert config.settings() == record.protocol and (config.models, config.seeds) == ([record.model], [record.seed])
    assert config.distilled == record.config["distilled"] and config.distilled.startswith("tester/set@")


@eval_results
def test_a_student_of_a_local_set(server, client, settings, tmp_path):
    """Its results have the model repository as their source; a private benchmark that is not there is no obstacle."""
    evaluate(settings(save_students=True, num_eval=1, labels="hard"), quiet=True)
    result = students(tmp_path / "results")[0]
    arguments = ["push", "--student", result, "--repo_id", "tester/local", "--private", "--benchmark", "else/comp_dd"]
    status, printed, lines = client(*arguments)
    assert status == 0 and "(private" in printed and server.repos["model", "tester/local"].private
    assert any("else/comp_dd: not there or no access" in line for line in lines)
    tree = tree_of(server, "tester/local")
    (entry,) = as_the_hub_reads(tree[".eval_results/comp-dd-bird-easy-ipc1.yaml"].data.decode())
    assert entry.source_url == "https://huggingface.co/tester/local" and entry.source_name == "student tester/local"
    assert entry.dataset_id == "else/comp_dd" and entry.dataset_revision is None
    assert "labels hard (hard)" in entry.notes and "with epoch_eval_train 2, labels hard" in entry.notes
    assert "datasets" not in yaml.safe_load(tree["README.md"].data.decode().split("---\n")[1])
    for name, blob in tree.items():
        assert str(tmp_path.parent).encode() not in blob.data, name
    server.repos["model", "tester/local"].private = False
    one_error(client(*arguments), "tester/local: is public", "--private")


def test_a_student_of_a_list_of_ones_own(server, client, settings, tmp_path):
    (tmp_path / "lists").mkdir()
    shutil.copy(ROOT / "subsets/bird-easy.json", tmp_path / "lists")
    summary = evaluate(settings(save_students=True, num_eval=1, subsets_dir=str(tmp_path / "lists")), quiet=True)
    result = students(tmp_path / "results")[0]
    arguments = ["push", "--student", result, "--repo_id", "tester/own"]
    shutil.rmtree(tmp_path / "lists")  # the result says which classes they are
    one_error(client(*arguments, "--benchmark", "tester/comp_dd"), "no subset of the benchmark")
    status, _, lines = client(*arguments)
    assert status == 0, lines
    text = tree_of(server, "tester/own")["README.md"].data.decode()
    wnids = ",".join(load_subset("bird-easy").wnids)
    flags = f"--category {summary['category']} --subset easy --classes {wnids}"
    assert flags in text.replace(" \\\n   ", "") and summary["config_name"] in text
    assert str(tmp_path) not in text


def test_a_set_of_ten_classes_on_the_hub(client, my_set, tmp_path):
    wnids = ",".join(load_subset("bird-easy").wnids[::-1])
    assert client("convert", my_set, tmp_path / "ours", "--classes", wnids)[0] == 0
    status, _, lines = client("push", tmp_path / "ours", "--repo_id", "tester/classes")
    assert status == 0, lines
    status, out, _ = client("validate", "tester/classes", "--json")  # it says itself which classes it has
    assert status == 0 and json.loads(out)["config_name"] == load_subset(None, classes=wnids).name
    one_error(client("validate", "tester/classes", *BIRDS), "was made for own-", "not for bird-easy")


@eval_results
def test_another_student_and_other_things_are_not_replaced(server, client, result, benchmark, published, tmp_path):
    arguments = ["--repo_id", "tester/mine", "--benchmark", "tester/comp_dd"]
    assert client("push", "--student", result, *arguments)[0] == 0
    other = students(published)[1]
    one_error(client("push", "--student", other, *arguments[:2]), "holds another student", "seed 0", "--overwrite")
    assert client("push", "--student", other, *arguments[:2], "--overwrite")[0] == 0
    tree = tree_of(server, "tester/mine")
    assert json.loads(tree["config.json"].data)["seed"] == 1
    assert not [name for name in tree if name.startswith(".eval_results")], "the result of the one before"
    assert len(server.repos["model", "tester/mine"].commits) == 3
    for content in (None, b'{"library_name": "transformers"}', b"{"):
        repository = server.repos["model", "tester/else"] = Repo("model", "tester/else")
        files = {"thesis.pdf": b"years of work"} | ({"config.json": content} if content else {})
        repository.add({name: Blob(data, False) for name, data in files.items()}, "main", "by hand")
        for flags in ([], ["--overwrite"]):
            one_error(client("push", "--student", other, "--repo_id", "tester/else", *flags), "no student of ours")
        assert len(repository.commits) == 2


def test_what_others_have_edited_in_a_card_is_kept(server, client, result):
    assert client("push", "--student", result, "--repo_id", "tester/card")[0] == 0
    tree = tree_of(server, "tester/card")
    edited = tree["README.md"].data.replace(b"license: unknown", b"license: mit") + b"\nThanks to my cat.\n"
    tree["README.md"] = Blob(edited.replace(b"right on", b"wrong on"), False)
    assert client("push", "--student", result, "--repo_id", "tester/card")[0] == 0
    assert tree_of(server, "tester/card")["README.md"].data == edited, "all but what is generated"


def changed(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@eval_results
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda path: weights_path(path).unlink(), ["has no weights (seed0.safetensors)", "--save_students"]),
        (lambda path: weights_path(path).write_bytes(weights_path(path).read_bytes()[:500]), ["cannot be read"]),
        (lambda path: save_file({"x": torch.ones(2)}, weights_path(path)), ["not the weights of ConvNetD1 at 32 px"]),
        (lambda path: changed(path, model="ConvNetD2"), ["not the weights of ConvNetD2 at 32 px"]),
        (lambda path: changed(path, source="random"), ["a student of real images"]),
        (lambda path: changed(path, tested_on="held-out training images"), ["the search of a rate"]),
        (lambda path: changed(path, ipc=20), ["bird-easy, IPC 20: the benchmark has IPC 1, 10 and 50"]),
        (lambda path: changed(path, ipc=1.5), ["bird-easy, IPC 1.5: the benchmark has IPC 1, 10 and 50"]),
        (lambda path: changed(path, config_name="bird-1a2b3c4d-easy"), ["a list of a user's own", "subsets_dir"]),
        (lambda path: changed(path, config_name="bird-hard"), ["lists no task bird-hard-ipc1"]),
        (lambda path: changed(path, created="yesterday"), ["'yesterday': no date"]),
        (lambda path: changed(path, protocol={}), ["no result of this version of evaluate"]),
        (lambda path: path.write_text("{"), ["not a result file"]),
        (lambda path: path.unlink(), ["seed0.json: no such file"]),
    ],
)  # fmt: skip
def test_refusals(server, client, result, benchmark, change, parts):
    change(result)
    one_error(client("push", "--student", result, "--repo_id", "tester/no", "--benchmark", "tester/comp_dd"), *parts)
    assert ("model", "tester/no") not in server.repos


@eval_results
def test_a_benchmark_that_is_none(server, client, result):
    arguments = ["push", "--student", result, "--repo_id", "tester/no", "--benchmark"]
    one_error(client(*arguments, "tester/set"), "tester/set: has no eval.yaml")
    for name in ("damaged", "gated"):
        server.repos["dataset", f"tester/{name}"] = repository = Repo("dataset", f"tester/{name}")
        repository.add({"eval.yaml": Blob(b"tasks: 3", False)}, "main", "by hand")
    one_error(client(*arguments, "tester/damaged"), "tester/damaged: eval.yaml: lists no tasks")
    assert ("model", "tester/no") not in server.repos
    repository.gated = True  # its commit is known, its files are not
    arguments[4] = "tester/gated_benchmark"
    status, _, lines = client(*arguments, "tester/gated")
    assert status == 0, lines
    text = tree_of(server, arguments[4])[".eval_results/comp-dd-bird-easy-ipc1.yaml"].data.decode()
    assert as_the_hub_reads(text)[0].dataset_revision == repository.refs["main"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["my_set", "--student", "x", "--repo_id", "a/b"], "PATH is for a distilled set"),
        (["--student", "x", "--repo_id", "a/b", "--results", "y"], "--results is for a distilled set"),
        (["--student", "x", "--repo_id", "a/b", "--revision", "y"], "--revision is for a distilled set"),
        (["--student", "x", "--repo_id", "a/b", "--public"], "--public is for --benchmark"),
        (["--student", "x", "--repo_id", "a/b", "--benchmark", "b"], "--benchmark 'b': expected USER/NAME"),
        (["--student", "x"], "--repo_id is missing"),
        (["--student", "x", "--benchmark", "a/b"], "--repo_id is missing"),
        (["--student", "nowhere/seed0.json", "--repo_id", "a/b"], "nowhere/seed0.json: no such file"),
    ],
)
def test_flags_that_do_not_go_together(run, arguments, part):
    status, _, lines = run("push", *arguments)
    assert status == 2 and len(lines) == 1 and part in lines[0]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"HF_TOKEN": ""}, "the Hub does not know you or the model"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
def test_no_access(server, place, result, changes, part):
    command = ["-m", "compdd_eval", "push", "--student", result, "--repo_id", "tester/no"]
    done = forked(*command, cwd=place, **server.environment | changes)
    assert done.returncode == 2 and part in done.stderr and "Traceback" not in done.stderr
    assert ("model", "tester/no") not in server.repos


def test_what_the_hub_says_is_passed_on(server, client, result):
    server.refusals = [("POST", "/lfs/objects/batch", Err(403, None, "Private repository storage limit reached"))]
    status, _, lines = client("push", "--student", result, "--repo_id", "tester/full")
    server.refusals = []
    assert status == 2 and len(lines) == 1
    assert "tester/full: the Hub refuses it: Private repository storage limit reached; make room" in lines[0]


# ---- results of a set


def test_results_are_pushed_with_the_set(server, client, published, place, drawn, tmp_path):
    """`results/` in the same commit, readable, without places on this machine; kept, and never twice."""
    arguments = ["push", place / "my_set", *BIRDS, "--repo_id", "tester/measured", "--results"]
    status, _, lines = client(*arguments, published)
    assert status == 0, lines
    repository = server.repos["dataset", "tester/measured"]
    assert len(repository.commits) == 2
    tree, summary = tree_of(server, "tester/measured", "dataset"), json.loads((published / "summary.json").read_text())
    (name,) = [name for name in tree if name.startswith("results/")]
    assert re.fullmatch(r"results/[0-9a-f]{12}\.json", name) and "| ConvNetD1 |" in tree["README.md"].data.decode()
    (tmp_path / "one.json").write_bytes(tree[name].data)
    run, given = read_run(tmp_path / "one.json"), read_run(published / "summary.json")
    unplaced = {"place": None, "file": None, "config": None}
    assert replace(run, **unplaced) == replace(given, **unplaced) and run.config["output_dir"] is None
    assert json.loads(tree[name].data)["results"] == summary["results"]
    for file, blob in tree.items():
        for secret in (place, drawn, ROOT, tmp_path.parent):
            assert str(secret).encode() not in blob.data, file
    assert "nothing has changed" in client(*arguments, published)[1] and len(repository.commits) == 2
    several = f"{published}, {published}/summary.json"
    assert "nothing has changed" in client(*arguments, several)[1] and len(repository.commits) == 2
    one_error(client(*arguments, f"{published},nowhere"), "nowhere: no such file or folder")
    one_error(client(*arguments, ""), "--results ''", "several joined by commas")

    flags = ["--data_path", drawn, *BIRDS, "--distilled", place / "my_set", *SHORT, "--model", "ConvNetD2"]
    assert client("evaluate", *flags, "--output_dir", tmp_path / "more")[0] == 0
    assert client(*arguments, tmp_path / "more")[0] == 0
    names = [name for name in tree_of(server, "tester/measured", "dataset") if name.startswith("results/")]
    assert len(names) == 2 and name in names, "those that are there are kept"
    assert "nothing has changed" in client(*arguments[:-1])[1] and len(repository.commits) == 3
    assert client("pull", "tester/measured", tmp_path / "copy")[0] == 0
    assert "results" not in [path.name for path in (tmp_path / "copy").iterdir()]
    code = 'import datasets; print(datasets.load_dataset("tester/measured"))'
    assert "num_rows: 10" in client.run(code) and "train" in client.run(code)
    assert client("validate", "tester/measured")[0] == 0
    status, _, lines = client("leaderboard", "tester/measured", "--output", tmp_path / "site")
    assert status == 0 and not [line for line in lines if "left out" in line], lines
    page = (tmp_path / "site/index.html").read_text()
    assert "ConvNetD1" in page and "ConvNetD2" in page

    save_published(random_images(load_comp_dd(drawn, "bird", "easy", (32, 32)).dst_train, 2), tmp_path / "other")
    replaced = ["push", tmp_path / "other", *BIRDS, "--repo_id", "tester/measured", "--overwrite"]
    assert client(*replaced)[0] == 0
    assert not [name for name in tree_of(server, "tester/measured", "dataset") if name.startswith("results/")]


def test_a_summary_that_is_none_is_not_pushed(server, client, published, place, tmp_path):
    shutil.copytree(published, tmp_path / "out")
    file = tmp_path / "out/summary.json"
    file.write_text(file.read_text().replace('"lr": 0.01', '"lr": NaN'))
    arguments = ["push", place / "my_set", *BIRDS, "--repo_id", "tester/nan", "--results", tmp_path / "out"]
    one_error(client(*arguments), "summary.json: not a JSON file (it has NaN)")
    assert ("dataset", "tester/nan") not in server.repos


def test_what_a_public_summary_leaves_out():
    files = {"images": "/home/me/sets/my set/images.pt", "labels": "sets/mine/labels.pt"}
    teacher = {
        "name": "LeNet",
        "file": "/home/me/t/lenet.pt",
        "recipe": "weights of /home/me/t/lenet.pt",
        "accuracy": 0.5,
    }
    places = ("data_path", "output_dir", "baseline_dir", "complexity", "grid", "subsets_dir", "data_dir", "label_dir")
    origin = {
        "files": files,
        "remarks": ["/home/me/sets/my set/images.pt: 8/7 of it", "C:\\Users\\me\\a.pt", "sets/mine/labels.pt, too"],
        "source_url": "https://example.org/home/me/sets",
        "method": "a/b and c",
    }
    summary = {
        "config": dict.fromkeys(places, "/home/me/private")
        | {"distilled": "/home/me/sets/my set", "lr_dir": "none", "teacher": "LeNet=/home/me/t/lenet.pt", "res": 32},
        "distilled": origin,
        "teacher": teacher,
        "results": [{"teacher": teacher, "accuracies": [0.1]}],
        "regimes": [{"results": [{"teacher": teacher}]}],
        "students": ["/home/me/out/ipc1-a/bird-easy/LeNet/0123456789ab/seed0.json"],
        "note": "see ~/notes/x.txt",
    }
    before = json.dumps(summary)
    public = public_summary(summary)
    assert json.dumps(summary) == before, "the summary itself is left alone"
    assert public["config"] == dict.fromkeys([*places, "distilled"]) | {
        "lr_dir": "none",
        "teacher": "LeNet=lenet.pt",
        "res": 32,
    }
    assert public["distilled"] == {
        "files": {"images": "images.pt", "labels": "labels.pt"},
        "remarks": ["images.pt: 8/7 of it", "a.pt", "labels.pt, too"],
        "source_url": "https://example.org/home/me/sets",
        "method": "a/b and c",
    }
    assert public["teacher"] == {"name": "LeNet", "file": "lenet.pt", "recipe": "weights of lenet.pt", "accuracy": 0.5}
    assert public["students"] == ["ipc1-a/bird-easy/LeNet/0123456789ab/seed0.json"] and public["note"] == "see x.txt"
    assert public_summary(public) == public and results_file(public) == results_file(public_summary(summary))
    hub = {"config": {"distilled": "me/set@" + 40 * "a", "data_path": "/x/y"}, "distilled": {"repository": "me/set"}}
    assert public_summary(hub)["config"] == {"distilled": "me/set@" + 40 * "a", "data_path": None}


# ---- the formats


@eval_results
def test_tasks():
    assert task_id("music-hard-published", 10) == "music-hard-published-ipc10" and task_id("dog-easy", 50.0)
    for name, ipc in (("bird-easy", 20), ("bird-easy", 0.5), ("bird-1a2b3c4d-easy", 1)):
        with pytest.raises(InputError, match=name):
            task_id(name, ipc)
    entries = [SimpleNamespace(subset=load_subset("bird-easy"), images={"train": 5, "validation": 5})]
    assert listed_tasks(eval_yaml(entries), "x") == ["bird-easy-ipc1", "bird-easy-ipc10", "bird-easy-ipc50"]
    for text in ("", "tasks: 1", "tasks: [1]", "[", "- tasks"):
        with pytest.raises(InputError, match=r"x: lists no tasks"):
            listed_tasks(text, "x")


@eval_results
def test_a_student_of_a_set_in_a_folder(result, tmp_path):
    commit = "0123456789" * 4
    content = json.loads(result.read_text())
    content["config"]["distilled"] = f"me/sets/ipc1/edf@{commit}"
    result.write_text(json.dumps(content))
    student = read_config(PushConfig(repo_id="me/student", student=str(result)))
    page = f"https://huggingface.co/datasets/me/sets/tree/{commit}/ipc1/edf"
    assert student.set_id == f"me/sets/ipc1/edf@{commit}" and f"({page})" in student.card
    assert yaml.safe_load(student.card.split("---")[1])["datasets"] == ["me/sets"]
    (entry,) = yaml.safe_load(results_yaml(student.result, "me/bench", None, "me/student", student.set_id))
    assert entry["source"] == {"url": page, "name": "distilled set me/sets/ipc1/edf"}


def test_an_old_client(monkeypatch, result):
    """It is asked for before anything is sent."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", ModuleType("huggingface_hub"))
    with pytest.raises(InputError, match=r"too old .* 1\.4 or later"):
        push_student(PushConfig(student=str(result), repo_id="tester/old", benchmark="tester/comp_dd"))
