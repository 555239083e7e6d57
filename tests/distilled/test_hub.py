"""Push, pull and evaluate from the Hub, with the real clients against a stand-in for it over HTTP."""

import io
import json
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from compdd_eval import DistilledSet, load_comp_dd
from compdd_eval.distilled.formats.published import save_published
from compdd_eval.distilled.random_images import random_images
from compdd_eval.distilled.view_labels import VIEW_LABELS_NAME
from compdd_eval.models.registry import create_model
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.hub_errors import clear_hub_error, no_connection
from tests.conftest import environment, served
from tests.support.forked import Forked, forked
from tests.support.hub_client import Client
from tests.support.hub_stand_in import Blob, Err, FakeHub

TOKEN = "hf_of_a_test"
BIRDS = ["--category", "bird", "--subset", "easy"]
DOGS = ["--category", "dog", "--subset", "easy"]
FACTS = {"category": "bird", "subset": "easy", "method": "a trial", "licence": "mit"}


def make_set(seed=0, side=32, soft=True):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(20, 3, side, side, generator=generator)
    labels = torch.arange(10).repeat_interleave(2)
    if soft:
        labels = 5 * torch.nn.functional.one_hot(labels, 10) + torch.randn(20, 10, generator=generator)
    return DistilledSet(images, labels, lr=0.0123456789, metadata=FACTS)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("exchange")


@pytest.fixture(scope="module")
def server(place):
    server = FakeHub(token=TOKEN)
    server.readers.add("hf_of_a_test_that_reads")
    yield from served(server, place, TOKEN, HF_DATASETS_CACHE=str(place / "datasets_cache"))


@pytest.fixture(scope="module")
def client(server, place):
    client = Client(place, environment(**server.environment))
    yield client
    client.stop()


@pytest.fixture
def mine(tmp_path):
    """A set in our format."""
    make_set().save(tmp_path / "mine")
    return tmp_path / "mine"


def tree_of(server, repo, revision="main"):
    repository = server.repos["dataset", repo]
    return repository.commits[repository.refs.get(revision, revision)]


def one_error(result, *parts):
    status, _, lines = result
    errors = [line for line in lines if "error" in line]
    assert status == 2 and len(errors) == 1, result
    for part in parts:
        assert part in errors[0], errors[0]


def test_push_again_and_pull(server, client, mine, tmp_path):
    status, printed, lines = client("push", mine, "--repo_id", "tester/one")
    assert status == 0 and "pushed to tester/one (public" in printed, lines
    repository = server.repos["dataset", "tester/one"]
    assert len(repository.commits) == 2, "one commit beside the first one of every repository"
    tree = tree_of(server, "tester/one")
    ours = {"distilled.safetensors", "distilled.json", "preview.png", "README.md", "data/train-00000-of-00001.parquet"}
    assert set(tree) == {".gitattributes", *ours}
    assert tree["distilled.safetensors"].data == (mine / "distilled.safetensors").read_bytes()
    status, printed, _ = client("push", mine, "--repo_id", "tester/one")
    assert status == 0 and "nothing has changed in tester/one" in printed and len(repository.commits) == 2

    status, printed, lines = client("pull", "tester/one", tmp_path / "copy")
    assert status == 0 and repository.refs["main"] in printed, lines
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == sorted(
        name for name in ours if "/" not in name
    )
    assert DistilledSet.load(tmp_path / "copy").sha256 == make_set().sha256
    status, printed, _ = client("pull", "tester/one", tmp_path / "copy")
    assert status == 0 and "already up to date" in printed


def test_the_card_and_the_viewer(server, client, mine):
    assert client("push", mine, "--repo_id", "tester/card")[0] == 0
    text = tree_of(server, "tester/card")["README.md"].data.decode()
    header = yaml.safe_load(text.split("---\n")[1])
    assert {"dataset-distillation", "comp-dd", "bird-easy"} <= set(header["tags"])
    assert header["license"] == "mit" and header["size_categories"] == ["n<1K"]
    assert 'from_hub("tester/card")' in text and "--distilled tester/card" in text
    code = """if True:
        import datasets
        data = datasets.load_dataset("tester/card", split="train")
        print(data.num_rows, data.features["label"].names[0], data[3]["image"].size, data["label"][:4])
        print(data.features["soft_label"], round(data[0]["soft_label"][0], 3))
    """
    printed = client.run(code).splitlines()
    assert printed[0] == "20 flamingo (32, 32) [0, 0, 1, 1]"
    assert printed[1].endswith(str(round(make_set().labels[0, 0].item(), 3)))


def test_from_python(server, client):
    code = """if True:
        from tests.distilled.test_hub import make_set
        from compdd_eval import DistilledSet, load_comp_dd
        mine = make_set(seed=1)
        commit = mine.push_to_hub("tester/python", private=True)
        assert commit == mine.push_to_hub("tester/python")
        for revision in (None, "main", commit):
            back = DistilledSet.from_hub("tester/python", revision)
            assert (back.sha256, back.lr, back.label_kind, back.metadata) == (
                mine.sha256, mine.lr, mine.label_kind, mine.metadata)
            assert back.origin == {"repository": "tester/python", "revision": commit}
        print(commit)
    """
    commit = client.run(code, PYTHONPATH="").strip()
    assert server.repos["dataset", "tester/python"].refs["main"] == commit
    assert server.repos["dataset", "tester/python"].private


