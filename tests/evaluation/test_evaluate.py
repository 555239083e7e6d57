import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from compdd_eval import DistilledSet, EvaluateConfig, create_model, evaluate, load_comp_dd, random_images
from compdd_eval.commands.prepare import prepare
from compdd_eval.config.prepare import PrepareConfig
from compdd_eval.config.protocol import Protocol
from compdd_eval.results.aggregate import aggregate
from compdd_eval.results.student_result import SCHEMA_VERSION, read_student
from compdd_eval.training.train import train_student
from compdd_eval.utils.errors import InputError
from tests.conftest import FAST, environment, students
from tests.support.forked import launched, ranks


@pytest.fixture
def settings(settings, my_set):
    """With the set given by the published flag."""

    def make(**changes):
        return settings(**{"distilled": None, "data_dir": str(my_set), **changes})

    return make


def test_summary_and_student_files(settings, tmp_path, drawn, my_set):
    summary = evaluate(settings(model="ConvNetD1,ConvNetD2"))
    assert summary == json.loads((tmp_path / "results/summary.json").read_text())
    expected = {"category": "bird", "subset": "easy", "ipc": 1, "resolution": 32, "label_kind": "hard", "lr": 0.01}
    assert {key: summary[key] for key in expected} == expected
    two = ["ConvNetD1", "ConvNetD2"]
    assert [entry["model"] for entry in summary["results"]] == two
    for entry in summary["results"]:
        assert entry["seeds"] == [0, 1, 2] and len(entry["accuracies"]) == 3
        assert entry["accuracy_mean"] == pytest.approx(statistics.mean(entry["accuracies"]))
        assert entry["accuracy_std"] == pytest.approx(statistics.stdev(entry["accuracies"]))
        assert statistics.mean(entry["per_class_accuracy"]) == pytest.approx(entry["accuracy_mean"])
        assert all(0 <= accuracy <= 1 for accuracy in entry["accuracies"])
    files = students(tmp_path / "results")
    assert len(files) == 6
    record = read_student(files[0])
    set_name, config_name, model, digest, seed = files[0].relative_to(tmp_path / "results").parts
    assert set_name.startswith("ipc1-") and config_name == "bird-easy" and seed == "seed0.json"
    assert (record.schema_version, record.model, record.digests["config"]) == (SCHEMA_VERSION, model, digest)
    assert len(record.losses) == 3 and record.total == [5] * 10
    assert record.accuracy == sum(record.correct) / 50
    assert record.config["data_dir"] == str(my_set) and record.protocol["crop_pad"] == 0.25
    assert summary["environments"] == [{**record.environment, "students": [[m, s] for m in two for s in (0, 1, 2)]}]
    assert record.environment["threads"] == 1 and "torch" in record.environment["versions"]


def test_an_accuracy_can_be_made_again_by_hand(settings, drawn, my_set, tmp_path):
    """The public pieces, put together as the README says, give the numbers of the command."""
    summary = evaluate(settings())
    torch.set_num_threads(1)
    images, labels = load_comp_dd(drawn, "bird", "easy", (32, 32)).dst_test.tensors()
    torch.manual_seed(1)
    model = create_model("ConvNetD1", im_size=(32, 32))
    distilled = [torch.load(my_set / f"{part}.pt") for part in ("images", "labels")]
    losses = train_student(model, *distilled, label_kind="hard", lr=0.01, protocol=Protocol(epoch_eval_train=2), seed=1)
    with torch.no_grad():
        accuracy = (model.eval()(images).argmax(1) == labels).float().mean().item()
    assert summary["results"][0]["accuracies"][1] == pytest.approx(accuracy)
    assert read_student(students(tmp_path / "results")[1]).losses == pytest.approx(losses, rel=1e-6)


def test_the_same_again_and_another_seed(settings, tmp_path):
    first = evaluate(settings(output_dir=str(tmp_path / "a")))
    again = evaluate(settings(output_dir=str(tmp_path / "b")))
    other = evaluate(settings(output_dir=str(tmp_path / "c"), seed=1))
    assert first["results"] == again["results"]
    assert other["results"][0]["accuracies"][:2] == first["results"][0]["accuracies"][1:]
    losses = [read_student(path).losses for path in students(tmp_path / "a")]
    assert losses[0] != losses[1] != losses[2]


def test_finished_students_are_skipped(settings, tmp_path, monkeypatch):
    first = evaluate(settings())
    stamps = {path: path.stat().st_mtime_ns for path in students(tmp_path / "results")}
    students(tmp_path / "results")[1].unlink()
    assert evaluate(settings())["results"] == first["results"]
    changed = [path.name for path in stamps if path.stat().st_mtime_ns != stamps[path]]
    assert changed == ["seed1.json"]
    monkeypatch.setattr(
        "compdd_eval.evaluation.train_group.Training", lambda *args, **kwargs: pytest.fail("trained again")
    )
    assert evaluate(settings(num_eval=2))["results"][0]["accuracies"] == first["results"][0]["accuracies"][:2]