def test_a_set_of_a_later_version_is_not_replaced_unasked(server, client, tmp_path):
    make_set(1).save(tmp_path / "first")
    record = json.loads((tmp_path / "first/distilled.json").read_text())
    (tmp_path / "first/distilled.json").write_text(json.dumps(record | {"schema_version": 99}))
    client.run(
        f"""from huggingface_hub import HfApi
HfApi().create_repo("tester/later", repo_type="dataset")
HfApi().upload_folder(repo_id="tester/later", repo_type="dataset", folder_path={str(tmp_path / "first")!r})"""
    )
    make_set(2).save(tmp_path / "second")
    push = ("push", tmp_path / "second", "--repo_id", "tester/later")
    one_error(client(*push), "holds a set that this version cannot read", "--overwrite")
    assert client(*push, "--overwrite")[0] == 0


def test_revisions(server, client, tmp_path):
    make_set(1).save(tmp_path / "first")
    make_set(2).save(tmp_path / "second")
    assert client("push", tmp_path / "first", "--repo_id", "tester/revisions")[0] == 0
    one_error(client("push", tmp_path / "second", "--repo_id", "tester/revisions"), "holds another set", "--overwrite")
    status, printed, lines = client("push", tmp_path / "second", "--repo_id", "tester/revisions", "--revision", "v2")
    assert status == 0 and "--distilled tester/revisions@v2 --data_path" in printed, lines
    arguments = ["push", tmp_path / "first", "--repo_id", "tester/revisions", "--revision", "v2"]
    one_error(client(*arguments), "holds another set")
    repository = server.repos["dataset", "tester/revisions"]
    for revision, seed in [("main", 1), ("v2", 2), (repository.refs["v2"], 2), (repository.refs["main"], 1)]:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        status, _, lines = client("pull", f"tester/revisions@{revision}", tmp_path / "copy")
        assert status == 0 and DistilledSet.load(tmp_path / "copy").sha256 == make_set(seed).sha256, lines
    one_error(client("pull", "tester/revisions@v3", tmp_path / "x"), "tester/revisions@v3", "no such revision")
    one_error(client("pull", "tester/revisions", tmp_path / "copy" / "README.md"), "README.md", "is a file")
    assert client("pull", "tester/revisions", tmp_path / "copy")[0] == 0
    one_error(client("pull", "tester/revisions@v2", tmp_path / "copy"), "holds a set already", "--overwrite")
    assert client("pull", "tester/revisions@v2", tmp_path / "copy", "--overwrite")[0] == 0
    assert DistilledSet.load(tmp_path / "copy").sha256 == make_set(2).sha256
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    one_error(client("pull", "tester/revisions", tmp_path / "other", "--overwrite"), "thesis.tex")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_private(server, client, mine, tmp_path):
    status, printed, _ = client("push", mine, "--repo_id", "tester/private", "--private")
    assert status == 0 and "(private" in printed and server.repos["dataset", "tester/private"].private
    one_error(client("pull", "tester/private", tmp_path / "x", HF_TOKEN=""), "tester/private", "hf auth login")
    assert client("pull", "tester/private", tmp_path / "x")[0] == 0
    assert client("push", mine, "--repo_id", "tester/public")[0] == 0
    one_error(client("push", mine, "--repo_id", "tester/public", "--private"), "is public", "--private")


@pytest.mark.parametrize(
    ("arguments", "changes", "parts"),
    [
        (["push", "MINE", "--repo_id", "tester/a"], {"HF_TOKEN": "hf_wrong"}, ["tester/a", "hf auth login"]),
        (["push", "MINE", "--repo_id", "tester/a"], {"HF_TOKEN": ""}, ["tester/a", "hf auth login"]),
        (["push", "MINE", "--repo_id", "tester/a"], {"HF_TOKEN": f"{TOKEN}_that_reads"}, ["tester/a", "can write"]),
        (["push", "MINE", "--repo_id", "no/na me"], {}, ["no name of a dataset on the Hub"]),
        (["push", "MINE", "--repo_id", "tester/a", "--results", "nowhere"], {}, ["nowhere", "no such file or folder"]),
        (["push", "NOWHERE", "--repo_id", "tester/a"], {}, ["no such file or folder"]),
        (["push", "MINE"], {}, ["--repo_id is missing"]),
        (["push", "--repo_id", "tester/a"], {}, ["PATH is missing"]),
        (
            ["push", "MINE", "--repo_id", "tester/a", "--category", "dog", "--subset", "easy"],
            {},
            ["made for bird-easy"],
        ),
        (["pull", "tester/nowhere", "X"], {}, ["tester/nowhere", "no such dataset on the Hub or no access"]),
        (["pull", "tester/nowhere", "X"], {"HF_TOKEN": "hf_wrong"}, ["tester/nowhere", "hf auth login"]),
        (["push", "MINE", "--repo_id", "tester/a", "--revision", ""], {}, ["--revision", "the name of a branch"]),
        (["push", "MINE", "--repo_id", "tester/a", "--revision", "a b"], {}, ["--revision", "the name of a branch"]),
        (["push", "MINE", "--repo_id", "tester"], {}, ["--repo_id 'tester'", "USER/NAME"]),
        (["pull", "no name at all", "X"], {}, ["no name of a dataset on the Hub"]),
        (["pull", "tester/nowhere"], {}, ["FOLDER is missing"]),
        (["validate", "tester/nowhere", *BIRDS], {}, ["tester/nowhere", "readable"]),
        (
            ["--distilled", "tester/nowhere", *BIRDS],
            {},
            ["no such folder", "no such data"],
        ),
    ],
)
def test_failures(server, client, mine, tmp_path, arguments, changes, parts):
    names = {"MINE": str(mine), "NOWHERE": str(tmp_path / "nowhere"), "X": str(tmp_path / "x")}
    one_error(client(*[names.get(argument, argument) for argument in arguments], **changes), *parts)
    assert ("dataset", "tester/a") not in server.repos and not (tmp_path / "x").exists()


def test_a_token_that_only_reads_pulls_and_cannot_push(server, client, mine, tmp_path):
    assert client("push", mine, "--repo_id", "tester/readonly", "--private")[0] == 0
    reader = {"HF_TOKEN": f"{TOKEN}_that_reads"}
    assert client("pull", "tester/readonly", tmp_path / "x", **reader)[0] == 0
    make_set(3).save(tmp_path / "new")
    one_error(client("push", tmp_path / "new", "--repo_id", "tester/readonly", "--overwrite", **reader), "can write")
    assert len(server.repos["dataset", "tester/readonly"].commits) == 2


FULL = "Private repository storage limit reached, please upgrade your plan to increase your private storage limit"
OFTEN = "You have exceeded our hourly quotas for action: commit. We invite you to retry later."
LIMITED = {"RateLimit": '"api";r=0;t=43', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}


@pytest.mark.parametrize(
    ("refused", "parts"),
    [
        (("POST", "/lfs/objects/batch", Err(403, None, FULL)), [f"refuses it: {FULL}", "make room there"]),
        (("POST", "/commit/", Err(429, None, OFTEN)), [OFTEN[:-1], "run again later"]),
        (("POST", "/commit/", Err(429, None, "quota of 1000", **LIMITED)), ["quota of 1000", "after 43 seconds"]),
        (
            ("POST", "/repos/create", Err(403, None, "You don't have the rights")),
            ["have the rights", "can write there"],
        ),
        (("POST", "/commit/", Err(403, None, "This is\x1b[2J off")), ["This is [2J off; see https://huggingface.co/"]),
        (("POST", "/commit/", Err(400, None, "'license' must be one of")), ["answers 400: 'license' must be one of"]),
        (("POST", "/commit/", Err(403)), ["refuses it; run `hf auth login` with a token that can write"]),
    ],
)
def test_what_the_hub_says_is_passed_on(server, client, tmp_path, refused, parts):
    make_set(11).save(tmp_path / "mine")
    server.refusals = [refused]
    try:
        result = client("push", tmp_path / "mine", "--repo_id", f"tester/{tmp_path.name}")
    finally:
        server.refusals = []
    one_error(result, f"tester/{tmp_path.name}: ", *parts)
    assert ("hf auth login" in result[2][-1]) == ("can write" in parts[-1])


def test_what_the_hub_says_to_readers_is_passed_on(server, client, mine, tmp_path):
    """Also where its client takes the answer for a lost connection."""
    assert client("push", mine, "--repo_id", "tester/busy")[0] == 0
    for part in ("/revision/main", "/api/datasets/tester/busy"):
        server.refusals = [("GET", part, Err(429, None, "We had to rate limit you", **LIMITED))]
        result = client("pull", "tester/busy", tmp_path / "busy")
        server.refusals = []
        one_error(result, "tester/busy: the Hub refuses so many requests", "run again after 43 seconds")
    assert client("pull", "tester/busy", tmp_path / "busy")[0] == 0


def test_without_xet(server, client, place, tmp_path):
    """Its storage cannot be reached, and HF_HUB_DISABLE_XET=1 is named and helps."""
    make_set(12).save(tmp_path / "mine")
    assert client("push", tmp_path / "mine", "--repo_id", "tester/xet")[0] == 0
    on_main_process = {
        "HF_HUB_DISABLE_XET": "0",
        "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "0",
        "HF_HOME": str(tmp_path / "home"),
    }
    server.xet = "http://127.0.0.1:9"
    with_xet = Client(place, environment(**server.environment | on_main_process))
    try:
        calls = (["pull", "tester/xet", tmp_path / "x"], ["push", tmp_path / "mine", "--repo_id", "tester/xet2"])
        for call in calls:
            one_error(with_xet(*call), "tester/xet", "XET", "(", "127.0.0.1:9", "run again with HF_HUB_DISABLE_XET=1")
            assert client(*call)[0] == 0
    finally:
        server.xet = None
        with_xet.stop()


@pytest.mark.parametrize(
    ("raised", "part"),
    [
        (RuntimeError("Data processing error: CAS service error : ReqwestMiddleware Error: Request failed"), "DISABLE"),
        (RuntimeError("Task error: File reconstruction error: CAS Client Error: error sending request"), "DISABLE"),
        (
            ConnectionError("Network error: Request middleware error: error sending request for url (http://a/v1?s=x)"),
            "",
        ),
        (
            RuntimeError("Internal Writer Error: Background writer channel closed"),
            "=1, with room on the disk of HF_HOME",
        ),
        (
            RuntimeError("Data processing error: CAS service error : IO Error: Disk quota exceeded (os error 122)"),
            "full",
        ),
        (ValueError(f"LFS batch API returned errors:\nEncountered error for file with OID a: `{FULL}"), "make room"),
    ],
)
def test_what_xet_and_lfs_raise(raised, part):
    """As bug reports quote them; a signed address is not repeated."""
    wrapped = RuntimeError("Error while uploading 'a.png' to the Hub.")
    wrapped.__cause__ = raised
    for error in (raised, wrapped):
        found = clear_hub_error(error, "me/set")
        assert isinstance(found, InputError) and part in str(found) and "v1?s=x" not in str(found)
        assert ("HF_HUB_DISABLE_XET=1" in str(found)) == (part not in ("full", "make room"))
    assert not no_connection(raised), "a copy of an older commit is not taken in its place"
    other = RuntimeError("a mistake of ours")
    assert clear_hub_error(other, "me/set") is other