@pytest.mark.parametrize("change", [{"epoch_eval_train": 3}, {"lr_net": 0.02}, {"dsa": False}, {"crop_pad": 0.125}])
def test_other_settings_are_other_students(settings, tmp_path, change):
    evaluate(settings(num_eval=1))
    evaluate(settings(num_eval=1, **change))
    assert len(students(tmp_path / "results")) == 2


def test_a_damaged_result_is_not_taken(settings, tmp_path):
    evaluate(settings(num_eval=1))
    path = students(tmp_path / "results")[0]
    for text in ("{", "{}", path.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99')):
        path.write_text(text)
        with pytest.raises(InputError, match="seed0.json: not a result file"):
            evaluate(settings(num_eval=1))


def test_learned_rate_wins(settings, my_set, tmp_path, capsys):
    torch.save(torch.tensor(0.25), my_set / "lr.pt")
    summary = evaluate(settings(num_eval=1))
    assert (summary["lr"], summary["lr_source"]) == (0.25, "learned with the set")
    assert "0.25 (learned with the set)" in capsys.readouterr().out
    ignored = evaluate(settings(num_eval=1, lr_dir="none"))
    assert (ignored["lr"], ignored["lr_source"]) == (0.01, "--lr_net")


def test_real_images_carry_over(settings, drawn, cache):
    """Students of all real images do far better than chance, those of shuffled labels do not."""
    train = load_comp_dd(drawn, "bird", "easy", (32, 32)).dst_train
    full = random_images(train, 12)
    options = {"model": "ConvNetW32", "epoch_eval_train": 15, "num_eval": 1}
    accuracy = evaluate(settings(output_dir="out_a", **options), full, quiet=True)["results"][0]["accuracy_mean"]
    shuffled = DistilledSet(full.images, full.labels[torch.randperm(120, generator=torch.Generator().manual_seed(0))])
    chance = evaluate(settings(output_dir="out_b", **options), shuffled, quiet=True)["results"][0]["accuracy_mean"]
    assert accuracy > 0.4 > chance


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_only_validation_is_decoded_and_once(settings, monkeypatch):
    from compdd_eval.data import splits, transforms

    decoded, original = [], transforms.decode_rgb
    monkeypatch.setattr(splits, "decode_rgb", lambda content, name: decoded.append(name) or original(content, name))
    evaluate(settings())
    assert len(decoded) == len(set(decoded)) == 50 and all("/val/" in name for name in decoded)


def test_prepared_or_not_gives_the_same_numbers_and_digest(settings, drawn):
    direct = evaluate(settings(output_dir="a", num_eval=1))
    prepare(PrepareConfig(str(drawn), "bird", "easy"))
    for name, path in (("b", str(drawn)), ("c", None)):
        prepared = evaluate(settings(output_dir=name, num_eval=1, data_path=path))
        assert prepared["results"] == direct["results"] and prepared["digests"] == direct["digests"]


def test_a_diverging_student_is_reported(settings, capfd):
    from compdd_eval.utils.console import setup_logging

    setup_logging()
    summary = evaluate(settings(num_eval=1, lr_net=1e30), quiet=True)
    record = read_student(students(Path("results"))[0])
    assert record.losses[-1] is None and 0 <= summary["results"][0]["accuracy_mean"] <= 1
    assert summary["results"][0]["diverged_seeds"] == [0]
    for _ in range(2):  # said again when the student is only read
        assert "ConvNetD1 seed 0: the loss was not finite" in capfd.readouterr().err
        evaluate(settings(num_eval=1, lr_net=1e30), quiet=True)


def test_a_changed_protocol_is_said(settings, capsys):
    summary = evaluate(settings(num_eval=1, crop_pad=0.125))
    assert summary["protocol_changes"] == {"epoch_eval_train": 2, "crop_pad": 0.125}
    assert "changed in epoch_eval_train, crop_pad" in " ".join(capsys.readouterr().out.split())


def test_resolution_of_a_set_in_memory(settings):
    with pytest.raises(InputError, match="16 pixels, expected --res 32; give --res 16"):
        evaluate(settings(), DistilledSet(torch.randn(10, 3, 16, 16), torch.arange(10)))


def test_the_resolution_is_that_of_the_set(settings, run, tmp_path, drawn, my_set, capsys):
    given = evaluate(settings(output_dir="given"))
    capsys.readouterr()
    found = evaluate(settings(res=None))
    assert "IPC 1, 32 px" in capsys.readouterr().out
    assert found["results"] == given["results"] and found["digests"] == given["digests"]
    assert (
        found["config"]["res"]
        == found["resolution"]
        == read_student(students(tmp_path / "results")[0]).resolution
        == 32
    )
    with pytest.raises(InputError, match="VGG11 cannot take images of 16 x 16 pixels"):
        evaluate(settings(res=None, model="VGG11"), DistilledSet(torch.randn(10, 3, 16, 16), torch.arange(10)))
    planned = evaluate(settings(res=None, eval_mode="M", dry_run=True, output_dir="pool"), quiet=True)
    assert planned["models"] == ["ConvNetD3", "AlexNet", "VGG11", "ResNet18"] and planned["students"] == 12
    for number in range(10):
        (tmp_path / f"odd/{number}").mkdir(parents=True)
        Image.new("RGB", (30 + number, 40)).save(tmp_path / f"odd/{number}/0.png")
    odd = {"data_dir": None, "distilled": str(tmp_path / "odd")}
    with pytest.raises(InputError, match="no squares of one size; give --res"):
        evaluate(settings(res=None, **odd))
    assert evaluate(settings(res=16, **odd, dry_run=True))["resolution"] == 16


def test_a_dry_run_with_a_teacher_for_every_batch(run, drawn, my_set, cache, tmp_path):
    words = ["evaluate", "--data_path", drawn, "--distilled", my_set, "--subset", "bird-easy", "--model", "ConvNetD1"]
    words += ["--protocol", "rded", "--teacher", "ConvNetD1", "--threads", 1, "--output_dir", tmp_path / "results"]
    status, out, lines = run(*words, "--dry_run")
    assert status == 0 and "measured" in out and "a pass" in out, lines


@pytest.mark.parametrize(
    ("ipc", "flags", "warned"), [(50, [], True), (50, ["--patches", 1], False), (49, [], False), (50, ["datm"], False)]
)
def test_rded_at_ipc_50(run, drawn, cache, tmp_path, ipc, flags, warned):
    DistilledSet(torch.zeros(10 * ipc, 3, 8, 8), torch.arange(10).repeat_interleave(ipc)).save(tmp_path / "set")
    words = ["evaluate", "--data_path", drawn, "--distilled", tmp_path / "set", "--subset", "bird-easy", "--threads", 1]
    words += ["--model", "MLP", "--labels", "hard", "--dry_run", "--output_dir", tmp_path / "results"]
    protocol = flags if flags == ["datm"] else ["rded", *flags]
    status, _, lines = run(*words, "--protocol", *protocol)
    said = "IPC 50 as RDED trains IPC 10; its release has --batch_train 100 --patches 1 --rrc 1 here"
    assert status == 0 and any(said in line for line in lines) == warned, lines


def test_a_dry_run_measures_what_a_run_takes(run, settings, tmp_path):
    """Students of the set, of random images, of all images and of the search for the rate; nothing is written."""
    config = settings(model="ConvNetD1,MLP", baseline="random,full", lr_net="auto", dry_run=True)
    costs = evaluate(config, quiet=True)["costs"]
    assert [cost["model"] for cost in costs] == ["ConvNetD1", "MLP"]
    for cost in costs:
        assert cost["students"] == 2 * (3 + 5) + 3 and cost["students_at_a_time"] == 1 and not cost["compiled"]
        assert 0 < cost["seconds_of_a_pass"] < cost["seconds"] and cost["peak_bytes"] > 10**8
    assert not (tmp_path / "results").exists()
    # ten images a class and pass; three students of set and random images alone
    (one,) = evaluate(settings(dry_run=True), quiet=True)["costs"]
    assert one["students"] == 3 and one["seconds"] > 3 * 3 * one["seconds_of_a_pass"]


def test_published_nine_classes(tmp_path, cache):
    from compdd_eval.data.subsets import load_subset
    from tests.conftest import save_image

    for number, wnid in enumerate(load_subset("music-hard-published").wnids):
        save_image(tmp_path / f"i/val/{wnid}/ILSVRC2012_val_{number + 1:08}.JPEG", number)
    config = EvaluateConfig(
        **{**FAST, "num_eval": 1}, data_path=str(tmp_path / "i"), category="music", subset="hard", published=True
    )
    summary = evaluate(config, DistilledSet(torch.randn(9, 3, 32, 32), torch.arange(1, 10)))
    assert summary["config_name"] == "music-hard-published" and summary["validation_images"] == 9
    assert summary["results"][0]["per_class_accuracy"][0] is None and summary["ipc"] == 1


def test_aggregate_of_one_student(settings, tmp_path):
    evaluate(settings(num_eval=1))
    entry = aggregate([read_student(path) for path in students(tmp_path / "results")])[0]
    assert entry.accuracy_std is None and entry.accuracy_mean == entry.accuracies[0]


def launch(processes, *arguments, cwd, **changes):
    """Start real CPU processes, as a launcher does."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "-m", "compdd_eval"]
    options = {
        "cwd": cwd,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
        "start_new_session": True,
    }
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env=environment(ACCELERATE_USE_CPU="true", OMP_NUM_THREADS="1", **changes),
        **options,
    )


def flags(drawn, my_set, **changes):
    base = {"data_path": drawn, "category": "bird", "subset": "easy", "data_dir": my_set, **FAST, **changes}
    return [part for name, value in base.items() for part in (f"--{name}", value)]


def test_two_processes_give_the_numbers_of_one(settings, drawn, my_set, tmp_path):
    alone = evaluate(settings(num_eval=5, output_dir=str(tmp_path / "alone")))
    process = launch(2, *flags(drawn, my_set, num_eval=5, output_dir=tmp_path / "both"), cwd=tmp_path)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    both = json.loads((tmp_path / "both/summary.json").read_text())
    assert both["environments"][0]["processes"] == 2
    assert both["results"] == alone["results"] and both["digests"] == alone["digests"]
    pairs = zip(students(tmp_path / "alone"), students(tmp_path / "both"), strict=True)
    assert all(read_student(one).losses == read_student(two).losses for one, two in pairs)
    assert out.count("Comp-DD evaluation") == 1 and out.count("summary: ") == 1  # printed by the main process only


@pytest.mark.slow
def test_killed_runs_lose_no_finished_student(settings, drawn, my_set, tmp_path):
    options = {"num_eval": 4, "epoch_eval_train": 60, "model": "ConvNetD2", "output_dir": tmp_path / "killed"}
    arguments = flags(drawn, my_set, **options)
    done = 0
    for _ in range(6):
        processes = ranks(2, "-m", "compdd_eval", *arguments, cwd=tmp_path)
        deadline = time.time() + 120
        while processes[0].poll() is None and len(students(tmp_path / "killed")) <= done and time.time() < deadline:
            time.sleep(0.02)
        for process in processes:
            process.end()
        found = students(tmp_path / "killed")
        assert len(found) >= done and all(read_student(path) for path in found)
        done = len(found)
    ended = launched(1, "-m", "compdd_eval", *arguments, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    whole = evaluate(settings(**{**options, "output_dir": str(tmp_path / "whole")}), quiet=True)
    assert json.loads((tmp_path / "killed/summary.json").read_text())["results"] == whole["results"]


def test_real_images_one_and_ten_per_class(shared, cache, tmp_path):
    """On real photographs of insect-easy: above chance."""
    imagenet = str(shared / "imagenet_tiny")
    train = load_comp_dd(imagenet, "insect", "easy", (32, 32)).dst_train
    config = EvaluateConfig(
        data_path=imagenet,
        category="insect",
        subset="easy",
        model="ConvNetW32",
        res=32,
        epoch_eval_train=20,
        num_eval=1,
        threads=1,
    )
    summary = evaluate(config, random_images(train, 10), quiet=True)
    assert summary["validation_images"] == 500
    assert summary["results"][0]["accuracy_mean"] > 0.12


def test_the_summary_tells_where_each_student_was_made(settings, capfd):
    from compdd_eval.utils.console import setup_logging

    setup_logging()
    evaluate(settings(num_eval=1))
    summary = evaluate(settings(num_eval=2, threads=2), quiet=True)
    made = {entry["threads"]: entry["students"] for entry in summary["environments"]}
    assert made == {1: [["ConvNetD1", 0]], 2: [["ConvNetD1", 1]]}
    assert "different environments" in capfd.readouterr().err


def test_a_partial_validation_set_is_said_aloud(settings, capfd):
    from compdd_eval.utils.console import setup_logging

    setup_logging()
    summary = evaluate(settings(num_eval=1))
    captured = capfd.readouterr()
    assert "50 validation images, expected 500" in captured.err and "50 of 500 validation images" in captured.out
    assert (summary["validation_images"], summary["validation_images_expected"]) == (50, 500)


def test_a_folder_in_use_is_refused(settings):
    from filelock import FileLock

    evaluate(settings(num_eval=1))
    with FileLock("results/.lock"), pytest.raises(InputError, match="results: another run writes into it now"):
        evaluate(settings())
    evaluate(settings(num_eval=1))


def test_who_only_looks_does_not_stop_a_run(settings):
    """As `status` does, it takes the lock of a folder to see whether a run holds it."""
    from filelock import FileLock

    evaluate(settings(num_eval=1))
    lock = FileLock("results/.lock", thread_local=False)
    lock.acquire()
    threading.Timer(0.3, lock.release).start()
    evaluate(settings(num_eval=1))