def test_the_same_accuracies_from_the_hub(server, client, drawn, place, tmp_path):
    """From the .pt files, from our folder, from the Hub: to the last digit."""
    save_published(make_set(4), tmp_path / "published")
    assert client("convert", tmp_path / "published", tmp_path / "ours", *BIRDS)[0] == 0
    assert client("push", tmp_path / "ours", "--repo_id", "tester/same")[0] == 0
    commit = server.repos["dataset", "tester/same"].refs["main"]
    fast = ["--model", "ConvNetD1", "--res", 32, "--epoch_eval_train", 2, "--num_eval", 2, "--threads", 1]
    summaries = []
    for number, arguments in enumerate(
        [
            ["--data_dir", tmp_path / "published", *BIRDS],
            ["--distilled", tmp_path / "ours"],
            ["--distilled", "tester/same"],
        ]
    ):
        out = tmp_path / f"out{number}"
        status, _, lines = client("evaluate", "--data_path", drawn, *arguments, *fast, "--output_dir", out)
        assert status == 0, lines
        summaries.append(json.loads((out / "summary.json").read_text()))
    assert summaries[0]["results"] == summaries[1]["results"] == summaries[2]["results"]
    assert len({json.dumps(summary["digests"]) for summary in summaries}) == 1
    assert (summaries[2]["distilled"]["repository"], summaries[2]["distilled"]["revision"]) == ("tester/same", commit)
    assert summaries[2]["config"]["distilled"] == f"tester/same@{commit}"

    status, _, lines = client("push", tmp_path / "ours", "--repo_id", "tester/same", "--results", tmp_path / "out2")
    assert status == 0, lines
    text = tree_of(server, "tester/same")["README.md"].data.decode()
    mean = 100 * summaries[0]["results"][0]["accuracy_mean"]
    assert f"| ConvNetD1 | {mean:.2f} ± " in text and "epoch_eval_train 2" in text
    number = len(server.repos["dataset", "tester/same"].commits)
    for arguments in ([], ["--results", tmp_path / "out2"]):
        assert "nothing has changed" in client("push", tmp_path / "ours", "--repo_id", "tester/same", *arguments)[1]
    assert len(server.repos["dataset", "tester/same"].commits) == number
    one_error(
        client("push", tmp_path / "published", "--category", "bird", "--subset", "easy", "--repo_id", "tester/same",
               "--results", tmp_path / "published"), "published: holds no summary.json"
    )  # fmt: skip


def test_a_hundred_passes_of_labels_of_views(server, client, drawn, place, tmp_path):
    """Pushed, pulled and evaluated, here and from the Hub, to the same digit; they go when the set has none."""
    make_set(5, soft=False).save(tmp_path / "ours")
    torch.manual_seed(0)
    torch.save(create_model("ConvNetD1", im_size=(32, 32)).state_dict(), tmp_path / "teacher.pt")
    shutil.copytree(tmp_path / "ours", tmp_path / "without")
    views = ["--teacher", f"ConvNetD1={tmp_path / 'teacher.pt'}", "--passes", 100, "--batch_train", 20, "--top_k", 4]
    assert client("relabel", tmp_path / "ours", *views, "--threads", 1)[0] == 0
    status, _, lines = client("push", tmp_path / "ours", "--repo_id", "tester/views")
    assert status == 0, lines
    assert "nothing has changed" in client("push", tmp_path / "ours", "--repo_id", "tester/views")[1]
    tree = tree_of(server, "tester/views")
    assert tree[VIEW_LABELS_NAME].data == (tmp_path / "ours" / VIEW_LABELS_NAME).read_bytes()
    assert "Labels of views: 100 passes in batches of 20" in tree["README.md"].data.decode()
    assert client("pull", "tester/views", tmp_path / "copy")[0] == 0
    fast = ["--model", "ConvNetD1", "--epoch_eval_train", 2, "--num_eval", 2, "--threads", 1, "--protocol", "rded"]
    fast += ["--batch_train", 20, "--labels", "views", "--data_path", drawn]
    summaries = []
    for name in (tmp_path / "ours", tmp_path / "copy", "tester/views"):
        out = tmp_path / f"results{len(summaries)}"
        status, _, lines = client("evaluate", "--distilled", name, *fast, "--output_dir", out)
        assert status == 0, lines
        summaries.append(json.loads((out / "summary.json").read_text()))
    same = [[{**entry, "teacher": entry["teacher"]["digest"]} for entry in one["results"]] for one in summaries]
    assert same[0] == same[1] == same[2] and len({json.dumps(one["digests"]) for one in summaries}) == 1
    status, _, lines = client(
        "push", tmp_path / "ours", "--repo_id", "tester/views", "--results", tmp_path / "results2"
    )
    assert status == 0, lines
    tree = tree_of(server, "tester/views")
    assert not any(str(place).encode() in file.data or str(tmp_path).encode() in file.data for file in tree.values())
    one_error(client("push", tmp_path / "without", "--repo_id", "tester/views"), "labels of views", "--overwrite")
    assert VIEW_LABELS_NAME in tree_of(server, "tester/views")
    assert client("push", tmp_path / "without", "--repo_id", "tester/views", "--overwrite")[0] == 0
    assert VIEW_LABELS_NAME not in tree_of(server, "tester/views")
    one_error(client("pull", "tester/views", tmp_path / "copy"), "holds a set already", "--overwrite")
    assert client("pull", "tester/views", tmp_path / "copy", "--overwrite")[0] == 0
    assert not (tmp_path / "copy" / VIEW_LABELS_NAME).exists()


def test_a_card_that_somebody_has_edited_is_kept(server, client, mine):
    card = mine / "README.md"
    card.write_text(card.read_text() + "\nThanks to my cat.\n")
    assert client("push", mine, "--repo_id", "tester/edited")[0] == 0
    text = tree_of(server, "tester/edited")["README.md"].data.decode()
    assert "Thanks to my cat." in text and 'from_hub("tester/edited")' in text
    assert "nothing has changed" in client("push", mine, "--repo_id", "tester/edited")[1]
    blob = tree_of(server, "tester/edited")["README.md"]
    edited = blob.data.replace(b"my cat", b"my dog")
    tree_of(server, "tester/edited")["README.md"] = Blob(edited, False)  # on the web
    make_set().save(mine.parent / "again")
    assert "nothing has changed" in client("push", mine.parent / "again", "--repo_id", "tester/edited")[1]
    assert b"my dog" in tree_of(server, "tester/edited")["README.md"].data


def header_of(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_a_card_declares_the_data_that_lie_beside_it(server, client, mine, tmp_path):
    """Of a repository its Parquet copy, of a folder none; pushed and pulled again and again, nothing changes."""
    saved = (mine / "README.md").read_text()
    assert not {"configs", "dataset_info"} & set(header_of(saved))
    assert 'DistilledSet.load("FOLDER")' in saved and "load_dataset(" not in saved and "USER/NAME" not in saved
    assert client("push", mine, "--repo_id", "tester/data")[0] == 0
    repository, tree = server.repos["dataset", "tester/data"], tree_of(server, "tester/data")
    pushed = tree["README.md"].data.decode()
    (config,) = header_of(pushed)["configs"]
    assert config["data_files"][0]["path"] in tree and len(header_of(pushed)["dataset_info"]["features"]) == 3
    assert client("pull", "tester/data", tmp_path / "copy")[0] == 0
    pulled = (tmp_path / "copy/README.md").read_text()
    assert header_of(pulled) == header_of(saved) and pulled.split("---\n")[2:] == pushed.split("---\n")[2:]
    assert "already up to date" in client("pull", "tester/data", tmp_path / "copy")[1]
    assert "nothing has changed" in client("push", tmp_path / "copy", "--repo_id", "tester/data")[1]

    (tmp_path / "copy/README.md").write_text(pulled.replace("- comp-dd\n", "- comp-dd\n- cats\n"))
    for said in ("pushed to", "nothing has changed"):
        assert said in client("push", tmp_path / "copy", "--repo_id", "tester/data")[1]
    mended = tree_of(server, "tester/data")["README.md"].data.decode()
    assert header_of(mended) == header_of(pushed) | {
        "tags": [*header_of(pushed)["tags"][:3], "cats", *header_of(pushed)["tags"][3:]]
    }

    moved = {name: header_of(pushed)[name] for name in ("configs", "dataset_info", *header_of(saved))}
    text = f"---\n{yaml.safe_dump(moved, sort_keys=False)}---\n" + pushed.split("---\n", 2)[2]
    tree_of(server, "tester/data")["README.md"] = Blob(text.encode(), False)  # on the web
    assert client("pull", "tester/data", tmp_path / "third")[0] == 0
    assert not {"configs", "dataset_info"} & set(header_of((tmp_path / "third/README.md").read_text()))
    assert "nothing has changed" in client("push", tmp_path / "third", "--repo_id", "tester/data")[1]
    assert len(repository.commits) == 3


def test_flags_that_change_what_is_read_change_what_is_sent(server, client, mine, tmp_path):
    """The facts that are sent are those of the tensors that are sent."""
    assert client("push", mine, "--repo_id", "tester/flags", "--lr_dir", "none")[0] == 0
    status, _, lines = client("pull", "tester/flags", tmp_path / "copy")
    assert status == 0 and DistilledSet.load(tmp_path / "copy").lr is None, lines
    arguments = ["push", mine, "--repo_id", "tester/flags", "--label_order", "sorted"]
    one_error(client(*arguments), "--label_order: the set says it itself")


def test_a_pull_never_takes_what_is_the_users(server, client, mine, tmp_path):
    assert client("push", mine, "--repo_id", "tester/again")[0] == 0
    assert client("pull", "tester/again", tmp_path / "copy")[0] == 0
    card = tmp_path / "copy/README.md"
    card.write_text(card.read_text() + "my notes")
    one_error(client("pull", "tester/again", tmp_path / "copy"), "holds a set already", "--overwrite")
    (tmp_path / "copy/plots").mkdir()
    (tmp_path / "copy/plots/my.png").write_bytes(image_bytes(0))
    for flags in ([], ["--overwrite"]):
        one_error(
            client("pull", "tester/again", tmp_path / "copy", *flags), "holds plots", "no set that was written here"
        )
    assert card.read_text().endswith("my notes") and (tmp_path / "copy/plots/my.png").exists()


def test_a_repository_of_something_else_is_left_alone(server, client, mine):
    assert client("push", mine, "--repo_id", "tester/else")[0] == 0
    tree = tree_of(server, "tester/else")
    tree["thesis.pdf"] = Blob(b"years of work", False)
    del tree["distilled.json"]
    one_error(client("push", mine, "--repo_id", "tester/else"), "tester/else", "no distilled set")


def test_nothing_is_pickled_and_no_path_or_token_is_sent(server, client, tmp_path):
    save_published(make_set(5), tmp_path / "published")
    arguments = ["--category", "bird", "--subset", "easy", "--repo_id", "tester/clean"]
    assert client("push", tmp_path / "published", *arguments)[0] == 0
    for name, blob in tree_of(server, "tester/clean").items():
        assert not name.endswith((".pt", ".pkl", ".bin")) and b"PK\x03\x04" not in blob.data[:4]
        assert str(tmp_path).encode() not in blob.data and TOKEN.encode() not in blob.data, name
    for folder in (tmp_path, Path(server.environment["HF_HOME"])):
        for path in folder.rglob("*"):
            assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_a_cut_upload_and_a_cut_download(server, client, tmp_path):
    """Once: the client goes on by itself. For good: one line, nothing half-visible, and the next try finishes."""
    make_set(6, side=64).save(tmp_path / "mine")
    server.cuts = [["PUT", "/_lfs/", 1]]
    status, _, lines = client("push", tmp_path / "mine", "--repo_id", "tester/cut")
    assert status == 0 and not server.cuts[0][2], lines
    server.cuts = [["GET", "/resolve/", 1]]
    status, _, lines = client("pull", "tester/cut", tmp_path / "copy")
    assert status == 0 and not server.cuts[0][2], lines
    assert DistilledSet.load(tmp_path / "copy").sha256 == make_set(6, side=64).sha256
    server.cuts = []


@pytest.mark.slow
def test_connections_that_stay_cut(server, client, tmp_path):
    make_set(7, side=64).save(tmp_path / "mine")
    server.cuts = [["PUT", "/_lfs/", 10**6]]
    one_error(client("push", tmp_path / "mine", "--repo_id", "tester/cut2"), "tester/cut2", "run again")
    assert set(tree_of(server, "tester/cut2")) == {".gitattributes"}
    one_error(client("pull", "tester/cut2", tmp_path / "copy"), "tester/cut2", "expected distilled.safetensors")
    server.cuts = []
    assert client("push", tmp_path / "mine", "--repo_id", "tester/cut2")[0] == 0
    server.cuts = [["GET", "/resolve/", 10**6]]
    one_error(client("pull", "tester/cut2", tmp_path / "copy"), "tester/cut2", "run again")
    assert not (tmp_path / "copy").exists()
    server.cuts = []
    assert client("pull", "tester/cut2", tmp_path / "copy")[0] == 0
    assert DistilledSet.load(tmp_path / "copy").sha256 == make_set(7, side=64).sha256


def test_offline_a_folder_of_a_repository_of_many(server, client, tmp_path):
    """The copy is whole, though the repository has more; without one of its files it is none."""
    for ipc in ("ipc1", "ipc2"):
        save_published(make_set(1), tmp_path / "all" / ipc)
    client.run(
        f"""from huggingface_hub import HfApi
HfApi().create_repo("tester/many", repo_type="dataset")
HfApi().upload_folder(repo_id="tester/many", repo_type="dataset", folder_path={str(tmp_path / "all")!r})"""
    )
    flags = ("tester/many/ipc1", "--category", "bird", "--subset", "easy", "--json")
    before = json.loads(client("validate", *flags)[1])
    offline = Client(tmp_path, environment(**server.environment | {"HF_HUB_OFFLINE": "1"}))
    status, printed, lines = offline("validate", *flags)
    assert status == 0 and json.loads(printed)["checks"] == before["checks"], lines
    one_error(offline("validate", "tester/many/ipc2", *flags[1:]), "no copy of it is cached")
    for path in Path(server.environment["HF_HOME"]).rglob("datasets--tester--many/snapshots/*/ipc1/lr.pt"):
        path.unlink()
    one_error(offline("validate", *flags), "no copy of it is cached")
    offline.stop()


def test_offline_with_and_without_a_copy(server, client, mine, drawn, tmp_path):
    assert client("push", mine, "--repo_id", "tester/offline")[0] == 0
    assert client("validate", "tester/offline")[0] == 0  # downloads it
    commit = server.repos["dataset", "tester/offline"].refs["main"]
    offline = Client(tmp_path, environment(**server.environment | {"HF_HUB_OFFLINE": "1"}))
    for name in ("tester/offline", f"tester/offline@{commit}"):
        status, printed, lines = offline("validate", name, "--json")
        assert status == 0 and json.loads(printed)["origin"]["revision"] == commit, lines
        assert any("out of reach; the cached copy" in line for line in lines)
    one_error(offline("pull", "tester/absent", tmp_path / "x"), "HF_HUB_OFFLINE is set", "no copy of it is cached")
    one_error(offline("pull", "tester/offline@v9", tmp_path / "x"), "no copy of it is cached")
    one_error(offline("push", mine, "--repo_id", "tester/offline"), "HF_HUB_OFFLINE is set")
    offline.stop()
    gone = Client(tmp_path, environment(**server.environment | {"HF_ENDPOINT": "http://127.0.0.1:9"}))
    assert gone("pull", "tester/offline", tmp_path / "copy")[0] == 0
    one_error(gone("pull", "tester/absent", tmp_path / "x"), "cannot be reached", "no copy of it is cached")
    one_error(gone("push", mine, "--repo_id", "tester/offline"), "cannot be reached")
    gone.stop()


def put(server, repo, files):
    """Make a repository by hand."""
    from tests.support.hub_stand_in import Repo

    repository = server.repos["dataset", repo] = Repo("dataset", repo)
    repository.add({name: Blob(data, True) for name, data in files.items()}, "main", "by hand")


def image_bytes(seed, size=(40, 40)):
    import io

    import numpy as np

    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_any_image_dataset_with_labels(server, client, tmp_path):
    """Pushed by `datasets`, with class names in an order of its own; and class folders of images."""
    code = """if True:
        import datasets
        from tests.distilled.test_hub import image_bytes
        from compdd_eval.data.subsets import load_subset
        names = sorted(load_subset("bird-easy").label_names)
        images = [{"bytes": image_bytes(n), "path": None} for n in range(20)]
        rows = {"image": images, "label": [n % 10 for n in range(20)]}
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
        datasets.Dataset.from_dict(rows, features=features).push_to_hub("tester/images")
    """
    client.run(code)
    status, printed, lines = client("convert", "tester/images", tmp_path / "a.npz", *BIRDS)
    assert status == 0 and "classes taken as class names" in printed, lines
    from compdd_eval import read_distilled
    from compdd_eval.data.subsets import load_subset

    subset = load_subset("bird-easy")
    expected = [subset.label_names.index(sorted(subset.label_names)[n % 10]) for n in range(20)]
    assert read_distilled(tmp_path / "a.npz").labels.tolist() == expected
    put(server, "tester/folders", {f"train/{w}/{n}.png": image_bytes(n) for n, w in enumerate(subset.wnids)})
    status, printed, lines = client("convert", "tester/folders", tmp_path / "b.npz", *BIRDS)
    assert status == 0 and "classes taken as WordNet ids" in printed, lines
    assert read_distilled(tmp_path / "b.npz").labels.tolist() == [subset.wnids.index(w) for w in sorted(subset.wnids)]
    one_error(client("pull", "tester/folders", tmp_path / "x"), "`convert tester/folders DIR`")


def tensor_bytes(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_sets_in_folders_of_a_repository(server, client, tmp_path):
    """As the field keeps several in one; by USER/NAME/FOLDER, or by the address of the page in a browser."""
    sets = {name: make_set(seed) for seed, name in enumerate(("ipc1", "ipc10"))}
    files = {}
    for name, distilled in sets.items():
        parts = {"images": distilled.images, "labels": distilled.labels, "lr": distilled.lr}
        files |= {f"edf/{name}/{part}.pt": tensor_bytes(value) for part, value in parts.items()}
    put(server, "tester/many", files)
    from compdd_eval import read_distilled

    page = "https://huggingface.co/datasets/tester/many"
    for number, (name, address) in enumerate(
        [
            ("ipc10", "tester/many/edf/ipc10"),
            ("ipc1", "tester/many/edf/ipc1/"),
            ("ipc10", "hf://datasets/tester/many/edf/ipc10@main"),
            ("ipc10", f"{page}/tree/main/edf/ipc10"),
            ("ipc1", f"{page}/blob/main/edf/ipc1/images.pt"),
        ]
    ):
        status, printed, lines = client("convert", address, tmp_path / f"{number}.npz", *BIRDS)
        assert status == 0, lines
        read = read_distilled(tmp_path / f"{number}.npz")
        assert read.sha256 == sets[name].sha256 and read.lr == sets[name].lr
        assert f"tester/many/edf/{name}" in printed
    one_error(client("convert", "tester/many", tmp_path / "x", *BIRDS), "holds no set itself", "tester/many/edf/ipc")
    one_error(client("convert", "tester/many/dm", tmp_path / "x", *BIRDS), "no such folder in it; it holds edf")
    one_error(client("convert", f"{page}/tree/gone/edf", tmp_path / "x", *BIRDS), "no such revision")
    offline = {"HF_HUB_OFFLINE": "1"}
    code = "from compdd_eval import read_distilled, ReadConfig; print(read_distilled('tester/many/edf/ipc10').sha256)"
    done = forked("-c", code, cwd=tmp_path, **(server.environment | offline))
    assert sets["ipc10"].sha256 in done.stdout, done.stderr


def test_an_image_dataset_of_many_classes(server, client, tmp_path):
    """Of more classes than a subset has, only those of the subset are read, by their names."""
    code = """if True:
        import datasets
        from tests.distilled.test_hub import image_bytes
        from compdd_eval.data.synsets import synsets
        names = [synset.wnid for synset in synsets()[:300]]
        images = [{"bytes": image_bytes(n % 50), "path": None} for n in range(300)]
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
        rows = {"image": images, "label": list(range(300))}
        datasets.Dataset.from_dict(rows, features=features).push_to_hub("tester/classes")
    """
    client.run(code)
    status, printed, lines = client("convert", "tester/classes", tmp_path / "a.npz", *BIRDS)
    assert status == 0 and "only the images of the subset are read, 10 of 300" in printed, lines
    from compdd_eval import read_distilled
    from compdd_eval.data.subsets import load_subset

    class_map = load_subset("bird-easy").class_map
    assert read_distilled(tmp_path / "a.npz").labels.tolist() == [class_map[index] for index in sorted(class_map)]
    one_error(client("convert", "tester/classes", tmp_path / "x"), "has 300 classes", "--category and --subset")


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        ({}, ["holds nothing"]),
        ({"images.pt": b"x", "labels.pt": b"x"}, ["images.pt", "could run code"]),
        ({"README.md": b"x", "code/run.py": b"x"}, ["holds README.md, code/run.py", "expected distilled.safetensors"]),
        ({"ipc1/images.pt": b"x"}, ["holds no set itself", "/ipc1"]),
        ({"../../escaped.parquet": b"x"}, ["escaped.parquet", "leaves its folder"]),
        ({"/etc/escaped.parquet": b"x"}, ["escaped.parquet", "leaves its folder"]),
        ({"distilled.safetensors": b"x" * 100, "distilled.json": b"{}"}, ["distilled.safetensors"]),
        ({"data/train.parquet": b"PAR1 no PAR1"}, ["Parquet file cannot be read"]),
        (
            {"a/train.parquet": b"x", "b/train.parquet": b"x"},
            ["holds several datasets (a, b)", "give its folder, as in tester/"],
        ),
        ({"train/n02007558/a.png": b"no image"}, ["no image that can be opened"]),
        ({"train/n02007558/a.png": image_bytes(0)[:200]}, ["cannot be decoded"]),
    ],
)
def test_strange_repositories(server, client, place, tmp_path, files, parts):
    repo = f"tester/strange-{tmp_path.name}"
    put(server, repo, files)
    target = tmp_path / "out"
    one_error(client("convert", repo, target, *BIRDS), *parts)
    assert not target.exists() and not list(place.rglob("*escaped*"))


def test_a_file_that_is_too_large_is_not_downloaded(server, client, tmp_path, monkeypatch):
    put(server, "tester/large", {"distilled.safetensors": b"x", "distilled.json": b"{}"})
    info = server.r_info

    def huge(repo, rev=None, **others):
        answer = info(repo, rev, **others)
        return {**answer, "siblings": [{"rfilename": s["rfilename"], "size": 10**13} for s in answer["siblings"]]}

    monkeypatch.setattr(server, "r_info", huge)
    one_error(client("pull", "tester/large", tmp_path / "x"), "20,000 GB", "not downloaded")
    assert not any("resolve" in path for _, path, _ in server.log if "large" in path)


def test_the_benchmark_and_a_set_are_told_apart(run):
    assert "give one" in run("push", "x", "--benchmark", "a/b")[2][0]
    assert "--public is for --benchmark" in run("push", "x", "--repo_id", "a/b", "--public")[2][0]


def test_an_interrupted_pull_leaves_nothing(server, client, mine, tmp_path):
    """Killed while it downloads: no folder, and the next try has it."""
    assert client("push", mine, "--repo_id", "tester/killed")[0] == 0
    server.log.clear()
    places = server.environment | {"HF_HOME": str(tmp_path / "home")}
    command = ["-m", "compdd_eval", "pull", "tester/killed", tmp_path / "copy"]
    with server.lock:  # answers nothing
        process = Forked(*command, cwd=tmp_path, **places)
        deadline = time.monotonic() + 60
        while not server.log and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "copy").exists()
    done = forked(*command, cwd=tmp_path, **places)
    assert done.returncode == 0 and DistilledSet.load(tmp_path / "copy").sha256 == make_set().sha256, done.stderr


def test_all_sets_of_a_benchmark(server, client, drawn, tmp_path):
    """They are pushed with their results, found there by the benchmark, and give the same numbers."""
    for name in ("bird-easy", "bird-hard"):
        train = load_comp_dd(drawn, name, im_size=(8, 8)).dst_train
        random_images(train, 2, seed=1).save(tmp_path / f"sets/{name}-ipc2")
    quick = ["--data_path", drawn, "--model", "MLP", "--epoch_eval_train", 2, "--threads", 1, "--num_eval", 2]
    quick += ["--compile", "never", "--configs", "bird-easy,bird-hard", "--ipc", "2,3"]
    here, there = tmp_path / "here", tmp_path / "there"
    sets = tmp_path / "sets/{config}-ipc{ipc}"
    status, _, lines = client("benchmark", "--sets", sets, *quick, "--output_dir", here)
    assert status == 0, lines
    name = "tester/edf-{config}-ipc{ipc}"
    push = ["push", "--benchmark_results", here, "--repo_id"]
    one_error(client(*push, "tester/edf"), "expected a name that tells 2 sets apart")
    assert ("dataset", "tester/edf") not in server.repos
    status, printed, lines = client(*push, name)
    assert status == 0, lines
    for subset in ("bird-easy", "bird-hard"):
        tree = tree_of(server, f"tester/edf-{subset}-ipc2")
        (result,) = [blob for file, blob in tree.items() if file.startswith("results/")]
        assert json.loads(result.data)["config_name"] == subset and f"tester/edf-{subset}-ipc2" in printed
    status, printed, lines = client(*push, name)
    assert status == 0 and printed.count("nothing has changed") == 2, lines

    status, _, lines = client("benchmark", "--sets", name, *quick, "--output_dir", there)
    assert status == 0 and any("2 sets of 4 not there: tester/edf-bird-easy-ipc3" in line for line in lines), lines
    tables = [json.loads((folder / "benchmark.json").read_text())["tables"][0] for folder in (here, there)]
    accuracies = [[cell["accuracies"] for cell in table["cells"]] for table in tables]
    assert accuracies[0] == accuracies[1] and len(accuracies[0]) == 2

    shutil.move(tmp_path / "sets/bird-hard-ipc2", tmp_path / "away")
    random_images(load_comp_dd(drawn, "bird-hard", im_size=(8, 8)).dst_train, 2, seed=5).save(
        tmp_path / "sets/bird-hard-ipc2"
    )
    one_error(client(*push, "tester/other-{config}-ipc{ipc}"), "holds no results of this set")
    assert not any("other-" in repository for _, repository in server.repos), "nothing is sent before all is read"
    one_error(client("push", "my_set", *push[1:], name), "PATH is for one thing, --benchmark_results for all sets")
